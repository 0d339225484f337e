"""Maps at another size: pooled, or enlarged."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from linkjax import numerics
from linkjax.models.graph.operations.table import operation
from linkjax.models.graph.view import View
from linkjax.ops import pooling

#: How a value [B, C, H, W] lies as a map [B, H, W, C].
MAP = (0, 3, 1, 2)
_LARGEST_WINDOW = 64


def _mapped(function: Callable[[Array], Array], input: View) -> View:
    if input.rank != 4:
        raise ValueError(f"expected maps [batch, channels, height, width], found {input.shape}")
    return View(function(input.laid(MAP)), MAP)


def _sides(size: int, window: int, stride: int, padding: int, dilation: int, ceil: bool) -> tuple[int, int]:
    """Padding before and after; with `ceil` a last window that begins inside is whole."""
    reach = dilation * (window - 1) + 1
    steps = (size + 2 * padding - reach) / stride
    count = (math.ceil(steps) if ceil else math.floor(steps)) + 1
    if ceil and (count - 1) * stride >= size + padding:
        count -= 1
    return padding, max(padding, (count - 1) * stride + reach - size - padding)


def _checked(window: tuple[int, ...], *others: tuple[int, ...]) -> None:
    if any(len(each) != 2 for each in (window, *others)) or min(window) < 1 or max(window) > _LARGEST_WINDOW:
        raise ValueError(f"expected windows of 1 … {_LARGEST_WINDOW} pixels, two sides, found {window}, {others}")


@operation
def max_pool2d(
    input: View,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...] = (0, 0),
    dilation: tuple[int, ...] = (1, 1),
    ceil_mode: bool = False,
) -> View:
    """Largest value of each window."""
    _checked(kernel_size, stride, padding, dilation)
    even = all(each[0] == each[1] for each in (kernel_size, stride, padding)) and dilation == (1, 1)
    if even and not ceil_mode:
        return _mapped(lambda x: pooling.max_pool(x, kernel_size[0], stride[0], padding[0]), input)

    def pooled(x: Array) -> Array:
        sides = [_sides(x.shape[1 + i], kernel_size[i], stride[i], padding[i], dilation[i], ceil_mode) for i in (0, 1)]
        return jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, (1, *kernel_size, 1), (1, *stride, 1), ((0, 0), *sides, (0, 0)),
            window_dilation=(1, *dilation, 1),
        )  # fmt: skip

    return _mapped(pooled, input)


@operation
def avg_pool2d(
    input: View,
    kernel_size: tuple[int, ...],
    stride: tuple[int, ...],
    padding: tuple[int, ...] = (0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> View:
    """Mean of each window; what lies outside counts as 0, or with `count_include_pad` off not at all."""
    _checked(kernel_size, stride, padding)

    def pooled(x: Array) -> Array:
        sizes = x.shape[1:3]
        sides = [_sides(sizes[i], kernel_size[i], stride[i], padding[i], 1, ceil_mode) for i in (0, 1)]
        total = jax.lax.reduce_window(
            x, 0.0, jax.lax.add, (1, *kernel_size, 1), (1, *stride, 1), ((0, 0), *sides, (0, 0))
        )
        # what `ceil_mode` adds at the end never counts, padding does where it is asked to
        counted = [
            _counts(sizes[i], kernel_size[i], stride[i], sides[i], padding[i] if count_include_pad else 0)
            for i in (0, 1)
        ]
        return total / jnp.asarray(counted[0][:, None] * counted[1][None, :])[None, :, :, None]

    return _mapped(pooled, input)


def _counts(size: int, window: int, stride: int, sides: tuple[int, int], beyond: int) -> np.ndarray:
    """Positions in each window that lie inside, or at most `beyond` outside."""
    number = (size + sum(sides) - window) // stride + 1
    first = np.arange(number) * stride - sides[0]
    return (np.minimum(first + window, size + beyond) - np.maximum(first, -beyond)).astype(np.float32)


@operation
def adaptive_avg_pool2d(input: View, output_size: tuple[int, ...]) -> View:
    """Means over a grid of bins that cover the map."""
    rows, columns = output_size
    if not (1 <= rows <= 1024 and 1 <= columns <= 1024):
        raise ValueError(f"expected a grid of 1 … 1024 bins a side, found {output_size}")
    if (rows, columns) == (1, 1):
        return _mapped(lambda x: jnp.mean(x, axis=(1, 2), keepdims=True), input)
    return _mapped(lambda x: pooling.adaptive_avg_pool(x, (rows, columns)), input)


@operation
def upsample_nearest2d(input: View, *, shape: tuple[int, ...]) -> View:
    """Each pixel of the stated shape from the one it lies in."""

    def of(x: Array) -> Array:
        for axis, new in ((1, shape[2]), (2, shape[3])):
            x = jnp.take(x, np.arange(new) * x.shape[axis] // new, axis=axis, mode="clip")
        return x

    return _mapped(of, input)


@operation
def upsample_bilinear2d(input: View, align_corners: bool = False, *, shape: tuple[int, ...]) -> View:
    """Each pixel of the stated shape from the four around it."""

    def of(x: Array) -> Array:
        rows, columns = (_between(x.shape[1 + i], shape[2 + i], align_corners) for i in (0, 1))
        x = jnp.einsum("ih,bhwc->biwc", rows, x, precision=numerics.PRECISION)
        return jnp.einsum("jw,bhwc->bhjc", columns, x, precision=numerics.PRECISION)

    return _mapped(of, input)


@functools.cache
def _between(size: int, new: int, corners: bool) -> np.ndarray:
    """Weights [new, size] of linear interpolation."""
    if corners:
        at = np.arange(new) * ((size - 1) / (new - 1) if new > 1 else 0.0)
    else:
        at = np.maximum((np.arange(new) + 0.5) * (size / new) - 0.5, 0.0)
    first = np.minimum(at.astype(np.int64), size - 1)
    second, share = np.minimum(first + 1, size - 1), at - first
    weights = np.zeros((new, size), np.float32)
    np.add.at(weights, (np.arange(new), first), 1 - share)
    np.add.at(weights, (np.arange(new), second), share)
    return weights
