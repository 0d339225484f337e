"""Instrumental-variable effects: per obtained change instead of per requested change, which is the instrument.

A step that asks a unit for one σ may obtain a third of it or one and a half. With x_s the values asked, o_s those
obtained and y_s a metric, deviations within anchors, the ratio

    per_obtained = σ · Σ_a Σ_s x_s y_s / Σ_a Σ_s x_s o_s = σ · Σ_a β_a S_a / Σ_a f_a S_a

(β_a and f_a the slopes of y and o on x in anchor a, S_a = Σ_s x_s²) is what changes when the unit really rises by σ:
Wald's ratio, the instrumental-variable estimate with as many instruments as treatments. It speaks of a change along the
unit's direction, on which other units move too. The first stage, x on o, is the unit's fidelity; where it is weak the
ratio says nothing, and its interval may have no end.

References: Wald, "The fitting of straight lines if both variables are subject to error", 1940; Staiger and Stock,
"Instrumental variables regression with weak instruments", 1997 (F below 10 is weak).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from linkjax import numerics
from linkjax.analysis.units.intervals import percentile_interval

WEAK = 10.0  # F of the first stage below which the ratio is not to be trusted
#: What is stored of it by unit, part and metric.
STORED = {
    "per_obtained": "change of the metric per σ of the unit obtained, not asked",
    "per_obtained_low": "low end of its interval; none (−∞) where resamples disagree on the sign of what is obtained",
    "per_obtained_high": "high end of its interval",
}


class PerObtained(NamedTuple):
    """By unit, part and metric but for `first_stage`, [units]."""

    per_obtained: jax.Array  # change of the metric per σ of the unit obtained; NaN without two anchors
    per_obtained_low: jax.Array  # of its bootstrap interval; −∞ and ∞ where resamples disagree on the sign of Σ x o
    per_obtained_high: jax.Array
    first_stage: jax.Array  # F: (fidelity / its standard error over anchors)²


def strong(first_stage: Float[np.ndarray, "units"]) -> Bool[np.ndarray, "units"]:
    """Whether the first stage is strong enough to divide by: F ≥ 10."""
    return np.nan_to_num(first_stage, nan=0.0, posinf=np.inf) >= WEAK


@functools.partial(jax.jit, static_argnames="level")
def measure(
    slopes: Float[Array, "units samples *rest"],
    fidelity: Float[Array, "units samples"],
    spread: Float[Array, "units samples"],
    counts: Float[Array, "draws samples"],
    level: float = 0.95,
) -> PerObtained:
    """Effects per change obtained, with intervals over anchors and classes.

    Args:
      slopes: of metrics on the value asked, per σ of the unit, by anchor (`selectivity.anchor_slopes`).
      fidelity: slopes of the value obtained on the one asked, by anchor.
      spread: Σ_s (x_s − x̄)² of the values asked; an anchor with 0 takes no part.
      counts: how often each anchor is in each resample (`selectivity.draw_resamples`).
      level: of the interval, in (0, 1).
    Numerics: an anchor without a slope of the metric is left out above and below the line.
    """

    def one(item: tuple[Array, Array, Array]) -> tuple[Array, ...]:
        slope, own, weight = item  # [samples, V], [samples], [samples]
        usable = (weight > 0) & jnp.isfinite(own)
        below = jnp.where(usable, own * weight, 0.0)
        known = usable[:, None] & jnp.isfinite(slope)
        reduced = jnp.where(known, slope * weight[:, None], 0.0)
        first = jnp.where(known, below[:, None], 0.0)
        total = jnp.sum(first, axis=0)
        value = numerics.safe_ratio(jnp.sum(reduced, axis=0), total)
        drawn, drawn_first = (jnp.matmul(counts, x, precision=numerics.PRECISION) for x in (reduced, first))
        outer = (1 - level) / 2
        low, high = percentile_interval(numerics.safe_ratio(drawn, drawn_first), level)
        crossing = jnp.mean((jnp.sign(drawn_first) != jnp.sign(total)[None]).astype(slope.dtype), axis=0)
        low, high = (jnp.where(crossing > outer, end, x) for end, x in ((-jnp.inf, low), (jnp.inf, high)))
        enough = jnp.sum(known, axis=0) >= 2
        columns = (jnp.where(enough, column, jnp.nan) for column in (value, low, high))
        return (*columns, _first_stage(below, jnp.where(usable, weight, 0.0), jnp.sum(usable)))

    rest = slopes.shape[2:]
    found = jax.lax.map(one, (slopes.reshape(*slopes.shape[:2], -1), fidelity, spread))
    return PerObtained(*(jnp.reshape(values, (len(slopes), *rest)) for values in found[:3]), first_stage=found[3])


def _first_stage(covaried: Float[Array, "samples"], spread: Float[Array, "samples"], anchors: Array) -> Array:
    """F = f² / Var f, f = Σ x o / Σ x², variance over anchors as in `response.slopes`; NaN for fewer than 2 anchors."""
    total = jnp.sum(spread)
    slope = numerics.safe_ratio(jnp.sum(covaried), total)
    surplus = jnp.sum(jnp.square(covaried - slope * spread))
    count = anchors.astype(spread.dtype)
    variance = numerics.safe_ratio(count, count - 1) * surplus / jnp.square(jnp.where(total > 0, total, 1.0))
    found = jnp.where(variance > 0, jnp.square(slope) / jnp.where(variance > 0, variance, 1.0), jnp.inf)
    return jnp.where((anchors >= 2) & (total > 0), found, jnp.nan)
