"""One table of metrics for whole images and parts; changes that know what an angle is."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkjax.analysis.metrics import measurements
from linkjax.analysis.metrics.image_metrics import IMAGE_METRICS, measure_images
from linkjax.analysis.metrics.regions import measure_regions
from linkjax.errors import InputError

NAMES = list(measurements.METRICS)


def _world(seed=0):
    rng = np.random.RandomState(seed)
    images = jnp.asarray(rng.rand(3, 12, 10, 3), jnp.float32)
    labels = jnp.asarray(rng.randint(0, 3, (3, 12, 10)), jnp.int32)
    return images, labels


def test_the_first_row_is_the_image_and_the_others_its_parts():
    images, labels = _world()
    got = np.asarray(measurements.measure(images, images, labels, 4))
    assert got.shape == (3, 5, len(NAMES))
    whole = np.asarray(measure_images(images, images))
    np.testing.assert_array_equal(got[:, 0, : len(IMAGE_METRICS)], whole)
    regions = measure_regions(images[1], labels[1], 4)._asdict()
    for name, values in regions.items():
        np.testing.assert_allclose(got[1, 1:, NAMES.index(name)], np.asarray(values), rtol=1e-5, atol=1e-6)
    assert set(regions) <= set(NAMES)
    assert np.isnan(got[:, 0, NAMES.index("centroid_y")]).all(), "a whole image has no centroid"
    assert (got[:, 4, NAMES.index("area")] == 0).all() and np.isnan(got[:, 4, NAMES.index("luminance")]).all()


def test_with_the_originals_definitions_two_columns_differ_and_are_named():
    images, labels = _world()
    got = np.asarray(measurements.measure(images, images, labels, 3, "original"))
    plain = np.asarray(measurements.measure(images, images, labels, 3))
    columns = [NAMES.index(name) for name in measurements.ORIGINAL_METRICS]
    rest = np.setdiff1d(np.arange(len(NAMES)), columns)
    np.testing.assert_array_equal(got[..., rest], plain[..., rest])
    regions = measure_regions(images[1], labels[1], 3, luminance="original", entropy="disk")
    share = np.asarray(regions.area_share)
    for column, name in zip(columns, measurements.ORIGINAL_METRICS, strict=True):
        parts = np.asarray(getattr(regions, name))
        np.testing.assert_allclose(got[1, 1:, column], parts, rtol=1e-5)
        assert got[1, 0, column] == pytest.approx(np.sum(share * parts), rel=1e-5)  # parts make up the image
        assert measurements.metrics_of(3, "original")[name] != measurements.metrics_of(3)[name]
    assert list(measurements.metrics_of(3, "original")) == NAMES


def test_without_labels_only_images_are_measured():
    images, labels = _world()
    assert measurements.measure(images).shape == (3, 1, len(IMAGE_METRICS))
    assert list(measurements.metrics_of(0)) == list(IMAGE_METRICS)
    with pytest.raises(InputError, match="together"):
        measurements.measure(images, None, labels, 0)


def test_an_angle_that_passes_its_period_goes_on_and_other_metrics_stay():
    steps = np.linspace(0.2, 4.0, 9)
    values = np.zeros((2, 9, len(NAMES)), np.float32)
    column = NAMES.index("orientation")
    values[..., column] = (steps + np.pi / 2) % np.pi - np.pi / 2
    values[0, 3, column] = np.nan
    values[..., 0] = steps * 10
    got = measurements.unwrapped(values, axis=1)
    np.testing.assert_allclose(got[1, :, column], steps, atol=1e-5)
    assert np.isnan(got[0, 3, column])
    np.testing.assert_array_equal(got[..., 0], values[..., 0])


@given(st.floats(-1.57, 1.57), st.floats(-1.57, 1.57), st.integers(-2, 2))
@settings(max_examples=50, deadline=None)
def test_a_change_of_angle_is_the_short_way_and_knows_no_turns(before, after, turns):
    change = float(measurements.change("orientation", jnp.float32(before), jnp.float32(after)))
    assert -np.pi / 2 - 1e-5 <= change <= np.pi / 2 + 1e-5
    moved = float(measurements.change("orientation", jnp.float32(before), jnp.float32(after + turns * np.pi)))
    assert np.isclose(np.cos(2 * moved), np.cos(2 * change), atol=1e-4)
    assert np.isclose(np.cos(2 * change), np.cos(2 * (after - before)), atol=1e-4)


@given(st.integers(0, 4000), st.integers(0, 4000))
@settings(max_examples=50, deadline=None)
def test_a_change_of_area_is_finite_and_reverses_its_sign(before, after):
    there = float(measurements.change("area", jnp.float32(before), jnp.float32(after)))
    back = float(measurements.change("area", jnp.float32(after), jnp.float32(before)))
    assert np.isfinite(there) and there == pytest.approx(-back, abs=1e-5)
    assert np.sign(there) == np.sign(after - before)


def test_a_relative_change_of_area_is_the_originals():
    before, after = jnp.float32([10, 0, 4]), jnp.float32([15, 7, 0])
    np.testing.assert_allclose(measurements.change("area", before, after, "relative"), [0.5, 7, -1])
    with pytest.raises(InputError, match="areas"):
        measurements.change("area", before, after, "share")  # pyright: ignore[reportArgumentType]


def test_the_spread_of_a_metric_is_over_the_samples_that_show_the_part():
    rng = np.random.default_rng(3)
    baseline = rng.normal(size=(12, 3, len(NAMES)))
    baseline[4, 1], baseline[1:, 2] = np.nan, np.nan  # one part hidden in one picture, one in all but one
    baseline[:, 0, 5] = 0.1
    got = measurements.spread(baseline, NAMES)
    plain = [name not in measurements.PERIODS for name in NAMES]
    shown = np.delete(baseline, 4, axis=0)[:, 1]
    np.testing.assert_allclose(got[1, plain], shown.std(axis=0)[plain])
    assert np.isnan(got[2]).all(), "one sample has no spread"
    assert np.isnan(got[0, 5]) and np.isfinite(got[0, :5]).all(), "nor has a value that is always the same"


def test_the_spread_of_an_angle_does_not_depend_on_where_it_starts_anew():
    rng = np.random.default_rng(4)
    baseline, column = np.zeros((400, 1, len(NAMES))), NAMES.index("orientation")
    angle = 0.1 * rng.normal(size=400)
    found = []
    for start in (0.0, np.pi / 2, 1.0):
        baseline[:, 0, column] = (angle + start + np.pi / 2) % np.pi - np.pi / 2
        found.append(measurements.spread(baseline, NAMES)[0, column])
    np.testing.assert_allclose(found, angle.std(), rtol=0.02)
