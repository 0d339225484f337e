import jax.numpy as jnp
import numpy as np
import pytest

import linkjax
from linkjax.analysis.units import screening
from linkjax.cli import main
from linkjax.stages import screen
from linkjax.storage import artifacts, checkpoint
from tests import tolerances, worlds
from tests.stages.conftest import PARTS, SCREEN, assert_same_bits, chunks_done, do


@pytest.fixture(scope="module")
def made(screening):
    return artifacts.Artifact(screening, "screening")


def test_effects_are_derivatives_times_the_steps_that_raise_units_per_standard_deviation(world, segmenter, made):
    data = made.open()
    assert data["effect"].dims == ("unit", "part", "metric") and made.summary["products"] == "forward"
    assert artifacts.names(data, "metric") == list(screening.METRICS) and artifacts.names(data, "part") == list(PARTS)
    generator, link = linkjax.load(world.generator), linkjax.load(world.link)
    pairs = artifacts.Artifact(world.pairs, "pairs")
    rows = np.flatnonzero(np.isin(pairs.read("sample_id"), made.read("sample_id")[:2]))
    label = pairs.read("label", rows)
    [row, *_] = rows[label == made.read("label")[0]]
    w = jnp.asarray(pairs.read("w", np.array([row, row + 1])))
    found = screening.derivatives(generator, linkjax.load(segmenter), w, jnp.eye(w.shape[1]), "forward")
    assert made.summary["directions"] == "steer"
    steps = np.nan_to_num(link.steer) * made.read("unit_std")[:, None]
    expected = np.einsum("bpmd,ud->bupm", found.slopes, steps)
    known = np.isfinite(expected)
    mean = np.where(known, expected, 0).sum(0) / np.where(known.any(0), known.sum(0), np.nan)
    stored = made.read("class_effect")[0]
    assert np.array_equal(np.isnan(mean), np.isnan(stored))
    scale = np.nanmax(np.abs(mean), axis=(0, 1))
    assert np.nanmax(np.abs(mean - stored) / scale) < tolerances.SCREENING_WAYS


def test_the_mean_over_all_anchors_is_that_of_the_classes(made):
    mean, count = made.read("class_effect"), made.read("class_count")[:, None]
    expected = np.nansum(mean * count, axis=0) / np.where(count.sum(0) > 0, count.sum(0), np.nan)
    effect, error = made.read("effect"), made.read("effect_se")
    assert np.allclose(effect, expected, rtol=1e-4, atol=1e-7, equal_nan=True)
    assert np.isfinite(effect[:, :, 0]).all() and (error[np.isfinite(error)] >= 0).all()
    assert made.read("path_effect").shape == (2, len(PARTS), len(screening.METRICS))


def test_a_kill_fewer_devices_and_another_batch_size_change_nothing(
    world, segmenter, made, tmp_path, killed_after, on_devices
):
    flags = ["screen", *world.linked, "--segmenter", segmenter, "--out", str(tmp_path / "out"), *SCREEN]
    on_devices(2)
    killed_after(4)  # a chunk is at least four batches
    assert main([*flags, "--batch-size", "1"]) == 1
    assert chunks_done(tmp_path / "out")
    killed_after(10**6)
    on_devices(4)  # XLA simplifies derivatives of a job's only device in another order: 1e-6
    do(*flags, "--batch-size", "1")
    resumed = artifacts.Artifact(tmp_path / "out", "screening")
    assert resumed.id == made.id
    assert_same_bits(tmp_path / "out", made.path, "screening")


def test_several_places_are_averaged_and_do_not_depend_on_the_batch(world, segmenter, tmp_path, monkeypatch):
    """What is differentiated is replaced by w itself, so that the effect says which places it is the mean over."""
    seen = []

    def noted(models, items, mode, temperature):
        effect = jnp.broadcast_to(items["w"][:, :1, None, None], (len(items["w"]), 16, 3, len(screening.METRICS)))
        return {"metrics": effect[:, 0], "effect": effect, "finite": jnp.ones(len(effect), bool)}

    def counted(self):
        seen.append(places(self))
        return seen[-1]

    places = screen.Screening._places
    monkeypatch.setattr(screen, "differentiate", noted)
    monkeypatch.setattr(screen.Screening, "_places", counted)
    for size in ("8", "24"):
        do("screen", *world.linked, "--segmenter", segmenter, "--samples", "2", "--places", "5", "--batch-size", size,
           "--out", tmp_path / size)  # fmt: skip
    np.testing.assert_array_equal(*seen)
    found = artifacts.Artifact(tmp_path / "8", "screening")
    mean = seen[0][..., 0].mean(axis=1).reshape(-1, 2).mean(axis=1)
    np.testing.assert_allclose(found.read("class_effect")[:, 3, 1, 2], mean, rtol=1e-5)
    baseline = found.read("baseline")[:, 1, 2]
    np.testing.assert_array_equal(baseline, seen[0][:, 0, 0])  # of the anchor itself
    moved = seen[0][:, 1:] - seen[0][:, :1]
    steps = np.asarray(linkjax.load(world.link).steer)
    steps = steps[np.isfinite(steps).all(axis=1)]
    along = np.abs(np.einsum("apw,uw->apu", moved, steps)) / np.linalg.norm(steps, axis=1)
    length = np.linalg.norm(moved, axis=-1)
    np.testing.assert_allclose(along.max(axis=-1), length, rtol=1e-4)  # on the way of one unit each
    assert (length > 0).all() and found.summary["products_per_anchor"] == 5 * len(steps)


def test_the_page_shows_the_screening(world, made, tmp_path):
    do("report", "--pairs", world.pairs, "--screening", made.path, "--out", tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert ">first-order effect</a></h3>" in page and "derivatives an anchor" in page


def test_wrong_use_is_one_sentence_and_leaves_nothing(world, segmenter, tmp_path, capsys):
    other = worlds.segmenter(linkjax.load(world.generator), PARTS)
    checkpoint.save_model(tmp_path / "other", other, source={"weights": {"generator": "0" * 64}})
    cases = [
        ([], "make one with linkjax segment"),
        (["--segmenter", tmp_path / "other"], "was made with another generator"),
        (["--segmenter", world.link], "expected segmenter or linear_segmenter, found link"),
        (["--segmenter", segmenter, "--temperature", "0"], "temperature"),
        (["--segmenter", segmenter, "--samples", "99"], "samples: expected 99 of each class"),
        (["--segmenter", segmenter, "--path-samples", "9"], "path-samples"),
    ]
    for flags, said in cases:
        assert main(["screen", *world.linked, "--out", str(tmp_path / "out"), *map(str, flags)]) == 2, said
        assert said in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
