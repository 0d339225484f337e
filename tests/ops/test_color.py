import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkjax.ops import color
from tests.reference import region_loops
from tests.tolerances import COLOR

COMPILED = "as shipped"

CUBE = np.array(list(itertools.product(np.linspace(0, 1, 18), repeat=3)))  # 0 and the linear pieces included


def test_linear_light_is_the_standards_formula():
    v = np.linspace(0, 1, 4001)
    expected = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    got = color.linear_from_srgb(jnp.asarray(v, jnp.float32))
    assert np.max(np.abs(got - expected)) < COLOR


def test_lab_is_the_standards_formula():
    got = color.lab(jnp.asarray(CUBE, jnp.float32))
    # a* and b* are differences times 500 and 200, so their rounding is that much larger
    assert np.max(np.abs(got - region_loops.lab(CUBE))) < 500 * COLOR


def test_greys_have_no_chroma_and_white_is_100():
    greys = jnp.broadcast_to(jnp.linspace(0, 1, 256, dtype=jnp.float32)[:, None], (256, 3))
    lab = np.asarray(color.lab(greys))
    assert np.max(np.abs(lab[:, 1:])) < 500 * COLOR
    assert abs(lab[-1, 0] - 100) < 100 * COLOR
    assert np.all(np.diff(lab[:, 0]) > 0)
    assert np.max(np.abs(color.chroma(jnp.asarray(lab)))) < 500 * COLOR


def test_lumas_weigh_to_one():
    white = jnp.ones(3)
    for luma in (color.luma709, color.luma601, color.luminance):
        assert abs(float(luma(white)) - 1) < COLOR


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
def test_luma_bins_of_byte_images_are_exact_however_255_was_divided_by(red, green, blue):
    expected = (2126 * red + 7152 * green + 722 * blue + 5000) // 10000
    rgb = np.array([red, green, blue], np.float32)
    for encoded in (rgb / np.float32(255), rgb * np.float32(1 / 255), (np.float64(rgb) / 255).astype(np.float32)):
        assert int(color.luma709_bin(jnp.asarray(encoded))) == expected


def test_luma_bins_of_every_tie_go_up():
    red, green, blue = np.meshgrid(*[np.arange(256, dtype=np.int32)] * 3, indexing="ij", sparse=True)
    grains = 2126 * red + 7152 * green + 722 * blue
    tie = grains % 10000 == 5000
    rgb = np.argwhere(tie).astype(np.float32) / np.float32(255)
    assert tie.sum() > 1000
    np.testing.assert_array_equal(color.luma709_bin(jnp.asarray(rgb)), (grains[tie] + 5000) // 10000)


@pytest.mark.parametrize("function", [color.linear_from_srgb, color.lab, lambda x: color.chroma(color.lab(x))])
def test_gradients_are_finite_everywhere(function):
    gradient = jax.grad(lambda x: jnp.sum(function(x)))(jnp.asarray(CUBE, jnp.float32))
    assert np.isfinite(gradient).all()


def test_entropy_of_one_value_is_zero_of_all_is_eight_bits_of_none_is_missing():
    counts = jnp.stack([jnp.eye(1, 256)[0] * 7.0, jnp.full(256, 3.0), jnp.zeros(256)])
    np.testing.assert_allclose(color.histogram_entropy(counts), [0.0, 8.0, np.nan], rtol=COLOR)
    assert not np.signbit(color.histogram_entropy(counts)[0])


def test_entropy_of_one_stray_pixel_is_accurate():
    counts = np.zeros(256)
    counts[[3, 200]] = [99_999, 1]
    p = counts[[3, 200]] / counts.sum()
    got = float(color.histogram_entropy(jnp.asarray(counts, jnp.float32)))
    assert abs(got / -(p * np.log2(p)).sum() - 1) < COLOR
