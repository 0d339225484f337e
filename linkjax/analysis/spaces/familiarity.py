"""Mahalanobis distance of activations from a link's training pairs, and their cycle consistency, for photographs.

A generator's images fill only a part of what a classifier can see. A link has been fitted there, and elsewhere it
extrapolates; these numbers tell how much.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linkjax.analysis.links.moments import Moments

#: Share of the mean variance that is added to the variance in every direction: units that are nearly silent among the
#: training pairs would otherwise make any photograph infinitely far.
SHRINKAGE = 0.01


class Whitening(NamedTuple):
    """A centre and a matrix after which the training activations have an r.m.s. length of 1."""

    mean: Float[np.ndarray, " units"]
    matrix: Float[np.ndarray, "units units"]


def whitening(moments: Moments, shrinkage: float = SHRINKAGE) -> Whitening:
    """The whitening of training activations, from their streamed moments.

    With λ_i, v_i the eigenvalues and vectors of the covariance and γ = shrinkage · mean λ, the matrix has columns
    v_i / √((λ_i + γ) · Σ_j λ_j / (λ_j + γ)).

    Args:
      moments: of at least two samples; only those of r are used.
      shrinkage: above 0.
    """
    count = float(moments.count)
    variance, directions = np.linalg.eigh(np.asarray(moments.S_rr) / count)
    variance = np.maximum(variance, 0.0)
    floor = shrinkage * variance.mean()
    if floor == 0:  # nothing varies: everything is where the mean is, or infinitely far
        return Whitening(np.asarray(moments.mean_r), np.full_like(directions, np.nan))
    effective = np.sum(variance / (variance + floor))
    return Whitening(np.asarray(moments.mean_r), directions / np.sqrt((variance + floor) * effective)[None])


def distance(whitening: Whitening, r: Float[np.ndarray, "batch units"]) -> Float[np.ndarray, " batch"]:
    """Mahalanobis distance from the training mean, 1 in the root mean square over the training pairs.

    d² = Σ_i (v_i · (r − r̄))² / (λ_i + γ) / Σ_j λ_j / (λ_j + γ), see `whitening`.
    """
    return np.linalg.norm((r.astype(np.float64) - whitening.mean[None]) @ whitening.matrix, axis=1)


def cosine(a: Float[np.ndarray, "batch units"], b: Float[np.ndarray, "batch units"]) -> Float[np.ndarray, " batch"]:
    """Cosine of rows, in float64; NaN where either is 0."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.where(norms > 0, np.sum(a * b, axis=1) / np.where(norms > 0, norms, 1.0), np.nan)


def share_below(values: Float[np.ndarray, " n"], reference: Float[np.ndarray, " m"]) -> Float[np.ndarray, " n"]:
    """The share of reference values that are smaller, 0 … 1; NaN for NaN, and where there is no reference.

    Values within a billionth of each other count as equal: which of them is larger is a matter of rounding.
    """
    known = np.sort(reference[np.isfinite(reference)])
    if not known.size:
        return np.full(values.shape, np.nan)
    surely = np.searchsorted(known, values * (1 - 1e-9 * np.sign(values)), side="left")
    return np.where(np.isnan(values), np.nan, surely / known.size)
