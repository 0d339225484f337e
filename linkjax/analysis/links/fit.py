"""Fitting a link: from arrays in memory, or from streamed moments."""

import dataclasses
import warnings
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from linkjax.analysis.links import class_sums, dual, elastic_net, fit_checks, linear, mlp, moments, steering
from linkjax.analysis.links.host_moments import Sums
from linkjax.analysis.links.linear import Solution, Spectrum
from linkjax.analysis.links.mlp import Training
from linkjax.analysis.links.moments import Moments, Products
from linkjax.errors import InputError
from linkjax.models.build import fill
from linkjax.models.link import Link, LinkSpec, MLPLink, with_steering

#: Samples per block of in-memory data: large enough that the product outweighs the addition of its result.
BLOCK = 8192


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


def fit_link(
    r: Float[Array | np.ndarray, "n units"],
    w: Float[Array | np.ndarray, "n w_dim"],
    method: str = "ols",
    alpha: float = 1.0,
    l1_ratio: float = 0.5,
    *,
    validation: tuple[Array | np.ndarray, Array | np.ndarray] | None = None,
    alphas: Sequence[float] = (),
    products: Products = "float64",
    training: Training | None = None,
    seed: int = 0,
    rank: int = 0,
    labels: Int[Array | np.ndarray, "n"] | None = None,
    steer_lambda: float | None = None,
) -> Link | MLPLink:
    """The link r → w that fits pairs best.

    Args:
      r: activations; w: latent vectors; row i of both is sample i.
      method: "ols" (minimum norm where the data leave a choice), "ridge", "elastic_net" or "mlp".
      alpha: penalty of ridge (on the sum of squares) or elastic net (on the mean), as in scikit-learn.
      l1_ratio: share of the absolute values in the elastic net's penalty, 0..1.
      validation: held-out (r, w), for `alphas` and for the MLP's early stopping.
      alphas: choose alpha among these by the squared error on `validation`.
      products: see `moments.update`; "float32" is faster and meant for ridge.
      rank: of a linear link at most, see `linear.reduce_rank`; 0: as it comes. alpha is chosen at full rank.
      training: of the MLP; seed: of its weights, its order of samples and its held-out share.
      labels: class of each sample, for the steering directions, which are of how r and w vary within classes; None:
        all are of one class.
      steer_lambda: λ of these directions (see `linkjax.analysis.links.steering`); None: chosen by their length.
    Returns: `Link`, or `MLPLink` for "mlp", in float32; with `steer` [units, w_dim] if a class has two samples.
    Errors: InputError for shapes that do not fit, fewer than 2 samples, NaN or infinite values, unknown methods.
    Numerics: moments, or the samples' Gram matrix where they are fewer than the units, and solutions in float64; equal
      to scikit-learn's coefficients to 1e-6 of the largest.
    """
    fit_checks.options(method, alpha, l1_ratio, alphas, validation is not None, rank)
    r, w = fit_checks.pairs(r, w, "")
    place = fit_checks.labels(labels, r.shape[0])
    link, total = _fitted(r, w, method, alpha, l1_ratio, validation, alphas, products, training, seed, rank)
    within = class_sums.within_of(np.asarray(r), np.asarray(w), place, total, products)
    if within is None:
        return link
    spectrum = steering.spectrum(within)
    lam = steering.choose(spectrum, None, steer_lambda).lam
    return with_steering(link, steering.arrays(spectrum, within, lam), lam)


def _fitted(
    r: Array | np.ndarray, w: Array | np.ndarray, method: str, alpha: float, l1_ratio: float,
    validation: tuple[Array | np.ndarray, Array | np.ndarray] | None, alphas: Sequence[float], products: Products,
    training: Training | None, seed: int, rank: int,
) -> tuple[Link | MLPLink, Moments | None]:  # fmt: skip
    """The link alone, and the moments of its pairs where they were needed for it."""
    held = None if validation is None else fit_checks.pairs(validation[0], validation[1], "validation ")
    if held is not None and (held[0].shape[1], held[1].shape[1]) != (r.shape[1], w.shape[1]):
        raise InputError(
            f"validation pairs have {held[0].shape[1]} units and {held[1].shape[1]} w dimensions, "
            f"the training pairs {r.shape[1]} and {w.shape[1]}; both must come from the same models"
        )
    whole = r
    if method == "mlp" and held is None:
        training = training or Training()
        (r, w), held = _hold_out(r, w, training.validation_share, seed)
    if method in ("ols", "ridge") and r.shape[0] < r.shape[1] and not rank and products == "float64":
        found = dual.decompose(np.asarray(r), np.asarray(w))
        if alphas and held is not None:
            alpha = dual.choose(found, np.asarray(held[0]), np.asarray(held[1]), alphas)
        return _link(dual.solve(found, _used_alpha(method, alpha)), method, alpha, l1_ratio), None
    total = accumulate(r, w, products)
    held_out = None if held is None else accumulate(*held, products)
    if method == "mlp":
        assert held is not None and held_out is not None
        link = mlp.fit_mlp((r, w), held, total, held_out, training or Training(), seed)[0]
        return link, total if r is whole else None
    spectrum = linear.decompose(total) if method == "ridge" and alphas else None
    start = None
    if alphas and held_out is not None:
        alpha, _, start = _choose(total, held_out, method, alphas, l1_ratio, spectrum)
    solution = _reduced(total, _solve(total, method, alpha, l1_ratio, spectrum, start)[0], method, alpha, rank)
    return _link(solution, method, alpha, l1_ratio, rank), total


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
    """A linear link from streamed moments, with diagnostics; arguments and numerics as `fit_link`.

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
    return _link(solution, method, alpha, l1_ratio, rank), Diagnostics(
        method=method,
        alpha=_used_alpha(method, alpha),
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


def accumulate(
    r: Array | np.ndarray, w: Array | np.ndarray, products: Products = "float64", block: int | None = None
) -> Moments:
    """Moments of arrays in memory, block by block: by the host's BLAS where the host computes, else on the device."""
    if jax.default_backend() == "cpu" and isinstance(r, np.ndarray) and isinstance(w, np.ndarray):
        sums = Sums(r.shape[1], w.shape[1], products)
        for begin in range(0, r.shape[0], block or r.shape[0]):
            sums.add(r[begin:][:block], w[begin:][:block])
        return sums.moments()
    block = min(block or BLOCK, r.shape[0])
    total = moments.empty(r.shape[1], w.shape[1])
    for rows_r, rows_w, mask in _blocks(r, w, block):  # the last is padded, so that one program does all
        total = moments.update(total, rows_r, rows_w, mask, products=products)
    return total


def _blocks(r: Array | np.ndarray, w: Array | np.ndarray, block: int) -> Iterator[tuple]:
    for begin in range(0, r.shape[0], block):
        rows_r, rows_w = r[begin : begin + block], w[begin : begin + block]
        missing = block - rows_r.shape[0]
        if missing:
            rows_r, rows_w = (np.pad(np.asarray(rows), ((0, missing), (0, 0))) for rows in (rows_r, rows_w))
        yield rows_r, rows_w, np.arange(block) < block - missing


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
    curve = tuple((_used_alpha(method, a), float(e)) for a, e in zip(alphas, errors, strict=True))
    return float(alphas[chosen]), curve, best


def _used_alpha(method: str, alpha: float) -> float:
    return 0.0 if method == "ols" else float(alpha)


def _reduced(total: Moments, solution: Solution, method: str, alpha: float, rank: int) -> Solution:
    return linear.reduce_rank(total, solution, _used_alpha(method, alpha), rank) if rank else solution


def _link(solution: Solution, method: str, alpha: float, l1_ratio: float, rank: int = 0) -> Link:
    units, w_dim = solution.kernel.shape
    ratio = float(l1_ratio) if method == "elastic_net" else 0.0
    spec = LinkSpec(units, w_dim, method, _used_alpha(method, alpha), ratio, rank=rank)  # pyright: ignore[reportArgumentType]
    return fill(Link, spec, {"kernel": np.float32(solution.kernel), "bias": np.float32(solution.bias)})


def _hold_out(r: Array | np.ndarray, w: Array | np.ndarray, share: float, seed: int) -> tuple[mlp.Pairs, mlp.Pairs]:
    order = np.random.default_rng(seed).permutation(r.shape[0])
    count = min(max(round(share * r.shape[0]), 1), r.shape[0] - 1)
    return (r[order[count:]], w[order[count:]]), (r[order[:count]], w[order[:count]])
