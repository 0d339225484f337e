"""Sweeps along steps of every sample alone, and along what is each unit's own."""

import numpy as np
import pytest

import linkjax
from linkjax.analysis.links import steering
from linkjax.analysis.units.shared_directions import shared_directions
from linkjax.cli import main
from linkjax.stages import inputs
from linkjax.stages.sweep import local as local_steps
from tests import tolerances
from tests.stages.conftest import LOCAL, assert_same_bits, chunks_done, do


@pytest.fixture(scope="module")
def study(world):
    return linkjax.Study(*(linkjax.load(path) for path in (world.generator, world.classifier, world.link)))


@pytest.fixture(scope="module")
def anchors(world):
    return linkjax.anchors(linkjax.open(world.pairs), each=1)


def re_encoded(study, w):
    images = study.generator.synthesis(np.asarray(w, np.float32))
    return np.asarray(study.classifier(study.classifier.preprocess(images)).penultimate)


def test_a_step_of_a_sample_comes_from_its_own_slopes(study, anchors, local):
    found, link = linkjax.open(local), study.link
    summary = found.attrs["summary"]
    axes = steering.leading_axes(np.asarray(link.covariance), 0.99)
    assert summary["directions"] == "local" and summary["slopes_an_anchor"] == axes.shape[1]
    assert found["local_steer"].dims == ("sample", "unit", "w")
    w, r = anchors["w"].values, anchors["r"].values
    for sample in (0, 3):
        ends = (re_encoded(study, w[sample] + 0.25 * sign * axes.T) for sign in (1, -1))
        change = np.subtract(*ends) / 0.5
        own = steering.of_sample(axes, change, np.asarray(link.unit_std))
        expected = steering.directions(own, link.spec.steer_lambda)
        known = own.r2 > 0.02
        steps = found["local_steer"].values[sample]
        assert known.any()
        scale = np.abs(expected[known]).max()
        np.testing.assert_allclose(steps[known], expected[known], atol=5e-3 * scale)
        assert not steps[own.r2 < 0.005].any()
    live = found["flag"].values == 0
    still = ~found["local_steer"].values.any(axis=2)
    value, obtained = found["value"].values, found["obtained"].values
    assert (value[still] == r[still][:, None]).all()
    sample, unit = np.argwhere(live & ~still & (value[..., 0] != value[..., 1]))[0]
    moved = w[sample] + (value[sample, unit, 1] - r[sample, unit]) * found["local_steer"].values[sample, unit]
    again = re_encoded(study, moved[None])[0, unit]
    assert abs(obtained[sample, unit, 1] - again) < tolerances.STAGE_R * np.nanmax(np.abs(obtained))


def test_random_steps_of_a_sample_are_as_long_there_as_those_of_the_unit_they_stand_beside(study, anchors, local):
    steered, rng = inputs.steered_by(study.link), np.random.default_rng(0)
    axes = steering.leading_axes(np.asarray(study.link.covariance))
    std = np.asarray(study.link.unit_std)
    change = rng.normal(size=(3, axes.shape[1], len(std))) * std
    change[1] = np.nan
    of = local_steps.solve(steered, axes, change, np.arange(len(std)), None)
    varies = std > 0
    assert (of.known == (varies & np.array([True, False, True])[:, None])).all() and not of.steer[1].any()
    walk, rows = local_steps.plan_random_steps(0, 3, varies, np.flatnonzero(varies), of)
    far = steering.mahalanobis(of.spectra[0], rows.astype(np.float64)) * walk.length
    np.testing.assert_allclose(far[[0, 2]], of.length[[0, 2]][:, walk.template_unit], rtol=1e-4)
    assert not rows[1].any()
    # What says nothing of w is the same slopes in all samples: noise along the axes, solved by each one's own units.
    again = local_steps.plan_random_steps(
        0, 3, varies, np.flatnonzero(varies), of._replace(spectra=of.spectra[:1] * 3)
    )[1]
    np.testing.assert_array_equal(rows[0], again[0])


def test_batches_a_kill_one_device_and_memory_change_nothing(
    world, local, study, anchors, tmp_path, killed_after, on_devices
):
    flags = [*world.linked, *LOCAL, "--motion", "none"]
    on_devices(1)
    out, batches = tmp_path / "sweep", 12
    while not chunks_done(out):  # the slopes come first, however many they are
        batches += 2
        killed_after(batches)
        assert main(["sweep", *flags, "--batch-size", "4", "--out", str(out)]) == 1
    killed_after(10**6)
    do("sweep", *flags, "--batch-size", "4", "--out", out)
    stored = linkjax.open(local)
    assert_same_bits(out, local, "sweep")
    on_devices(2)
    settings = {"steps": 2, "picture_units": 1, "random_directions": 2, "motion": "none", "batch_size": 24}
    found = linkjax.sweep(study, anchors, directions="local", **settings)
    for name in ("local_steer", "obtained", "measured", "random_slope", "fidelity", "picture"):
        np.testing.assert_array_equal(found[name].values, stored[name].values, err_msg=name)


def test_effects_along_local_steps_are_selected_as_others(local, tmp_path):
    do("select", "--sweep", local, "--draws", "50", "--flips", "100", "--no-ablation", "--out", tmp_path / "selected")
    found = linkjax.open(tmp_path / "selected")
    assert found.attrs["summary"]["against"] == ["sign", "w"] and "own_share" in found
    live = found["flag"].values == 0
    assert np.isfinite(found["q"].values[live]).any()


def test_own_steps_are_what_is_left_of_steering_directions_without_the_shared_ones(study, anchors, world, tmp_path):
    steered = inputs.steered_by(study.link)
    shared = shared_directions(*steered)
    settings = {"steps": 2, "random_directions": 2, "picture_units": 0, "batch_size": 24}
    found = linkjax.sweep(study, anchors, directions="own", **settings)
    none = ~np.isfinite(shared.own).all(axis=1)
    assert (found["flag"].values[none] == 1).all() and (found["flag"].values == 0).any()
    live = found["flag"].values == 0
    length = found["unit_std"].values * steering.mahalanobis(steered[0], np.nan_to_num(shared.own))
    np.testing.assert_allclose(found["step_mahalanobis"].values[live], length[live], rtol=1e-4)
    do("sweep", *world.linked, "--directions", "own", "--samples", "1", "--steps", "2", "--random-directions", "2",
       "--picture-units", "0", "--batch-size", "12", "--out", tmp_path / "own")  # fmt: skip
    stored = linkjax.open(tmp_path / "own")
    assert stored.attrs["summary"]["directions"] == "own"
    for name in ("obtained", "random_slope", "effect"):
        np.testing.assert_array_equal(found[name].values, stored[name].values, err_msg=name)


def test_what_has_no_meaning_is_refused_in_one_sentence(world, screening, local, tmp_path, capsys):
    for flags, said in (
        (["--directions", "local", "--screening", screening], "one step of a unit for all samples"),
        (["--directions", "own", "--screening", screening], "raises units along steer, the sweep along own"),
        (["--directions", "local", "--mode", "absolute"], "leave --mode absolute out"),
        (["--directions", "own", "--readouts", "logits"], "leave --directions own out"),
        (["--directions", "local", "--local-share", "0"], "above 0 and at most 1"),
    ):
        assert main(["sweep", *world.linked, *flags, "--out", str(tmp_path / "no")]) == 2
        told = capsys.readouterr().err
        assert said in told and told.count("\n") == 1
        assert not (tmp_path / "no").exists()
    flags = ["--pairs", world.pairs, "--scaled-by", local, "--method", "ridge", "--alphas", "1"]
    assert main(["link", *flags, "--out", str(tmp_path / "no")]) == 2
    assert "expected a sweep of units along steer" in capsys.readouterr().err
    assert main(["screen", *world.linked, "--directions", "local", "--out", str(tmp_path / "no")]) == 2
    assert "invalid choice 'local'" in capsys.readouterr().err
