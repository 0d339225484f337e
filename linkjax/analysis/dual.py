"""Least squares and ridge where samples are fewer than units: by the samples' own Gram matrix, [n, n].

The same links as `linear.solve_ols` and `linear.solve_ridge`, whose [units, units] would be the larger matrix.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linkjax.analysis.linear import Solution

#: Units whose deviations are held in float64 at once.
COLUMNS = 4096


class Dual(NamedTuple):
    """Samples, and the eigendecomposition of their centred Gram matrix, float64."""

    r: np.ndarray  # [n, units] as given
    mean_r: np.ndarray  # [units]
    mean_w: np.ndarray  # [w_dim]
    eigenvalues: np.ndarray  # [n], ascending
    vectors: np.ndarray  # [n, n]
    D: np.ndarray  # [n, w_dim]  vectorsᵀ (w − mean_w)


def decompose(r: Float[np.ndarray, "n units"], w: Float[np.ndarray, "n w_dim"]) -> Dual:
    """The eigendecomposition that gives the link of every alpha.

    n² · units + about 9 n³ operations; memory 16 · n² bytes beside the samples.
    """
    mean_r, mean_w = r.mean(axis=0, dtype=np.float64), w.mean(axis=0, dtype=np.float64)
    gram = np.zeros((len(r), len(r)))
    for columns in _columns(r.shape[1]):
        d = r[:, columns] - mean_r[columns]
        gram += d @ d.T
    eigenvalues, vectors = np.linalg.eigh(gram)
    return Dual(r, mean_r, mean_w, eigenvalues, vectors, vectors.T @ (w - mean_w))


def solve(dual: Dual, alpha: float) -> Solution:
    """kernel = Rᵀ V (Λ + alpha)⁻¹ Vᵀ W, centred; alpha = 0: the minimum-norm solution, over the live directions.

    Live: as in `linear.decompose`, for float64 products; at most n − 1, since the mean was taken out.

    Reference: Saunders, Gammerman, Vovk, Ridge regression learning algorithm in dual variables, 1998.
    """
    n, units = dual.r.shape
    relative = 8.0 * np.sqrt(units) * np.finfo(np.float64).eps * dual.eigenvalues[-1]
    of_means = n * ((4.0 * np.finfo(np.float64).eps * dual.mean_r) ** 2).sum()
    threshold = max(relative, of_means)
    live = (dual.eigenvalues > threshold) & (np.arange(n - 1, -1, -1) < n - 1)
    used = live | (alpha > threshold)
    gains = np.where(used, 1.0 / np.where(used, np.maximum(dual.eigenvalues, 0.0) + alpha, 1.0), 0.0)
    weights = dual.vectors @ (gains[:, None] * dual.D)
    kernel = np.empty((units, weights.shape[1]))
    for columns in _columns(units):
        kernel[columns] = (dual.r[:, columns] - dual.mean_r[columns]).T @ weights
    return Solution(kernel, dual.mean_w - dual.mean_r @ kernel)


def choose(dual: Dual, r: np.ndarray, w: np.ndarray, alphas: Sequence[float]) -> float:
    """The alpha with the smallest squared error on held-out pairs; the larger of two that are equal."""
    errors = []
    for alpha in alphas:
        solution = solve(dual, alpha)
        errors.append(float(np.mean((w - r @ solution.kernel - solution.bias) ** 2)))
    return alphas[min(range(len(alphas)), key=lambda index: (errors[index], -alphas[index]))]


def _columns(units: int) -> list[slice]:
    return [slice(at, min(at + COLUMNS, units)) for at in range(0, units, COLUMNS)]
