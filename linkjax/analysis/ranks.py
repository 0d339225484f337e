"""Order, and nothing else: rank correlation and the area under the ROC curve."""

import numpy as np


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Area under the ROC curve: the chance that a positive score is above a negative one, ties counted half."""
    above = positive[:, None] > negative[None, :]
    equal = positive[:, None] == negative[None, :]
    return float(np.mean(above + 0.5 * equal))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's ρ of two lists: Pearson's of their ranks, ties at their mean rank."""

    def ranks(values: np.ndarray) -> np.ndarray:
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        last = np.cumsum(counts)
        return (last - (counts - 1) / 2.0)[inverse]

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])
