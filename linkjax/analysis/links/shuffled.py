"""The shuffled baseline: the same link fitted on the same samples after the pairing of r and w was removed.

It keeps the method's capacity and both distributions, so what it scores on held-out pairs is chance and overfitting
alone. Two ways to it, neither of which repeats the work on S_rr: the expected error in closed form, or a link.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import ArrayLike

from linkjax.analysis import float64
from linkjax.analysis.links.linear import Spectrum, gains, product
from linkjax.analysis.links.moments import Moments, deviations, products_of_columns

Rows = Array | np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cross:
    """Products of r with the w of *other* samples, float64."""

    count: Array  # []
    mean_r: Array  # [units]
    mean_w: Array  # [w_dim]
    S_rw: Array  # [units, w_dim]


@float64.jit(to_host=True)
def expected_error(
    total: Moments, held_out: Moments, spectrum: Spectrum, alpha: ArrayLike = 0.0
) -> Float[Array, "w_dim"]:
    """Held-out mean squared error, per w dimension, of the ridge link on shuffled pairs, averaged over all shuffles.

    A random permutation gives S_rw mean 0 and, exactly, covariance S_rr · S_ww[q] / (n − 1). So with eigenpairs
    (λ, v) of S_rr the error is
    E (w_q − mean w_q)² + S_ww[q] / (n − 1) · Σ_i λ_i / (λ_i + alpha)² · E (v_i·(r − mean r))²,
    with E over the held-out samples and the means of the training samples.

    Args:
      total: training moments, with their spectrum; held_out: moments of the held-out samples.
      alpha: of `solve_ridge`; 0 for least squares.
    Reference: Hoeffding, A combinatorial central limit theorem, 1951.
    """
    g = gains(spectrum, jnp.asarray(alpha, jnp.float64))
    V = spectrum.vectors
    varying = jnp.sum(V * product(held_out.S_rr, V), axis=0) / held_out.count
    varying += product(V.T, (held_out.mean_r - total.mean_r)[:, None])[:, 0] ** 2
    noise = jnp.sum(jnp.maximum(spectrum.eigenvalues, 0.0) * g**2 * varying) / (total.count - 1.0)
    return held_out.S_ww / held_out.count + (held_out.mean_w - total.mean_w) ** 2 + noise * total.S_ww


def empty_cross(units: int, w_dim: int) -> Cross:
    """Products of no samples."""
    with jax.enable_x64(True):
        return Cross(*(jnp.zeros(shape, jnp.float64) for shape in ((), (units,), (w_dim,), (units, w_dim))))


def update_cross(
    cross: Cross,
    r: Float[Rows, "batch units"],
    w: Float[Rows, "batch w_dim"],
    mask: Bool[Rows, "batch"] | None = None,
) -> Cross:
    """One more batch of r, with the w of other samples.

    Args:
      w: row i is the w of sample π(i), π a random permutation of the *whole* training split. Shuffling within a batch
        is not enough where batches hold one class: the link would still learn the classes.
      mask: True for rows that count.
    """
    return _update_cross(cross, r, w, np.ones(r.shape[0], bool) if mask is None else mask)


@float64.jit()
def merge_cross(a: Cross, b: Cross) -> Cross:
    """Products of the samples of both."""
    total = a.count + b.count
    share = b.count / jnp.maximum(total, 1.0)
    delta_r, delta_w = b.mean_r - a.mean_r, b.mean_w - a.mean_w
    S_rw = a.S_rw + b.S_rw + a.count * share * delta_r[:, None] * delta_w[None, :]
    return Cross(total, a.mean_r + share * delta_r, a.mean_w + share * delta_w, S_rw)


def shuffled_moments(total: Moments, cross: Cross) -> Moments:
    """The moments of the shuffled pairs, for `fit_from_moments` and the solvers."""
    return dataclasses.replace(total, S_rw=cross.S_rw)


@float64.jit()
def _update_cross(cross: Cross, r: Rows, w: Rows, mask: Rows) -> Cross:
    count = jnp.sum(mask, dtype=jnp.float64)
    share = count / jnp.maximum(cross.count + count, 1.0)
    mean_r, columns_r = deviations(r, mask, count)
    mean_w, columns_w = deviations(w, mask, count)
    delta_r, delta_w = mean_r - cross.mean_r, mean_w - cross.mean_w
    return Cross(
        cross.count + count,
        cross.mean_r + share * delta_r,
        cross.mean_w + share * delta_w,
        cross.S_rw
        + products_of_columns(columns_r, columns_w)
        + cross.count * share * delta_r[:, None] * delta_w[None, :],
    )
