"""Shrunk covariance of activations (Ledoit and Wolf), its square roots, and principal components.

All on the host in float64: a few thousand rows of a few thousand units, once a run.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linkjax.errors import InputError


class Shrunk(NamedTuple):
    """A covariance that can be inverted, and how it was made so."""

    covariance: Float[np.ndarray, "units units"]
    shrinkage: float  # 0 … 1, the weight of the multiple of the identity
    root: Float[np.ndarray, "units units"]  # symmetric: root · root = covariance
    inverse_root: Float[np.ndarray, "units units"]  # symmetric; turns a shift into standard deviations


def ledoit_wolf(rows: Float[np.ndarray, "samples units"], shrinkage: float | None = None) -> Shrunk:
    """Σ = (1 − γ) S + γ (tr S / units) I, with the γ that makes the expected squared error least.

    γ = min(1, b² / d²), d² = ‖S − μI‖²_F, b² = (Σ_i ‖x_i‖⁴ / n − ‖S‖²_F) / n, μ = tr S / units, and
    S = Σ_i x_i x_iᵀ / n of the centred rows.

    Args:
      rows: training activations, at least 2.
      shrinkage: γ itself, above 0 and at most 1; None: as above, and at least 1e-4, so that roots exist.
    Raises: InputError for fewer than 2 rows, a γ out of range, or rows that do not vary.
    Reference: Ledoit and Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004.
    """
    if rows.ndim != 2 or rows.shape[0] < 2:
        raise InputError(f"expected training activations [samples, units] of at least 2 samples, found {rows.shape}")
    if shrinkage is not None and not 0 < shrinkage <= 1:
        raise InputError(f"shrinkage: expected a number above 0 and at most 1, found {shrinkage}")
    x = rows.astype(np.float64)
    x -= x.mean(axis=0)[None]
    count, units = x.shape
    empirical = x.T @ x / count
    mean = float(np.trace(empirical)) / units
    if not mean > 0:
        raise InputError("expected training activations that vary, found the same in every sample, or not finite ones")
    if shrinkage is None:
        square = float(np.sum(empirical**2))
        distance = square - units * mean**2
        error = (float(np.mean(np.sum(x * x, axis=1) ** 2)) - square) / count
        shrinkage = 1.0 if distance <= error else max(1e-4, error / distance)
    covariance = (1.0 - shrinkage) * empirical + shrinkage * mean * np.eye(units)
    variance, directions = np.linalg.eigh(covariance)
    scale = np.sqrt(np.maximum(variance, shrinkage * mean))[None]  # no less, but for rounding
    return Shrunk(covariance, shrinkage, (directions * scale) @ directions.T, (directions / scale) @ directions.T)


class Components(NamedTuple):
    """The directions along which rows vary most."""

    mean: Float[np.ndarray, " width"]
    directions: Float[np.ndarray, "width components"]  # orthonormal columns, first along the largest variance
    share: Float[np.ndarray, " components"]  # of the total variance


def principal_components(rows: Float[np.ndarray, "samples width"], count: int) -> Components:
    """The first principal components; each direction's largest entry is positive, so that signs are settled.

    Raises: InputError if there are fewer than 2 rows.
    """
    if rows.ndim != 2 or rows.shape[0] < 2:
        raise InputError(f"expected rows [samples, width] of at least 2 samples, found {rows.shape}")
    x = rows.astype(np.float64)
    mean = x.mean(axis=0)
    _, sizes, directions = np.linalg.svd(x - mean[None], full_matrices=False)
    count = min(count, len(sizes))
    chosen = directions[:count].T
    chosen = chosen * np.sign(chosen[np.abs(chosen).argmax(axis=0), np.arange(count)])[None]
    total = float(np.sum(sizes**2))
    return Components(mean, chosen, sizes[:count] ** 2 / total if total else np.zeros(count))
