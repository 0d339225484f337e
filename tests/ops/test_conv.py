"""Convolutions written as products against XLA's own, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.ops import conv
from tests import tolerances

COMPILED = "as shipped"
#: (map, kernel, stride, padding, dilation): 1 × 1 ones, small maps, and one that stays XLA's.
CASES = [
    (9, 1, 1, 0, 1),
    (9, 1, 2, 0, 1),
    (8, 1, 3, 0, 1),
    (7, 1, 2, 1, 1),
    (2, 3, 1, 1, 1),
    (4, 3, 2, 1, 1),
    (7, 3, 1, 1, 1),
    (7, 3, 1, 2, 2),
    (13, 5, 2, 0, 1),
    (12, 3, 1, 1, 1),
]
#: The same of pictures, to few outputs.
PICTURES = [(16, 7, 2, 3, 1), (11, 3, 1, 1, 1), (17, 5, 3, 2, 1), (12, 3, 1, 2, 2)]


def arrays(size, k, channels=conv.MANY, outputs=conv.MANY):
    rng = np.random.default_rng(size + k)
    shapes = [(2, size, size + 1, channels), (k, k, channels, outputs), (outputs,)]
    return (rng.normal(size=shape).astype(np.float32) for shape in shapes)


def reference(x, kernel, bias, stride, padding, dilation):
    with jax.enable_x64(True):
        y = jax.lax.conv_general_dilated(
            jnp.asarray(x, jnp.float64), jnp.asarray(kernel, jnp.float64), (stride,) * 2, [(padding,) * 2] * 2,
            rhs_dilation=(dilation,) * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )  # fmt: skip
        return np.asarray(y) + bias


@pytest.mark.parametrize(
    ("case", "channels", "outputs"),
    [(each, conv.MANY, conv.MANY) for each in CASES]
    + [(each, 3, 20) for each in PICTURES]
    + [(each, 9, 5) for each in PICTURES],
)
def test_it_is_the_convolution(case, channels, outputs):
    size, k, stride, padding, dilation = case
    x, kernel, bias = arrays(size, k, channels, outputs)
    found = conv.conv(x, kernel, bias, stride=stride, padding=padding, dilation=dilation)
    expected = reference(x, kernel, bias, stride, padding, dilation)
    assert found.shape == expected.shape and found.dtype == np.float32
    assert np.abs(found - expected).max() < tolerances.CONVOLUTION * np.abs(expected).max()


@pytest.mark.parametrize(
    ("size", "k", "stride", "padding", "channels"), [(9, 1, 2, 0, 12), (4, 3, 2, 1, conv.MANY), (16, 7, 2, 3, 3)]
)
def test_its_derivatives_are_the_convolution_s(size, k, stride, padding, channels):
    x, kernel, _ = arrays(size, k, channels)

    def plain(x, kernel):
        return jax.lax.conv_general_dilated(
            x, kernel, (stride,) * 2, [(padding,) * 2] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def written(x, kernel):
        return conv.conv(x, kernel, stride=stride, padding=padding)

    found, expected = (
        jax.jit(jax.grad(lambda x, k, each=each: jnp.sum(jnp.sin(each(x, k))), (0, 1)))(x, kernel)
        for each in (written, plain)
    )
    for a, b in zip(found, expected, strict=True):
        assert np.abs(a - b).max() <= tolerances.DERIVATIVES * np.abs(b).max()


@pytest.mark.parametrize("channels", [3, conv.MANY])
def test_kernels_need_not_be_square(channels):
    x, kernel, bias = arrays(6, 3, channels)
    for part in (kernel[:1], kernel[:, :1], kernel[:2]):
        found = conv.conv(x, part, bias, padding=1)
        assert np.abs(found - reference(x, part, bias, 1, 1, 1)).max() < tolerances.CONVOLUTION * np.abs(found).max()


@pytest.mark.parametrize(("batch", "k", "padding"), [(0, 3, 1), (0, 1, 0), (2, 9, 0)])
def test_nothing_to_draw_is_no_error(batch, k, padding):
    x, kernel, bias = arrays(5, k)
    found = conv.conv(np.resize(x, (batch, *x.shape[1:])), kernel, bias, padding=padding)
    assert found.size == 0 and found.shape[0] == batch


def test_what_is_a_product_is_lowered_to_one_and_the_rest_is_not():
    def lowered(size, k, **given):
        x, kernel, _ = arrays(size, k)
        return jax.jit(lambda x, kernel: conv.conv(x, kernel, **given)).lower(x, kernel).as_text()

    assert "dot_general" in lowered(12, 1, stride=2) and "convolution" not in lowered(12, 1, stride=2)
    assert "convolution" not in lowered(5, 3, padding=1)
    assert "dot_general" not in lowered(12, 3, padding=1)


@pytest.mark.parametrize(("size", "k", "padding"), [(9, 1, 0), (5, 3, 1)])
def test_half_precision_stays_half(size, k, padding):
    x, kernel, _ = (jnp.asarray(each, jnp.bfloat16) for each in arrays(size, k))
    found = conv.conv(x, kernel, padding=padding)
    expected = conv.conv(x.astype(jnp.float32), kernel.astype(jnp.float32), padding=padding)
    assert found.dtype == jnp.bfloat16
    assert np.abs(found.astype(np.float32) - expected).max() < 0.01 * np.abs(expected).max()


@pytest.mark.parametrize("outputs", [3, 10, 16, 21])
def test_maps_projected_by_rows_are_those_of_one_product(outputs):
    rng = np.random.default_rng(outputs)
    x, kernel = (jnp.asarray(rng.normal(size=size), jnp.float32) for size in ((2, 5, 7, 24), (24, outputs)))
    found, expected = jax.jit(conv.project)(x, kernel), np.asarray(x, np.float64) @ np.asarray(kernel, np.float64)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-5)
    inner = jax.jit(lambda x: conv.project(x, kernel, margin=1))(x)
    np.testing.assert_array_equal(inner, found[:, 1:-1, 1:-1])
    slope = jax.grad(lambda x: jnp.sum(conv.project(x, kernel) ** 2))(x)
    np.testing.assert_allclose(slope, 2 * expected @ np.asarray(kernel, np.float64).T, rtol=1e-4, atol=1e-4)


def test_large_maps_are_projected_by_one_product():
    steps = [str(jax.make_jaxpr(conv.project)(jnp.ones((1, rows, 2, 128)), jnp.ones((128, 3)))) for rows in (64, 65)]
    assert ["pad" in each for each in steps] == [True, False]  # kernels repeated for every row are filled up
