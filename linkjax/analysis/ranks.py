"""Rank statistics: Spearman's correlation and the area under the ROC curve."""

import numpy as np
from jaxtyping import Float


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Area under the ROC curve: the probability that a positive score exceeds a negative one, ties counted half."""
    above = positive[:, None] > negative[None, :]
    equal = positive[:, None] == negative[None, :]
    return float(np.mean(above + 0.5 * equal))


def standard_ranks(values: Float[np.ndarray, "*rows n"]) -> Float[np.ndarray, "*rows n"]:
    """Ranks along the last axis, with mean 0 and variance 1; equal values share their mean rank.

    The mean product of two of these is Spearman's ρ. NaN in a row whose values are all equal.
    """
    from scipy.stats import rankdata  # here: it takes half a second, and most of linkjax imports this file

    ranks = rankdata(values, axis=-1)
    ranks -= ranks.mean(axis=-1, keepdims=True)
    spread = ranks.std(axis=-1, keepdims=True)
    return ranks / np.where(spread > 0, spread, np.nan)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's ρ of two lists: Pearson's of their ranks; NaN where one of them has no order."""
    return float(np.mean(standard_ranks(a) * standard_ranks(b)))
