"""Entropy of the grey values around each pixel."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer

from linkjax.errors import InputError

_LEVELS = 256


def disk_entropy(grey: Integer[Array, "H W"], radius: int = 5) -> Float[Array, "H W"]:
    """Shannon entropy, in bits, of the grey values in a disk around each pixel; 0 … log₂ of the disk's pixels.

    With c_v the pixels of value v among the n of the disk that lie in the image (n is less at the border):
    log₂ n − Σ_v c_v log₂ c_v / n.

    Args:
      grey: bytes, values in 0…255; `jax.vmap` it for a batch.
      radius: the disk is all offsets with x² + y² ≤ radius²; static, 0 … 8 (counts are bytes).
    Numerics: counts are exact; float32 from there on, 1e-6 bits.
      One value of grey at a time: a comparison, and 4 radius additions of bytes along rows and columns that build the
      disk from runs, 256 times. Memory does not grow with the number of values: no [H, W, 256] histogram.
    Errors: InputError for values that are not whole numbers, wrong shapes, or a radius out of range.
    Reference: scikit-image's `filters.rank.entropy` with `morphology.disk`, whose values it gives.
    """
    if grey.ndim != 2 or not jnp.issubdtype(grey.dtype, jnp.integer):
        raise InputError(f"expected whole grey values [H, W], found {grey.dtype} {grey.shape}")
    if not 0 <= radius <= 8:
        raise InputError(f"radius: expected 0 to 8, found {radius}")
    outside = _LEVELS  # a value no pixel has
    padded = jnp.pad(grey.astype(jnp.int16), radius, constant_values=outside)

    def add(total: Float[Array, "H W"], value: Array) -> tuple[Float[Array, "H W"], None]:
        count = _disk_sum((padded == value).astype(jnp.uint8), radius).astype(jnp.float32)
        return total + count * jnp.log2(jnp.maximum(count, 1.0)), None

    total, _ = jax.lax.scan(add, jnp.zeros(grey.shape, jnp.float32), jnp.arange(_LEVELS, dtype=jnp.int16))
    size = _disk_sum((padded != outside).astype(jnp.uint8), radius).astype(jnp.float32)
    return jnp.maximum(jnp.log2(size) - total / size, 0.0)  # one value alone: 0, not a rounding below it


def _disk_sum(padded: Array, radius: int) -> Array:
    """Sum over the disk around each pixel of an array padded by `radius`: runs along rows, each as wide as the disk."""
    height, width = (size - 2 * radius for size in padded.shape)
    runs = [padded[:, radius : radius + width]]
    for x in range(1, radius + 1):
        left, right = padded[:, radius - x : radius - x + width], padded[:, radius + x : radius + x + width]
        runs.append(runs[-1] + left + right)
    total = runs[radius][radius : radius + height]
    for y in range(1, radius + 1):
        run = runs[math.isqrt(radius * radius - y * y)]
        total = total + run[radius - y : radius - y + height] + run[radius + y : radius + y + height]
    return total
