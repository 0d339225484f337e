"""Zarr arrays of a result that is being made, by one process or by several that write them together.

Of several each writes the chunks it owns, so no two touch one file. A chunk belongs to the process with its number
modulo the number of processes. Every process makes the same call with the same values and writes its share of them; a
region may begin and end anywhere inside a chunk.
"""

import itertools
from typing import Any

import numpy as np
import zarr

from linkjax.devices import cluster


class Arrays:
    """The arrays of a result that is being made: `arrays[name][index]`, `arrays[name][index] = values`.

    Of several processes all call alike, so a read after writes waits until all have written. In `cluster.on_first`
    nobody can be waited for: there, writing and reading what was just written are errors.
    """

    def __init__(self, group: zarr.Group):
        self._group = group
        self.needs_barrier = False  # whether something was written since the last barrier

    def __contains__(self, name: str) -> bool:
        return name in self._group

    def __getitem__(self, name: str) -> "StoredArray":
        array = self._group[name]
        assert isinstance(array, zarr.Array), name
        return StoredArray(array, self)


class StoredArray:
    """One array of `Arrays`, indexed as NumPy's by slices and numbers; rows by number: `rows`, `put_rows`."""

    def __init__(self, array: zarr.Array, arrays: Arrays):
        self._array, self._arrays = array, arrays

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every dimension."""
        return self._array.shape

    @property
    def dims(self) -> tuple[str, ...]:
        """Name of every dimension."""
        return tuple(name or "" for name in self._array.metadata.dimension_names or ())  # pyright: ignore[reportAttributeAccessIssue]

    def __getitem__(self, index: Any) -> np.ndarray:
        return self._settled()[index]  # pyright: ignore[reportReturnType]

    def __setitem__(self, index: Any, values: Any) -> None:
        if cluster.alone():
            raise RuntimeError("stored arrays are written by all processes, not by the first alone")
        if cluster.count() == 1:
            self._array[index] = values
        else:
            self._share(index, values)

    def rows(self, rows: Any) -> np.ndarray:
        """Rows by number, in any order."""
        return self._settled().oindex[rows]  # pyright: ignore[reportReturnType]

    def put_rows(self, rows: Any, values: np.ndarray, axis: int = 0) -> None:
        """Write rows by number along an axis; they ascend but need not be contiguous."""
        index: list[Any] = [slice(None)] * self._array.ndim
        index[axis] = rows
        if cluster.count() == 1:
            self._array.oindex[tuple(index)] = values
        else:
            self._share(tuple(index), values)

    def _share(self, index: Any, values: Any) -> None:
        self._arrays.needs_barrier = True
        write_share(self._array, index, values, cluster.index(), cluster.count())

    def _settled(self) -> zarr.Array:
        """The array, once every process has written what it had to.

        Raises: RuntimeError in work of the first process alone, if the processes have not met since they wrote.
        """
        if self._arrays.needs_barrier:
            if cluster.alone():
                raise RuntimeError("stored arrays: read before `cluster.on_first` what its work needs")
            cluster.barrier()
            self._arrays.needs_barrier = False
        return self._array


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
