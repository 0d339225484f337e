"""Every numerical choice of linkjax has its home, its name and its test here.

The reference is float32 with products at the highest precision: accelerators otherwise multiply float32 matrices in
bfloat16 (TPU) or TF32 (recent GPUs) without saying so, which makes a right port look wrong.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

#: Precision of every float32 product (convolutions, matrix products) in linkjax.
PRECISION = jax.lax.Precision.HIGHEST


def to_uint8(images: Float[Array, "*batch"]) -> UInt8[Array, "*batch"]:
    """Image values in [-1, 1] as bytes: clip((x + 1) · 127.5, 0, 255), **truncated**.

    Truncation, not rounding, is what the original program feeds its classifier; rounding shifts every activation.

    Args:
      images: values about [-1, 1], any shape; NaN becomes 0.
    Returns: uint8 of the same shape.
    """
    scaled = (images.astype(jnp.float32) + 1.0) * 127.5
    return jnp.clip(jnp.nan_to_num(scaled), 0.0, 255.0).astype(jnp.uint8)


def from_uint8(images: UInt8[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Bytes as image values in [-1, 1]: (x + 0.5) / 127.5 − 1.

    The half keeps `to_uint8(from_uint8(b)) == b` for every byte in float32, which x / 127.5 − 1 does not.
    """
    return jnp.minimum((images.astype(jnp.float32) + 0.5) / 127.5 - 1.0, 1.0)


def safe_ratio(numerator: Float[Array, "*shape"], denominator: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """numerator / denominator, NaN where the denominator is 0, with finite gradients everywhere."""
    empty = denominator == 0
    return jnp.where(empty, jnp.nan, numerator / jnp.where(empty, 1.0, denominator))
