"""Convolution and dense layers on NHWC arrays, float32 products at the reference precision."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from linkjax import numerics

#: A CPU convolution to at most so many pixels is one product with all patches: XLA's own is slower there, ten times for
#: 2 × 2, a fifth for 7 × 7; from 14 × 14 on it is faster.
SMALL_MAP = 49
#: So is one of a picture (fewer than 8 channels) of at most so many pixels to few outputs: 2 (7 × 7, stride 2) to 6
#: times (3 × 3) as fast at 64 × 64; at 224 × 224 it is slower, for the patches fill the cache.
SMALL_PICTURE = 64 * 64
PICTURE = 8
#: Of larger pictures, 17 … 39 outputs are filled up with zeros to as many: XLA's convolution is 3 to 10 times slower
#: there than with 64.
FEW, STEM = range(17, 40), 64
#: Fewer outputs become as many: XLA on a CPU otherwise sums them in an order that depends on the number of threads, and
#: so on cores and simulated devices. Seen with 3, 5 and 6 outputs, not with 8 and more.
NARROW = 8


def conv(
    x: Float[Array, "B H W I"],
    kernel: Float[Array, "kh kw I O"],
    bias: Float[Array, "O"] | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    precision: jax.lax.Precision = numerics.PRECISION,
) -> Float[Array, "B h w O"]:
    """Cross-correlation as in every deep-learning library: y[p] = Σ_q x[p·stride + q·dilation − padding] · kernel[q].

    Args:
      x: images or feature maps, NHWC.
      kernel: HWIO.
      bias: added per output channel.
      padding: zeros on each of the four sides.
      precision: of the products, where the operands are float32.
    Numerics: a 1 × 1 convolution is a matrix product, half to a third of XLA's time for a convolution on a CPU.
    """
    if kernel.shape[:2] == (1, 1) and padding == 0:
        y = jnp.matmul(x[:, ::stride, ::stride], kernel[0, 0], precision=precision)
    else:
        given: Any = {"stride": stride, "padding": padding, "dilation": dilation, "precision": precision}
        direct = functools.partial(_direct, **given)
        pixels = math.prod(jax.eval_shape(direct, x, kernel).shape[1:3])
        written = _written(x, kernel, pixels, dilation)
        if written is None:
            y = direct(x, kernel)
        else:
            y = jax.lax.platform_dependent(x, kernel, cpu=functools.partial(written, **given), default=direct)
    return y if bias is None else y + bias[None, None, None, :]


def _written(x: Array, kernel: Array, pixels: int, dilation: int) -> Callable[..., Array] | None:
    """What is faster on a CPU than XLA's convolution to so many pixels, or surer."""
    inputs, outputs = kernel.shape[2:]
    if pixels <= SMALL_MAP:
        return _of_patches
    picture, few = inputs < PICTURE, outputs in FEW
    if picture and outputs < FEW.stop and x.shape[1] * x.shape[2] <= SMALL_PICTURE and dilation == 1:
        return _of_pairs
    if outputs < NARROW or (picture and few):
        return functools.partial(_widened, outputs=NARROW if outputs < NARROW else STEM)
    return None


def _direct(
    x: Array, kernel: Array, *, stride: int, padding: int, dilation: int, precision: jax.lax.Precision
) -> Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=precision,
    )


def _widened(x: Array, kernel: Array, *, outputs: int, **given: Any) -> Array:
    """With outputs of zeros after its own."""
    own = kernel.shape[3]
    return _direct(x, jnp.pad(kernel, ((0, 0), (0, 0), (0, 0), (0, outputs - own))), **given)[..., :own]


def _of_patches(
    x: Array, kernel: Array, *, stride: int, padding: int, dilation: int, precision: jax.lax.Precision
) -> Array:
    """All patches side by side, [B, h, w, kh · kw · I], times the kernel as a matrix."""
    rows, columns, _, outputs = kernel.shape
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    last_y, last_x = x.shape[1] - dilation * (rows - 1), x.shape[2] - dilation * (columns - 1)
    patches = [
        x[:, i * dilation : i * dilation + last_y : stride, j * dilation : j * dilation + last_x : stride]
        for i in range(rows)
        for j in range(columns)
    ]
    return jnp.matmul(jnp.concatenate(patches, axis=-1), kernel.reshape(-1, outputs), precision=precision)


def _of_pairs(
    x: Array, kernel: Array, *, stride: int, padding: int, dilation: int, precision: jax.lax.Precision
) -> Array:
    """As `_of_patches`, with a patch wide enough for two neighbouring outputs, whose kernels have zeros where they end.

    A few outputs make too narrow a product to be fast: twice as many, for patches that are hardly wider and half as
    many. Pixels and channels of a row are one axis, so that a patch's rows are copied whole.
    """
    del dilation  # 1
    rows, columns, inputs, outputs = kernel.shape
    height = (x.shape[1] + 2 * padding - rows) // stride + 1
    width = (x.shape[2] + 2 * padding - columns) // stride + 1
    pairs, wide = -(-width // 2), columns + stride
    right = max(padding, 2 * stride * (pairs - 1) + wide - x.shape[2] - padding)
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, right), (0, 0)))
    flat = x.reshape(*x.shape[:2], -1)
    starts = [2 * stride * inputs * pair for pair in range(pairs)]
    windows = jnp.stack([flat[:, :, start : start + wide * inputs] for start in starts], axis=2)
    last = stride * (height - 1) + 1
    patches = jnp.concatenate([windows[:, i : i + last : stride] for i in range(rows)], axis=-1)
    first, second = (jnp.pad(kernel, ((0, 0), ends, (0, 0), (0, 0))) for ends in ((0, stride), (stride, 0)))
    both = jnp.stack([first, second], axis=3).reshape(-1, 2 * outputs)
    y = jnp.matmul(patches, both, precision=precision)
    return y.reshape(x.shape[0], height, 2 * pairs, outputs)[:, :, :width]


def dense(
    x: Float[Array, "*batch I"], kernel: Float[Array, "I O"], bias: Float[Array, "O"] | None = None
) -> Float[Array, "*batch O"]:
    """y = x · kernel + bias, the product at the reference precision."""
    y = jnp.matmul(x, kernel, precision=numerics.PRECISION)
    return y if bias is None else y + jnp.broadcast_to(bias, y.shape)
