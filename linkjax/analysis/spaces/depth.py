"""Links from several layers of a classifier: how well each predicts w, and how its units can be steered."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linkjax.analysis.links import by_moments, class_sums, steering
from linkjax.analysis.links.class_sums import ClassSums
from linkjax.analysis.links.moments import Moments
from linkjax.analysis.spaces import congruence
from linkjax.analysis.spaces.congruence import Estimate
from linkjax.errors import InputError

Pool = Literal["mean", "max", "cls"]

#: What the classifier's own r is called among its layers.
OWN = "r"


def encode(
    models: tuple[Any, Any], items: dict[str, Array], layers: tuple[str, ...], pool: Pool
) -> dict[str, Float[Array, "B units"]]:
    """Draw latents, show them to a classifier, and keep several of its layers and its r: one pass over the images.

    Args:
      models: (generator, classifier).
      items: `w` [B, w_dim].
      layers: paths of modules of an imported classifier, or the names of another one's stages.
      pool: of what has positions.
    """
    generator, classifier = models
    return layers_of_images(classifier, classifier.preprocess(generator.synthesis(items["w"])), layers, pool)


def layers_of_images(
    classifier: Any, x: Float[Array, "B H W 3"], layers: tuple[str, ...], pool: Pool
) -> dict[str, Float[Array, "B units"]]:
    """Several layers of a classifier and its r, of preprocessed images.

    Args:
      layers, pool: as for `encode`.
    Raises: InputError for layers that it does not have, or that cannot be a vector.
    """
    found = classifier(x, taps=layers) if hasattr(classifier.spec, "program") else classifier(x, stages=True)
    missing = [name for name in layers if name not in found.stages]
    if missing:
        raise InputError(f"layers: expected some of {', '.join(found.stages) or 'none'}, found {', '.join(missing)}")
    return {OWN: found.penultimate} | {name: pooled(found.stages[name], pool, name) for name in layers}


def pooled(values: Float[Array, "B *positions units"], pool: Pool, name: str = "") -> Float[Array, "B units"]:
    """A layer's value as one vector an image: over all positions of a map or of tokens.

    Args:
      pool: mean or max; cls: the first token, of maps their mean.
    Raises: InputError for what is neither a vector, tokens nor a map.
    """
    if values.ndim not in (2, 3, 4):
        raise InputError(f"layers: expected vectors, tokens or maps, found {name} with {values.ndim - 1} axes an image")
    if values.ndim == 2:
        return values
    if pool == "cls" and values.ndim == 3:
        return values[:, 0]
    positions = tuple(range(1, values.ndim - 1))
    return jnp.max(values, axis=positions) if pool == "max" else jnp.mean(values, axis=positions)


class Reach(NamedTuple):
    """Measurements of one layer."""

    estimates: dict[str, Estimate]  # of `MEASURES`; those are missing for which there are too few samples
    effective_rank: float  # exp(entropy of λ / Σλ), λ the eigenvalues of the covariance of r
    alpha: float  # penalty of its link
    steer_lambda: float
    own: Float[np.ndarray, "units"]  # predicted fidelity of each unit; NaN for those without direction


#: What `measure` estimates, by name.
MEASURES = {
    "r2": "R² in W on held-out samples, of a ridge link",
    "fidelity": "change of a unit that its step in W is predicted to make, as a share of what is asked; median",
    "distances": "rank correlation of distances in r and in W, all pairs",
    "within": "rank correlation of distances in r and in W, within classes",
    "neighbours": "share of the nearest in r that are among the nearest in W",
}


def measure(
    train: tuple[Moments, ClassSums],
    val: tuple[Moments, ClassSums],
    r: Float[np.ndarray, "classes m units"],
    w: Float[np.ndarray, "classes m w_dim"],
    rng: Callable[[int], np.random.Generator],
    *,
    alphas: Sequence[float],
    draws: int = 200,
    permutations: int = 100,
) -> Reach:
    """Link, directions and congruence of one layer, from its moments and from held-out samples.

    The fidelity is the first-order one, without an image drawn: a unit's direction d_u, which raises it by 1 as far as
    the training pairs tell, raises it by d_uᵀ Σ⁻¹ C'_u as far as held-out ones do (`steering.measure`).

    Args:
      train, val: sums over the pairs that the link is fitted on, and of those that choose its penalty and λ.
      r, w: held-out samples, as many of each class.
      rng: question → its randomness.
      alphas: penalties tried, in units of the mean eigenvalue of S_rr, so that layers of any scale are asked the same.
    """
    scale = float(np.asarray(train[0].S_rr).diagonal().mean())
    if not scale > 0:  # a layer that does not vary says nothing
        none = Estimate(0.0, 0.0, 0.0, np.nan, np.nan, np.nan, np.nan, r.shape[0] * r.shape[1])
        return Reach({"r2": none}, 0.0, np.nan, np.nan, np.full(r.shape[2], np.nan))
    wanted = tuple(float(each * scale) for each in alphas)
    link, found = by_moments.fit_from_moments(train[0], "ridge", held_out=val[0], alphas=wanted)
    estimates = {"r2": _r2(link, r, w, rng(0), draws)}
    own, lam = np.full(r.shape[2], np.nan), np.nan
    within, held = (class_sums.within(*each) for each in (train, val))
    if within is not None and r.shape[1] > 1:
        of = steering.spectrum(within)
        lam = steering.choose(of, held).lam
        own, estimates["fidelity"] = _fidelity(of, lam, r, w, rng(1), draws, permutations)
    order = congruence.compare(r, w, rng(2), draws=draws, permutations=permutations)
    named = {"distances": ("distances", "all"), "within": ("distances", "within"), "neighbours": ("neighbours", "all")}
    estimates |= {name: order[key] for name, key in named.items() if key in order}
    return Reach(estimates, found.effective_rank, found.alpha, lam, own)


def _r2(link: Any, r: np.ndarray, w: np.ndarray, rng: np.random.Generator, draws: int) -> Estimate:
    """R² on held-out samples, with the interval of resampled classes and samples."""
    classes, m = r.shape[:2]
    rows, aims = (np.asarray(x, np.float64).reshape(classes * m, -1) for x in (r, w))
    kernel, bias = (np.asarray(each[...], np.float64) for each in (link.kernel, link.bias))
    error = ((aims - rows @ kernel - bias[None]) ** 2).sum(axis=1)
    away = ((aims - aims.mean(axis=0, keepdims=True)) ** 2).sum(axis=1)
    counts = congruence.resampled(rng, classes, m, draws)[0].reshape(draws, -1).astype(np.float64)
    value = 1.0 - error.sum() / away.sum()
    return congruence.estimate(float(value), congruence.explained(error, away, counts), np.zeros(0), len(rows))


def _fidelity(
    spectrum: steering.Spectrum,
    lam: float,
    r: np.ndarray,
    w: np.ndarray,
    rng: np.random.Generator,
    draws: int,
    permutations: int,
) -> tuple[np.ndarray, Estimate]:
    """Predicted own change of every unit by held-out samples [units], and the median over units.

    own_u = Σ_n (d_uᵀ Σ⁻¹ w̃_n) r̃_nu / (samples − classes), ~ being deviations from class means; shuffled: samples of r̃
    in random order within their class.
    """
    classes, m, units = r.shape
    near_r, near_w = (np.asarray(x, np.float64) - np.mean(x, axis=1, keepdims=True, dtype=np.float64) for x in (r, w))
    steps = spectrum.to_axes @ steering.directions(spectrum, lam).T  # [K, units]
    known = np.isfinite(steps).all(axis=0)
    moved = (near_w.reshape(classes * m, -1) @ spectrum.to_axes.T) @ np.where(known, steps, 0.0)  # [n, units]
    freedom = classes * (m - 1)
    terms = moved * near_r.reshape(-1, units)
    own = np.where(known, terms.sum(axis=0) / freedom, np.nan)
    if not known.any():
        return own, congruence.estimate(np.nan, np.zeros(0), np.zeros(0), 0)
    counts = congruence.resampled(rng, classes, m, draws)[0].reshape(draws, -1).astype(np.float64)
    spread = np.median((counts @ terms[:, known]) / freedom, axis=1)
    null = np.empty(permutations)
    for place in range(permutations):
        order = np.argsort(rng.random((classes, m)), axis=1)
        shuffled = np.take_along_axis(near_r, order[:, :, None], axis=1).reshape(-1, units)
        null[place] = np.median(np.einsum("nu,nu->u", moved, shuffled)[known] / freedom)
    return own, congruence.estimate(float(np.median(own[known])), spread, null, int(known.sum()))
