import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from linkjax.errors import InputError
from linkjax.ops import resize

COMPILED = "as shipped"

resize_bytes = jax.jit(resize.resize_bytes, static_argnums=(1, 2, 3))
resize_floats = jax.jit(resize.resize, static_argnums=(1, 2, 3))


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("name", ["noise64", "struct400x300", "struct259x347"])
def test_bytes_are_those_of_the_original(parity, name):
    data = np.load(parity / "preprocess.npz")
    image = data[f"{name}/input_u8"]
    height, width, top, left = data[f"{name}/geometry_h_w_top_left"]
    assert resize.shorter_side(*image.shape[:2], 256) == (height, width)
    assert (resize.crop_start(height, 224), resize.crop_start(width, 224)) == (top, left)
    found = resize_bytes(jnp.asarray(image)[None], int(height), int(width), 224)
    np.testing.assert_array_equal(found[0], data[f"{name}/crop_u8"])


@pytest.mark.parametrize(("height", "width", "size"), [(300, 400, 256), (64, 64, 256), (31, 50, 77), (150, 93, 40)])
def test_bytes_are_those_of_pillow(height, width, size):
    images = noise(2, height, width, 3)
    rows, columns = resize.shorter_side(height, width, size)
    expected = [Image.fromarray(image).resize((columns, rows), Image.Resampling.BILINEAR) for image in images]
    np.testing.assert_array_equal(
        resize_bytes(jnp.asarray(images), rows, columns), np.stack([np.asarray(image) for image in expected])
    )


def test_an_image_of_the_right_size_is_not_resampled():
    images = noise(1, 40, 50, 3)
    np.testing.assert_array_equal(resize_bytes(jnp.asarray(images), 40, 50), images)


def test_cropping_while_resizing_is_cropping_afterwards():
    images = jnp.asarray(noise(1, 50, 61, 3))
    whole = resize_bytes(images, 33, 47)
    np.testing.assert_array_equal(resize_bytes(images, 33, 47, 20), resize.centre_crop(whole, 20))
    floats = images.astype(jnp.float32)
    cropped = resize.centre_crop(resize_floats(floats, 33, 47), 20)
    np.testing.assert_allclose(resize_floats(floats, 33, 47, 20), cropped, atol=1e-4)  # of values up to 255


def test_the_unrounded_resize_is_within_the_two_roundings_and_has_gradients():
    images = jnp.asarray(noise(1, 40, 30, 3))
    exact = resize_bytes(images, 27, 20).astype(jnp.float32)
    assert jnp.abs(resize_floats(images.astype(jnp.float32), 27, 20) - exact).max() <= 1.0
    gradient = jax.grad(lambda x: resize_floats(x, 27, 20).sum())(images.astype(jnp.float32))
    assert jnp.all(gradient > 0)


def test_rows_of_weights_sum_to_one():
    for sizes in ((64, 256), (400, 256), (7, 3), (3, 7), (1, 5)):
        np.testing.assert_allclose(resize.filter_weights(*sizes).sum(axis=1), 1.0, atol=1e-15)


def test_halves_round_to_even_in_a_centre_crop():
    assert [resize.crop_start(size, 224) for size in (225, 227, 229)] == [0, 2, 2]


def test_an_image_smaller_than_the_crop_is_refused():
    small = jnp.zeros((1, 20, 30, 3))
    for crop in (resize.centre_crop, lambda x, size: resize.resize(x, 20, 30, size)):
        with pytest.raises(InputError, match="at least 24×24"):
            crop(small, 24)


@pytest.mark.parametrize("size", [16, 36, 52, 64, 84, 148, 256, 276])
def test_nearest_indices_are_those_of_torch(parity, size):
    expected = np.load(parity / "nearest_resize.npz")[f"index_{size}_to_256"]
    np.testing.assert_array_equal(resize.nearest_indices(size, 256), expected)


def test_nearest_resize_picks_rows_and_columns():
    maps = jnp.arange(2 * 3 * 5, dtype=jnp.float32).reshape(1, 3, 5, 2)
    rows, columns = resize.nearest_indices(3, 7), resize.nearest_indices(5, 4)
    np.testing.assert_array_equal(resize.resize_nearest(maps, 7, 4), maps[:, rows][:, :, columns])


FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
# Enlarged, reduced, one side each, by so much that a row has more taps than 11-bit parts could add up exactly.
SHAPES = [
    (64, 64, 256, 256),
    (150, 93, 64, 40),
    (31, 50, 77, 20),
    (256, 256, 64, 64),
    (900, 1200, 18, 24),
    (7, 5, 99, 7),
]


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_filter_gives_the_bytes_of_pillow(interpolation, shape):
    height, width, rows, columns = shape
    images = noise(2, height, width, 3)
    images[1] = np.where(images[1] > 127, 255, 0)  # overshoots most
    expected = [
        Image.fromarray(each).resize((columns, rows), Image.Resampling[interpolation.upper()]) for each in images
    ]
    found = resize.resize_bytes(jnp.asarray(images), rows, columns, None, interpolation)
    np.testing.assert_array_equal(found, np.stack([np.asarray(each) for each in expected]))


@pytest.mark.parametrize("interpolation", FILTERS)
def test_every_filter_unrounded_is_within_its_roundings_and_linear(interpolation):
    images = jnp.asarray(noise(1, 40, 30, 3)) // 3 + 85  # far from the ends, where bytes are cut
    exact = resize.resize_bytes(images, 27, 50, 20, interpolation).astype(jnp.float32)
    floats, gradient = jax.vjp(lambda x: resize.resize(x, 27, 50, 20, interpolation), images.astype(jnp.float32))
    assert jnp.abs(floats - exact).max() <= 1.5
    assert jnp.abs(gradient(jnp.ones_like(floats))[0]).sum() > 0
