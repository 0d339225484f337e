"""Local steps: each anchor's own, from its slopes of r along the leading directions of w, instead of all pairs'.

Slopes are differences over a quarter of a standard deviation of w either way, between images that are drawn and
re-encoded as all others are: 2 K images an anchor for K directions.
"""

from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float

from linkjax.analysis.links import steering
from linkjax.analysis.metrics import parts
from linkjax.analysis.units import random_directions
from linkjax.analysis.units import readouts as solving
from linkjax.devices import parallel
from linkjax.ops.chunked import share_of
from linkjax.stages import readouts

_PART = 0.25  # of a standard deviation of w
# A sample whose slopes account for a smaller share of a unit's variance within classes has no step for it: one of one
# σ would be more than ten standard deviations of w long.
_DETERMINED = 0.01


class Local(NamedTuple):
    """Steps by anchor; zeros where an anchor has none for a unit."""

    steer: np.ndarray  # [A, K, w_dim] change of w per activation of each swept unit, float32
    length: np.ndarray  # [A, K] of these, Mahalanobis, per activation; NaN where there is none
    spectra: list[steering.Spectrum]  # by anchor
    axes: np.ndarray  # [w_dim, D] directions along which slopes were measured
    lam: float

    @property
    def known(self) -> Bool[np.ndarray, "A K"]:
        """Where an anchor has a step for a unit."""
        return np.isfinite(self.length)

    def summary(self) -> dict[str, Any]:
        """For a result's manifest."""
        return {"slopes_an_anchor": self.axes.shape[1], "anchors_without_step": float((~self.known).mean())}

    @property
    def mean_length(self) -> Float[np.ndarray, "K"]:
        """Of each unit's steps, over the anchors that have one; NaN where none has."""
        known = self.known
        count = known.sum(axis=0)
        return np.where(known, self.length, 0.0).sum(axis=0) / np.where(count > 0, count, np.nan)


def activations(models: tuple[Any, Any], items: dict[str, jax.Array]) -> jax.Array:
    """w, or rows of W+ → r of the image; NaN where it is not finite."""
    generator, classifier = models
    return parts.draw_and_classify(generator, classifier, None, items["w"])[1].penultimate


def slopes(
    models: tuple[Any, Any],
    w: Float[np.ndarray, "A w_dim"],
    axes: Float[np.ndarray, "w_dim D"],
    layers: Bool[np.ndarray, "num_ws"] | None,
    batch_size: int,
    mesh: Mesh,
) -> Float[np.ndarray, "A D units"]:
    """Change of r per standard deviation of w along each axis, by anchor.

    Args:
      models: generator and classifier.
      axes: steps in W, of `steering.leading_axes`.
      layers: rows of W+ that steps enter; None: all.
    """
    ends = w[:, None, None] + _PART * np.stack([axes.T, -axes.T], axis=1).astype(np.float32)[None]
    moved = ends.astype(np.float32).reshape(-1, w.shape[1])
    if layers is not None:
        base = np.repeat(w, 2 * axes.shape[1], axis=0)
        moved = np.where(layers[None, :, None], moved[:, None], base[:, None])
    share, replicated = share_of(models[0].spec.resolution), parallel.replicate(models, mesh)
    r = parallel.map_items(activations, replicated, {"w": moved}, batch_size, mesh, share=share)
    high, low = np.moveaxis(r.astype(np.float64).reshape(len(w), axes.shape[1], 2, -1), 2, 0)
    return (high - low) / (2 * _PART)


def solve(
    steered: tuple[steering.Spectrum, float],
    axes: Float[np.ndarray, "w_dim D"],
    change: Float[np.ndarray, "A D units"],
    units: np.ndarray,
    reading: readouts.Reading | None,
) -> Local:
    """Steps by anchor, of the link's λ: the same question of another Jacobian.

    Args:
      steered: what the link's directions came from, and their λ.
      change: of `slopes`; an anchor with numbers that are not finite has no steps.
      units: swept, or places among the readouts.
    """
    (of_pairs, lam), spectra, found, lengths = steered, [], [], []
    std = of_pairs.std
    for each in change:
        each = each if np.isfinite(each).all() else np.zeros_like(each)
        spectrum = steering.of_sample(axes, each, std)
        if reading is None:
            steps, r2 = steering.directions(spectrum, lam), spectrum.r2
        else:
            named = reading.named
            steps = solving.directions(spectrum, lam, named.weights, named.wanted)
            r2 = reading.determined_by(spectrum)
        steps = np.where((np.nan_to_num(r2) >= _DETERMINED)[:, None], steps, np.nan)[units]
        found.append(np.nan_to_num(steps).astype(np.float32))
        lengths.append(steering.mahalanobis(spectrum, steps))
        spectra.append(spectrum)
    return Local(np.stack(found), np.stack(lengths), spectra, axes, lam)


def plan_random_steps(
    seed: int, count: int, live: np.ndarray, swept: np.ndarray, local: Local
) -> tuple[random_directions.RandomSteps, Float[np.ndarray, "A D w_dim"]]:
    """As `random_directions.plan_steered_steps`, with each random direction solved anew for every anchor.

    Those "in r" raise one random mixture of units by each anchor's own slopes; those "in W" are what a unit gets whose
    slopes along the axes are noise, the same in all anchors. In an anchor they are as long as the step there of the
    unit whose steps they take.

    Returns: the steps, their lengths means over anchors, and the random steps by anchor, as long as these say.
    """
    count = count if len(swept) else 0
    units, w_dim = len(local.spectra[0].std), local.steer.shape[2]
    drawn = random_directions.draw_directions(
        seed, count, live if len(live) == units else local.spectra[0].std > 0, w_dim
    )
    template_unit = np.tile(swept[np.linspace(0, len(swept) - 1, count).round().astype(int)] if count else swept[:0], 2)
    noise = np.asarray(drawn.in_w, np.float64)[:, : local.axes.shape[1]]
    mean = local.mean_length[template_unit]
    rows = []
    for own, length in zip(local.spectra, local.length, strict=True):
        along = np.zeros((count, w_dim))
        of_noise = noise @ (own.to_axes @ local.axes).T
        along[:, : of_noise.shape[1]] = of_noise
        steps = np.concatenate(steering.random_steps(own, local.lam, drawn.in_r, along))
        rows.append(steps * np.nan_to_num(length[template_unit] / mean)[:, None])
    none = random_directions.RandomDirections(np.zeros((0, len(live)), np.float32), np.zeros((2 * count, w_dim)))
    random = random_directions.RandomSteps(none, template_unit, np.nan_to_num(mean).astype(np.float32))
    return random, np.stack(rows).astype(np.float32)
