import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import linkjax
from linkjax.analysis.metrics.regions import Regions, measure_region_batch, measure_regions
from linkjax.errors import InputError
from tests.reference import region_loops
from tests.tolerances import BATCHING, ENTROPY_TIES, REGIONS

GEOMETRY = ("area", "centroid_y", "centroid_x", "eccentricity", "orientation", "axis_major", "axis_minor")
APPEARANCE = {"luminance": "luma709", "luminance_linear": "luminance709_linear", "lightness": "cie_Lstar"}


def unit(images: np.ndarray) -> jax.Array:
    return jnp.asarray(images.astype(np.float32) / np.float32(255))


def largest_error(got, expected) -> float:
    """Relative to the largest expected value; missing values must be missing in both."""
    got, expected = np.asarray(got, np.float64), np.asarray(expected)
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    return float(np.nanmax(np.abs(got - expected)) / max(np.nanmax(np.abs(expected)), 1e-12))


def angle_difference(a, b) -> np.ndarray:
    return np.abs((np.asarray(a, np.float64) - np.asarray(b, np.float64) + np.pi / 2) % np.pi - np.pi / 2)


@pytest.fixture(scope="module")
def stored(parity):
    with np.load(parity / "region_metrics.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def measured(stored) -> Regions:
    return measure_region_batch(unit(stored["images"]), jnp.asarray(stored["labels"], jnp.int32), 8)


@pytest.mark.parametrize("column", [0, 1, 2, 3, 5, 6])
def test_geometry_is_scikit_images(stored, measured, column):
    assert largest_error(getattr(measured, GEOMETRY[column]), stored["geometry"][..., column]) < REGIONS


def test_orientation_is_scikit_images_modulo_pi(stored, measured):
    elongated = stored["geometry"][..., 3] > 0.3
    assert elongated.sum() > 10
    difference = angle_difference(measured.orientation, stored["geometry"][..., 4])[elongated]
    assert difference.max() < REGIONS


@pytest.mark.parametrize("name", APPEARANCE)
def test_colours_are_the_reference_ones(stored, measured, name):
    column = list(stored["appearance_names"]).index(APPEARANCE[name])
    assert largest_error(getattr(measured, name), stored["appearance"][..., column]) < REGIONS


def test_entropy_is_that_of_the_256_bin_histogram(stored, measured):
    column = list(stored["appearance_names"]).index("entropy_luma709")
    assert largest_error(measured.entropy, stored["appearance"][..., column]) < ENTROPY_TIES


def test_luminance_and_entropy_are_the_originals_where_asked(stored):
    """Its formulas in NumPy, on a piece of a picture."""
    image, labels = stored["images"][0, 20:60, 20:60], stored["labels"][0, 20:60, 20:60]
    got = measure_regions(unit(image), jnp.asarray(labels, jnp.int32), 8, luminance="original", entropy="disk")
    plain = measure_regions(unit(image), jnp.asarray(labels, jnp.int32), 8)
    grey = np.asarray(Image.fromarray(image).convert("L"))
    maps = {"luminance": image @ np.array([0.299, 0.587, 0.114]) / 3, "entropy": region_loops.local_entropy(grey)}
    for name in Regions._fields:
        if name in maps:
            expected = [maps[name][labels == part].mean() if (labels == part).any() else np.nan for part in range(8)]
            assert largest_error(getattr(got, name), np.array(expected)) < REGIONS, name
        else:
            np.testing.assert_array_equal(getattr(got, name), getattr(plain, name))


def random_scene(seed: int, height: int = 40, width: int = 56, num_parts: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """A byte image and labels: blobs, a thin oblique line, a stray pixel, one label absent."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), np.uint8)
    y, x = np.mgrid[:height, :width]
    labels = np.zeros((height, width), np.int32)
    cy, cx, a = rng.uniform(8, 32), rng.uniform(8, 48), rng.uniform(0, np.pi)
    u, v = (y - cy) * np.cos(a) + (x - cx) * np.sin(a), -(y - cy) * np.sin(a) + (x - cx) * np.cos(a)
    labels[(u / 14) ** 2 + (v / 5) ** 2 < 1] = 1
    labels[np.arange(5, 35), 10 + np.arange(30)] = 2
    labels[rng.integers(height), rng.integers(width)] = 4
    assert num_parts > 4
    return image, labels


@pytest.mark.parametrize("seed", range(4))
def test_every_field_is_that_of_the_plain_loops(seed):
    image, labels = random_scene(seed)
    got = measure_regions(unit(image), jnp.asarray(labels), 6)
    expected = region_loops.measure(image, labels, 6)
    for name in Regions._fields:
        if name != "orientation":
            assert largest_error(getattr(got, name), expected[name]) < REGIONS, name
    elongated = expected["eccentricity"] > 0.3
    assert angle_difference(got.orientation, expected["orientation"])[elongated].max() < REGIONS


@pytest.mark.parametrize("width", [256, 700])
def test_a_thin_oblique_line_far_from_the_centre_is_thin(width):
    labels = np.zeros((64, width), np.int32)
    labels[np.arange(50), width - 60 + np.arange(50)] = 1
    got = measure_regions(jnp.zeros((64, width, 3)), jnp.asarray(labels), 2)
    assert got.eccentricity[1] == 1
    assert got.axis_minor[1] < 1e-3  # from the cancelling eigenvalue formula it would be 0.03
    assert abs(float(got.orientation[1]) - np.pi / 4) < 1e-6


def test_an_absent_part_has_area_zero_and_all_else_missing():
    got = measure_regions(jnp.full((8, 8, 3), 0.5), jnp.zeros((8, 8), jnp.int32), 3)
    for name in Regions._fields:
        value = np.asarray(getattr(got, name))
        assert np.isfinite(value[0])
        assert (value[1:] == 0).all() if name.startswith("area") else np.isnan(value[1:]).all()


def test_labels_outside_the_parts_belong_to_none():
    image, labels = random_scene(0)
    inside = (labels > 0) & (labels < 3)
    expected = measure_regions(unit(image), jnp.asarray(np.where(inside, labels, 0)), 3)
    for outside in (-1, 3, 255, -(2**31), 2**31 - 1):
        got = measure_regions(unit(image), jnp.asarray(np.where(inside, labels, outside), jnp.int32), 3)
        assert got.area[0] == 0
        jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[1:], b[1:]), got, expected)


@given(st.integers(0, 2**31 - 1), st.sampled_from([1, 5]))
def test_areas_sum_to_the_image(seed, num_parts):
    labels = np.random.default_rng(seed).integers(0, num_parts, (17, 23))
    got = measure_regions(jnp.zeros((17, 23, 3)), jnp.asarray(labels, jnp.int32), num_parts)
    assert float(jnp.sum(got.area)) == 17 * 23
    assert abs(float(jnp.sum(got.area_share)) - 1) < 1e-6


@given(st.integers(0, 2**31 - 1), st.integers(-6, 6), st.integers(-6, 6))
def test_moving_the_picture_moves_the_centroid_and_nothing_else(seed, down, right):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (40, 40, 3), np.uint8)
    labels = np.zeros((40, 40), np.int32)
    labels[10:30, 10:30] = rng.integers(0, 3, (20, 20))
    before = measure_regions(unit(image), jnp.asarray(labels), 3)
    moved = [jnp.asarray(np.roll(a, (down, right), (0, 1))) for a in (np.asarray(unit(image)), labels)]
    after = measure_regions(*moved, 3)
    for name in Regions._fields:
        shift = {"centroid_y": down, "centroid_x": right}.get(name, 0)
        if name != "orientation":
            a, b = np.asarray(getattr(before, name))[1:], np.asarray(getattr(after, name))[1:]
            np.testing.assert_allclose(b, a + shift, rtol=1e-5, atol=1e-4, err_msg=name)


@given(st.integers(0, 2**31 - 1))
@settings(max_examples=20)
def test_a_quarter_turn_turns_orientation_by_a_right_angle(seed):
    image, labels = random_scene(seed, 48, 48)
    before = measure_regions(unit(image), jnp.asarray(labels), 5)
    turned = [jnp.asarray(np.rot90(a).copy()) for a in (np.asarray(unit(image)), labels)]
    after = measure_regions(*turned, 5)
    elongated = np.asarray(before.eccentricity) > 0.3
    assert elongated[1] and elongated[2]
    assert angle_difference(after.orientation, before.orientation + np.pi / 2)[elongated].max() < 1e-5
    for name in ("eccentricity", "axis_major", "axis_minor", "luminance", "entropy"):
        np.testing.assert_allclose(
            getattr(after, name), getattr(before, name), rtol=1e-5, atol=1e-3, equal_nan=True, err_msg=name
        )


@given(st.permutations(range(6)))
@settings(max_examples=20)
def test_renaming_the_labels_reorders_the_rows(order):
    image, labels = random_scene(1)
    before = measure_regions(unit(image), jnp.asarray(labels), 6)
    after = measure_regions(unit(image), jnp.asarray(np.asarray(order, np.int32)[labels]), 6)
    for name in Regions._fields:
        # a row's products may be summed in another order when the row lies elsewhere in the matrix
        assert largest_error(np.asarray(getattr(after, name))[np.asarray(order)], getattr(before, name)) < BATCHING


def test_numbers_do_not_depend_on_how_images_are_batched():
    scenes = [random_scene(seed) for seed in range(4)]
    images = unit(np.stack([image for image, _ in scenes]))
    labels = jnp.asarray(np.stack([labels for _, labels in scenes]))
    alone = [measure_regions(image, label, 5) for image, label in zip(images, labels, strict=True)]
    expected = jax.tree.map(lambda *rows: np.stack(rows), *alone)
    got = measure_region_batch(images, labels, 5, at_once=2)
    for name in Regions._fields:
        assert largest_error(getattr(got, name), getattr(expected, name)) < BATCHING, name
    together = jax.vmap(linkjax.measure_regions, (0, 0, None))(images, labels, 5)
    for name in Regions._fields:
        assert largest_error(getattr(together, name), getattr(expected, name)) < BATCHING, name


def test_colour_has_finite_gradients_also_where_parts_are_absent():
    image, labels = random_scene(2)

    def total(x):
        got = measure_regions(x, jnp.asarray(labels), 6)
        return jnp.nansum(got.luminance) + jnp.nansum(got.lightness) + jnp.nansum(got.yellow_blue)

    assert np.isfinite(jax.grad(total)(unit(image))).all()


def test_a_pixel_that_is_not_a_number_is_not_hidden():
    got = measure_regions(jnp.full((4, 4, 3), jnp.nan), jnp.zeros((4, 4), jnp.int32), 1)
    assert np.isnan(got.luminance[0]) and np.isnan(got.entropy[0])
    assert got.area[0] == 16


def test_numpy_arrays_of_any_float_and_integer_type_are_measured_alike():
    image, labels = random_scene(3)
    expected = measure_regions(unit(image), jnp.asarray(labels), 5)
    for kind in (np.uint8, np.int64):
        got = measure_regions(image / 255.0, labels.astype(kind), 5)
        for name in Regions._fields:
            assert largest_error(getattr(got, name), getattr(expected, name)) < BATCHING, name


@pytest.mark.parametrize(
    ("image", "labels", "parts", "says"),
    [
        (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.int32), 2, "divide a byte image by 255"),
        (np.zeros((2, 4, 4, 3), np.float32), np.zeros((2, 4, 4), np.int32), 2, "vmap"),
        (np.zeros((4, 4, 3), np.float32), np.zeros((4, 5), np.int32), 2, r"\(4, 5\)"),
        (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.float32), 2, "argmax"),
        (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.int32), 0, "at least one part"),
    ],
)
def test_wrong_input_is_refused_in_a_sentence(image, labels, parts, says):
    with pytest.raises(InputError, match=says):
        measure_regions(jnp.asarray(image), jnp.asarray(labels), parts)


@pytest.mark.parametrize(("name", "given"), [("luminance", "rec601"), ("entropy", "local")])
def test_a_definition_that_is_not_known_is_refused(name, given):
    with pytest.raises(InputError, match=name):
        measure_regions(jnp.zeros((4, 4, 3)), jnp.zeros((4, 4), jnp.int32), 1, **{name: given})
