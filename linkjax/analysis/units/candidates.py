"""Choose units to sweep by their screened effects, and compare what was predicted with what was measured."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from linkjax.analysis.ranks import rank_correlation


def strength(
    effect: Float[np.ndarray, "units part metric"],
    spread: Float[np.ndarray, "part metric"],
    error: Float[np.ndarray, "units part metric"] | None = None,
) -> Float[np.ndarray, "units part metric"]:
    """|effect| / spread, 0 where there is none; with its error the part of it that is sure: times max(1 − 1/t², 0).

    Args:
      effect: per σ of the unit; NaN where there is none.
      spread: of each metric, by `measurements.spread`.
      error: standard error of each effect over anchors; t = effect / error. An effect with no error known counts whole.
    Reference: the positive-part estimator of James and Stein, 1961, of one mean.
    """
    scaled = np.nan_to_num(np.abs(effect) / spread[None], nan=0.0, posinf=0.0)
    if error is None:
        return scaled
    t2 = (effect / np.where(error > 0, error, np.nan)) ** 2
    return scaled * np.nan_to_num(np.maximum(1.0 - 1.0 / np.maximum(t2, 1e-30), 0.0), nan=1.0)


def strongest_units(
    effect: Float[np.ndarray, "units part metric"],
    spread: Float[np.ndarray, "part metric"],
    usable: Bool[np.ndarray, "units"],
    count: int,
    error: Float[np.ndarray, "units part metric"] | None = None,
) -> Int[np.ndarray, "K"]:
    """The units of largest root mean square `strength` over all parts and metrics, in the order of their numbers.

    The largest single effect would be that of whichever metric is least certain; scripts/methods/compare_screening.py
    counts how many of the 20 units chosen either way a sweep chooses too.

    Args:
      effect, spread, error: of `strength`.
      usable: units that may be chosen.
      count: how many; fewer if fewer are usable.
    """
    known = np.isfinite(effect / spread[None])
    squares = np.sum(strength(effect, spread, error) ** 2, axis=(1, 2)) / np.maximum(known.sum(axis=(1, 2)), 1)
    order = np.argsort(-np.where(usable, squares, -1.0), kind="stable")
    return np.sort(order[: min(count, int(usable.sum()))]).astype(np.int32)


def matched(
    effect: Float[np.ndarray, "K part metric"],
    names: tuple[Sequence[str], Sequence[str]],
    wanted: tuple[Sequence[str], Sequence[str]],
) -> Float[np.ndarray, "K part2 metric2"]:
    """Effects by other parts and metrics than their own, matched by name; NaN where there is none of that name."""
    (parts, metrics), (to_parts, to_metrics) = ([list(each) for each in pair] for pair in (names, wanted))
    found = np.full((len(effect), len(to_parts), len(to_metrics)), np.nan, np.float32)
    for row, part in enumerate(to_parts):
        for column, metric in enumerate(to_metrics):
            if part in parts and metric in metrics:
                found[:, row, column] = effect[:, parts.index(part), metrics.index(metric)]
    return found


def agreement(
    predicted: Float[np.ndarray, "K part metric"],
    measured: Float[np.ndarray, "K part metric"],
    spread: Float[np.ndarray, "part metric"],
) -> float | None:
    """Rank correlation of predicted and measured effects, each in standard deviations of its metric among samples.

    Args:
      predicted, measured: by the same units, parts and metrics.
      spread: of `measurements.spread`.
    """
    both = np.stack([predicted, measured]) / spread
    known = np.isfinite(both).all(axis=0)
    return rank_correlation(both[0][known], both[1][known]) if known.sum() > 2 else None
