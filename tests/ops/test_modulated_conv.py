"""The modulated convolution against weights scaled sample by sample in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax import numerics
from linkjax.ops import full_conv
from linkjax.ops import modulated_conv as module
from tests import tolerances


def reference(x, kernel, styles, bias, gain, demodulate):
    """y = Σ w' x with w' = w s gain, w and s of unit mean square, w' of unit norm per output."""
    if demodulate:
        kernel = kernel / np.sqrt(np.mean(kernel**2, axis=(0, 1, 2)))
        styles = styles / np.sqrt(np.mean(styles**2, axis=1, keepdims=True))
    k = kernel.shape[0]
    padded = np.pad(x, ((0, 0), (k - 1, k - 1), (k - 1, k - 1), (0, 0)))
    out = np.zeros((*x.shape[:1], x.shape[1] + k - 1, x.shape[2] + k - 1, kernel.shape[-1]))
    for b in range(len(x)):
        weights = kernel * styles[b][None, None, :, None]
        if demodulate:
            weights = weights / np.sqrt(np.sum(weights**2, axis=(0, 1, 2)) + 1e-8)
        for i in range(k):
            for j in range(k):
                out[b] += padded[b, i : i + out.shape[1], j : j + out.shape[2]] @ (weights[i, j] * gain)
    return out + bias


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize(("k", "channels", "least"), [(1, 5, 128), (3, 5, 128), (3, 5, 1)])
def test_scaling_input_and_output_is_scaling_the_weights(k, channels, least, demodulate, monkeypatch):
    monkeypatch.setattr(full_conv, "WINOGRAD_CHANNELS", least)
    random = np.random.default_rng(k)
    x, kernel = random.normal(size=(3, 7, 6, channels)), random.normal(size=(k, k, channels, 4)) * 2
    styles, bias = random.normal(size=(3, channels)) + 1, random.normal(size=4)
    expected = reference(x, kernel, styles, bias, 0.7, demodulate)
    found = jax.jit(functools.partial(module.modulated_conv, demodulate=demodulate))(
        *(jnp.asarray(each, jnp.float32) for each in (x, kernel, styles, bias, 0.7))
    )
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerances.RESAMPLING * np.abs(expected).max()


def test_a_style_of_another_size_changes_nothing():
    random = np.random.default_rng(0)
    x, kernel = random.normal(size=(1, 4, 4, 3)), random.normal(size=(3, 3, 3, 2))
    styles = random.normal(size=(1, 3))
    arrays = [jnp.asarray(each, jnp.float32) for each in (x, kernel, styles, np.zeros(2), 1.0)]
    once = module.modulated_conv(*arrays)
    arrays[2] = arrays[2] * 1e4
    assert np.abs(module.modulated_conv(*arrays) - once).max() <= tolerances.RESAMPLING * np.abs(once).max()


@pytest.mark.parametrize(("precision", "bound"), [("float16", 2**-10), ("bfloat16", 2**-7)])
def test_the_widest_layers_stay_in_half_precision_s_range_in_the_worst_case(precision, bound):
    channels = 1024
    random = np.random.default_rng(0)
    kernel = np.abs(random.normal(size=(3, 3, channels, 8))).astype(np.float32) * 50
    x = np.full((2, 4, 4, channels), 256, np.float32)  # all on the clamp, and all weights of one sign
    styles = np.stack([np.full(channels, 1e5), random.normal(size=channels) * 1e-3]).astype(np.float32)
    bias = np.zeros(8, np.float32)
    arrays = (jnp.asarray(each) for each in (x, kernel, styles, bias, np.float32(3.0)))
    x, kernel, styles, bias, gain = arrays
    expected = module.modulated_conv(x, kernel, styles, bias, gain)
    found = module.modulated_conv(x, kernel, styles, bias, gain, policy=numerics.policy(precision))
    assert found.dtype == jnp.float32 and np.isfinite(found).all()
    for each, true in zip(np.asarray(found), np.asarray(expected), strict=True):
        assert np.abs(each - true).max() <= bound * np.abs(true).max()
