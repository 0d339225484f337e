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
#: 2 × 2, a fifth for 7 × 7; from 14 × 14 on it is faster. With few channels it costs next to nothing either way, and
#: compiles faster as it is.
SMALL_MAP, MANY = 49, 32
#: On a CPU convolutions of pictures (fewer than 8 inputs) to 17 … 39 outputs get as many, of zeros: XLA's is 3 to 10
#: times slower there than with 64.
PICTURE, FEW, STEM = 8, range(17, 40), 64
#: Those with fewer outputs get as many: XLA on a CPU otherwise sums them in an order that depends on the number of
#: threads, and so on cores and simulated devices. Seen with 3, 5 and 6 outputs, not with 8 and more.
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
    Numerics: on a CPU a 1 × 1 convolution, half to a third of XLA's time for it, and one to a small map are matrix
      products. In full float32 whatever the precision, which only accelerators know.
    """
    given: Any = {"stride": stride, "padding": padding, "dilation": dilation}
    direct = functools.partial(_direct, **given, precision=precision)
    written = _written(kernel, math.prod(jax.eval_shape(direct, x, kernel).shape[1:3]), padding)
    if written is None:
        y = direct(x, kernel)
    else:
        y = jax.lax.platform_dependent(x, kernel, cpu=functools.partial(written, **given), default=direct)
    return y if bias is None else y + bias[None, None, None, :]


def _written(kernel: Array, pixels: int, padding: int) -> Callable[..., Array] | None:
    """What is faster on a CPU than XLA's convolution to so many pixels, or surer."""
    inputs, outputs = kernel.shape[2:]
    if pixels == 0:
        return None
    if (pixels <= SMALL_MAP and min(inputs, outputs) >= MANY) or (kernel.shape[:2] == (1, 1) and padding == 0):
        return _of_patches
    if outputs < NARROW or (inputs < PICTURE and outputs in FEW):
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
    wide = jnp.pad(kernel, ((0, 0), (0, 0), (0, 0), (0, outputs - own)))
    return _direct(x, wide, **given, precision=numerics.PRECISION)[..., :own]


def _of_patches(x: Array, kernel: Array, *, stride: int, padding: int, dilation: int) -> Array:
    """All patches side by side, [B, h, w, kh · kw · I], times the kernel as a matrix."""
    rows, columns, _, outputs = kernel.shape
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    last_y, last_x = x.shape[1] - dilation * (rows - 1), x.shape[2] - dilation * (columns - 1)
    patches = [
        x[:, i * dilation : i * dilation + last_y : stride, j * dilation : j * dilation + last_x : stride]
        for i in range(rows)
        for j in range(columns)
    ]
    matrix = kernel.reshape(-1, outputs)
    return jnp.matmul(jnp.concatenate(patches, axis=-1), matrix, precision=numerics.PRECISION)


def dense(
    x: Float[Array, "*batch I"], kernel: Float[Array, "I O"], bias: Float[Array, "O"] | None = None
) -> Float[Array, "*batch O"]:
    """y = x · kernel + bias, the product at the reference precision."""
    y = jnp.matmul(x, kernel, precision=numerics.PRECISION)
    return y if bias is None else y + jnp.broadcast_to(bias, y.shape)
