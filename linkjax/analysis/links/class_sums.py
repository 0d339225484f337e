"""Sums by class, streamed beside `moments`: with them, moments within classes follow from those over all samples.

Σ (x − m_c)(y − m_c)ᵀ = Σ (x − m)(y − m)ᵀ − Σ_c n_c (m_c − m)(m_c − m)ᵀ, so that a pass that fits a link needs, beside
its moments, only n_c and the sums of r and w of every class, and the covariance of w: [w_dim, w_dim] is a few per cent
of the work of [units, units].
"""

import dataclasses
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from linkjax.analysis.links.moments import Moments, Products, Rows

#: Runs of equal labels shorter than this on average are sorted first: one sum for each run.
_SHORT = 32


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ClassSums:
    """Plain sums, float64: those of two sets of samples add up.

    Memory is 8 · (classes · (units + w_dim) + w_dim²) bytes, whatever the number of samples.
    """

    count: Array  # [classes]
    r: Array  # [classes, units]   Σ r over the class
    w: Array  # [classes, w_dim]   Σ w over the class
    ww: Array  # [w_dim, w_dim]    Σ w wᵀ over all samples


def nbytes(classes: int, units: int, w_dim: int) -> int:
    """Bytes of the sums."""
    return 8 * (classes * (1 + units + w_dim) + w_dim**2)


def empty(classes: int, units: int, w_dim: int) -> ClassSums:
    """Sums of no samples, on the host."""
    return ClassSums(*(np.zeros(shape) for shape in ((classes,), (classes, units), (classes, w_dim), (w_dim, w_dim))))  # pyright: ignore[reportArgumentType]


def merge(a: ClassSums, b: ClassSums) -> ClassSums:
    """The sums of both, on the host."""
    return jax.tree.map(lambda x, y: np.asarray(x) + np.asarray(y), a, b)


def add(
    sums: ClassSums,
    r: Float[Rows, "batch units"],
    w: Float[Rows, "batch w_dim"],
    place: Int[Rows, "batch"],
    mask: Bool[Rows, "batch"],
) -> ClassSums:
    """Sums with one more batch, to be traced inside a float64 program.

    Args:
      place: of each row's class in the sums; mask: true for rows that count, as `moments.update`.
    """
    place = jnp.where(mask, place, sums.count.shape[0])  # out of range: dropped
    r, w = (jnp.where(mask[:, None], x, jnp.zeros((), x.dtype)).astype(jnp.float64) for x in (r, w))
    ww = jax.lax.dot_general(w, w, (((0,), (0,)), ((), ())), precision=jax.lax.Precision.HIGHEST)
    return ClassSums(
        sums.count.at[place].add(1.0, mode="drop"),
        sums.r.at[place].add(r, mode="drop"),
        sums.w.at[place].add(w, mode="drop"),
        sums.ww + ww,
    )


def add_on_host(
    sums: ClassSums, r: np.ndarray, w: np.ndarray, place: np.ndarray, products: Products = "float64"
) -> None:
    """The same in place, by the host's BLAS; fastest where rows lie class by class, as pairs do.

    Args:
      products: "float32": Σ w wᵀ from a product in float32 of deviations from a shift near the mean, which round as
        those of `host_moments.Sums` do. Plain sums are float64 in any case.
    """
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    if len(starts) * _SHORT > len(place):
        order = np.argsort(place, kind="stable")
        r, w, place = r[order], w[order], place[order]
        starts = np.flatnonzero(np.diff(place, prepend=-1))
    count, of_r, of_w, total = (cast(np.ndarray, values) for values in (sums.count, sums.r, sums.w, sums.ww))
    if products == "float32":
        shift = w[:: max(len(w) // 256, 1)].mean(axis=0, dtype=np.float64).astype(np.float32)
        apart = w - shift
        total += apart.T @ apart  # the same array twice: NumPy calls xSYRK
        shift = shift.astype(np.float64)
        across = np.outer(shift, w.sum(axis=0, dtype=np.float64) - len(w) / 2 * shift)
        total += across + across.T
    else:
        w = w.astype(np.float64)
        total += w.T @ w
    np.add.at(count, place, 1.0)
    for start, stop in zip(starts, [*starts[1:], len(place)], strict=True):
        row = place[start]
        of_r[row] += r[start:stop].sum(axis=0, dtype=np.float64)
        of_w[row] += w[start:stop].sum(axis=0, dtype=np.float64)


@dataclasses.dataclass(frozen=True)
class Within:
    """How pairs vary within classes: covariances of deviations from class means, float64.

    Divided by `freedom` = samples − classes, so that the mean of what was drawn is what it was drawn from.
    """

    freedom: float
    covariance: np.ndarray  # [w_dim, w_dim] of w
    cross: np.ndarray  # [units, w_dim] of r and w
    variance: np.ndarray  # [units] of r; 0 for units that do not vary within classes


def within(total: Moments, sums: ClassSums) -> Within | None:
    """Moments within classes; None where no class has two samples.

    Numerics: what is below the rounding of `total` (times 1000, and 1e-7 of the unit's mean) counts as not varying.
    """
    count, of_r, of_w, ww = (np.asarray(leaf) for leaf in (sums.count, sums.r, sums.w, sums.ww))
    there = count > 0
    freedom = float(count.sum() - there.sum())
    if freedom < 1:
        return None
    root = np.sqrt(count[there])[:, None]
    mean_r, mean_w = np.asarray(total.mean_r), np.asarray(total.mean_w)
    from_r = root * (of_r[there] / count[there, None] - mean_r)
    from_w = root * (of_w[there] / count[there, None] - mean_w)
    raw_w = of_w[there] / root
    squares = np.asarray(total.S_rr).diagonal()
    variance = (squares - np.einsum("cu,cu->u", from_r, from_r)) / freedom
    least = np.maximum(1e3 * float(total.rounding) * squares / freedom, 1e-14 * mean_r**2)
    cross = (np.asarray(total.S_rw) - from_r.T @ from_w) / freedom
    return Within(freedom, (ww - raw_w.T @ raw_w) / freedom, cross, np.where(variance > least, variance, 0.0))


def within_of(
    r: Float[np.ndarray, "n units"], w: Float[np.ndarray, "n w_dim"], place: Int[np.ndarray, "n"],
    total: Moments | None, products: Products = "float64",
) -> Within | None:  # fmt: skip
    """Moments within classes of arrays in memory; None where no class has two samples.

    Args:
      place: of each row's class, 0 … classes − 1.
      total: their moments over all classes, where they are known; else the rows are gone through class by class.
      products: as `add_on_host`.
    """
    classes = int(place.max(initial=-1)) + 1
    if total is not None:
        sums = jax.tree.map(np.array, empty(classes, r.shape[1], w.shape[1]))
        add_on_host(sums, r, w, place, products)
        return within(total, sums)
    freedom = float(len(place) - len(np.unique(place)))
    if freedom < 1:
        return None
    covariance, cross = np.zeros((w.shape[1], w.shape[1])), np.zeros((r.shape[1], w.shape[1]))
    variance, mean_square = np.zeros(r.shape[1]), np.square(r.mean(axis=0, dtype=np.float64))
    order = np.argsort(place, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(place[order])) + 1):
        some_r, some_w = (np.asarray(each[rows], np.float64) for each in (r, w))
        some_r, some_w = some_r - some_r.mean(axis=0), some_w - some_w.mean(axis=0)
        covariance += some_w.T @ some_w
        cross += some_r.T @ some_w
        variance += np.einsum("nu,nu->u", some_r, some_r)
    variance /= freedom
    return Within(
        freedom, covariance / freedom, cross / freedom, np.where(variance > 1e-14 * mean_square, variance, 0.0)
    )
