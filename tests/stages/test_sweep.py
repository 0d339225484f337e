import numpy as np
import pytest

import linkjax
from linkjax import artifacts
from linkjax.cli import main
from tests import tolerances
from tests.stages.conftest import SWEEP, do


def arrays(path):
    made = artifacts.Artifact(path, "sweep")
    data = made.open()
    return {name: made.read(data, name) for name in data.variables}, made


def test_an_item_is_the_anchor_with_one_unit_moved(world):
    found, made = arrays(world.sweep)
    assert made.open()["measured"].dims == ("sample", "unit", "step", "part", "metric")
    generator, classifier, link = (linkjax.load(path) for path in (world.generator, world.classifier, world.link))
    pairs = artifacts.Artifact(world.pairs, "pairs")
    data = pairs.open()
    ids, labels = (pairs.read(data, name) for name in ("sample_id", "label"))
    unit = int(np.flatnonzero(found["flag"] == 0)[0])
    for sample in (0, 3):
        row = int(np.flatnonzero((ids == found["sample_id"][sample]) & (labels == found["label"][sample]))[0])
        w, r = (pairs.read(data, name, slice(row, row + 1)) for name in ("w", "r"))
        for step in range(3):
            moved = w + (found["value"][unit, step] - r[0, unit]) * np.asarray(link.kernel[...])[unit]
            image = generator.synthesis(moved)
            again = classifier(classifier.preprocess(image)).penultimate[0, unit]
            assert abs(found["obtained"][sample, unit, step] - again) < tolerances.STAGE_R * np.nanmax(
                np.abs(found["obtained"])
            )
            luma = float((np.asarray(linkjax.to_uint8(image)) @ np.float32([0.2126, 0.7152, 0.0722])).mean())
            assert found["measured"][sample, unit, step, 0, 0] == pytest.approx(luma, rel=1e-4)


def test_fidelity_is_the_slope_of_obtained_on_asked_within_anchors(world):
    found, _ = arrays(world.sweep)
    live = found["flag"] == 0
    x = found["value"][None, live] - found["value"][None, live].mean(axis=2, keepdims=True)
    y = found["obtained"][:, live] - found["obtained"][:, live].mean(axis=2, keepdims=True)
    slope = (x * y).sum(axis=(0, 2)) / (x**2).sum(axis=2)[0] / y.shape[0]
    assert np.abs(found["fidelity"][live] - slope).max() < tolerances.STAGE_SLOPE
    own = found["response"][np.flatnonzero(live), np.flatnonzero(live)]
    assert np.abs(own - slope).max() < tolerances.STAGE_SLOPE


def test_dead_units_are_flagged_and_not_swept(world):
    found, made = arrays(world.sweep)
    dead = found["flag"] == 1
    assert dead.any() and made.summary["dead_units"] == dead.sum()
    assert np.isnan(found["measured"][:, dead]).all() and np.isnan(found["fidelity"][dead]).all()
    assert np.isfinite(found["measured"][:, ~dead]).all()


def test_a_kill_one_device_and_batch_size_change_nothing(world, tmp_path, killed_after, one_device):
    flags = ["sweep", *world.linked, "--out", str(tmp_path / "sweep"), *SWEEP, "--batch-size", "5"]
    killed_after(12)
    assert main(flags) == 1
    killed_after(10**6)
    do(*flags)
    whole, resumed = arrays(world.sweep)[0], arrays(tmp_path / "sweep")[0]
    assert set(whole) == set(resumed)
    for name in ("obtained", "response", "logit_response", "effect", "measured"):
        a, b = whole[name], resumed[name]
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        assert np.nanmax(np.abs(a - b)) < tolerances.STAGE_SWEEP * np.nanmax(np.abs(a)), name


def test_chosen_units_and_the_absolute_mode(world, tmp_path):
    live = np.flatnonzero(arrays(world.sweep)[0]["flag"] == 0)[:2]
    do("sweep", *world.linked, "--out", tmp_path / "sweep", *SWEEP, "--mode", "absolute", "--units", *map(str, live))
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
