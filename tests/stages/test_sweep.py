import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import linkjax
from linkjax.analysis.metrics import measurements
from linkjax.analysis.metrics.parts import draw_with_parts
from linkjax.analysis.units import candidates
from linkjax.analysis.units.random_directions import plan_steered_steps
from linkjax.cli import main
from linkjax.models import build
from linkjax.models.link import Link, LinkSpec
from linkjax.stages import inputs
from linkjax.storage import artifacts, checkpoint, manifest
from linkjax.storage.swept_values import read_asked
from tests import tolerances, worlds
from tests.report import synthetic
from tests.stages.conftest import SWEEP, assert_same_bits, chunks_done, do

PARTS = ("background", "left", "right")


def arrays(path):
    made = artifacts.Artifact(path, "sweep")
    data = made.open()
    return {name: made.read(name) for name in data.variables}, made


def test_an_item_is_the_anchor_with_one_unit_moved(world):
    found, made = arrays(world.sweep)
    assert made.open()["measured"].dims == ("sample", "unit", "step", "part", "metric")
    generator, classifier, link = (linkjax.load(path) for path in (world.generator, world.classifier, world.link))
    pairs = artifacts.Artifact(world.pairs, "pairs")
    ids, labels = (pairs.read(name) for name in ("sample_id", "label"))
    unit = int(np.flatnonzero(found["flag"] == 0)[0])
    for sample in (0, 3):
        row = int(np.flatnonzero((ids == found["sample_id"][sample]) & (labels == found["label"][sample]))[0])
        w, r = (pairs.read(name, slice(row, row + 1)) for name in ("w", "r"))
        for step in range(3):
            moved = w + (found["value"][sample, unit, step] - r[0, unit]) * np.asarray(link.steer)[unit]
            image = generator.synthesis(moved)
            again = classifier(classifier.preprocess(image)).penultimate[0, unit]
            assert abs(found["obtained"][sample, unit, step] - again) < tolerances.STAGE_R * np.nanmax(
                np.abs(found["obtained"])
            )
            luma = float((np.asarray(linkjax.to_uint8(image)) @ np.float32([0.2126, 0.7152, 0.0722])).mean())
            assert found["measured"][sample, unit, step, 0, 0] == pytest.approx(luma, rel=1e-4)


def test_units_are_raised_along_the_directions_that_were_asked_for(world, tmp_path, capsys):
    flags = [
        *world.linked,
        "--samples",
        "1",
        "--steps",
        "2",
        "--picture-units",
        "1",
        "--random-directions",
        "2",
        "--range",
        "link",
    ]
    do("sweep", *flags, "--out", tmp_path / "kernel", "--directions", "kernel")
    found, made = arrays(tmp_path / "kernel")
    assert made.summary["directions"] == "kernel"
    steered = arrays(world.sweep)
    assert steered[1].summary["directions"] == "steer"
    generator, classifier, link = (linkjax.load(path) for path in (world.generator, world.classifier, world.link))
    pairs = artifacts.Artifact(world.pairs, "pairs")
    unit = int(np.flatnonzero(found["flag"] == 0)[0])
    ids, labels = (pairs.read(name) for name in ("sample_id", "label"))
    row = int(np.flatnonzero((ids == found["sample_id"][0]) & (labels == found["label"][0]))[0])
    w, r = (pairs.read(name, slice(row, row + 1)) for name in ("w", "r"))
    moved = w + (found["value"][0, unit, 1] - r[0, unit]) * np.asarray(link.kernel[...])[unit]
    again = classifier(classifier.preprocess(generator.synthesis(moved))).penultimate[0, unit]
    assert abs(found["obtained"][0, unit, 1] - again) < tolerances.STAGE_R * np.nanmax(np.abs(found["obtained"]))
    for each, rows in ((found, link.kernel[...]), (steered[0], link.steer)):
        step = each["unit_std"] * np.linalg.norm(np.nan_to_num(np.asarray(rows)), axis=1)
        np.testing.assert_allclose(each["step_w"], step, rtol=1e-5)
    none = np.isnan(np.asarray(link.steer)).any(axis=1)
    assert (steered[0]["flag"][none] == 1).all() and np.isnan(steered[0]["fidelity"][none]).all()
    do("select", "--sweep", tmp_path / "kernel", "--out", tmp_path / "selected", "--no-ablation")

    weights = {"kernel": link.kernel[...], "bias": link.bias[...]}
    old = build.fill(Link, LinkSpec(link.spec.units, link.spec.w_dim), weights)
    source = json.loads((Path(world.link) / "manifest.json").read_text())["source"]
    checkpoint.save_model(tmp_path / "old", old, source=source)
    flags[flags.index("--link") + 1] = str(tmp_path / "old")
    capsys.readouterr()
    for stage, of_stage in (("sweep", flags), ("screen", flags[: flags.index("--steps")])):
        assert main([stage, *of_stage, "--out", str(tmp_path / "no")]) == 2
        said = capsys.readouterr().err
        assert "make it again with linkjax link, or ask for --directions kernel" in said and said.count("\n") == 1
        assert not (tmp_path / "no").exists()


def test_values_lie_around_the_anchors_own_and_within_its_class(world, capsys):
    found, made = arrays(world.sweep)
    pairs = artifacts.Artifact(world.pairs, "pairs")
    anchors = inputs.first_of_each_class(pairs, "test", 1)
    np.testing.assert_array_equal(found["value"][:, :, 1], anchors["r"])
    start, stop = pairs.summary["splits"]["train"]
    r, label = (pairs.read(name, slice(start, stop)) for name in ("r", "label"))
    for sample, name in enumerate(found["label"]):
        low, high = np.percentile(r[label == name], [1, 99], axis=0)
        moved = found["value"][sample, :, 0] != found["value"][sample, :, 2]
        own = anchors["r"][sample]
        np.testing.assert_allclose(found["value"][sample, moved, 0], np.minimum(low, own)[moved], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found["value"][sample, moved, 2], np.maximum(high, own)[moved], rtol=1e-5, atol=1e-6)
    live = found["flag"] == 0
    untouched = found["measured"][:, live, 1, 0] - found["baseline"][:, None, 0]
    assert np.nanmax(np.abs(untouched)) < tolerances.STAGE_UNTOUCHED * np.nanmax(np.abs(found["baseline"]))
    still = (found["value"] == found["value"][:, :, :1]).all(axis=2)
    assert made.summary["still_share"] == pytest.approx(still[:, live].mean())


def test_sweeps_that_asked_all_samples_for_the_same_are_read_too(world, tmp_path):
    old = artifacts.Artifact(synthetic.sweep(tmp_path / "old", pictures=0), "sweep")
    value = old.read("value")
    assert value.ndim == 2
    np.testing.assert_array_equal(read_asked(old, old.open(), [3, 0])[7], value[[3, 0]])
    new = artifacts.Artifact(world.sweep, "sweep")
    np.testing.assert_array_equal(read_asked(new, new.open(), [3, 0]), new.read("value")[:, [3, 0]])


def test_fidelity_is_the_slope_of_obtained_on_asked_within_anchors(world):
    found, _ = arrays(world.sweep)
    live = found["flag"] == 0
    x = found["value"][:, live] - found["value"][:, live].mean(axis=2, keepdims=True)
    y = found["obtained"][:, live] - found["obtained"][:, live].mean(axis=2, keepdims=True)
    slope = (x * y).sum(axis=(0, 2)) / (x**2).sum(axis=(0, 2))
    assert np.abs(found["fidelity"][live] - slope).max() < tolerances.STAGE_SLOPE
    own = found["response"][np.flatnonzero(live), np.flatnonzero(live)]
    assert np.abs(own - slope).max() < tolerances.STAGE_SLOPE


def test_dead_units_are_flagged_and_not_swept(world):
    found, made = arrays(world.sweep)
    dead = found["flag"] == 1
    assert dead.any() and made.summary["dead_units"] == dead.sum()
    assert np.isnan(found["measured"][:, dead]).all() and np.isnan(found["fidelity"][dead]).all()
    assert np.isfinite(found["measured"][:, ~dead]).all()


def test_a_kill_batch_size_and_eight_devices_instead_of_two_change_nothing(world, tmp_path, killed_after, on_devices):
    flags = ["sweep", *world.linked, "--out", str(tmp_path / "sweep"), *SWEEP, "--batch-size", "5"]
    on_devices(1)
    killed_after(12)
    assert main(flags) == 1
    assert chunks_done(tmp_path / "sweep")
    killed_after(10**6)
    on_devices(8)
    do(*flags)
    assert_same_bits(tmp_path / "sweep", world.sweep, "sweep")


def test_chosen_units_and_the_absolute_mode(world, tmp_path):
    live = np.flatnonzero(arrays(world.sweep)[0]["flag"] == 0)[:2]
    chosen = ["--mode", "absolute", "--units", *map(str, live), "--picture-units", "0"]
    do("sweep", *world.linked, "--out", tmp_path / "sweep", *SWEEP, *chosen)
    found, made = arrays(tmp_path / "sweep")
    np.testing.assert_array_equal(found["unit"], live)
    assert made.summary["mode"] == "absolute"
    assert not np.allclose(found["obtained"], arrays(world.sweep)[0]["obtained"][:, live])


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--units", "16"], "expected numbers from 0 to 15"),
        (["--steps", "1"], "2 or more"),
        (["--low", "60", "--high", "40"], "percentiles"),
        (["--samples", "9"], "ask for fewer"),
    ],
)
def test_wrong_settings_are_one_sentence(world, tmp_path, capsys, flags, said):
    assert main(["sweep", *world.linked, "--out", str(tmp_path / "sweep"), *flags]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and error.count("\n") == 0


@pytest.fixture(scope="module")
def by_part(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("by_part")
    generator = linkjax.load(world.generator)
    sha256 = manifest.read(world.folder / "generator")["sha256"]
    made = worlds.segmenter(generator, PARTS)
    checkpoint.save_model(folder / "segmenter", made, source={"weights": {"generator": sha256}})
    units = np.flatnonzero(arrays(world.sweep)[0]["flag"] == 0)[:2]
    flags = [*world.linked, "--segmenter", str(folder / "segmenter"), *SWEEP, "--units", *map(str, units)]
    do("sweep", *flags, "--out", folder / "sweep")
    return folder, units, flags


def test_every_part_the_segmenter_sees_in_a_swept_image_is_measured(world, by_part):
    folder, units, _ = by_part
    found, made = arrays(folder / "sweep")
    data = made.open()
    assert artifacts.names(data, "part") == ["image", *PARTS] and made.summary["parts"] == len(PARTS)
    metrics = artifacts.names(data, "metric")
    assert metrics == list(measurements.METRICS)
    whole = arrays(world.sweep)[0]["measured"][:, units][:, :, :, 0]
    np.testing.assert_allclose(found["measured"][:, :, :, 0, : whole.shape[-1]], whole, rtol=1e-3, atol=1e-3)
    area = found["measured"][..., 1:, metrics.index("area")]
    resolution = linkjax.load(world.generator).spec.resolution
    np.testing.assert_array_equal(area.sum(axis=-1), resolution**2)
    link, pairs = linkjax.load(world.link), artifacts.Artifact(world.pairs, "pairs")
    ids, labels = (pairs.read(name) for name in ("sample_id", "label"))
    row = int(np.flatnonzero((ids == found["sample_id"][0]) & (labels == found["label"][0]))[0])
    w, r = (pairs.read(name, slice(row, row + 1)) for name in ("w", "r"))
    moved = w + (found["value"][0, 1, 2] - r[0, units[1]]) * np.asarray(link.steer)[units[1]]
    _, scores = draw_with_parts(
        linkjax.load(world.generator), linkjax.load(folder / "segmenter"), jnp.asarray(moved, jnp.float32)
    )
    counted = np.bincount(np.asarray(jnp.argmax(scores, axis=-1)).ravel(), minlength=len(PARTS))
    # A pixel on a border may fall to either side when another program rounds.
    assert np.abs(counted - area[0, 1, 2]).max() <= 2


def test_parts_do_not_depend_on_devices_or_batches(by_part, tmp_path, one_device):
    folder, _, flags = by_part
    do("sweep", *flags, "--out", tmp_path / "sweep", "--batch-size", "5")
    assert_same_bits(tmp_path / "sweep", folder / "sweep", "sweep")


def test_a_segmenter_of_another_generator_is_refused(world, tmp_path, capsys):
    other = worlds.segmenter(linkjax.load(world.generator), PARTS)
    checkpoint.save_model(tmp_path / "other", other, source={"weights": {"generator": "0" * 64}})
    flags = ["sweep", *world.linked, "--segmenter", str(tmp_path / "other"), "--out", str(tmp_path / "sweep")]
    assert main(flags) == 2
    assert "was made with another generator" in capsys.readouterr().err
    assert not (tmp_path / "sweep").exists()


def test_random_directions_go_as_far_as_the_units_whose_steps_they_take(world):
    found, made = arrays(world.sweep)
    assert made.open()["random_slope"].dims == ("sample", "direction", "part", "metric")
    np.testing.assert_array_equal(found["random_space"], [0] * 4 + [1] * 4)
    link, generator = linkjax.load(world.link), linkjax.load(world.generator)
    steps = np.nan_to_num(np.asarray(link.steer))
    live = found["flag"] == 0
    of = inputs.steered(inputs.model(world.link, "link"))
    walk = plan_steered_steps(0, 4, live, np.flatnonzero(live), steps, *of)
    pairs = artifacts.Artifact(world.pairs, "pairs")
    ids, labels = (pairs.read(name) for name in ("sample_id", "label"))
    for direction in (1, 6):
        unit = int(found["random_unit"][direction])
        along = walk.directions.in_w[direction]
        lumas, lengths = [], []
        values = found["value"][:, unit]
        sample = int(np.flatnonzero(values[:, 0] != values[:, 2])[-1])  # whose class varies in the unit
        for step in range(3):
            at = found["sample_id"][sample], found["label"][sample]
            row = int(np.flatnonzero((ids == at[0]) & (labels == at[1]))[0])
            w, r = (pairs.read(name, slice(row, row + 1)) for name in ("w", "r"))
            far = (values[sample, step] - r[0, unit]) * walk.length[direction]
            image = generator.synthesis(jnp.asarray(w + far * along, jnp.float32))
            lumas.append(float((np.asarray(linkjax.to_uint8(image)) @ np.float32([0.2126, 0.7152, 0.0722])).mean()))
            lengths.append(far)
        expected = np.polyfit(lengths, lumas, 1)[0]
        assert found["random_slope"][sample, direction, 0, 0] == pytest.approx(expected, rel=2e-2, abs=0.05)


def test_units_asked_for_values_they_never_show_are_pointed_out(world, tmp_path, capsys):
    found, made = arrays(world.sweep)
    live = found["flag"] == 0
    assert made.summary["disobedient_units"] == ((found["caution"] & 2) > 0)[live].sum()
    assert made.summary["range"] == "class" and made.summary["off_range_units"] == 0
    assert ((found["off_range"] >= 0) & (found["off_range"] <= 1)).all() and (found["caution"][~live] == 0).all()
    surely = np.abs(found["fidelity"] - 1) - 1.96 * found["fidelity_se"] > 0.5
    np.testing.assert_array_equal((found["caution"][live] & 2) > 0, surely[live])


def test_the_screened_candidates_are_swept_and_both_numbers_kept(world, by_part, tmp_path, capsys):
    folder, _, _ = by_part
    parts = ["--segmenter", str(folder / "segmenter")]
    do("screen", *world.linked, *parts, "--out", tmp_path / "screening", "--samples", "1")
    flags = [*world.linked, *parts, *SWEEP, "--screening", str(tmp_path / "screening")]
    do("sweep", *flags, "--candidates", "2", "--out", tmp_path / "sweep", "--random-directions", "0")
    found, made = arrays(tmp_path / "sweep")
    screened = artifacts.Artifact(tmp_path / "screening", "screening")
    data = screened.open()
    effect = screened.read("effect")
    spread = measurements.spread(screened.read("baseline"), artifacts.names(data, "metric"))
    error, live = screened.read("effect_se"), screened.read("flag") == 0
    expected = candidates.strongest_units(effect, spread, live, 2, error)
    assert set(found["unit"]) == set(expected) and "random_slope" not in found
    metrics = artifacts.names(made.open(), "metric")
    area, screened_area = metrics.index("area"), artifacts.names(data, "metric").index("area")
    np.testing.assert_array_equal(found["predicted"][:, 1:, area], effect[found["unit"], :, screened_area])
    assert np.isnan(found["predicted"][:, 0]).all() and made.summary["prediction_rank_correlation"] is not None
    assert made.manifest["inputs"]["screening"] == screened.id
    assert main(["sweep", *flags, "--out", str(tmp_path / "no"), "--directions", "kernel"]) == 2
    assert "raises units along steer, the sweep along kernel" in capsys.readouterr().err
    assert main(["sweep", *world.linked, "--out", str(tmp_path / "no"), "--candidates", "2"]) == 2
    assert "add --screening" in capsys.readouterr().err


def test_metrics_by_the_originals_definitions_are_named_as_such(world, tmp_path):
    flags = ["--units", "0", "--samples", "1", "--steps", "2", "--picture-units", "0", "--random-directions", "0"]
    flags += ["--range", "link"]
    do("sweep", *world.linked, "--out", tmp_path / "out", *flags, "--definitions", "original")
    made, plain = artifacts.Artifact(tmp_path / "out", "sweep"), artifacts.Artifact(world.sweep, "sweep")
    names = artifacts.names(made.open(), "metric")
    assert names == artifacts.names(plain.open(), "metric")
    a, b = (each.read("baseline")[:, 0] for each in (made, plain))
    differs = [name for column, name in enumerate(names) if not np.array_equal(a[:, column], b[:, column])]
    assert differs == list(measurements.ORIGINAL_METRICS)
    assert (a[:, names.index("luminance")] <= 85).all()
    assert "a third" in str(made.open()["metric"].attrs) or "/ 3" in str(made.open()["metric"].attrs)
