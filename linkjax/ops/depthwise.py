"""Depthwise convolution: every channel with a kernel of its own."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from linkjax import numerics
from linkjax.ops.custom_transpose import with_transposes

#: Kernels up to so many taps are written out on a CPU; beyond, the program would be long.
MOST_TAPS = 121


def depthwise_conv(
    x: Float[Array, "B H W C"],
    kernel: Float[Array, "kh kw 1 C"],
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
) -> Float[Array, "B h w C"]:
    """Cross-correlation y[p, c] = Σ_q x[p · stride + q − padding, c] · kernel[q, c].

    Numerics: on a CPU a sum of shifted maps, where XLA's grouped convolution is slow. Its derivative for x is one of
      the same kind.
    """
    return _depthwise(x, kernel, stride=stride, padding=padding)


def _direct(x: Array, kernel: Array, *, stride: tuple[int, int], padding: tuple[int, int]) -> Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=stride,
        padding=[(side, side) for side in padding],
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
        precision=numerics.PRECISION,
    )


def _shifted(x: Array, kernel: Array, stride: tuple[int, int]) -> Array:
    """Without padding. Row by row of the kernel: all taps in one expression compile slowly, and run no faster."""
    rows, columns = kernel.shape[:2]
    down, across = x.shape[1] - rows + 1, x.shape[2] - columns + 1
    total = None
    for i in range(rows):
        strip = x[:, i : i + down : stride[0]]
        taps = [strip[:, :, j : j + across : stride[1]] * kernel[i, j][None, None] for j in range(columns)]
        row = jax.lax.optimization_barrier(functools.reduce(jnp.add, taps))
        total = row if total is None else total + row
    assert total is not None
    return total


def _forward(x: Array, kernel: Array, *, stride: tuple[int, int], padding: tuple[int, int]) -> Array:
    def written(x: Array, kernel: Array) -> Array:
        padded = jnp.pad(x, ((0, 0), *((side, side) for side in padding), (0, 0)))
        return _shifted(padded, kernel, stride)

    direct = functools.partial(_direct, stride=stride, padding=padding)
    if kernel.shape[0] * kernel.shape[1] > MOST_TAPS:
        return direct(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=written, default=direct)


def _transpose_x(g: Array, kernel: Array, like: Any, *, stride: tuple[int, int], padding: tuple[int, int]) -> Array:
    direct = functools.partial(_direct, stride=stride, padding=padding)

    def derived(g: Array, kernel: Array) -> Array:
        return jax.linear_transpose(lambda x: direct(x, kernel), like)(g)[0]

    def written(g: Array, kernel: Array) -> Array:
        spread = [(0, 0, 0)]
        for axis in (0, 1):
            before = kernel.shape[axis] - 1 - padding[axis]
            long = (g.shape[1 + axis] - 1) * stride[axis] + 1
            after = like.shape[1 + axis] + kernel.shape[axis] - 1 - before - long
            spread.append((before, after, stride[axis] - 1))
        wide = jax.lax.pad(g, jnp.zeros((), g.dtype), [*spread, (0, 0, 0)])
        return _shifted(wide, kernel[::-1, ::-1], (1, 1))

    if kernel.shape[0] * kernel.shape[1] > MOST_TAPS:
        return derived(g, kernel)
    return jax.lax.platform_dependent(g, kernel, cpu=written, default=derived)


_depthwise = with_transposes("depthwise_conv", _forward, _transpose_x)
