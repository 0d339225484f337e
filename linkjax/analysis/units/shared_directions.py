"""Shared directions of the steps of many units, and each unit's own remainder.

Each unit's step of one σ is taken in whitened w, where lengths are Mahalanobis. The leading principal directions of all
steps, about the origin, say once what is true of every unit that loads on them; a unit's remainder is its step without.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linkjax.analysis.links import steering
from linkjax.errors import InputError

#: Least share of a unit's own change that must be left for it to have a remainder: less is scaled up from rounding.
DETERMINED = 0.01


class Shared(NamedTuple):
    """K shared directions, and what units have beside them."""

    directions: np.ndarray  # [K, w_dim] of Mahalanobis length 1, by falling share; the sign is that of most loadings
    share: np.ndarray  # [K] of the sum of squared lengths of all units' steps
    loading: np.ndarray  # [units, K] cosine of a unit's step with each; NaN for a unit without a direction
    own_share: np.ndarray  # [units] of the squared length of its step that lies along none of them
    own: np.ndarray  # [units, w_dim] remainder per unit of activation, predicted own change 1; NaN where it has none
    own_length: np.ndarray  # [units] Mahalanobis length of the remainder's step of one σ


def without(
    spectrum: steering.Spectrum, steps: Float[np.ndarray, "N w_dim"], directions: Float[np.ndarray, "K w_dim"]
) -> Float[np.ndarray, "N w_dim"]:
    """Steps less their projection on shared directions, in whitened w: of length 1, or 0 if nothing is left.

    Args:
      directions: of `Shared`, of length 1 and uncorrelated.
    """
    along, whole = (np.asarray(each, np.float64) @ spectrum.to_axes.T for each in (directions, steps))
    rest = whole - whole @ along.T @ along
    length = np.linalg.norm(rest, axis=1, keepdims=True)
    sound = length > 1e-6 * np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-300)
    return np.where(sound, rest / np.where(sound, length, 1.0), 0.0) @ spectrum.to_w.T


def shared_directions(
    spectrum: steering.Spectrum, lam: float, least: float = 0.05, most: int = 8, determined: float = DETERMINED
) -> Shared:
    """The leading directions that units' steps share, and the rest of each unit.

    Args:
      spectrum: of `steering.of_link(link)`.
      lam: of the directions.
      least: share of the summed squared lengths that a direction must have to be called shared.
      most: how many at most.
      determined: a unit whose remainder is predicted to raise it by less than this share of what its whole step does
        per squared length has no remainder: it would be scaled up from rounding.
    Raises: InputError for a share outside 0 … 1, or fewer than one direction.
    """
    if not 0 <= least <= 1 or most < 1:
        raise InputError(f"expected a least share of 0 … 1 and at least 1 direction, found {least} and {most}")
    steer = steering.directions(spectrum, lam)
    known = np.all(np.isfinite(steer), axis=1)
    steps = (
        np.where(known[:, None], steer, 0.0) * spectrum.std[:, None] @ spectrum.to_axes.T
    )  # [units, K axes], of one σ
    _, strength, axes = np.linalg.svd(steps, full_matrices=False)
    share = strength**2 / max(float(np.sum(strength**2)), 1e-300)
    count = int(np.sum(share[:most] >= least))
    axes = axes[:count]
    along = steps @ axes.T  # [units, K]
    axes = axes * np.where(along.sum(axis=0) < 0, -1.0, 1.0)[:, None]
    along = steps @ axes.T
    length2 = np.sum(steps**2, axis=1)
    whole = np.where(known & (length2 > 0), length2, np.nan)
    rest = steps - along @ axes
    # The whole step raises the unit by one σ; the remainder by its scalar product with r's slopes.
    raised = np.sum(rest * spectrum.scores.T, axis=1)
    sound = raised > determined
    own = np.where(sound[:, None], rest / np.where(sound, raised, 1.0)[:, None], np.nan)
    scale = np.where(known, 1.0 / np.where(known, spectrum.std, 1.0), np.nan)
    return Shared(
        directions=axes @ spectrum.to_w.T,
        share=share[:count],
        loading=along / np.sqrt(whole)[:, None],
        own_share=np.sum(rest**2, axis=1) / whole,
        own=own @ spectrum.to_w.T * scale[:, None],
        own_length=np.linalg.norm(own, axis=1),
    )
