"""Least squares and ridge where samples are fewer than units: by the samples' own Gram matrix, [n, n].

The same links as `linear.solve_ols` and `linear.solve_ridge`, whose [units, units] would be the larger matrix.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh
from scipy.linalg.blas import dsyrk  # pyright: ignore[reportAttributeAccessIssue]

from linkjax.analysis.links.linear import Solution
from linkjax.analysis.links.problem import Fit, Problem, Settings, block_errors, linear_link, used_alpha

#: Units that are held in float64 at once.
COLUMNS = 4096
#: Samples up to which SciPy's LAPACK, which overwrites what it is given, can count its workspace in 32 bits:
#: 1 + 6 n + 2 n² values.
IN_PLACE = 2**15 - 2


class Dual(NamedTuple):
    """Samples, and the eigendecomposition of their centred Gram matrix, float64."""

    r: np.ndarray  # [n, units] as given
    mean_r: np.ndarray  # [units]
    mean_w: np.ndarray  # [w_dim]
    eigenvalues: np.ndarray  # [n], ascending
    vectors: np.ndarray  # [n, n]
    D: np.ndarray  # [n, w_dim]  vectorsᵀ (w − mean_w)


def fit(problem: Problem, settings: Settings) -> Fit:
    """Fit least squares or ridge by the Gram matrix of a problem's pairs, which are held in memory."""
    made = decompose(*problem.whole("train"))
    alpha = used_alpha(settings.method, settings.alpha)
    if settings.alphas:
        alpha = choose(made, *problem.whole("val"), settings.alphas)
    solution = solve(made, alpha)
    found = {"method": settings.method, "alpha": alpha, "count": problem.count("train")}
    if settings.diagnose and problem.count("val"):
        found |= block_errors(solution, problem.blocks("val"))
    return Fit(linear_link(solution, settings.method, alpha, settings.l1_ratio), found)


def nbytes(n: int) -> int:
    """Bytes that `decompose` needs of n samples beside these: n² values, and twice as many for LAPACK's dsyevd.

    Above `IN_PLACE` two copies of the n² values come to that.
    """
    return (24 if n <= IN_PLACE else 40) * n * n


def decompose(r: Float[np.ndarray, "n units"], w: Float[np.ndarray, "n w_dim"]) -> Dual:
    """The eigendecomposition that gives the link of every alpha.

    n² · units + about 9 n³ operations; memory `nbytes` and some columns beside the samples.
    """
    mean_r, mean_w = r.mean(axis=0, dtype=np.float64), w.mean(axis=0, dtype=np.float64)
    gram = np.zeros((len(r), len(r)), order="F")  # as LAPACK wants it, to be worked on in place; its lower half alone
    for columns in _columns(r.shape[1]):
        gram = dsyrk(
            1.0, (r[:, columns] - mean_r[columns]).T, trans=True, beta=1.0, c=gram, overwrite_c=True, lower=True
        )
    if len(r) > IN_PLACE:
        eigenvalues, vectors = np.linalg.eigh(gram)
    else:
        eigenvalues, vectors = eigh(gram, overwrite_a=True, check_finite=False, driver="evd")
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
        found = sum(r[:, columns] @ solution.kernel[columns] for columns in _columns(r.shape[1]))  # in float64
        errors.append(float(np.mean((w - found - solution.bias) ** 2)))
    return alphas[min(range(len(alphas)), key=lambda index: (errors[index], -alphas[index]))]


def _columns(units: int) -> list[slice]:
    return [slice(at, min(at + COLUMNS, units)) for at in range(0, units, COLUMNS)]
