"""Readouts of r: anything linear in it (a logit, a difference of classes, a probe, units together) raised as a unit is.

A readout v·r has Cov(w, v·r) = Cov(w, r) v, so that what a link stores of its units (`steering.of_link`: Σ, A and σ
within classes) gives the step that raises it, without the data. With S = diag(σ²),

    D(λ) = Σ A (Aᵀ Σ A + λ S)⁻¹,    step = D(λ) p / (vᵀ Aᵀ D(λ) p):  the predicted change of v·r is 1,

for a wanted change p of r as a whole [units]. A readout that names none is given p = S v, which for a single unit is
its own direction; a latent of a sparse autoencoder is raised by its decoder's row p and read by its encoder v.

All functions are NumPy, float64.
"""

import numpy as np
from jaxtyping import Float

from linkjax.analysis.links import steering
from linkjax.errors import InputError


def directions(
    spectrum: steering.Spectrum,
    lam: float,
    weights: Float[np.ndarray, "units K"],
    wanted: Float[np.ndarray, "units K"] | None = None,
) -> Float[np.ndarray, "K w_dim"]:
    """Change of w per unit of each readout, whose predicted change of it is 1; NaN rows for readouts without.

    A readout has no direction where no w within classes goes with it, or where its wanted change would lower it.

    Args:
      spectrum: of the link's units.
      lam: λ, 0 … ∞.
      weights: v of each readout, in its columns.
      wanted: p of each; a column of zeros, and None: S v.
    Raises: InputError for weights of other units than the link's.
    """
    weights = _of_units(spectrum, weights)
    scaled = weights * spectrum.std[:, None]  # in the units' σ
    push = scaled
    if wanted is not None:
        live = spectrum.std[:, None] > 0
        pushed = np.where(live, _of_units(spectrum, wanted) / np.where(live, spectrum.std[:, None], 1.0), 0.0)
        push = np.where(np.any(wanted, axis=0)[None], pushed, scaled)
    step = steering.weighted(spectrum, lam, spectrum.scores @ push)
    own = np.sum(step * (spectrum.scores @ scaled), axis=0)
    # What rounding leaves of nothing is nothing.
    sizes = np.linalg.norm(step, axis=0) * np.linalg.norm(spectrum.scores @ np.abs(scaled), axis=0)
    known = own > 1e-10 * sizes
    return np.where(known[:, None], (spectrum.to_w @ step).T / np.where(known, own, 1.0)[:, None], np.nan)


def determined(
    spectrum: steering.Spectrum, weights: Float[np.ndarray, "units K"], std: Float[np.ndarray, "K"]
) -> Float[np.ndarray, "K"]:
    """R²: the share of each readout's variance within classes that w determines, linearly; NaN where it has none.

    Args:
      std: of the readouts within classes, of any sample of the pairs: at most 1 is told.
    """
    explained = np.sum((spectrum.scores @ (_of_units(spectrum, weights) * spectrum.std[:, None])) ** 2, axis=0)
    return np.minimum(np.where(std > 0, explained / np.where(std > 0, std, 1.0) ** 2, np.nan), 1.0)


def within_std(values: Float[np.ndarray, "samples K"], classes: np.ndarray) -> Float[np.ndarray, "K"]:
    """Standard deviation of deviations from class means, over samples − classes; 0 of one sample a class."""
    _, place, count = np.unique(classes, return_inverse=True, return_counts=True)
    sums = np.zeros((len(count), values.shape[1]))
    np.add.at(sums, place, np.asarray(values, np.float64))
    rest = np.asarray(values, np.float64) - (sums / count[:, None])[place]
    return np.sqrt(np.sum(rest**2, axis=0) / max(len(values) - len(count), 1))


def rank(steps: Float[np.ndarray, "K w_dim"]) -> int:
    """How many of some steps are independent: w_dim at most, however many readouts there are."""
    known = np.all(np.isfinite(steps), axis=1)
    length = np.linalg.norm(np.where(known[:, None], steps, 0.0), axis=1)
    rows = steps[known & (length > 0)] / length[known & (length > 0), None]
    return int(np.linalg.matrix_rank(rows, tol=1e-5 * np.sqrt(len(rows)))) if len(rows) else 0


def _of_units(spectrum: steering.Spectrum, weights: np.ndarray) -> np.ndarray:
    weights = np.asarray(weights, np.float64)
    if weights.ndim != 2 or weights.shape[0] != len(spectrum.std):
        raise InputError(f"readouts: expected weights of {len(spectrum.std)} units each, found {weights.shape}")
    return weights
