"""Means with standard errors, and correlations, accumulated batch by batch in float64."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


class Estimate(NamedTuple):
    """A mean over samples, and how far chance may have moved it."""

    value: float  # NaN without samples
    standard_error: float  # standard deviation / √count; NaN below 2 samples
    count: int  # samples that had a value


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Means:
    """Running means of `d` quantities per sample and the sums of products of their deviations."""

    count: Array  # [d] samples with a value, per quantity
    mean: Array  # [d]
    S: Array  # [d, d] Σ (x − mean)(x − mean)ᵀ over samples where both have a value


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Correlations:
    """Running second moments of pairs (a, b), unit by unit, and the ranges that show which units never varied."""

    count: Array  # []
    mean: Array  # [2, units] of a and b
    S: Array  # [3, units] Σ da², Σ db², Σ da db
    low: Array  # [2, units] smallest value seen
    high: Array  # [2, units] largest value seen


def empty_means(d: int) -> Means:
    """No samples of `d` quantities."""
    with jax.enable_x64(True):
        return Means(jnp.zeros(d, jnp.float64), jnp.zeros(d, jnp.float64), jnp.zeros((d, d), jnp.float64))


def add_means(means: Means, x: Array, valid: Array | np.ndarray) -> Means:
    """Add one batch; traced inside a float64 program.

    Args:
      x: [batch, d]; valid: [batch, d] bool, False where a quantity has no value (padding, undefined).
    """
    x, ones = jnp.where(valid, x, 0.0).astype(jnp.float64), valid.astype(jnp.float64)
    count = jnp.sum(ones, axis=0)
    mean = jnp.sum(x, axis=0) / jnp.maximum(count, 1.0)
    d = jnp.where(valid, x - mean[None, :], 0.0)
    return merge_means(means, Means(count, mean, jnp.matmul(d.T, d, precision=jax.lax.Precision.HIGHEST)))


def merge_means(a: Means, b: Means) -> Means:
    """Both together; off-diagonal S is exact where the quantities have the same samples."""
    total = a.count + b.count
    share = b.count / jnp.maximum(total, 1.0)
    delta = b.mean - a.mean
    scaled = jnp.sqrt(a.count * share) * delta
    return Means(total, a.mean + share * delta, a.S + b.S + scaled[:, None] * scaled[None, :])


def estimate(means: Means, index: int) -> Estimate:
    """The mean of quantity `index`, with its standard error √(S / (n − 1) / n)."""
    n, mean, S = float(means.count[index]), float(means.mean[index]), float(means.S[index, index])
    return Estimate(mean if n else np.nan, float(np.sqrt(S / (n - 1) / n)) if n > 1 else np.nan, int(n))


def empty_correlations(units: int) -> Correlations:
    """No pairs of `units` units."""
    with jax.enable_x64(True):
        zeros = [jnp.zeros(shape, jnp.float64) for shape in ((), (2, units), (3, units))]
        extreme = jnp.full((2, units), jnp.inf, jnp.float64)
        return Correlations(zeros[0], zeros[1], zeros[2], extreme, -extreme)


def add_correlations(sums: Correlations, a: Array, b: Array, mask: Array | np.ndarray) -> Correlations:
    """Add one batch of a, b [batch, units] with mask [batch]; traced inside a float64 program."""
    rows = mask[None, :, None]
    x = jnp.where(rows, jnp.stack([a.astype(jnp.float64), b.astype(jnp.float64)]), 0.0)
    count = jnp.sum(mask, dtype=jnp.float64)
    mean = jnp.sum(x, axis=1) / jnp.maximum(count, 1.0)
    d = jnp.where(rows, x - mean[:, None, :], 0.0)
    S = jnp.stack([jnp.sum(d[0] ** 2, axis=0), jnp.sum(d[1] ** 2, axis=0), jnp.sum(d[0] * d[1], axis=0)])
    low, high = jnp.min(jnp.where(rows, x, jnp.inf), axis=1), jnp.max(jnp.where(rows, x, -jnp.inf), axis=1)
    return merge_correlations(sums, Correlations(count, mean, S, low, high))


def merge_correlations(a: Correlations, b: Correlations) -> Correlations:
    """Both together."""
    total = a.count + b.count
    share = b.count / jnp.maximum(total, 1.0)
    delta = b.mean - a.mean
    products = jnp.stack([delta[0] ** 2, delta[1] ** 2, delta[0] * delta[1]])
    return Correlations(
        total,
        a.mean + share * delta,
        a.S + b.S + a.count * share * products,
        jnp.minimum(a.low, b.low),
        jnp.maximum(a.high, b.high),
    )


def correlation(sums: Correlations) -> np.ndarray:
    """Pearson's r of every unit, Σ da db / √(Σ da² · Σ db²); NaN for units that never varied in a or in b."""
    a, b, product = np.asarray(sums.S)
    live = (np.asarray(sums.high) > np.asarray(sums.low)).all(axis=0) & (a > 0) & (b > 0)
    return np.where(live, product / np.sqrt(np.where(live, a * b, 1.0)), np.nan).clip(-1.0, 1.0)
