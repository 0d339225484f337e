import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkjax.ops import winograd
from linkjax.ops.conv import conv
from tests import tolerances

COMPILED = "as shipped"


def _direct(x, kernel):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), [(2, 2), (2, 2)], dimension_numbers=numbers)


def both(shape, out, seed=0):
    random = np.random.default_rng(seed)
    x = random.normal(size=shape).astype(np.float32)
    kernel = random.normal(size=(3, 3, shape[-1], out)).astype(np.float32)
    return tuple(np.asarray(jax.jit(each)(x, kernel)) for each in (winograd.full_conv3x3, _direct))


@settings(max_examples=8)
@given(batch=st.integers(1, 2), height=st.integers(1, 9), width=st.integers(1, 9))
def test_every_size_odd_or_even_gives_the_direct_convolution(batch, height, width):
    ours, direct = both((batch, height, width, 3), 4)
    assert ours.shape == direct.shape == (batch, height + 2, width + 2, 4)
    assert np.abs(ours - direct).max() <= tolerances.WINOGRAD * np.abs(direct).max()


def test_bands_of_rows_join_without_a_seam(monkeypatch):
    monkeypatch.setattr(winograd, "BAND_TILES", 24)
    ours, direct = both((2, 21, 14, 5), 6)
    assert np.abs(ours - direct).max() <= tolerances.WINOGRAD * np.abs(direct).max()


@pytest.mark.parametrize("channels", [16, 300])
def test_the_rounding_error_is_that_of_the_direct_convolution(channels):
    random = np.random.default_rng(1)
    x, kernel = random.normal(size=(1, 12, 12, channels)), random.normal(size=(3, 3, channels, 8))
    with jax.enable_x64(True):
        exact = np.asarray(conv(jax.numpy.asarray(x), jax.numpy.asarray(kernel), padding=2))
    small = (x.astype(np.float32), kernel.astype(np.float32))
    errors = [np.abs(np.asarray(f) - exact).max() for f in (winograd.full_conv3x3(*small), conv(*small, padding=2))]
    assert errors[0] <= 3 * errors[1]
