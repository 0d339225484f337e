"""From a screening to a sweep: which units are worth measuring, and what was predicted for them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from linkjax.analysis.ranks import rank_correlation


def strongest_units(
    effect: Float[np.ndarray, "units part metric"],
    spread: Float[np.ndarray, "part metric"],
    usable: Bool[np.ndarray, "units"],
    count: int,
) -> Int[np.ndarray, "K"]:
    """The units of largest |effect| / spread over all parts and metrics, in the order of their numbers.

    Args:
      effect: per σ of the unit; NaN where there is none.
      spread: of each metric, by `measurements.spread`.
      usable: units that may be chosen.
      count: how many; fewer if fewer are usable.
    """
    scaled = np.abs(effect) / spread[None]
    score = np.nan_to_num(scaled, nan=0.0).reshape(len(effect), -1).max(axis=1)
    order = np.argsort(-np.where(usable, score, -1.0), kind="stable")
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
