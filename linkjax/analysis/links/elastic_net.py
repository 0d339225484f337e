"""Elastic net from second moments: every w dimension at once, with matrix products only."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linkjax.analysis import float64
from linkjax.analysis.links.linear import Solution, product, variance_of_rounding
from linkjax.analysis.links.moments import Moments


class ElasticNet(NamedTuple):
    """An elastic net and how well it solves its problem."""

    solution: Solution
    iterations: Array  # [] products with S_rr that were needed
    kkt_residual: Array  # [w_dim] largest violation of the optimality conditions, relative to the largest |S_rw| / n
    converged: Array  # [w_dim] bool: kkt_residual is at most the tolerance


class _State(NamedTuple):
    u: Array  # [units, w_dim] scaled coefficients
    Qu: Array  # [units, w_dim] curvature · u
    v: Array  # the same, extrapolated
    Qv: Array
    t: Array  # [w_dim] momentum parameter
    residual: Array  # [w_dim]
    iterations: Array  # []


@float64.jit(to_host=True)
def solve_elastic_net(
    moments: Moments,
    alpha: float,
    l1_ratio: float,
    start: Float[Array | np.ndarray, "units w_dim"] | None = None,
    tolerance: float = 1e-10,
    max_iterations: int = 20_000,
) -> ElasticNet:
    """Minimise, per w dimension, ‖w − r·b − c‖² / (2n) + alpha · l1_ratio · |b|₁ + ½ · alpha · (1 − l1_ratio) · ‖b‖².

    Accelerated proximal gradient with adaptive restart per dimension, in coordinates where the smooth part has unit
    curvature along every unit (units differ widely in variance). One product [units, units] · [units, w_dim] a step.

    Args:
      alpha: penalty > 0; l1_ratio: share of the absolute values in it, in [0, 1] (scikit-learn's ElasticNet).
      start: coefficients to start from, such as those of a neighbouring alpha; zeros by default.
      tolerance: of the optimality (KKT) residual, relative to the largest gradient at 0.
      max_iterations: where to stop unconverged; `converged` tells.
    Reference: Beck, Teboulle, A fast iterative shrinkage-thresholding algorithm, 2009; O'Donoghue, Candès, Adaptive
    restart for accelerated gradient schemes, 2015 (gradient scheme).
    """
    penalty, ratio = jnp.asarray(alpha, jnp.float64), jnp.asarray(l1_ratio, jnp.float64)
    ridge, lasso = penalty * (1.0 - ratio), penalty * ratio
    Q, c = moments.S_rr / moments.count, moments.S_rw / moments.count
    varying = jnp.diagonal(moments.S_rr) > variance_of_rounding(moments)
    curvature = jnp.where(varying, jnp.diagonal(Q), 0.0) + ridge
    scale = jnp.where(curvature > 0, 1.0 / jnp.sqrt(jnp.where(curvature > 0, curvature, 1.0)), 0.0)  # b = scale · u
    Q = scale[:, None] * (Q + jnp.diag(jnp.broadcast_to(ridge, curvature.shape))) * scale[None, :]
    c = scale[:, None] * c
    bound = jnp.max(jnp.sum(jnp.abs(Q), axis=1))  # Gershgorin: never below the largest eigenvalue
    lipschitz = jnp.where(bound > 0, jnp.minimum(jnp.linalg.eigvalsh(Q)[-1] * 1.0001, bound), 1.0)
    weights = (lasso * scale)[:, None]
    back = jnp.where(scale > 0, 1.0 / jnp.where(scale > 0, scale, 1.0), 0.0)[:, None]
    size = jnp.max(jnp.abs(moments.S_rw), axis=0) / moments.count
    size = jnp.where(size > 0, size, 1.0)

    def residual(u: Array, Qu: Array) -> Array:
        gradient = Qu - c
        violation = jnp.where(u != 0, jnp.abs(gradient + weights * jnp.sign(u)), jnp.abs(gradient) - weights)
        return jnp.max(jnp.maximum(violation, 0.0) * back, axis=0) / size

    def step(state: _State) -> _State:
        moved = state.v - (state.Qv - c) / lipschitz
        u = jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - weights / lipschitz, 0.0)
        Qu = product(Q, u)
        restart = jnp.sum((state.v - u) * (u - state.u), axis=0) > 0
        old = jnp.where(restart, 1.0, state.t)
        t = 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * old**2))
        momentum = jnp.where(restart, 0.0, (old - 1.0) / t)[None, :]
        v, Qv = u + momentum * (u - state.u), Qu + momentum * (Qu - state.Qu)
        return _State(u, Qu, v, Qv, t, residual(u, Qu), state.iterations + 1)

    def unfinished(state: _State) -> Array:
        return (state.iterations < max_iterations) & jnp.any(state.residual > tolerance)

    u = jnp.zeros(c.shape, jnp.float64) if start is None else jnp.asarray(start, jnp.float64) * back
    Qu = product(Q, u)
    first = _State(u, Qu, u, Qu, jnp.ones(c.shape[1]), residual(u, Qu), jnp.zeros((), jnp.int32))
    last = jax.lax.while_loop(unfinished, step, first)
    kernel = scale[:, None] * last.u
    bias = moments.mean_w - product(moments.mean_r[None, :], kernel)[0]
    return ElasticNet(Solution(kernel, bias), last.iterations, last.residual, last.residual <= tolerance)


@float64.jit(to_host=True)
def objective(moments: Moments, solution: Solution, alpha: float, l1_ratio: float) -> Float[Array, "w_dim"]:
    """The value that `solve_elastic_net` minimises, per w dimension, for the bias that belongs to the kernel."""
    kernel = solution.kernel
    squared = moments.S_ww + jnp.sum(kernel * (product(moments.S_rr, kernel) - 2.0 * moments.S_rw), axis=0)
    penalty = l1_ratio * jnp.sum(jnp.abs(kernel), axis=0) + 0.5 * (1.0 - l1_ratio) * jnp.sum(kernel**2, axis=0)
    return squared / (2.0 * moments.count) + alpha * penalty
