"""Full convolution (padding k − 1), the way that is fastest where it runs, with cheap derivatives."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from linkjax import numerics
from linkjax.ops.conv import conv
from linkjax.ops.custom_transpose import with_transposes
from linkjax.ops.winograd import full_conv3x3

#: Channels from which Winograd's method pays: its 16 small products outlast a direct convolution's setup, and its
#: longer program is worth compiling.
WINOGRAD_CHANNELS = 128


def full_conv(
    x: Float[Array, "B H W I"],
    kernel: Float[Array, "k k I O"],
    precision: jax.lax.Precision = numerics.PRECISION,
) -> Float[Array, "B h w O"]:
    """Cross-correlation with padding k − 1 on every side: [B, H + k − 1, W + k − 1, O].

    Wide 3×3 ones on a CPU go by Winograd's method, twice as fast and as exact. The derivative for x is a convolution
    with the kernel turned round, that for the kernel one matrix product an image; accelerators have better ones of
    their own.

    Args:
      x: float32, bfloat16 or float16; kernel: of the same type.
      precision: of float32 products on an accelerator.
    Returns: of x's type. Half-precision products are summed in float32 and rounded once: by the accelerators' own
      convolutions, and on a CPU by computing in float32 what was rounded before.
    """
    return _full_conv(x, kernel, precision=precision)


def _direct(x: Array, kernel: Array, precision: jax.lax.Precision) -> Array:
    return conv(x, kernel, padding=kernel.shape[0] - 1, precision=precision)


def _widened(function: Callable[..., Array], like: Any, *arrays: Array) -> Array:
    """`function` of float32 arrays, whatever they were stored as, rounded to the type of `like`."""
    return numerics.stored(function(*(array.astype(jnp.float32) for array in arrays)), like.dtype)


def _wide(kernel: Array) -> bool:
    return kernel.shape[:2] == (3, 3) and min(kernel.shape[2:]) >= WINOGRAD_CHANNELS


def _forward(x: Array, kernel: Array, *, precision: jax.lax.Precision) -> Array:
    direct = functools.partial(_direct, precision=precision)
    if x.dtype == jnp.float32 and not _wide(kernel):
        return direct(x, kernel)
    # Accelerators' own convolutions are better than one spelled out.
    here = full_conv3x3 if _wide(kernel) else direct
    return jax.lax.platform_dependent(x, kernel, cpu=functools.partial(_widened, here, x), default=direct)


def _transpose_x(g: Array, kernel: Array, like: Any, *, precision: jax.lax.Precision) -> Array:
    def derived(g: Array, kernel: Array) -> Array:
        return jax.linear_transpose(lambda x: _direct(x, kernel, precision), like)(g)[0]

    def written(g: Array, kernel: Array) -> Array:
        turned = jnp.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))
        if _wide(kernel):
            return full_conv3x3(g, turned)[:, 2:-2, 2:-2]
        # Padded and cropped: XLA's CPU convolution is several times slower without padding.
        crop = kernel.shape[0] // 2
        wide = conv(g, turned, padding=crop)
        return wide[:, crop:-crop, crop:-crop] if crop else wide

    return jax.lax.platform_dependent(g, kernel, cpu=functools.partial(_widened, written, like), default=derived)


def _transpose_kernel(g: Array, x: Array, like: Any, *, precision: jax.lax.Precision) -> Array:
    """k̄[i, j] = Σ x[p] g[p + k − 1 − (i, j)]."""

    def derived(g: Array, x: Array) -> Array:
        return jax.linear_transpose(lambda kernel: _direct(x, kernel, precision), like)(g)[0]

    def written(g: Array, x: Array) -> Array:
        """x shifted by rows against g shifted by columns, in one product an image."""
        k, _, inputs, outputs = like.shape
        height, width = x.shape[1:3]
        flat = (height + k - 1) * width

        def one(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
            x, g = pair
            rows = jnp.concatenate([jnp.pad(x, ((k - 1 - i, i), (0, 0), (0, 0))) for i in range(k)], -1)
            columns = jnp.concatenate([g[:, k - 1 - j : k - 1 - j + width] for j in range(k)], -1)
            product = jnp.matmul(
                rows.reshape(flat, k * inputs).T, columns.reshape(flat, k * outputs), precision=numerics.PRECISION
            )
            return total + product, None

        total, _ = jax.lax.scan(one, jnp.zeros_like(x, shape=(k * inputs, k * outputs)), (x, g))
        return total.reshape(k, inputs, k, outputs).transpose(0, 2, 1, 3)

    return jax.lax.platform_dependent(g, x, cpu=functools.partial(_widened, written, like), default=derived)


_full_conv = with_transposes("full_conv", _forward, _transpose_x, _transpose_kernel)
