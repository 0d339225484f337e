"""Second moments of pairs (r, w), streamed in one pass: all that a linear link needs to know of the data."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from linkjax.analysis import float64

Products = Literal["float64", "float32"]
Rows = Array | np.ndarray

#: Stands for float32 products in the rule for live directions, whose threshold is then 5e-6 of the largest eigenvalue
#: with 2048 units: 20 times the error that was measured there.
FLOAT32_ROUNDING = float(np.finfo(np.float32).eps) / 8
#: From here on the symmetric product is made tile by tile.
TILED_UNITS = 512


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Moments:
    """Sums over the samples seen so far, float64; S are sums of products of deviations from the means.

    Memory is 8 · (units² + units · w_dim + …) bytes, whatever the number of samples.
    """

    count: Array  # []
    mean_r: Array  # [units]
    mean_w: Array  # [w_dim]
    S_rr: Array  # [units, units]   Σ (r − mean_r)(r − mean_r)ᵀ
    S_rw: Array  # [units, w_dim]   Σ (r − mean_r)(w − mean_w)ᵀ
    S_ww: Array  # [w_dim]          Σ (w − mean_w)², per dimension
    rounding: Array  # [] relative error of an entry; decides what counts as rank-deficient


def nbytes(units: int, w_dim: int) -> int:
    """Bytes that the moments of `units` and `w_dim` hold."""
    return 8 * (units * units + units * w_dim + units + 2 * w_dim + 2)


def empty(units: int, w_dim: int) -> Moments:
    """Moments of no samples."""
    with jax.enable_x64(True):
        return Moments(
            count=jnp.zeros((), jnp.float64),
            mean_r=jnp.zeros((units,), jnp.float64),
            mean_w=jnp.zeros((w_dim,), jnp.float64),
            S_rr=jnp.zeros((units, units), jnp.float64),
            S_rw=jnp.zeros((units, w_dim), jnp.float64),
            S_ww=jnp.zeros((w_dim,), jnp.float64),
            rounding=jnp.full((), np.finfo(np.float64).eps),
        )


def update(
    moments: Moments,
    r: Float[Rows, "batch units"],
    w: Float[Rows, "batch w_dim"],
    mask: Bool[Rows, "batch"] | None = None,
    *,
    products: Products = "float64",
) -> Moments:
    """Moments with one more batch of pairs, by Chan, Golub and LeVeque's update.

    S ← S + Σ (x − m)(x − m)ᵀ + n_a n_b / (n_a + n_b) · δδᵀ, with m the batch's mean and δ its distance to the old one.

    Args:
      r, w: pairs, row by row; any floating dtype.
      mask: True for rows that count; padding may hold anything, NaN included.
      products: "float64", or "float32" for the products within the batch (deviations from the batch's mean, summed
        in float32, added up in float64): 1.6 times faster on a CPU, right for ridge, see Numerics.
    Returns: new moments; the same for every batch size and order but for rounding, 1e-13 of the largest entry.
    Numerics: float32 products leave an error near 2e-7 of the largest entry (measured, batches of 4096 rows), which a
    link without penalty amplifies by the squared condition number. Directions weaker than that count as missing.
    Reference: Chan, Golub, LeVeque, Algorithms for computing the sample variance, 1983.
    """
    return _update(moments, r, w, np.ones(r.shape[0], bool) if mask is None else mask, products=products)


@float64.jit()
def merge(a: Moments, b: Moments) -> Moments:
    """Moments of the samples of both; associative and commutative but for rounding, with `empty` as its zero."""
    total = a.count + b.count
    share = b.count / jnp.maximum(total, 1.0)
    weight = a.count * share
    delta_r, delta_w = b.mean_r - a.mean_r, b.mean_w - a.mean_w
    return Moments(
        total,
        a.mean_r + share * delta_r,
        a.mean_w + share * delta_w,
        a.S_rr + b.S_rr + weight * delta_r[:, None] * delta_r[None, :],
        a.S_rw + b.S_rw + weight * delta_r[:, None] * delta_w[None, :],
        a.S_ww + b.S_ww + weight * delta_w**2,
        jnp.maximum(a.rounding, b.rounding),
    )


def add(moments: Moments, r: Rows, w: Rows, mask: Rows, *, products: Products) -> Moments:
    """`update`, to be traced inside a float64 program."""
    count = jnp.sum(mask, dtype=jnp.float64)
    share = count / jnp.maximum(moments.count + count, 1.0)
    mean_r, columns_r = deviations(r, mask, count, products)
    mean_w, columns_w = deviations(w, mask, count, products)
    delta_r, delta_w = mean_r - moments.mean_r, mean_w - moments.mean_w
    weight = moments.count * share
    rounding = moments.rounding if products == "float64" else jnp.maximum(moments.rounding, FLOAT32_ROUNDING)
    return Moments(
        moments.count + count,
        moments.mean_r + share * delta_r,
        moments.mean_w + share * delta_w,
        moments.S_rr + _squares_of_columns(columns_r) + weight * delta_r[:, None] * delta_r[None, :],
        moments.S_rw + products_of_columns(columns_r, columns_w) + weight * delta_r[:, None] * delta_w[None, :],
        moments.S_ww + jnp.sum(columns_w.astype(jnp.float64) ** 2, axis=1) + weight * delta_w**2,
        rounding,
    )


_update = float64.jit(static=("products",))(add)


def deviations(x: Rows, mask: Rows, count: Array, products: Products = "float64") -> tuple[Array, Array]:
    """A batch's mean [features] and its deviations from it, transposed [features, batch].

    A contraction over rows is twice as fast on a CPU when its operands lie transposed in memory; the barrier keeps the
    compiler from folding the transposition back into the product.
    """
    x = jnp.where(mask[:, None], x, jnp.zeros((), x.dtype)).astype(jnp.float64)
    mean = jnp.sum(x, axis=0) / jnp.maximum(count, 1.0)
    rows = jnp.where(mask[:, None], x - mean[None, :], 0.0).astype(products)
    return mean, jax.lax.optimization_barrier(rows.T)


def products_of_columns(a: Array, b: Array) -> Array:
    """A · Bᵀ of transposed batches [features, rows], as float64."""
    products = jax.lax.dot_general(a, b, (((1,), (1,)), ((), ())), precision=jax.lax.Precision.HIGHEST)
    return products.astype(jnp.float64)


def _squares_of_columns(a: Array) -> Array:
    """A · Aᵀ from the blocks on and below its diagonal: five eighths of the work."""
    units = a.shape[0]
    if units < TILED_UNITS:
        return products_of_columns(a, a)
    tiles = jnp.split(a, [units * k // 4 for k in (1, 2, 3)])
    lower = [[products_of_columns(row, column) for column in tiles[: i + 1]] for i, row in enumerate(tiles)]
    return jnp.block([[lower[i][j] if j <= i else lower[j][i].T for j in range(4)] for i in range(4)])
