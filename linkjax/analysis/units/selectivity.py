"""Effects of units on parts: bootstrap intervals, a sign-flip test, and a null distribution of random directions.

Everything starts from the slope of every metric in every anchor, β_a: of the metric on the unit's asked value, per
standard deviation of the unit. An effect is the mean of β_a over anchors.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from linkjax import numerics
from linkjax.analysis.units.intervals import percentile_interval
from linkjax.errors import InputError

_UNITS = 128  # results of so many units are computed together
_SMALL = 1 << 24  # bytes of what is measured of so many units, beyond which slopes of fewer are computed alone


def anchor_slopes(
    values: Float[Any, "samples units steps"],
    measured: Float[Any, "samples units steps *rest"],
    std: Float[Any, "units"],
) -> Float[Array, "samples units *rest"]:
    """Slope of a measurement on the asked value over all steps, per standard deviation of the unit, by anchor.

    β = σ · Σ_s (x_s − x̄)(y_s − ȳ) / Σ_s (x_s − x̄)²; NaN where a step is not finite or the values do not differ.

    Args:
      values: asked of each unit in each anchor.
      measured: what was found; angles unwrapped along the steps.
      std: of each unit over the training activations.
    """
    if numerics.traced(values, measured, std):
        return _anchor_slopes(values, measured, std)
    values, measured, std = (np.asarray(each, np.float32) for each in (values, measured, std))
    units = len(std)
    if measured.nbytes * _UNITS <= _SMALL * units:
        values, measured, std = (_filled_up(each, _UNITS, each.ndim > 1) for each in (values, measured, std))
    return jnp.asarray(np.asarray(_anchor_slopes(values, measured, std))[:, :units])  # sliced without a program


@numerics.jit
def _anchor_slopes(
    values: Float[Any, "samples units steps"],
    measured: Float[Any, "samples units steps *rest"],
    std: Float[Any, "units"],
) -> Float[Array, "samples units *rest"]:
    x, spread = deviations(values)
    y = measured - jnp.mean(measured, axis=2, keepdims=True)
    covaried = jnp.einsum("aus,aus...->au...", x, y, precision=numerics.PRECISION)
    slope = numerics.safe_ratio(std[None] * jnp.ones_like(spread), spread)
    return covaried * slope.reshape(*slope.shape, *[1] * (measured.ndim - 3))


def deviations(
    values: Float[Array, "samples units steps"],
) -> tuple[Float[Array, "samples units steps"], Float[Array, "samples units"]]:
    """x_s − x̄ of the values asked, and Σ_s (x_s − x̄)²: exactly 0 where they do not differ."""
    x = values - values[:, :, :1]
    x = x - jnp.mean(x, axis=2, keepdims=True)
    return x, jnp.sum(jnp.square(x), axis=2)


class Effects(NamedTuple):
    """Per unit and measurement, [units, *rest]."""

    effect: jax.Array  # mean over anchors of the slope per σ
    low: jax.Array  # of the bootstrap interval
    high: jax.Array
    p_sign: jax.Array  # of "the effect's sign is a coin toss in every anchor"
    consistency: jax.Array  # share of classes whose own mean has the effect's sign
    anchors: jax.Array  # anchors in which the slope exists
    by_class: jax.Array  # [units, classes, *rest], mean slope in each class, in the order of their labels


class Resamples(NamedTuple):
    """Draws that are the same for all units, so that units may be worked on in any batches."""

    member: jax.Array  # [samples, classes], 1 where an anchor is of a class
    counts: jax.Array  # [draws, samples], how often each anchor is in each resample
    signs: jax.Array  # [flips, samples], ±1: of `sign_flips`


def draw_resamples(labels: Int[Array, "samples"], key: Array, draws: int = 1000, flips: int = 10000) -> Resamples:
    """Bootstrap resamples over classes and anchors within them, and sign flips of anchors.

    Args:
      flips: random sign flips; where there are no more ways than that, each is taken once and the test is exact.
    Errors: InputError for fewer than one draw or flip.
    """
    if min(draws, flips) < 1:
        raise InputError(f"expected draws ≥ 1 and flips ≥ 1, found {draws} and {flips}")
    names, column = np.unique(np.asarray(labels), return_inverse=True)
    member = np.eye(names.size, dtype=np.float32)[column]
    count_key, sign_key = jax.random.split(key)
    counts = _resampled(count_key, jnp.asarray(member), int(member.sum(axis=0).max()), draws)
    return Resamples(jnp.asarray(member), counts, sign_flips(sign_key, len(column), flips))


def sign_flips(key: Array, samples: int, flips: int) -> Float[Array, "flips samples"]:
    """Signs ±1 of the samples in a sign-flip test; at random, or every way once where there are at most `flips`.

    The first sample keeps its sign then (both signs of a mean are one to a two-sided test), and the way that flips
    none is left out, because the p-value counts it: (1 + flips that reach the effect) / (1 + flips).
    """
    if samples > 32 or 2 ** (samples - 1) - 1 > flips:
        return jax.random.rademacher(key, (flips, samples), jnp.float32)
    ways = np.arange(1, 2 ** (samples - 1))[:, None] >> np.arange(samples)[None, ::-1]
    return jnp.asarray(1 - 2 * (ways & 1), jnp.float32)


def effects(
    slopes: Float[Array, "samples units *rest"],
    labels: Int[Array, "samples"],
    key: Array,
    draws: int = 1000,
    level: float = 0.95,
    flips: int | None = None,
) -> Effects:
    """Mean slopes with bootstrap intervals over classes and anchors, and a sign-flip test.

    Bootstrap: classes are drawn with replacement, then anchors within each drawn class, `draws` times; the interval is
    that of percentiles. With one class, anchors alone are drawn. Sign flips: under no effect a slope is as likely
    positive as negative, so the signs of all anchors are flipped (`sign_flips`) and
    p = (1 + #{|mean*| ≥ |mean|}) / (1 + flips). An anchor whose slope does not exist has no part in either.

    Args:
      slopes: of `anchor_slopes`.
      labels: class of every anchor.
      level: of the interval, in (0, 1).
      flips: of the sign-flip test, at most; None: as many as draws.
    Returns: NaN where fewer than 2 anchors have a slope.
    Numerics: resamples are products with a [draws, samples] matrix of counts, so memory is draws · units · rest.
    Reference: Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8 (nested data).
    """
    resamples = draw_resamples(labels, key, draws, flips or draws)
    return unit_effects(jnp.moveaxis(slopes, 1, 0), resamples, level)


@functools.partial(numerics.jit, static=("most", "draws"))
def _resampled(
    key: Array, member: Float[Array, "samples classes"], most: int, draws: int
) -> Float[Array, "draws samples"]:
    """How often each anchor is in each resample: classes drawn with replacement, then anchors within them.

    Args:
      most: anchors of the largest class.
    Numerics: one resample after the other, so that memory is that of the anchors, not of classes times anchors.
    """
    classes = member.shape[1]
    size = jnp.sum(member, axis=0).astype(jnp.int32)  # anchors of each class
    own = jnp.argmax(member, axis=1)
    rank = jnp.sum((jnp.cumsum(member, axis=0) - 1.0) * member, axis=1).astype(jnp.int32)  # place in its class

    def one(key: Array) -> Array:
        class_key, anchor_key = jax.random.split(key)
        drawn = jax.random.randint(class_key, (classes,), 0, classes)
        room = size[drawn][:, None]
        place = jnp.floor(jax.random.uniform(anchor_key, (classes, most)) * room.astype(jnp.float32))
        # The k-th of a drawn class's picks counts while the class has k anchors.
        hits = (jnp.arange(most)[None, :] < room).astype(jnp.float32)
        times = jnp.zeros((classes, most)).at[drawn[:, None], place.astype(jnp.int32)].add(hits)
        return times[own, rank]

    return jax.lax.map(one, jax.random.split(key, draws))


@functools.partial(jax.jit, static_argnames="level")
def unit_effects(slopes: Float[Array, "units samples *rest"], resamples: Resamples, level: float = 0.95) -> Effects:
    """`effects`, unit by unit, of draws made before.

    Errors: InputError for a level outside (0, 1).
    """
    if not 0 < level < 1:
        raise InputError(f"expected 0 < level < 1, found {level}")
    member, counts, signs = resamples

    def one(slope: Float[Array, "samples V"]) -> tuple[Array, ...]:
        known = jnp.isfinite(slope)
        clean, present = jnp.where(known, slope, 0.0), known.astype(slope.dtype)

        def means(weights: Array) -> Array:
            sums, below = (jnp.matmul(weights, x, precision=numerics.PRECISION) for x in (clean, present))
            return numerics.safe_ratio(sums, below)

        anchors = jnp.sum(known, axis=0)
        below = anchors.astype(slope.dtype)
        effect = numerics.safe_ratio(jnp.sum(clean, axis=0), below)
        resampled = means(counts)
        low, high = percentile_interval(resampled, level)
        flipped = jnp.matmul(signs, clean, precision=numerics.PRECISION) / jnp.maximum(below, 1.0)[None, :]
        # A toss that gives all anchors their own signs reaches the effect itself, but for rounding.
        reached = jnp.abs(flipped) >= jnp.abs(effect)[None, :] * (1.0 - 1e-6)
        p_sign = (1.0 + jnp.sum(reached.astype(slope.dtype), axis=0)) / (1.0 + signs.shape[0])
        by_class = means(member.T)
        agree = jnp.where(jnp.isfinite(by_class), jnp.sign(by_class) == jnp.sign(effect)[None, :], False)
        classes = jnp.sum(jnp.isfinite(by_class), axis=0).astype(slope.dtype)
        consistency = numerics.safe_ratio(jnp.sum(agree, axis=0).astype(slope.dtype), classes)
        enough = anchors >= 2
        columns = (effect, low, high, p_sign, consistency)
        return (*(jnp.where(enough, column, jnp.nan) for column in columns), anchors, by_class)

    rest = slopes.shape[2:]
    found = jax.lax.map(one, slopes.reshape(*slopes.shape[:2], -1))
    return Effects(*(jnp.reshape(values, (*values.shape[:-1], *rest)) for values in found))


def benjamini_hochberg(p: Float[Any, "units *rest"]) -> Float[np.ndarray, "units *rest"]:
    """False-discovery-adjusted p-values over units, for each measurement by itself.

    q_(i) = min_{j ≥ i} (m / j) p_(j) of the m finite values in rising order; NaN stays NaN.

    Numerics: float32, on the host: nothing is compiled for so many units.
    Reference: Benjamini and Hochberg, "Controlling the false discovery rate", 1995.
    """
    p = np.asarray(p, np.float32)
    known = np.isfinite(p)
    filled = np.where(known, p, np.float32(np.inf))
    order = np.argsort(filled, axis=0, kind="stable")
    count = np.maximum(known.sum(axis=0, keepdims=True), 1).astype(np.float32)
    above = np.float32(1.0) / np.arange(1, p.shape[0] + 1, dtype=np.float32)
    raw = np.take_along_axis(filled, order, axis=0) * (count * above.reshape(-1, *[1] * (p.ndim - 1)))
    lowest = np.minimum.accumulate(raw[::-1], axis=0)[::-1]
    adjusted = np.empty_like(p)
    np.put_along_axis(adjusted, order, lowest, axis=0)
    return np.where(known, np.minimum(adjusted, np.float32(1.0)), np.float32(np.nan))


def student_p_values(
    effect: Float[Any, "units *rest"], norm: Float[Any, "units"], null: Float[Any, "directions *rest"]
) -> Float[Array, "units *rest"]:
    """P-values against random directions of the same length, by Student's distribution: finer than by counting.

    p = P(|T_D| ≥ t / rms(null)), t = |effect| / norm, T_D Student's with D degrees of freedom, D the number of finite
    directions. The effect of a direction that is uniform on a sphere is a sum of many small shares, so nearly normal
    with mean 0; dividing by the root mean square of D such effects gives Student's distribution. Exact where the
    measurement is linear in a direction with normal entries.

    Args:
      effect: of the units, per σ.
      norm: length of a unit's step in W, σ_u ‖kernel_u‖; so one set of random directions serves units of every length.
      null: effects of random directions, per unit of length.
    Returns: NaN where an effect is not finite, or fewer than 2 directions are, or none changes anything.
    """
    if numerics.traced(effect, norm, null):
        return _student_p_values(effect, norm, null)
    effect, norm, null = (np.asarray(each, np.float32) for each in (effect, norm, null))
    found = _student_p_values(_filled_up(effect, _UNITS), _filled_up(norm, _UNITS), null)
    return jnp.asarray(np.asarray(found)[: len(effect)])


def _filled_up(rows: np.ndarray, block: int, axis: int = 0) -> np.ndarray:
    """Rows and as many of NaN as fill a block: of all numbers of units up to it one program is compiled."""
    missing = [(0, -size % block if each == axis else 0) for each, size in enumerate(rows.shape)]
    return np.pad(rows, missing, constant_values=np.nan)


@numerics.jit
def _student_p_values(
    effect: Float[Any, "units *rest"], norm: Float[Any, "units"], null: Float[Any, "directions *rest"]
) -> Float[Array, "units *rest"]:
    known = jnp.isfinite(null)
    count = jnp.sum(known.astype(null.dtype), axis=0)
    square = numerics.safe_ratio(jnp.sum(jnp.square(jnp.where(known, null, 0.0)), axis=0), count)
    length = norm.reshape(-1, *[1] * (effect.ndim - 1)) * jnp.ones_like(effect)
    t = numerics.safe_ratio(numerics.safe_ratio(effect, length), jnp.sqrt(square)[None] * jnp.ones_like(effect))
    below = jnp.maximum(count, 2.0)[None] * jnp.ones_like(effect)
    p = jax.scipy.special.betainc(below / 2.0, jnp.full_like(effect, 0.5), below / (below + jnp.square(t)))
    return jnp.where(jnp.isfinite(t) & (count >= 2)[None], p, jnp.nan)
