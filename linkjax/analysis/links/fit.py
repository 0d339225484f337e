"""Fit a link: the one place that chooses a solver, and `fit_link` for arrays in memory."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Array, Float, Int

from linkjax.analysis.links import by_moments, class_sums, dual, fit_checks, mlp, steering, streamed_elastic_net
from linkjax.analysis.links.moments import Products
from linkjax.analysis.links.problem import ArrayPairs, Fit, Pairs, Problem, Settings, Training
from linkjax.errors import InputError
from linkjax.models.link import Link, MLPLink, with_steering

Solver = Callable[[Problem, Settings], Fit]


def choose(problem: Problem, settings: Settings) -> Solver:
    """The solver of a problem.

    A network is trained (`mlp`). Least squares and ridge take the samples' Gram matrix (`dual`) where the problem
    prefers it, the elastic net streamed gradients (`streamed_elastic_net`) where moments do not fit in memory;
    everything else is solved by moments (`by_moments`).
    """
    if settings.method == "mlp":
        return mlp.fit
    if settings.method == "elastic_net" and not problem.moments_fit:
        return streamed_elastic_net.fit
    if settings.method in ("ols", "ridge") and problem.prefers_gram and not settings.rank:
        return dual.fit
    return by_moments.fit


def fit(problem: Problem, settings: Settings) -> Fit:
    """Fit a link by the solver that `choose` gives.

    Raises: InputError for settings that do not go together.
    """
    check = fit_checks.options
    check(settings.method, settings.alpha, settings.l1_ratio, settings.alphas, problem.count("val") > 0, settings.rank)
    return choose(problem, settings)(problem, settings)


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
    held = None if validation is None else _held_out(validation, r.shape[1], w.shape[1])
    train, training = (r, w), training or Training()
    if method == "mlp" and held is None:
        train, held = _hold_out(r, w, training.validation_share, seed)
    problem = ArrayPairs(train, held, products)
    settings = Settings(method, alpha, l1_ratio, tuple(alphas), rank, training, seed, diagnose=False)
    link = fit(problem, settings).link
    total = problem.known_moments if train[0] is r else None
    within = class_sums.within_of(np.asarray(r), np.asarray(w), place, total, products)
    if within is None:
        return link
    spectrum = steering.spectrum(within)
    lam = steering.choose(spectrum, None, steer_lambda).lam
    return with_steering(link, steering.arrays(spectrum, within, lam), lam)


def _held_out(validation: Pairs, units: int, w_dim: int) -> Pairs:
    """Checked validation pairs."""
    r, w = fit_checks.pairs(*validation, "validation ")
    if (r.shape[1], w.shape[1]) != (units, w_dim):
        raise InputError(
            f"validation pairs have {r.shape[1]} units and {w.shape[1]} w dimensions, "
            f"the training pairs {units} and {w_dim}; both must come from the same models"
        )
    return r, w


def _hold_out(r: Array | np.ndarray, w: Array | np.ndarray, share: float, seed: int) -> tuple[Pairs, Pairs]:
    order = np.random.default_rng(seed).permutation(r.shape[0])
    count = min(max(round(share * r.shape[0]), 1), r.shape[0] - 1)
    return (r[order[count:]], w[order[count:]]), (r[order[:count]], w[order[:count]])
