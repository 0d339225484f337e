"""The boundary between two classes along paths that cross it: aligned where they flip, averaged by pair of classes.

All on the host, from the few numbers that `paths.walk` keeps of every point.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

QUANTILES = (0.1, 0.5, 0.9)


class Profile(NamedTuple):
    """Probability of the target at signed distances from the flip point, by pair of classes."""

    mean: np.ndarray  # [pairs, places]; NaN where no path reaches
    low: np.ndarray  # 10 % of the paths are below
    median: np.ndarray
    high: np.ndarray  # 10 % are above
    count: np.ndarray  # [pairs, places] paths that reach


def class_pairs(
    origin: Int[np.ndarray, " N"], target: Int[np.ndarray, " N"]
) -> tuple[Int[np.ndarray, "pairs 2"], Int[np.ndarray, " N"]]:
    """The pairs (origin, target) there are, sorted, and the pair of every search."""
    pairs, index = np.unique(np.stack([origin, target], axis=1), axis=0, return_inverse=True)
    return pairs, index.reshape(-1)


def aligned(
    log_odds: Float[np.ndarray, "N T"],
    flip: Float[np.ndarray, " N"],
    length: Float[np.ndarray, " N"],
    distance: Float[np.ndarray, " places"],
    spacing: float,
) -> Float[np.ndarray, "N places"]:
    """Probability of the target at distances d from each path's flip point: σ(M(t* + d / ‖Δr‖)).

    The log-odds M are straight between points. d is measured in r along the straight move from start to end, negative
    before the flip.

    Args:
      log_odds: at t = 0, spacing, 2 spacing, …
      flip: t*; NaN for a path that has none.
      length: ‖Δr‖, from t = 0 to t = 1.
      distance: d, in activation units.
      spacing: of t.
    Returns: NaN beyond a path's ends, and for a path without a flip point.
    """
    last = log_odds.shape[1] - 1
    safe = np.where(length > 0, length, np.nan)
    place = (distance[None] / safe[:, None] + flip[:, None]) / spacing
    inside = np.isfinite(place) & (place > -1e-6) & (place < last + 1e-6)
    place = np.clip(np.where(inside, place, 0.0), 0.0, last)
    before = np.minimum(place.astype(int), last - 1)
    rows = np.arange(len(log_odds))[:, None]
    low, high = log_odds[rows, before].astype(np.float64), log_odds[rows, before + 1].astype(np.float64)
    odds = low + (place - before) * (high - low)
    return np.where(inside, 1.0 / (1.0 + np.exp(-np.clip(odds, -80.0, 80.0))), np.nan)


def profile(probability: Float[np.ndarray, "N places"], pair: Int[np.ndarray, " N"], pairs: int) -> Profile:
    """Mean and quantiles of aligned paths, by pair of classes."""
    places = probability.shape[1]
    mean, low, median, high = (np.full((pairs, places), np.nan) for _ in range(4))
    found = Profile(mean, low, median, high, np.zeros((pairs, places), int))
    order = np.argsort(pair, kind="stable")
    edges = np.searchsorted(pair[order], np.arange(pairs + 1))
    for row in range(pairs):
        mine = probability[order[edges[row] : edges[row + 1]]]
        count = np.isfinite(mine).sum(axis=0)
        some = count > 0
        found.count[row] = count
        if some.any():
            found.mean[row, some] = np.nanmean(mine[:, some], axis=0)
            quantiles = np.nanquantile(mine[:, some], QUANTILES, axis=0)
            for name, values in zip(("low", "median", "high"), quantiles, strict=True):
                getattr(found, name)[row, some] = values
    return found


def widths(slope: Float[np.ndarray, " N"], length: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """Distance in r over which the probability goes from 1/4 to 3/4: 2 ln 3 ‖Δr‖ / (dM/dt), M the log-odds.

    With M straight as it is around the flip point; NaN where it does not rise there.
    """
    rising = np.isfinite(slope) & (slope > 0) & (length > 0)
    return np.where(rising, 2 * np.log(3) * length / np.where(rising, slope, 1.0), np.nan)


def quartiles(values: Float[np.ndarray, " N"], pair: Int[np.ndarray, " N"], pairs: int) -> Float[np.ndarray, "pairs 3"]:
    """25, 50 and 75 % of what is finite, by pair of classes; NaN where nothing is."""
    found = np.full((pairs, 3), np.nan)
    for row in range(pairs):
        mine = values[(pair == row) & np.isfinite(values)]
        if mine.size:
            found[row] = np.quantile(mine, (0.25, 0.5, 0.75))
    return found
