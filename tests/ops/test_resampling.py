"""Resampling against its definition: a banded matrix built sample by sample in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkjax import numerics
from linkjax.ops import resampling
from tests import tolerances


def up_matrix(taps, factor, padding, size):
    """zero insertion, padding or cropping, convolution"""
    inserted = np.zeros((size * factor, size))
    inserted[::factor] = np.eye(size)
    low, high = padding
    z = np.zeros((size * factor + low + high, size))
    for j in range(len(z)):
        if 0 <= j - low < len(inserted):
            z[j] = inserted[j - low]
    return np.stack([np.tensordot(taps[::-1], z[j : j + len(taps)], 1) for j in range(len(z) - len(taps) + 1)])


def down_matrix(taps, factor, size):
    full = np.stack([np.convolve(row, taps, mode="valid") for row in np.eye(size)], axis=1)
    return full[::factor]


@settings(max_examples=10)
@given(
    factor=st.sampled_from([1, 2, 4]),
    length=st.integers(1, 25),
    low=st.integers(-13, 12),
    high=st.integers(-13, 12),
    size=st.integers(1, 20),
    axis=st.integers(0, 2),
)
def test_upsampling_is_zero_insertion_padding_and_convolution(factor, length, low, high, size, axis):
    if size * factor + low + high < length:
        return
    random = np.random.default_rng(length)
    taps, x = random.normal(size=length), random.normal(size=(size, size, size))
    expected = np.moveaxis(np.tensordot(up_matrix(taps, factor, (low, high), size), x, (1, axis)), 0, axis) * factor
    found = resampling.upsample(
        jnp.asarray(x, jnp.float32), jnp.asarray(taps, jnp.float32), factor, (low, high), axis, gain=factor
    )
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerances.RESAMPLING * max(np.abs(x).max() * np.abs(taps).sum(), 1)


@settings(max_examples=10)
@given(
    factor=st.sampled_from([1, 2, 4]),
    length=st.integers(1, 25),
    more=st.integers(0, 20),
    axis=st.integers(0, 2),
    reads=st.sampled_from([0, resampling.APART]),
)
def test_downsampling_is_convolution_and_every_nth_sample(factor, length, more, axis, reads):
    random = np.random.default_rng(length)
    shape = [3, 3, 3]
    shape[axis] = length + more
    taps, x = random.normal(size=length), random.normal(size=shape)
    expected = np.moveaxis(np.tensordot(down_matrix(taps, factor, length + more), x, (1, axis)), 0, axis)
    found = resampling.downsample(
        jnp.asarray(x, jnp.float32), jnp.asarray(taps, jnp.float32), factor, axis, reads=reads
    )
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerances.RESAMPLING * max(np.abs(x).max() * np.abs(taps).sum(), 1)


def test_a_radial_filter_that_is_a_product_gives_what_the_two_filters_give():
    random = np.random.default_rng(0)
    x = jnp.asarray(random.normal(size=(2, 23, 31, 3)), jnp.float32)
    across, down = (jnp.asarray(random.normal(size=12), jnp.float32) for _ in range(2))
    found = resampling.downsample_radial(x, down[:, None] * across[None, :], 2)
    expected = resampling.downsample(resampling.downsample(x, across, 2, axis=2), down, 2, axis=1)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerances.RESAMPLING * np.abs(expected).max() * 10


@pytest.mark.parametrize("padding", [(9, 8, 9, 8), (-3, -4, -3, -4), (3, 8, 9, -2)])
def test_the_fine_grid_is_made_clamped_and_left_as_the_layers_say(padding):
    random = np.random.default_rng(1)
    x = random.normal(size=(1, 20, 24, 2)) * 3
    up, down = random.normal(size=12), random.normal(size=12)
    u_y, u_x = up_matrix(up, 2, padding[2:], 20) * 2, up_matrix(up, 2, padding[:2], 24) * 2
    fine = np.einsum("yh,bhwc,xw->byxc", u_y, x, u_x)
    fine = np.clip(np.where(fine > 0, fine, 0.2 * fine) * np.sqrt(2), -4, 4)
    expected = np.einsum(
        "yh,bhwc,xw->byxc", down_matrix(down, 2, fine.shape[1]), fine, down_matrix(down, 2, fine.shape[2])
    )
    assert resampling.upsampled_size(20, 2, 12, padding[2:]) == fine.shape[1]
    found = jax.jit(
        lambda x, up, down: resampling.filtered_leaky_relu(
            x, up, down, up=2, down=2, padding=padding, slope=0.2, gain=float(np.sqrt(2)), clamp=4.0
        )
    )(*(jnp.asarray(each, jnp.float32) for each in (x, up, down)))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerances.RESAMPLING * np.abs(expected).max() * 10


def test_without_filters_a_layer_only_activates():
    x = jnp.asarray(np.random.default_rng(2).normal(size=(1, 5, 5, 2)), jnp.float32)
    found = resampling.filtered_leaky_relu(
        x, None, None, up=1, down=1, padding=(0, 0, 0, 0), slope=1.0, gain=1.0, clamp=0.5
    )
    np.testing.assert_array_equal(found, np.clip(x, -0.5, 0.5))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_filters_between_maps_of_half_precision_lose_two_roundings(precision):
    random = np.random.default_rng(4)
    x = jnp.asarray(random.normal(size=(2, 14, 14, 3)), jnp.float32)
    taps = jnp.asarray(np.hanning(14)[1:-1] / np.hanning(14).sum(), jnp.float32)
    run = functools.partial(
        resampling.filtered_leaky_relu, x, taps, taps, up=2, down=2, padding=(9, 9, 9, 9), slope=0.2,
        gain=float(np.sqrt(2)), clamp=256.0,
    )  # fmt: skip
    expected, found = run(), run(dtype=numerics.policy(precision).dtype)
    assert found.dtype == jnp.float32
    away = np.abs(np.asarray(found - expected)).max() / np.abs(np.asarray(expected)).max()
    assert 0 < away <= tolerances.HALF_FILTERS[precision]
