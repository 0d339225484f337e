import jax.numpy as jnp
import numpy as np
import pytest

import linkjax
from linkjax.analysis.metrics import motion
from linkjax.analysis.metrics.parts import draw_with_parts
from linkjax.cli import main
from linkjax.storage import artifacts, checkpoint, manifest
from tests import tolerances, worlds
from tests.stages.conftest import assert_same_bits, do

PARTS = ("background", "left", "right")
FEW = [
    "--samples",
    "1",
    "--range",
    "link",
    "--steps",
    "2",
    "--random-directions",
    "0",
    "--picture-samples",
    "2",
    "--motion",
    "all",
]


def arrays(path):
    made = artifacts.Artifact(path, "sweep")
    data = made.open()
    return {name: made.read(name) for name in data.variables}, made


@pytest.fixture(scope="module")
def all_units(world, tmp_path_factory):
    """Motion of three units in all anchors, by part."""
    folder = tmp_path_factory.mktemp("motion")
    made = worlds.segmenter(linkjax.load(world.generator), PARTS)
    sha256 = manifest.read(world.folder / "generator")["sha256"]
    checkpoint.save_model(folder / "segmenter", made, source={"weights": {"generator": sha256}})
    found = arrays(world.sweep)[0]
    live, dead = np.flatnonzero(found["flag"] == 0)[:2], np.flatnonzero(found["flag"] == 1)[:1]
    units = [str(unit) for unit in (*live, *dead)]
    flags = ["sweep", *world.linked, "--segmenter", str(folder / "segmenter"), *FEW, "--units", *units]
    do(*flags, "--out", folder / "sweep")
    return folder, flags


def test_motion_of_stored_pictures_is_that_of_their_first_and_last_step(world):
    found, made = arrays(world.sweep)
    data = made.open()
    assert data["picture_motion"].dims == ("picture_unit", "picture_sample", "part", "axis")
    assert artifacts.names(data, "axis") == ["y", "x"] and "motion" not in found
    pictures = found["picture"].astype(np.float32) / 255
    flat = pictures.reshape(-1, *pictures.shape[2:])
    again = motion.measure_motion(jnp.asarray(flat[:, 0]), jnp.asarray(flat[:, -1]))
    for name, values in (("picture_motion", again.parts), ("picture_motion_seen", again.seen)):
        expected = np.asarray(values).reshape(found[name].shape)
        np.testing.assert_allclose(found[name], expected, atol=tolerances.STAGE_MOTION)
    field = np.asarray(motion.arrows(again, 16)).reshape(found["picture_motion_field"].shape)
    np.testing.assert_array_equal(np.isnan(found["picture_motion_field"]), np.isnan(field))


def test_motion_of_all_units_has_a_mean_and_an_error_over_anchors_by_part(world, all_units):
    folder, _ = all_units
    found, made = arrays(folder / "sweep")
    assert made.open()["motion"].dims == ("sample", "unit", "part", "axis")
    assert found["motion"].shape == (worlds.CLASSES, 3, 1 + len(PARTS), 2)
    assert np.isnan(found["motion"][:, 2]).all() and np.isfinite(found["motion"][:, :2, 0]).mean() > 0.5
    mean, error = motion.over_samples(found["motion"].astype(np.float64))
    np.testing.assert_allclose(found["motion_mean"], mean, rtol=1e-6)
    np.testing.assert_allclose(found["motion_se"], error, rtol=1e-6)
    unit = {int(unit): row for row, unit in enumerate(found["unit"])}
    for place, shown in enumerate(found["picture_unit"]):
        each = found["motion"][found["picture_sample"], unit[int(shown)]]
        np.testing.assert_allclose(found["picture_motion"][place], each, atol=tolerances.STAGE_MOTION)
    live = 2 * worlds.CLASSES
    assert made.summary["images"] == live * (2 + 2) + worlds.CLASSES + 2 * 2 * 2


def test_a_part_absent_at_the_start_has_no_motion(world, all_units):
    folder, _ = all_units
    found, _ = arrays(folder / "sweep")
    link, pairs = linkjax.load(world.link), artifacts.Artifact(world.pairs, "pairs")
    ids, labels = (pairs.read(name) for name in ("sample_id", "label"))
    w, r = (pairs.read(name) for name in ("w", "r"))
    rows = [
        int(np.flatnonzero((ids == sample) & (labels == label))[0])
        for sample, label in zip(found["sample_id"], found["label"], strict=True)
    ]
    unit = int(found["unit"][0])
    far = found["value"][:, 0, 0] - r[rows, unit]
    moved = w[rows] + far[:, None] * np.asarray(link.steer)[unit]
    generator, segmenter = linkjax.load(world.generator), linkjax.load(folder / "segmenter")
    scores = draw_with_parts(generator, segmenter, jnp.asarray(moved, jnp.float32))[1]
    start = np.asarray(jnp.argmax(scores, axis=-1))
    present = np.stack([(start == part).any((1, 2)) for part in range(len(PARTS))], axis=1)
    assert not np.isfinite(found["motion"][:, 0, 1:])[~present].any()


def test_a_run_killed_while_it_measures_motion_goes_on_there(all_units, tmp_path, killed_after):
    folder, flags = all_units
    flags = [*flags, "--out", str(tmp_path / "sweep")]
    killed_after(3)  # a batch of anchors, the sweep's, the first of motion
    assert main(flags) == 1
    killed_after(10**6)
    do(*flags)
    assert_same_bits(tmp_path / "sweep", folder / "sweep", "sweep")
