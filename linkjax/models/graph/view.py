"""Arrays whose axes lie in another order than a graph counts them: reordering axes is then free until it matters.

A PyTorch graph counts the axes of a map as [batch, channels, height, width]; XLA on a CPU convolves fastest where
channels lie last. A view keeps the array as it lies, so that a whole graph runs channels last
without one transposition.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

Order = tuple[int, ...]


class View(NamedTuple):
    """A value of a graph: `array` as it lies, and where each axis of the value is found in it."""

    array: Array
    order: Order  # axis i of the value is axis order[i] of the array

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return tuple(self.array.shape[axis] for axis in self.order)

    @property
    def rank(self) -> int:
        """Number of axes."""
        return len(self.order)

    def laid(self, order: Order) -> Array:
        """The value's array with its axes in another order: axis i of the value becomes axis order[i]."""
        if order == self.order:
            return self.array
        return jnp.transpose(self.array, [self.order[axis] for axis in inverse(order)])

    def plain(self) -> Array:
        """The value as an ordinary array."""
        return self.laid(tuple(range(self.rank)))

    def like(self, array: Array) -> "View":
        """Another array that lies as this one."""
        return View(array, self.order)

    def axis(self, axis: int) -> int:
        """Where an axis of the value is in the array.

        Raises: ValueError for one that it does not have; they are counted from 0.
        """
        if not 0 <= axis < self.rank:
            raise ValueError(f"expected one of {self.rank} axes, found {axis}")
        return self.order[axis]

    def permuted(self, axes: Order) -> "View":
        """The value whose axis i is this one's axis axes[i]; nothing moves."""
        return View(self.array, tuple(self.order[axis] for axis in axes))

    def without(self, axes: Order) -> "View":
        """The value without some axes, each of length 1."""
        kept = [axis for axis in range(self.rank) if axis not in axes]
        array = jnp.squeeze(self.array, axis=tuple(self.order[axis] for axis in axes))
        return View(array, _ranks([self.order[axis] for axis in kept]))

    def widened(self, rank: int) -> "View":
        """The value with axes of length 1 before its own, up to `rank` of them."""
        more = rank - self.rank
        if more == 0:
            return self
        array = self.array.reshape((1,) * more + self.array.shape)
        return View(array, (*range(more), *(axis + more for axis in self.order)))

    def reshaped(self, shape: tuple[int, ...]) -> "View":
        """The value in another shape, in the order in which the graph counts; moved only where that must be.

        Axes that are split, or joined while they lie side by side, stay where they are.
        """
        groups = _groups(self.shape, shape)
        if groups is None:
            return view(self.plain().reshape(shape))
        placed = []
        for sources, targets in groups:
            lie = [self.order[axis] for axis in sources if self.shape[axis] != 1]
            if lie != list(range(lie[0], lie[0] + len(lie))) and not self._only_ones_between(lie):
                return view(self.plain().reshape(shape))
            placed.append((lie[0], targets))
        targets = [axis for _, group in sorted(placed) for axis in group]
        loose = [axis for axis in range(len(shape)) if axis not in targets]  # axes of length 1 that belong nowhere
        for axis in loose:
            targets.insert(targets.index(axis - 1) + 1 if axis else 0, axis)
        return View(self.array.reshape([shape[axis] for axis in targets]), inverse(tuple(targets)))

    def _only_ones_between(self, lie: list[int]) -> bool:
        """Whether axes follow each other in memory, but for axes of length 1."""
        between = range(lie[0], lie[-1] + 1)
        return lie == sorted(lie) and all(axis in lie or self.array.shape[axis] == 1 for axis in between)


def inverse(order: Order) -> Order:
    """The order that undoes one."""
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def _ranks(places: list[int]) -> Order:
    """Each number's rank among them."""
    return tuple(sorted(places).index(place) for place in places)


def view(array: Array) -> View:
    """A value that lies as it is counted."""
    return View(array, tuple(range(array.ndim)))


def together(one: View, other: View) -> tuple[Array, Array, Order]:
    """Two values, to be broadcast against each other, as arrays that lie in the same order; the larger one stays."""
    rank = max(one.rank, other.rank)
    one, other = one.widened(rank), other.widened(rank)
    order = one.order if one.array.size >= other.array.size else other.order
    return one.laid(order), other.laid(order), order


def _groups(source: tuple[int, ...], target: tuple[int, ...]) -> list[tuple[list[int], list[int]]] | None:
    """The smallest groups of axes of equal size that follow each other in both shapes, without axes of length 1.

    Returns: source axes and target axes of each; None where there is nothing to divide: arrays without elements.
    """
    if math.prod(source) == 0:
        return None
    groups, ahead = [], [axis for axis in range(len(target)) if target[axis] != 1]
    waiting = [axis for axis in range(len(source)) if source[axis] != 1]
    while waiting:
        sources, targets = [waiting.pop(0)], [ahead.pop(0)]
        sizes = source[sources[0]], target[targets[0]]
        while sizes[0] != sizes[1]:
            if sizes[0] < sizes[1]:
                sources.append(waiting.pop(0))
                sizes = sizes[0] * source[sources[-1]], sizes[1]
            else:
                targets.append(ahead.pop(0))
                sizes = sizes[0], sizes[1] * target[targets[-1]]
        groups.append((sources, targets))
    return groups
