"""Linear links from second moments: least squares, ridge, reduced rank, and the elastic net where these fit."""

import dataclasses
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Array

from linkjax.analysis.links import elastic_net, fit_checks, linear
from linkjax.analysis.links.linear import Solution, Spectrum
from linkjax.analysis.links.moments import Moments
from linkjax.analysis.links.problem import Fit, Problem, Settings, linear_link, used_alpha
from linkjax.errors import InputError
from linkjax.models.link import Link


@dataclasses.dataclass(frozen=True)
class Diagnostics:
    """What a linear fit found; plain numbers, for a manifest. Formulas: `linkjax.analysis.links.linear`."""

    method: str
    alpha: float  # the one used, chosen or given
    l1_ratio: float
    count: int  # training samples
    numerical_rank: int  # directions of r above rounding
    condition_number: float  # σ_max / σ_min of centred r over those directions
    participation_ratio: float  # effective rank (Σλ)² / Σλ²
    effective_rank: float  # exp(entropy of λ / Σλ)
    train_mse: float  # mean over samples and dimensions
    train_r2: float  # 1 − Σ squared errors / Σ squared deviations, over all dimensions; NaN if w is constant
    val_mse: float | None  # the same on the held-out pairs, of the link that is returned; None without them
    validation: tuple[tuple[float, float], ...]  # (alpha, mean squared error on the held-out moments), as tried
    converged: bool  # False: an elastic net that stopped early, see kkt_residual
    iterations: int  # of the elastic net, from the kernel of the nearest alpha tried; 0 for direct solutions
    kkt_residual: float  # of the elastic net, largest over dimensions, relative
    eigenvalues: tuple[float, ...]  # of the covariance of r, descending


def fit(problem: Problem, settings: Settings) -> Fit:
    """Fit a linear link by the moments of a problem's pairs."""
    total, asked = problem.moments("train"), settings
    held_out = problem.moments("val") if problem.count("val") and (asked.diagnose or asked.alphas) else None
    if asked.diagnose:
        link, found = fit_from_moments(
            total, asked.method, asked.alpha, asked.l1_ratio, held_out=held_out, alphas=asked.alphas, rank=asked.rank
        )
        return Fit(link, dataclasses.asdict(found) | held_out_errors(found, held_out))
    alpha, start = asked.alpha, None
    spectrum = linear.decompose(total) if asked.method == "ridge" and asked.alphas else None
    if held_out is not None:
        alpha, _, start = _choose(total, held_out, asked.method, asked.alphas, asked.l1_ratio, spectrum)
    solution = _solve(total, asked.method, alpha, asked.l1_ratio, spectrum, start)[0]
    solution = _reduced(total, solution, asked.method, alpha, asked.rank)
    return Fit(linear_link(solution, asked.method, alpha, asked.l1_ratio, asked.rank), {})


def fit_from_moments(
    total: Moments,
    method: str = "ols",
    alpha: float = 1.0,
    l1_ratio: float = 0.5,
    *,
    held_out: Moments | None = None,
    alphas: Sequence[float] = (),
    rank: int = 0,
) -> tuple[Link, Diagnostics]:
    """A linear link from streamed moments, with diagnostics; arguments and numerics as `fit.fit_link`.

    Args:
      total: moments of the training pairs; held_out: of the validation pairs (needed for `alphas`).
    """
    fit_checks.options(method, alpha, l1_ratio, alphas, held_out is not None, rank)
    if method == "mlp":
        raise InputError("an MLP link cannot be fitted from moments; train it on pairs, or use ols, ridge, elastic_net")
    for name, part in (("training", total), ("validation", held_out)):
        if part is not None:
            fit_checks.moments(part, name)
    spectrum = linear.decompose(total)
    curve, start = (), None
    if held_out is not None:
        alpha, curve, start = _choose(total, held_out, method, alphas or (alpha,), l1_ratio, spectrum)
    solution, net = _solve(total, method, alpha, l1_ratio, spectrum, start)
    solution = _reduced(total, solution, method, alpha, rank)
    held_out_mse = None
    if held_out is not None:
        held_out_mse = float(linear.squared_errors(held_out, solution).mean() / float(held_out.count))
    count, S_ww = float(total.count), np.asarray(total.S_ww)
    squared = linear.squared_errors(total, solution)
    eigenvalues, live = np.asarray(spectrum.eigenvalues), np.asarray(spectrum.live)
    return linear_link(solution, method, alpha, l1_ratio, rank), Diagnostics(
        method=method,
        alpha=used_alpha(method, alpha),
        l1_ratio=l1_ratio if method == "elastic_net" else 0.0,
        count=int(count),
        numerical_rank=int(live.sum()),
        condition_number=linear.condition_number(eigenvalues, live),
        participation_ratio=linear.participation_ratio(total),
        effective_rank=linear.effective_rank(eigenvalues),
        train_mse=float(squared.sum() / (count * squared.size)),
        train_r2=float(1 - squared.sum() / S_ww.sum()) if S_ww.sum() > 0 else float("nan"),
        val_mse=held_out_mse,
        validation=curve,
        converged=net is None or bool(net.converged.all()),
        iterations=0 if net is None else int(net.iterations),
        kkt_residual=0.0 if net is None else float(net.kkt_residual.max()),
        eigenvalues=tuple((eigenvalues[::-1] / count).tolist()),
    )


def held_out_errors(found: Diagnostics, held_out: Moments | None) -> dict[str, Any]:
    """R² of a link on the validation split, and squared error and R² of every alpha tried; nothing without a split."""
    if held_out is None:
        return {}
    variance = float(np.asarray(held_out.S_ww).mean() / float(held_out.count))
    curve = [(alpha, error, 1 - error / variance) for alpha, error in found.validation]
    assert found.val_mse is not None
    return {"val_r2": 1 - found.val_mse / variance, "validation_curve": curve if len(curve) > 1 else None}


def _solve(
    total: Moments,
    method: str,
    alpha: float,
    l1_ratio: float,
    spectrum: Spectrum | None,
    start: Array | np.ndarray | None = None,
) -> tuple[Solution, elastic_net.ElasticNet | None]:
    if method == "ols" or alpha == 0:
        return linear.solve_ols(total, spectrum), None
    if method == "ridge":
        return linear.solve_ridge(total, alpha, spectrum), None
    if l1_ratio == 0:  # the same problem as ridge, whose penalty is not per sample
        return linear.solve_ridge(total, alpha * float(total.count), spectrum), None
    net = elastic_net.solve_elastic_net(total, alpha, l1_ratio, start)
    if not net.converged.all():
        warnings.warn(
            f"the elastic net with alpha={alpha:g} stopped after {int(net.iterations)} iterations with "
            f"{int((~net.converged).sum())} of {net.converged.size} dimensions short of the optimum (residual "
            f"{float(net.kkt_residual.max()):.1e}); use a larger alpha, a smaller l1_ratio, or ridge",
            stacklevel=4,
        )
    return net.solution, net


def _choose(
    total: Moments,
    held_out: Moments,
    method: str,
    alphas: Sequence[float],
    l1_ratio: float,
    spectrum: Spectrum | None,
) -> tuple[float, tuple[tuple[float, float], ...], Array | np.ndarray | None]:
    """The alpha with the smallest held-out error (the larger of two that are equal), the whole curve, and a kernel.

    The kernel is an iterative solution for the chosen alpha, or None.
    """
    start = best = None
    if method == "ridge" and spectrum is not None:
        errors = linear.validation_errors(total, held_out, np.asarray(alphas, np.float64), spectrum)
    else:
        size = float(held_out.count) * held_out.S_ww.shape[0]
        errors = np.full(len(alphas), np.inf)
        for index in np.argsort(alphas)[::-1]:  # from sparse to dense, each starting from the one before
            solution, net = _solve(total, method, float(alphas[index]), l1_ratio, spectrum, start)
            error = float(linear.squared_errors(held_out, solution).sum()) / size
            start = solution.kernel if net is not None else None
            best = start if error < errors.min() else best
            errors[index] = error
    chosen = min(range(len(alphas)), key=lambda index: (errors[index], -alphas[index]))
    curve = tuple((used_alpha(method, a), float(e)) for a, e in zip(alphas, errors, strict=True))
    return float(alphas[chosen]), curve, best


def _reduced(total: Moments, solution: Solution, method: str, alpha: float, rank: int) -> Solution:
    return linear.reduce_rank(total, solution, used_alpha(method, alpha), rank) if rank else solution
