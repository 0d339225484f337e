"""Similarity of two units' effects on the image: cosines of their effect profiles over all parts and metrics."""

import numpy as np
from jaxtyping import Float, Int

from linkjax.analysis.finite import finite_mean


def standardised(
    slopes: Float[np.ndarray, "anchors units parts metrics"], spread: Float[np.ndarray, "parts metrics"]
) -> Float[np.ndarray, "anchors units features"]:
    """Effects by anchor in standard deviations of each metric among untouched samples, parts and metrics as one axis.

    Args:
      slopes: of `selectivity.anchor_slopes`, per σ of the unit.
      spread: of `measurements.spread`; a metric without one has no part.
    """
    scaled = np.asarray(slopes, np.float64) / np.where(spread > 0, spread, np.nan)
    flat = scaled.reshape(*scaled.shape[:2], -1)
    return flat[..., np.isfinite(spread.ravel()) & (spread.ravel() > 0)]


def cosines(
    one: Float[np.ndarray, "anchors K features"],
    other: Float[np.ndarray, "anchors K features"],
    weight: Float[np.ndarray, "anchors"] | None = None,
) -> Float[np.ndarray, "K"]:
    """Cosine of two units' mean effects over all features that both have, for K pairs of units.

    Args:
      one, other: effects by anchor; NaN where an anchor shows no such part.
      weight: of the anchors; none: all alike.
    Returns: −1 … 1; NaN where one of the two does nothing.
    """
    weight = np.ones(len(one)) if weight is None else np.asarray(weight, np.float64)
    a, b = (finite_mean(x, 0, weight[:, None, None]) for x in (one, other))
    return cosine(a, b)


def intervals(
    one: Float[np.ndarray, "anchors K features"],
    other: Float[np.ndarray, "anchors K features"],
    counts: Float[np.ndarray, "draws anchors"],
    level: float = 0.95,
) -> tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K"]]:
    """Ends of the interval of `cosines` by resampled classes and anchors, the same for both units.

    Args:
      counts: how often each anchor is in each draw, of `selectivity.draw_resamples`.
    """
    drawn = np.stack([cosines(one, other, each) for each in np.asarray(counts)])
    tails = (100 * (1 - level) / 2, 100 * (1 + level) / 2)
    low, high = np.full((2, drawn.shape[1]), np.nan)
    known = np.isfinite(drawn).any(axis=0)
    if known.any():
        low[known], high[known] = np.nanpercentile(drawn[:, known], tails, axis=0)
    return low, high


def shuffled_means(
    one: Float[np.ndarray, "anchors K features"],
    other: Float[np.ndarray, "anchors K features"],
    sign: Float[np.ndarray, "K"],
    rng: np.random.Generator,
    shuffles: int,
) -> Float[np.ndarray, "shuffles"]:
    """Null distribution of the mean of sign · cosine: the same mean over units paired at random."""
    a, b = finite_mean(one, 0), sign[:, None] * finite_mean(other, 0)
    return np.array([finite_mean(cosine(a, b[rng.permutation(len(b))])) for _ in range(shuffles)])


def nearest(
    one: Float[np.ndarray, "anchors p features"], other: Float[np.ndarray, "anchors q features"]
) -> Int[np.ndarray, "p"]:
    """For each unit the unit of another network with the largest |cosine| of effects; −1 for none."""
    a, b = (finite_mean(x, 0) for x in (one, other))
    found = np.full(len(a), -1)
    for row, effect in enumerate(a):
        size = np.abs(cosine(np.broadcast_to(effect, b.shape), b))
        if np.isfinite(size).any():
            found[row] = int(np.nanargmax(size))
    return found


def cosine(a: Float[np.ndarray, "*n features"], b: Float[np.ndarray, "*n features"]) -> Float[np.ndarray, "*n"]:
    """Cosine of rows over the features that both have; NaN where one of the two is nothing."""
    both = np.isfinite(a) & np.isfinite(b)
    a, b = np.where(both, a, 0.0), np.where(both, b, 0.0)
    length = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return (a * b).sum(axis=-1) / np.where(length > 0, length, np.nan)
