"""Elastic net from streamed pairs, for so many units that their second moments do not fit in memory.

Where the moments fit, `elastic_net` is exact and its cost is the same for any number of pairs: prefer it.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from linkjax.analysis.links.linear import Solution
from linkjax.analysis.links.problem import Fit, Pairs, Problem, Settings, block_errors, linear_link
from linkjax.analysis.links.training_state import TrainingState
from linkjax.numerics import PRECISION

#: Pairs of one step.
BATCH = 256
#: Steps of an epoch, at least: with few pairs the batches are smaller instead.
STEPS = 16


@dataclasses.dataclass(frozen=True)
class Steps:
    """How the streamed elastic net is solved."""

    epochs: int = 60  # at most; each reads the pairs twice
    patience: int = 3  # stop after so many epochs without a better validation error …
    tolerance: float = 1e-5  # … by more than this share of it


class Streamed(NamedTuple):
    """The link of the epoch with the lowest validation error, and the errors on the way."""

    solution: Solution
    validation: tuple[float, ...]  # mean squared error, first of no link but the mean, then per epoch
    best: int


class Scales(NamedTuple):
    """Means and standard deviations of units, means of w dimensions: one pass, memory of a few rows."""

    count: int
    mean_r: np.ndarray
    scale_r: np.ndarray  # 0 of units that never vary
    mean_w: np.ndarray


def measure(pairs: Iterable[Pairs]) -> Scales:
    """Means and standard deviations, by Chan's update in float64."""
    count, mean_r, mean_w, squares = 0, np.zeros(()), np.zeros(()), np.zeros(())
    for r, w in pairs:
        r = np.asarray(r, np.float64)
        share = len(r) / (count + len(r))
        delta = r.mean(axis=0) - mean_r
        squares = squares + r.var(axis=0) * len(r) + count * share * delta**2
        mean_r = mean_r + share * delta
        mean_w = mean_w + share * (np.asarray(w).mean(axis=0, dtype=np.float64) - mean_w)
        count += len(r)
    deviation = np.sqrt(squares / count)
    varies = deviation > 4 * np.finfo(np.float64).eps * np.abs(mean_r)
    return Scales(count, mean_r, np.where(varies, deviation, 0.0), mean_w)


def fit(problem: Problem, settings: Settings) -> Fit:
    """Fit an elastic net to a problem's pairs without their moments, as they stream by."""
    count = problem.count("train")
    batch = max(min(BATCH, count // STEPS), 1)
    streamed = solve(
        lambda epoch: problem.shuffled(batch, settings.seed, epoch),
        lambda: problem.batches("train", batch),
        lambda: problem.batches("val", batch),
        measure(problem.blocks("train")),
        settings.alpha,
        settings.l1_ratio,
        **problem.training("elastic_net"),
    )
    found = {"method": settings.method, "alpha": settings.alpha, "count": count}
    found |= {"epochs": len(streamed.validation) - 1, "best_epoch": streamed.best, "l1_ratio": settings.l1_ratio}
    link = linear_link(streamed.solution, settings.method, settings.alpha, settings.l1_ratio)
    return Fit(link, found | block_errors(streamed.solution, problem.blocks("val")))


def solve(
    batches: Callable[[int], Iterable[Pairs]],
    everything: Callable[[], Iterable[Pairs]],
    validation: Callable[[], Iterable[Pairs]],
    scales: Scales,
    alpha: float,
    l1_ratio: float,
    steps: Steps | None = None,
    *,
    place: Callable[[Any], Any] = lambda tree: tree,
    agree: Callable[[Any], Any] = lambda value: value,
    saved: Callable[[dict[str, Any]], TrainingState | None] = lambda like: None,
    save: Callable[[int, TrainingState], None] = lambda epoch, state: None,
) -> Streamed:
    """Minimise what `elastic_net.solve_elastic_net` does, by proximal gradients with reduced variance (SVRG).

    In units of √(variance + ridge penalty), along which the smooth part has curvature 1,
    u ← prox(u − step · (g_b(u) − g_b(ũ) + g(ũ))): g_b is a batch's gradient, ũ the weights at the epoch's start and g
    their gradient over all pairs. The noise of a batch vanishes as u nears ũ, so a constant step reaches the optimum
    itself. The step is 1 / (3 L), L the largest curvature of a batch, by power iteration over the first batches; it is
    halved, and the epoch forgotten, where the error explodes.

    Args:
      batches: epoch → training pairs in batches of one shape, on the devices or not; a batch split over devices gives
        the gradient of the whole batch.
      everything: → all training pairs in blocks, for the gradient g; batches may leave a remainder out.
      validation: → held-out pairs in blocks; their error decides when to stop and which link is kept.
      scales: of the training pairs, see `measure`.
      place: puts the weights where they are used.
      agree: of several processes, makes a value that decides how to go on the same in all.
      saved: what `save` kept of an earlier run, given arrays of its names and shapes; called once.
      save: called after every epoch; a run that goes on from there gives the bits of one that was never stopped.
    Numerics: float32; memory 5 · units · w_dim values. Slow directions (small eigenvalues) are reached late: stopping
      early leaves them near 0, as more ridge would.
    Reference: Xiao, Zhang, A proximal stochastic gradient method with progressive variance reduction, 2014.
    """
    steps = steps or Steps()
    units, w_dim = scales.mean_r.size, scales.mean_w.size
    ridge = alpha * (1 - l1_ratio)
    varies = scales.scale_r > 0
    inverse = np.where(varies, 1.0 / np.sqrt(np.where(varies, scales.scale_r**2 + ridge, 1.0)), 0.0)
    problem = place(
        {
            "mean_r": np.float32(scales.mean_r),
            "inverse": np.float32(inverse),
            "mean_w": np.float32(scales.mean_w),
            "ridge": (ridge * inverse**2)[:, None].astype(np.float32),
            "lasso": (alpha * l1_ratio * inverse)[:, None].astype(np.float32),
        }
    )
    u = place(jnp.zeros((units, w_dim), jnp.float32))

    def error(weights: Array) -> float:
        parts = [(_error(problem, weights, r, w), len(r)) for r, w in validation()]
        return agree(float(sum(float(part) * n for part, n in parts) / sum(n for _, n in parts)))

    earlier = saved({"u": u, "kept": u})
    if earlier is None:
        curvature = agree(_largest(problem, batches) + float(np.max(ridge * inverse**2)))
        errors, best, kept, step, settled = [error(u)], 0, u, 1.0 / (3.0 * curvature), False
    else:
        u, kept = (place(jnp.asarray(earlier.arrays[name])) for name in ("u", "kept"))
        errors, best, step, settled = (earlier.note[name] for name in ("validation", "best", "step", "settled"))
    while len(errors) <= steps.epochs and not settled:
        epoch = len(errors) - 1
        total, count = None, 0
        for r, w in everything():
            gradient = _gradient(problem, u, r, w) * len(r)
            total, count = gradient if total is None else total + gradient, count + len(r)
        assert total is not None, "a batch must not be larger than the data"
        moved = u
        for r, w in batches(epoch):
            moved = _step(problem, moved, u, total / count, r, w, step)
        found = error(moved)
        if found < 2 * errors[0]:
            u = moved
            errors.append(found)
            if errors[-1] < errors[best] * (1 - steps.tolerance):
                best, kept = epoch + 1, u
            settled = epoch + 1 - best >= steps.patience
        else:
            step /= 2
            errors.append(errors[-1])
        note = {"validation": [*errors], "best": best, "step": step, "settled": settled}
        save(epoch + 1, TrainingState({"u": u, "kept": kept}, note))
    kernel = np.asarray(kept, np.float64) * inverse[:, None]
    return Streamed(Solution(kernel, scales.mean_w - scales.mean_r @ kernel), tuple(errors), best)


def _standardised(problem: dict[str, Array], r: Array) -> Array:
    return (jnp.asarray(r, jnp.float32) - problem["mean_r"][None]) * problem["inverse"][None]


def _residual(problem: dict[str, Array], u: Array, x: Array, w: Array) -> Array:
    return jnp.matmul(x, u, precision=PRECISION) - (jnp.asarray(w, jnp.float32) - problem["mean_w"][None])


def _smooth(problem: dict[str, Array], u: Array, r: Array, w: Array) -> Array:
    """Gradient of the squared error / 2n and of the ridge part."""
    x = _standardised(problem, r)
    return jnp.matmul(x.T, _residual(problem, u, x, w), precision=PRECISION) / x.shape[0] + problem["ridge"] * u


_gradient = jax.jit(_smooth)
_error = jax.jit(lambda problem, u, r, w: jnp.mean(_residual(problem, u, _standardised(problem, r), w) ** 2))


@jax.jit
def _step(problem: dict[str, Array], u: Array, snapshot: Array, full: Array, r: Array, w: Array, step: float) -> Array:
    gradient = _smooth(problem, u, r, w) - _smooth(problem, snapshot, r, w) + full
    with jax.numpy_dtype_promotion("standard"):  # optax scales by Python numbers
        updates, _ = optax.sgd(step).update(gradient, optax.sgd(step).init(u))
    moved = jnp.asarray(optax.apply_updates(u, updates))
    return jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - step * problem["lasso"], 0.0)


@functools.partial(jax.jit, static_argnames=("steps",))
def _power(problem: dict[str, Array], r: Array, v: Array, steps: int = 12) -> tuple[Array, Array]:
    x = _standardised(problem, r)

    def once(_: int, state: tuple[Array, Array]) -> tuple[Array, Array]:
        y = jnp.matmul(x.T, jnp.matmul(x, state[0], precision=PRECISION), precision=PRECISION) / x.shape[0]
        size = jnp.linalg.norm(y)
        return y / jnp.maximum(size, 1e-30), size

    return jax.lax.fori_loop(0, steps, once, (v, jnp.float32(0)))


def _largest(problem: dict[str, Array], batches: Callable[[int], Iterable[Pairs]], most: int = 8) -> float:
    """The largest curvature that one of the first batches has."""
    v = jnp.asarray(np.random.default_rng(0).standard_normal(problem["mean_r"].shape[0]), jnp.float32)
    found = [1e-12]
    for _, (r, _w) in zip(range(most), batches(0), strict=False):
        v, size = _power(problem, jnp.asarray(r, jnp.float32), v / jnp.linalg.norm(v))
        found.append(float(size))
    return max(found)
