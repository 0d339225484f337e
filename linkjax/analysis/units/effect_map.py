"""A map of units: near each other where they change the image alike."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class EffectMap(NamedTuple):
    """Places of units, and how much of their differences the plane shows."""

    places: np.ndarray  # [K, 2] float64; NaN for a unit without effects
    share: np.ndarray  # [2] of the variance, 0 … 1


def effect_map(effects: Float[np.ndarray, "K effects"]) -> EffectMap:
    """The two directions in which units' effects differ most: principal components of arsinh(effect).

    arsinh tames the few huge effects of small parts and keeps signs. An effect that is not finite counts as none. The
    sign of an axis is such that its largest place in size is positive.

    Args:
      effects: of every unit, each in standard deviations of what it changes.
    """
    rows = np.asarray(effects, np.float64)
    known = np.isfinite(rows).any(axis=1)
    tamed = np.arcsinh(np.where(np.isfinite(rows[known]), rows[known], 0.0))
    places = np.full((len(rows), 2), np.nan)
    if not len(tamed):
        return EffectMap(places, np.zeros(2))
    centred = tamed - tamed.mean(axis=0)
    left, size, _ = np.linalg.svd(centred, full_matrices=False)
    found = np.zeros((len(tamed), 2))
    count = min(2, len(size))
    found[:, :count] = left[:, :count] * size[:count]
    turned = np.where(np.take_along_axis(found, np.abs(found).argmax(axis=0)[None], axis=0) < 0, -1.0, 1.0)
    places[known] = found * turned
    variance, share = np.square(size), np.zeros(2)
    share[:count] = variance[:count] / variance.sum() if variance.sum() > 0 else 0.0
    return EffectMap(places, share)
