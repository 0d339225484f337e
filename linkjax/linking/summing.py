"""Moments of streamed pairs, summed where the computing is done: by the host's BLAS, or by every device for itself."""

import functools
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from linkjax import cluster, parallel
from linkjax.analysis import moments
from linkjax.analysis.host_moments import Sums
from linkjax.analysis.moments import Moments, Products
from linkjax.errors import InputError

#: Blocks after which what the devices summed is merged: moments kept there and gone on from give the same bits.
MERGED = 64
#: Bytes of the rows, of all processes, that are gathered at once.
SLAB = 256 << 20
_HEAD = ("count", "mean_r", "mean_w", "S_ww", "rounding")  # what grows with the units, not with their square


class Summing(Protocol):
    """What both ways have in common."""

    @property
    def settled(self) -> bool:
        """Whether going on from the moments of now gives the bits of a run that never asked for them."""
        ...

    def add(self, r: np.ndarray, w: np.ndarray) -> None:
        """Count a block of pairs, [n, units] and [n, w_dim]."""
        ...

    def moments(self) -> Moments:
        """The moments of all pairs so far."""
        ...


def start(like: Moments, products: Products, rows: int) -> Summing:
    """Begin, or go on from the moments of an earlier run.

    Args:
      like: moments so far, `moments.empty` at the beginning.
      rows: the most pairs of a block; one compiled program does all blocks.
    """
    on = parallel.local_mesh()
    if on.size == 1 and on.devices.flat[0].platform == "cpu":
        units, w_dim = like.S_rw.shape
        return Sums(units, w_dim, products, like)
    return DeviceSums(like, products, rows, on)


class DeviceSums:
    """Every device sums the moments of its share of each block; they are merged now and then, and when asked for.

    Memory: that of the moments on every device, and two blocks.
    """

    def __init__(self, like: Moments, products: Products, rows: int, on: Mesh):
        self._like, self._mesh, self._rows = like, on, parallel.round_up(rows, on)
        self._run = parallel.summing(_ADD[products], on)
        self._blocks = 0
        self._clear()

    def _clear(self) -> None:
        size = self._mesh.size
        zero = moments.empty(*self._like.S_rw.shape)
        stacked = jax.tree.map(lambda leaf: np.broadcast_to(np.asarray(leaf), (size, *leaf.shape)), zero)
        with jax.enable_x64(True):
            self._states = Moments(**parallel.place(vars(stacked), self._mesh))

    @property
    def settled(self) -> bool:
        """True where the devices' sums have just been merged."""
        return self._blocks % MERGED == 0

    def add(self, r: np.ndarray, w: np.ndarray) -> None:
        """Count a block; returns while the devices are still at it, so that the next one can be read."""
        missing = self._rows - len(r)
        mask = np.arange(self._rows) < len(r)
        if missing:
            r, w = (np.pad(rows, ((0, missing), (0, 0))) for rows in (r, w))
        with jax.enable_x64(True):
            self._states = self._run(self._states, parallel.place({"r": r, "w": w, "mask": mask}, self._mesh))
        self._blocks += 1
        if self.settled:
            self._like = self.moments()
            self._clear()

    def moments(self) -> Moments:
        """All devices' moments, merged in their order, on the host."""
        host = jax.device_get(self._states)
        return merged([self._like, *(jax.tree.map(lambda leaf, i=i: leaf[i], host) for i in range(self._mesh.size))])


def merged(parts: list[Moments]) -> Moments:
    """The moments of all parts, in their order, on the host."""
    return jax.device_get(functools.reduce(moments.merge, parts))


def over_processes(mine: Moments) -> Moments:
    """The moments of all processes' pairs; every process gets the same bits.

    Memory: the process's own moments, the result, and a few times `SLAB` bytes on the host and on every device,
    however many processes there are.
    """
    if cluster.count() == 1:
        return jax.device_get(mine)
    units, w_dim = mine.S_rw.shape
    slab = max(SLAB // (8 * cluster.count() * max(units, w_dim)), 1)
    return by_slabs(lambda take: parallel.gathered(take(mine)), slab)


def by_slabs(gathered: Callable[[Callable[[Moments], Any]], list[Any]], slab: int) -> Moments:
    """Moments merged in order, as `merged` does, of which only some rows are ever together in one place.

    The weights and the distances of the means in Chan's rule are told by counts and means alone: these come whole, and
    then S_rr and S_rw, `slab` rows at a time.

    Args:
      gathered: take → what it takes of each part's moments, in their order.
    """
    heads = gathered(lambda part: {name: getattr(part, name) for name in _HEAD})
    total = heads[0]
    ranks: list[tuple[np.ndarray, np.ndarray]] = []  # of each later part: √weight · δ of r and of w
    for head in heads[1:]:
        count = total["count"] + head["count"]
        share = head["count"] / max(count, 1.0)
        root = np.sqrt(total["count"] * share)
        delta_r, delta_w = head["mean_r"] - total["mean_r"], head["mean_w"] - total["mean_w"]
        ranks.append((root * delta_r, root * delta_w))
        total = {
            "count": count,
            "mean_r": total["mean_r"] + share * delta_r,
            "mean_w": total["mean_w"] + share * delta_w,
            "S_ww": total["S_ww"] + head["S_ww"] + ranks[-1][1] ** 2,
            "rounding": np.maximum(total["rounding"], head["rounding"]),
        }
    units, w_dim = len(total["mean_r"]), len(total["mean_w"])
    S: dict[str, Any] = {"S_rr": np.empty((units, units)), "S_rw": np.empty((units, w_dim))}
    for start in range(0, units, slab):
        some = slice(start, start + slab)
        for name, column in (("S_rr", 0), ("S_rw", 1)):
            first, *others = gathered(lambda part, name=name, some=some: np.asarray(getattr(part, name)[some]))
            S[name][some] = first
            for other, rank in zip(others, ranks, strict=True):
                S[name][some] += other
                S[name][some] += rank[0][some, None] * rank[column][None]
    return Moments(**S, **total)


def save(path: Path, sums: Moments, note: Mapping[str, Any]) -> None:
    """Write moments beside what they are of, whole or not at all."""
    arrays: dict[str, Any] = {name: np.asarray(leaf) for name, leaf in vars(sums).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    with open(new, "wb") as file:
        np.savez(file, note=np.array(json.dumps(note)), **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def load(path: Path) -> tuple[Moments, dict[str, Any]] | None:
    """What `save` wrote; None if nothing is there.

    Raises: InputError if the file is damaged.
    """
    if not path.exists():
        return None
    try:
        with np.load(path) as data:  # every array carries a CRC-32
            arrays = {name: data[name] for name in data.files}
        note = json.loads(str(arrays.pop("note")))
        return Moments(**arrays), note
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: these sums of an unfinished run are damaged ({error}); remove the file") from None


def _add(state: Moments, items: Mapping[str, jax.Array], *, products: Products) -> Moments:
    return moments.add(state, items["r"], items["w"], items["mask"], products=products)


_ADD = {products: functools.partial(_add, products=products) for products in ("float64", "float32")}
