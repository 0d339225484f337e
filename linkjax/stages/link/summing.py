"""Moments and class sums of streamed pairs, by the host's BLAS or on every device."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from linkjax.analysis.links import class_sums, moments
from linkjax.analysis.links.class_sums import ClassSums
from linkjax.analysis.links.host_moments import Sums
from linkjax.analysis.links.moments import Moments, Products
from linkjax.devices import cluster, parallel
from linkjax.storage import kept_sums

#: Blocks after which what the devices summed is merged: moments kept there and gone on from give the same bits.
MERGED = 64
#: Bytes of the rows, of all processes, that are gathered at once.
SLAB = 256 << 20
_CLASS = "class_"  # before the names of sums by class, in a file
_HEAD = ("count", "mean_r", "mean_w", "S_ww", "rounding")  # what grows with the units, not with their square


class Summed(NamedTuple):
    """Moments and class sums of the pairs so far; the leaves of both live on the host."""

    moments: Moments
    classes: ClassSums


def nothing(units: int, w_dim: int, classes: int) -> Summed:
    """Sums of no pairs."""
    return Summed(moments.empty(units, w_dim), class_sums.empty(classes, units, w_dim))


class Summing(Protocol):
    """Interface of both ways of summing."""

    @property
    def settled(self) -> bool:
        """Whether a run resumed from the present sums gives the bits of an uninterrupted one."""
        ...

    def add(self, r: np.ndarray, w: np.ndarray, place: np.ndarray) -> None:
        """Count a block of pairs, [n, units] and [n, w_dim], and of each the place of its class [n]."""
        ...

    def summed(self) -> Summed:
        """The sums of all pairs so far."""
        ...


def start(like: Summed, products: Products, rows: int) -> Summing:
    """Begin, or go on from the sums of an earlier run.

    Args:
      like: sums so far, `nothing` at the beginning.
      rows: the most pairs of a block; one compiled program does all blocks.
    """
    mesh = parallel.local_mesh()
    if mesh.size == 1 and mesh.devices.flat[0].platform == "cpu":
        return HostSums(like, products)
    return DeviceSums(like, products, rows, mesh)


class HostSums:
    """By the host's BLAS, in place."""

    def __init__(self, like: Summed, products: Products):
        units, w_dim = like.moments.S_rw.shape
        self._moments = Sums(units, w_dim, products, like.moments)
        self._products: Products = products
        self._classes = jax.tree.map(lambda leaf: np.array(leaf), like.classes)

    @property
    def settled(self) -> bool:
        """As `host_moments.Sums`."""
        return self._moments.settled

    def add(self, r: np.ndarray, w: np.ndarray, place: np.ndarray) -> None:
        """As `Summing`."""
        self._moments.add(r, w)
        class_sums.add_on_host(self._classes, r, w, place, self._products)

    def summed(self) -> Summed:
        """Shares memory with this object."""
        return Summed(self._moments.moments(), self._classes)


class DeviceSums:
    """Every device sums what is its share of each block; the sums are merged now and then, and when asked for.

    Memory: that of the sums on every device, and two blocks.
    """

    def __init__(self, like: Summed, products: Products, rows: int, mesh: Mesh):
        self._like, self._mesh, self._rows = like, mesh, parallel.round_up(rows, mesh)
        self._run = parallel.summing(_ADD[products], mesh)
        self._blocks = 0
        self._clear()

    def _clear(self) -> None:
        units, w_dim = self._like.moments.S_rw.shape
        zero = nothing(units, w_dim, len(self._like.classes.count))
        size = self._mesh.size

        def on_devices(part: Any) -> Any:
            stacked = {
                name: np.broadcast_to(np.asarray(leaf), (size, *leaf.shape)) for name, leaf in vars(part).items()
            }
            return type(part)(**parallel.place(stacked, self._mesh))

        with jax.enable_x64(True):
            self._states = Summed(*map(on_devices, zero))

    @property
    def settled(self) -> bool:
        """True where the devices' sums have just been merged."""
        return self._blocks % MERGED == 0

    def add(self, r: np.ndarray, w: np.ndarray, place: np.ndarray) -> None:
        """Count a block; returns while the devices are still at it, so that the next one can be read."""
        missing = self._rows - len(r)
        items = {"r": r, "w": w, "place": place.astype(np.int32), "mask": np.ones(len(r), bool)}
        if missing:
            items = {name: np.pad(rows, ((0, missing), *[(0, 0)] * (rows.ndim - 1))) for name, rows in items.items()}
        with jax.enable_x64(True):
            self._states = self._run(self._states, parallel.place(items, self._mesh))
        self._blocks += 1
        if self.settled:
            self._like = self.summed()
            self._clear()

    def summed(self) -> Summed:
        """All devices' sums, merged in their order, on the host."""
        host = jax.device_get(self._states)
        each = [jax.tree.map(lambda leaf, i=i: leaf[i], host) for i in range(self._mesh.size)]
        classes = functools.reduce(class_sums.merge, [self._like.classes, *(part.classes for part in each)])
        return Summed(merged([self._like.moments, *(part.moments for part in each)]), classes)


def merged(parts: list[Moments]) -> Moments:
    """The moments of all parts, in their order, on the host."""
    return jax.device_get(functools.reduce(moments.merge, parts))


def over_processes(mine: Summed) -> Summed:
    """The sums of all processes' pairs; every process gets the same bits.

    Memory: the process's own sums, the result, and a few times `SLAB` bytes on the host and on every device,
    however many processes there are.
    """
    if cluster.count() == 1:
        return jax.device_get(mine)
    units, w_dim = mine.moments.S_rw.shape
    slab = max(SLAB // (8 * cluster.count() * max(units, w_dim)), 1)
    classes = functools.reduce(class_sums.merge, parallel.gathered(mine.classes))
    return Summed(by_slabs(lambda take: parallel.gathered(take(mine.moments)), slab), classes)


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


def save(path: Path, sums: Summed, note: Mapping[str, Any]) -> None:
    """Write sums beside what they are of, whole or not at all."""
    arrays = {name: np.asarray(leaf) for name, leaf in vars(sums.moments).items()}
    arrays |= {_CLASS + name: np.asarray(leaf) for name, leaf in vars(sums.classes).items()}
    kept_sums.save(path, arrays, note)


def load(path: Path) -> tuple[Summed, dict[str, Any]] | None:
    """What `save` wrote; None if nothing is there, or only what an older linkjax wrote, without sums of classes.

    Raises: InputError if the file is damaged.
    """
    sums, note = kept_sums.load(path, _of_arrays) or (None, {})
    return None if sums is None else (sums, note)


def _of_arrays(arrays: dict[str, Any]) -> Summed | None:
    classes = {name.removeprefix(_CLASS): arrays.pop(name) for name in list(arrays) if name.startswith(_CLASS)}
    return Summed(Moments(**arrays), ClassSums(**classes)) if classes else None


def _add(state: Summed, items: Mapping[str, jax.Array], *, products: Products) -> Summed:
    r, w, mask = items["r"], items["w"], items["mask"]
    return Summed(
        moments.add(state.moments, r, w, mask, products=products),
        class_sums.add(state.classes, r, w, items["place"], mask),
    )


_ADD = {products: functools.partial(_add, products=products) for products in ("float64", "float32")}
