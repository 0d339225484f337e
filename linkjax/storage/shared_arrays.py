"""Zarr arrays that several processes write together: each writes the chunks it owns, so no two touch one file.

A chunk belongs to the process with its number modulo the number of processes. Every process makes the same call with
the same values and writes its share of them; a region may begin and end anywhere inside a chunk.
"""

import itertools
from typing import Any

import numpy as np
import zarr

from linkjax.devices import cluster


class SharedGroup:
    """A group as the stages see it: `group[name][index] = values`, `.oindex[…] = values`, `group[name][index]`.

    All processes call alike, so a read after writes waits until all have written. In `cluster.on_first` nobody can be
    waited for: there, writing and reading what was just written are errors.
    """

    def __init__(self, group: zarr.Group):
        self._group = group
        self.needs_barrier = False  # whether something was written since the last barrier

    def __contains__(self, name: str) -> bool:
        return name in self._group

    def __getitem__(self, name: str) -> "SharedArray":
        array = self._group[name]
        assert isinstance(array, zarr.Array), name
        return SharedArray(array, self)


class SharedArray:
    """One array of a `SharedGroup`."""

    def __init__(self, array: zarr.Array, group: SharedGroup):
        self._array, self._group = array, group

    def __getattr__(self, name: str) -> Any:
        return getattr(self._array, name)

    @property
    def oindex(self) -> "_Orthogonal":
        """Rows and columns by number, one list for each dimension."""
        return _Orthogonal(self)

    def __getitem__(self, index: Any) -> Any:
        return self.settled()[index]

    def __setitem__(self, index: Any, values: Any) -> None:
        if cluster.alone():
            raise RuntimeError("shared arrays are written by all processes, not by the first alone")
        self._group.needs_barrier = True
        write_share(self._array, index, values, cluster.index(), cluster.count())

    def settled(self) -> zarr.Array:
        """The array, once every process has written what it had to.

        Raises: RuntimeError in work of the first process alone, if the processes have not met since they wrote.
        """
        if self._group.needs_barrier:
            if cluster.alone():
                raise RuntimeError("shared arrays: read before `cluster.on_first` what its work needs")
            cluster.barrier()
            self._group.needs_barrier = False
        return self._array


class _Orthogonal:
    def __init__(self, array: SharedArray):
        self._array = array

    def __getitem__(self, index: Any) -> Any:
        return self._array.settled().oindex[index]

    def __setitem__(self, index: Any, values: Any) -> None:
        self._array[index] = values


def write_share(array: zarr.Array, index: Any, values: Any, process: int, processes: int) -> None:
    """Write of `array[index] = values`, or of `array.oindex[index] = values`, what lies in this process's chunks.

    Args:
      index: a slice with step 1 or more, a whole number, or a list of numbers for each dimension, or `...`.
      values: what NumPy would broadcast to that region.
    """
    rows, kept = _numbers(index, array.shape)
    region = tuple(len(each) for each in rows)
    wanted = tuple(length for length, keep in zip(region, kept, strict=True) if keep)
    values = np.broadcast_to(np.asarray(values), wanted).reshape(region)
    # Of each dimension: the chunks it touches, and where in the region each one's rows are.
    touched = []
    for each, size in zip(rows, array.chunks, strict=True):
        number = each // size
        touched.append([(chunk, np.flatnonzero(number == chunk)) for chunk in np.unique(number)])
    grid = tuple(-(-length // size) for length, size in zip(array.shape, array.chunks, strict=True))
    for parts in itertools.product(*touched):
        chunk = int(np.ravel_multi_index([number for number, _ in parts], grid)) if grid else 0
        if chunk % processes == process:
            where = tuple(places for _, places in parts)
            share = values[np.ix_(*where)] if where else values
            array.oindex[tuple(each[places] for each, places in zip(rows, where, strict=True))] = share


def _numbers(index: Any, shape: tuple[int, ...]) -> tuple[list[np.ndarray], list[bool]]:
    """The rows of every dimension, and whether the dimension is kept in the values."""
    parts = list(index) if isinstance(index, tuple) else [index]
    gap = next((place for place, part in enumerate(parts) if part is Ellipsis), None)
    missing = [slice(None)] * (len(shape) - len(parts) + (gap is not None))
    parts = parts + missing if gap is None else parts[:gap] + missing + parts[gap + 1 :]
    rows, kept = [], []
    for part, length in zip(parts, shape, strict=True):
        kept.append(not isinstance(part, int | np.integer))
        if isinstance(part, slice):
            rows.append(np.arange(length)[part])
        elif kept[-1]:
            numbers = np.asarray(part)
            rows.append(np.flatnonzero(numbers) if numbers.dtype == bool else numbers % max(length, 1))
        else:
            rows.append(np.array([int(part) % length]))
    return rows, kept
