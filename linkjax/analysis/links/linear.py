"""Linear links from second moments: least squares, ridge, and what the spectrum says about them.

Minimised, with centred R = r − mean_r and W = w − mean_w:  ‖W − R·kernel‖² + alpha · ‖kernel‖²; the bias,
mean_w − mean_r · kernel, is not penalised (scikit-learn's LinearRegression and Ridge).
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from numpy.typing import ArrayLike
from scipy.linalg.lapack import dpocon, dpotrf, dpotrs  # pyright: ignore[reportAttributeAccessIssue]

from linkjax.analysis import float64
from linkjax.analysis.links.moments import Moments


class Solution(NamedTuple):
    """A linear link, w = r · kernel + bias, as NumPy float64."""

    kernel: Array | np.ndarray  # [units, w_dim]
    bias: Array | np.ndarray  # [w_dim]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Spectrum:
    """Eigendecomposition of S_rr: how the activations vary, and in how many directions."""

    eigenvalues: Array  # [units], ascending
    vectors: Array  # [units, units], columns
    live: Array  # [units] bool: the eigenvalue is more than the rounding of the moments
    threshold: Array  # [] that rounding


@float64.jit()
def decompose(moments: Moments) -> Spectrum:
    """Eigenvalues and vectors of S_rr, and which of them are more than rounding.

    Live: eigenvalue > 8 √units · rounding · largest, and among the count − 1 largest. Null eigenvalues of a
    rank-deficient Gram matrix come out as rounding, measured at most 5 roundings of the largest whatever the size;
    the rest is margin (and more than the rounding of the deviations, should no unit vary). In terms of R's singular
    values this drops what is below 3e-7 (2048 units) of the largest.
    Dropped directions get no weight in least squares, which makes it the minimum-norm solution.
    """
    eigenvalues, vectors = jnp.linalg.eigh(moments.S_rr)
    units = eigenvalues.shape[0]
    from_top = jnp.arange(units - 1, -1, -1, dtype=jnp.float64)
    rounding = jnp.maximum(*_roundings(moments, eigenvalues[-1]))
    return Spectrum(eigenvalues, vectors, (eigenvalues > rounding) & (from_top < moments.count - 1), rounding)


def solve_ols(moments: Moments, spectrum: Spectrum | None = None) -> Solution:
    """Least squares; the minimum-norm solution when the data do not determine one.

    kernel = V Λ⁺ Vᵀ S_rw over the live directions of `decompose`.

    Args:
      spectrum: the moments' decomposition, if it is there already. Without it, a Cholesky factor is tried first (seven
        times cheaper) and kept if its condition shows full rank by the same rule.
    """
    if spectrum is None:
        solution = _cholesky(moments, 0.0)
        if solution is not None:
            return solution
        spectrum = decompose(moments)
    return _from_spectrum(moments, spectrum, 0.0)


def solve_ridge(moments: Moments, alpha: float, spectrum: Spectrum | None = None) -> Solution:
    """Ridge: kernel = (S_rr + alpha)⁻¹ S_rw; alpha = 0 is `solve_ols`.

    Args:
      alpha: penalty ≥ 0 on the sum of squares, not divided by the number of samples (scikit-learn's Ridge).
      spectrum: the moments' decomposition, if it is there already. Without it, by Cholesky, or by decomposition where
        that fails.
    """
    if alpha == 0:
        return solve_ols(moments, spectrum)
    if spectrum is None:
        solution = _cholesky(moments, alpha)
        if solution is not None:
            return solution
        spectrum = decompose(moments)
    return _from_spectrum(moments, spectrum, alpha)


def reduce_rank(moments: Moments, solution: Solution, alpha: float, rank: int) -> Solution:
    """The best link of at most `rank` for the same objective, from its solution of full rank.

    kernel_k = kernel · V Vᵀ, with V [w_dim, rank] the leading eigenvectors of kernelᵀ (S_rr + alpha) kernel. A link B
    is worse than the full one by tr (kernel − B)ᵀ (S_rr + alpha) (kernel − B), so by Eckart and Young this is the best
    of its rank. `rank` directions of W then carry everything the link says.

    Args:
      solution: of `solve_ols` or `solve_ridge` with the same alpha (0: least squares).
    Reference: Izenman, Reduced-rank regression for the multivariate linear model, 1975; Mukherjee, Zhu, Reduced rank
    ridge regression and its kernel extensions, 2011.
    """
    moments, kernel = jax.tree.map(np.asarray, moments), np.asarray(solution.kernel)
    fitted = kernel.T @ (moments.S_rr @ kernel + alpha * kernel)
    _, vectors = np.linalg.eigh((fitted + fitted.T) / 2)
    V = vectors[:, ::-1][:, :rank]
    kernel = kernel @ V @ V.T
    return Solution(kernel, moments.mean_w - moments.mean_r @ kernel)


@float64.jit(to_host=True)
def validation_errors(
    moments: Moments, held_out: Moments, alphas: Float[Array | np.ndarray, "A"], spectrum: Spectrum
) -> Float[Array, "A"]:
    """Mean squared error, on held-out samples, of the ridge link of every alpha: no kernel is formed, no sample read.

    In the eigenbasis the kernel is g ∘ D with g = 1 / (λ + alpha) and D = Vᵀ S_rw, so the summed squared error is a
    quadratic form in g alone, gᵀ (Vᵀ S'_rr V ∘ D Dᵀ) g − 2 g · rowsum(D ∘ Vᵀ S'_rw) + Σ S'_ww, plus the squared error
    of the mean (primes: held-out moments).

    Returns: mean over samples and dimensions of (w − ŵ)².
    """
    D = product(spectrum.vectors.T, moments.S_rw)
    quadratic = product(product(spectrum.vectors.T, held_out.S_rr), spectrum.vectors) * product(D, D.T)
    linear = jnp.sum(D * product(spectrum.vectors.T, held_out.S_rw), axis=1)
    shift_r = product(spectrum.vectors.T, (held_out.mean_r - moments.mean_r)[:, None])[:, 0]
    shift_w = held_out.mean_w - moments.mean_w

    def error(alpha: Array) -> Array:
        g = gains(spectrum, alpha)
        spread = jnp.sum(g * product(quadratic, g[:, None])[:, 0]) - 2.0 * jnp.sum(g * linear) + jnp.sum(held_out.S_ww)
        offset = shift_w - product((g * shift_r)[None, :], D)[0]
        return jnp.maximum(spread, 0.0) / held_out.count + jnp.sum(offset**2)

    return jax.lax.map(error, jnp.asarray(alphas, jnp.float64)) / D.shape[1]


@float64.jit(to_host=True)
def squared_errors(moments: Moments, solution: Solution) -> Float[Array, "w_dim"]:
    """Σ (w − ŵ)² of every w dimension over the samples of `moments`, for any linear link."""
    kernel = solution.kernel
    explained = jnp.sum(kernel * (product(moments.S_rr, kernel) - 2.0 * moments.S_rw), axis=0)
    offset = moments.mean_w - solution.bias - product(moments.mean_r[None, :], kernel)[0]
    return jnp.maximum(moments.S_ww + explained, 0.0) + moments.count * offset**2


def condition_number(eigenvalues: Float[Array | np.ndarray, "units"], live: Bool[Array | np.ndarray, "units"]) -> float:
    """σ_max / σ_min of centred R over its live directions: √(λ_max / λ_min); infinite if there is none."""
    values = np.asarray(eigenvalues)[np.asarray(live)]
    return float(np.sqrt(values.max() / values.min())) if values.size else float("inf")


def participation_ratio(moments: Moments) -> float:
    """Effective rank (Σλ)² / Σλ² of S_rr, which needs no spectrum; n equal eigenvalues and nothing else give n."""
    S = np.asarray(moments.S_rr)
    square = float(np.sum(S**2))
    return float(np.trace(S)) ** 2 / square if square > 0 else 0.0


def effective_rank(eigenvalues: Float[Array | np.ndarray, "units"]) -> float:
    """Entropy rank exp(−Σ p log p), p = λ / Σλ, negative eigenvalues as 0.

    Reference: Roy, Vetterli, The effective rank, 2007, with variances (λ) for their singular values.
    """
    values = np.clip(np.asarray(eigenvalues), 0, None)
    if not values.any():
        return 0.0
    p = values[values > 0] / values.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


def variance_of_rounding(moments: Moments) -> Array:
    """What S_rr's diagonal may be of units that never vary [units]: n (4 ε mean)², their deviations' rounding."""
    return moments.count * (4.0 * np.finfo(np.float64).eps * moments.mean_r) ** 2


def _roundings(moments: Moments, largest: Array | np.ndarray | float) -> tuple:
    """What the products, and what the means, leave as eigenvalues of S_rr where there are none; see `decompose`."""
    return (
        8.0 * np.sqrt(moments.S_rr.shape[0]) * moments.rounding * largest,
        variance_of_rounding(moments).sum(),
    )


def product(a: Array | np.ndarray, b: Array | np.ndarray) -> Array:
    """A matrix product at the highest precision, inside a float64 program."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def gains(spectrum: Spectrum, alpha: Array) -> Array:
    """1 / (λ + alpha) of every direction [units]; 0 where alpha does not lift a direction above rounding."""
    used = spectrum.live | (alpha > spectrum.threshold)
    return jnp.where(used, 1.0 / jnp.where(used, jnp.maximum(spectrum.eigenvalues, 0.0) + alpha, 1.0), 0.0)


def _solution(moments: Moments, kernel: Array) -> Solution:
    return Solution(kernel, moments.mean_w - product(moments.mean_r[None, :], kernel)[0])


@float64.jit(to_host=True)
def _from_spectrum(moments: Moments, spectrum: Spectrum, alpha: ArrayLike) -> Solution:
    D = product(spectrum.vectors.T, moments.S_rw)
    return _solution(moments, product(spectrum.vectors, gains(spectrum, jnp.asarray(alpha, jnp.float64))[:, None] * D))


def _cholesky(moments: Moments, alpha: float) -> Solution | None:
    """Solution by Cholesky of S_rr + alpha, on the host by LAPACK; None where the rule of `decompose` doubts it.

    units³ / 3 operations, and 2 · units² · w_dim for the solution. The smallest eigenvalue is at least 1 / ‖S⁻¹‖₁,
    which LAPACK estimates from the factor, and the largest at most ‖S‖₁. Where that does not settle it, subspace
    iteration with S and its inverse does: a handful of steps finds a near-null direction, since its inverse dwarfs
    the others.
    """
    moments = jax.tree.map(np.asarray, moments)  # outside a float64 program, arithmetic on JAX arrays is float32
    penalised = np.array(moments.S_rr)
    penalised[np.diag_indices_from(penalised)] += alpha
    norm = float(np.abs(penalised).sum(axis=0).max())
    # The transpose is the same matrix, laid out as LAPACK wants it; its lower triangle becomes the factor.
    factor, failed = dpotrf(penalised.T, lower=1, clean=0, overwrite_a=1)
    if failed:
        return None
    reciprocal, _ = dpocon(factor, norm, uplo="L")
    if not reciprocal * norm > max(_roundings(moments, norm)):
        largest, smallest = _extremes(moments.S_rr, alpha, factor)
        if not smallest > max(_roundings(moments, largest)):
            return None
    kernel, _ = dpotrs(factor, moments.S_rw, lower=1)
    kernel = np.ascontiguousarray(kernel)
    if not np.isfinite(kernel).all():
        return None
    return Solution(kernel, moments.mean_w - moments.mean_r @ kernel)


def _extremes(S: Array | np.ndarray, alpha: float, factor: np.ndarray) -> tuple[float, float]:
    """The largest eigenvalue of S + alpha from below, and the smallest from above, by 8 steps of subspace iteration."""
    high = low = np.random.default_rng(0).standard_normal((len(S), min(4, len(S))))
    for _ in range(8):
        high = np.linalg.qr(S @ high + alpha * high)[0]
        low = np.linalg.qr(dpotrs(factor, low, lower=1)[0])[0]
    of_high, of_low = (np.sum(x * (S @ x + alpha * x), axis=0) for x in (high, low))
    return float(of_high.max()), float(of_low.min())
