"""Numbers as they are, in another shape, order or choice."""

import math
from typing import Literal

import jax
import jax.numpy as jnp

from linkjax.models.graph.operations.table import operation
from linkjax.models.graph.view import View, view

_MODES: dict[str, str] = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@operation
def reshape(input: View, *, shape: tuple[int, ...]) -> View:
    """The same numbers in the shape that the graph states."""
    if math.prod(shape) != input.array.size:
        raise ValueError(f"{input.shape} cannot become {shape}")
    return input.reshaped(shape)


@operation
def permute(input: View, dims: tuple[int, ...]) -> View:
    """Axes in another order."""
    if sorted(dims) != list(range(input.rank)):
        raise ValueError(f"expected each of {input.rank} axes once, found {dims}")
    return input.permuted(dims)


@operation
def expand(input: View, *, shape: tuple[int, ...]) -> View:
    """Repeated along axes of length 1, or before all, up to the shape that the graph states."""
    wide = input.widened(len(shape))
    there = [0] * len(shape)
    for axis, size in enumerate(shape):
        there[wide.axis(axis)] = size
    return wide.like(jnp.broadcast_to(wide.array, there))


@operation
def slice(input: View, dim: int, start: int, end: int, step: int = 1) -> View:
    """Every step-th entry from start up to end, along an axis."""
    if not (0 <= start <= end <= input.shape[dim] and step >= 1):
        raise ValueError(f"expected a part of {input.shape[dim]} entries, found {start} … {end} by {step}")
    return input.like(jax.lax.slice_in_dim(input.array, start, end, step, axis=input.axis(dim)))


@operation
def select(input: View, dim: int, index: int) -> View:
    """One entry along an axis, which goes."""
    return slice(input, dim, index, index + 1).without((dim,))


@operation
def concatenate(tensors: tuple[View, ...], dim: int) -> View:
    """One after the other along an axis."""
    order = max(tensors, key=lambda each: each.array.size).order
    return View(jnp.concatenate([each.laid(order) for each in tensors], axis=order[dim]), order)


@operation
def stack(tensors: tuple[View, ...], dim: int) -> View:
    """One after the other along a new axis."""
    shape = [*tensors[0].shape[:dim], 1, *tensors[0].shape[dim:]]
    return concatenate(tuple(each.reshaped(tuple(shape)) for each in tensors), dim)


@operation
def pad(
    input: View,
    pad: tuple[int, ...],
    mode: Literal["constant", "reflect", "replicate", "circular"] = "constant",
    value: float = 0,
) -> View:
    """Filled up at the ends of the last axes: before and after the last one, then of the one before it, …; less: cut.

    Reference: torch.nn.functional.pad.
    """
    if len(pad) % 2 or len(pad) > 2 * input.rank:
        raise ValueError(f"expected two numbers an axis, found {pad}")
    sides, cut = [(0, 0)] * input.rank, input
    for place in range(len(pad) // 2):
        axis = input.rank - 1 - place
        before, after = pad[2 * place : 2 * place + 2]
        sides[input.axis(axis)] = max(before, 0), max(after, 0)
        if before < 0 or after < 0:
            cut = slice(cut, axis, max(-before, 0), cut.shape[axis] - max(-after, 0))
    if mode == "constant":
        return cut.like(jnp.pad(cut.array, sides, constant_values=value))
    return cut.like(jnp.pad(cut.array, sides, mode=_MODES[mode]))


@operation
def roll(input: View, shifts: tuple[int, ...], dims: tuple[int, ...]) -> View:
    """Moved along axes; what leaves at one end enters at the other."""
    if len(shifts) != len(dims):
        raise ValueError(f"expected a shift for each axis, found {shifts} and {dims}")
    return input.like(jnp.roll(input.array, shifts, axis=tuple(input.axis(axis) for axis in dims)))


@operation
def flip(input: View, dims: tuple[int, ...]) -> View:
    """Turned round along axes."""
    return input.like(jnp.flip(input.array, tuple(input.axis(axis) for axis in dims)))


@operation
def take(input: View, dim: int, index: View) -> View:
    """Entries along an axis, by their places; the axis becomes those of `index`, in which −1 is the last."""
    places = index.plain()
    places = jnp.where(places < 0, places + input.shape[dim], places)
    if index.rank == 1:
        return input.like(jnp.take(input.array, places, axis=input.axis(dim), mode="clip"))
    return view(jnp.take(input.plain(), places, axis=dim, mode="clip"))


@operation
def repeat(input: View, repeats: tuple[int, ...]) -> View:
    """The whole, again and again along each axis."""
    wide = input.widened(len(repeats))
    there = [1] * len(repeats)
    for axis, count in enumerate(repeats):
        there[wide.axis(axis)] = count
    return wide.like(jnp.tile(wide.array, there))


@operation
def pixel_shuffle(input: View, factor: int) -> View:
    """[B, C f², H, W] → [B, C, H f, W f]."""
    batch, channels, height, width = input.shape
    inner = input.reshaped((batch, channels // factor**2, factor, factor, height, width))
    return inner.permuted((0, 1, 4, 2, 5, 3)).reshaped((batch, channels // factor**2,
                                                         height * factor, width * factor))  # fmt: skip


@operation
def pixel_unshuffle(input: View, factor: int) -> View:
    """[B, C, H f, W f] → [B, C f², H, W]."""
    batch, channels, height, width = input.shape
    inner = input.reshaped((batch, channels, height // factor, factor, width // factor, factor))
    return inner.permuted((0, 1, 3, 5, 2, 4)).reshaped((batch, channels * factor**2, height // factor, width // factor))
