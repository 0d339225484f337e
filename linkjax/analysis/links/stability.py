"""Fidelity and directness of raising single units along a linear link's kernel, predicted from pairs alone.

A link of small error need not answer single units well: its penalty alpha decides how far a unit's step goes and how
much of it leads where no sample lies. With K the kernel, C the covariance of w, and A the least-squares line w → r
within classes, of unit u whose standard deviation is σ_u:

    fidelity    (K A)_uu: the change of the unit that the step will show, per change asked
    length      √(d C⁻¹ dᵀ), d = σ_u K_u: how far one σ of the unit moves w, in standard deviations of w along that way
    directness  fidelity · σ_u / (length · √(A_u C A_uᵀ)): the shortest step that would show as much, over this one

A step of directness 1 goes nowhere but where the unit is read; what is missing to 1 goes aside, at the price of length.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linkjax.errors import InputError


class InverseFit(NamedTuple):
    """Covariance of w and the regression of r on w, from training pairs; float64."""

    covariance: np.ndarray  # [w_dim, w_dim] of w, population
    inverse: np.ndarray  # [w_dim, w_dim] its pseudo-inverse
    w_to_r: np.ndarray  # [w_dim, units] A, the line w → r within classes
    std: np.ndarray  # [units] of r, population


class Stability(NamedTuple):
    """By unit [units]; NaN for units that do not vary."""

    fidelity: np.ndarray
    length: np.ndarray
    directness: np.ndarray


def fit_inverse(
    w: Float[np.ndarray, "n w_dim"], r: Float[np.ndarray, "n units"], label: Int[np.ndarray, "n"]
) -> InverseFit:
    """The regression of r on w within classes, and the covariance of w; some thousand pairs are enough.

    Args:
      label: classes; A is fitted to deviations from their means, because across classes all goes with all.
    """
    w, r = np.array(w, np.float64), np.array(r, np.float64)
    std = r.std(axis=0)
    centred = w - w.mean(axis=0)
    covariance = centred.T @ centred / len(w)
    for each in np.unique(label):
        mine = label == each
        w[mine] -= w[mine].mean(axis=0)
        r[mine] -= r[mine].mean(axis=0)
    w_to_r = np.linalg.lstsq(w, r, rcond=None)[0]
    return InverseFit(covariance, np.linalg.pinv(covariance, hermitian=True), w_to_r, std)


def diluted_fidelity(kernel: Float[np.ndarray, "units w_dim"], inverse_fit: InverseFit) -> Float[np.ndarray, "units"]:
    """Attenuated fidelity of a linear link, which is a regression: the diagonal of K A.

    A unit that w does not determine (R² of A below 1) measures what w holds with noise, and a regression on a noisy
    measurement is too flat: K A falls below 1 by about that R². Of two units that say the same, each has half.

    Reference: Fuller, "Measurement Error Models", 1987, section 1.1 (attenuation).
    """
    return np.einsum("uw,wu->u", np.asarray(kernel, np.float64), inverse_fit.w_to_r)


def measure(kernel: Float[np.ndarray, "units w_dim"], inverse_fit: InverseFit) -> Stability:
    """Fidelity, length and directness of every unit of a linear link."""
    moving = inverse_fit.std > 0
    fidelity = np.where(moving, diluted_fidelity(kernel, inverse_fit), np.nan)
    step = inverse_fit.std[:, None] * np.asarray(kernel, np.float64)
    length = np.sqrt(np.einsum("uw,uw->u", step @ inverse_fit.inverse, step))
    length = np.where(moving, length, np.nan)
    read = np.sqrt(np.einsum("wu,wu->u", inverse_fit.covariance @ inverse_fit.w_to_r, inverse_fit.w_to_r))
    shortest = fidelity * inverse_fit.std / np.where(read > 0, read, np.nan)
    return Stability(fidelity, length, shortest / np.where(length > 0, length, np.nan))


def straightest(r2: Sequence[float], directness: Sequence[float], alphas: Sequence[float], r2_loss: float) -> int:
    """The penalty for sweeps: of those that fit nearly as well as the best, the one of largest directness.

    Args:
      r2: held out; directness: median over units; of each of `alphas`.
      r2_loss: how much less R² than the best one is still taken for as good.
    Returns: its place; of equals the larger alpha.
    """
    known = [value for value in r2 if np.isfinite(value)]
    if not known:
        raise InputError(
            "expected a penalty with a finite held-out R², found none; does w vary among validation pairs?"
        )
    good = [place for place in range(len(alphas)) if r2[place] >= max(known) - r2_loss]
    return max(good, key=lambda place: (np.nan_to_num(directness[place], nan=-np.inf), alphas[place]))
