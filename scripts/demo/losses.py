"""How far a drawing is from the renderer's."""

import jax
import jax.numpy as jnp
import numpy as np

from linkjax.demo.world import PARTS

Array = jax.Array

# Small parts would otherwise be worth less than the background's last digit.
_PART_WEIGHTS = {"tail": 3.0, "tongue": 3.5, "eye": 4.0, "nose": 3.0, "ear": 2.5, "leg": 2.0}
_SOFTNESS = 0.03  # below this difference the Charbonnier loss is quadratic


def part_weights(labels: Array) -> Array:
    """[B, H, W] loss weights of pixels, each part's reaching one pixel beyond its outline."""
    table = np.asarray([1.0 if part == "background" else _PART_WEIGHTS.get(part, 1.5) for part in PARTS], np.float32)
    weights = jnp.asarray(table)[labels]
    for axis in (1, 2):
        weights = jnp.maximum(weights, jnp.maximum(jnp.roll(weights, 1, axis), jnp.roll(weights, -1, axis)))
    return weights


def halved(x: Array) -> Array:
    """[B, H, W, C] at half the size: means of 2×2 pixels."""
    batch, height, width, channels = x.shape
    return jnp.mean(x.reshape(batch, height // 2, 2, width // 2, 2, channels), axis=(2, 4))


def drawing_loss(difference: Array, weights: Array) -> Array:
    """Charbonnier loss of pixels (weighted by part), of two coarser scales, and of the picture's gradients.

    Args:
      difference: generated minus rendered image, [B, H, W, 3].
      weights: of the pixels, [B, H, W, 1].
    """
    total = jnp.mean(weights * _charbonnier(difference)) / 1.5
    for axis in (1, 2):
        step = jnp.diff(difference, axis=axis)
        inner = jax.lax.slice_in_dim(weights, 1, None, axis=axis)
        total += 0.3 * jnp.mean(inner * _charbonnier(step))
    for _ in range(2):
        difference = halved(difference)
        total += 0.5 * jnp.mean(_charbonnier(difference))
    return total


def _charbonnier(x: Array) -> Array:
    return jnp.sqrt(jnp.square(x) + _SOFTNESS**2) - _SOFTNESS
