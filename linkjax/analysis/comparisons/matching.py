"""Units of several networks that say the same of the same samples: matched on one half, measured on the other.

The largest of many correlations is large by chance. So a unit's partner is chosen on one half of the samples, and how
well the two agree is told from the other half, where the choice had no part; beside it stands what samples in random
order within their class give. Correlations are within classes: that two units both know the class makes them no pair.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

#: What is known of a unit: its partner surely agrees as asked, surely does not, or neither; or it never varies.
SHARED, PRIVATE, UNDECIDED, DEAD = 0, 1, 2, 3
KINDS = ("shared", "private", "undecided", "dead")


class WithinClasses:
    """Sums of products of deviations from class means, added block by block in float64, in any order.

    S = Σ_c Σ_{i∈c} (x_i − m_c)(x_i − m_c)ᵀ. Memory is 8 · units · (units + classes) bytes, whatever the number of
    samples.
    Reference: Chan, Golub, LeVeque, "Algorithms for computing the sample variance", 1983.
    """

    def __init__(self, units: int):
        self.S = np.zeros((units, units))
        self._classes: dict[int, tuple[int, np.ndarray]] = {}  # samples and mean

    def add(self, x: Float[np.ndarray, "n units"], label: int) -> None:
        """Samples of one class."""
        if not len(x):
            return
        x = np.asarray(x, np.float64)
        mean = x.mean(axis=0)
        rows = x - mean[None]
        self.S += rows.T @ rows  # the same array twice: NumPy calls xSYRK
        count, known = self._classes.get(label, (0, np.zeros_like(mean)))
        share = len(x) / (count + len(x))
        moved = np.sqrt(count * share) * (mean - known)
        if count:
            self.S += moved[:, None] * moved[None, :]
        self._classes[label] = (count + len(x), known + share * (mean - known))

    def correlations(self) -> Float[np.ndarray, "units units"]:
        """Correlation within classes of every two units; NaN for those that do not vary but by rounding."""
        square = np.zeros(len(self.S))
        for count, mean in self._classes.values():
            square += count * mean**2
        variance = self.S.diagonal()
        scale = np.sqrt(np.where(variance > 1e-12 * square, variance, np.nan))
        return np.clip(self.S / (scale[:, None] * scale[None, :]), -1.0, 1.0)


class Partner(NamedTuple):
    """Of each unit the unit that agrees with it most, or most reversed."""

    unit: np.ndarray  # [p] int, −1 where there is none
    r: np.ndarray  # [p] their correlation, signed


def strongest(correlation: Float[np.ndarray, "p q"], itself: bool = False) -> Partner:
    """The column of largest |correlation| in each row.

    Args:
      correlation: NaN where a unit does not vary.
      itself: rows and columns are the same units, none of which is its own partner.
    """
    size = np.where(np.isfinite(correlation), np.abs(correlation), -1.0)
    if itself:
        np.fill_diagonal(size, -1.0)
    if not size.shape[1]:
        return Partner(np.full(len(size), -1), np.full(len(size), np.nan))
    unit = size.argmax(axis=1)
    there = size[np.arange(len(size)), unit] >= 0
    r = np.where(there, correlation[np.arange(len(size)), unit], np.nan)
    return Partner(np.where(there, unit, -1), r)


class PairSums(NamedTuple):
    """Sums over blocks of samples for K given pairs of units: Σ dx², Σ dy², Σ dx dy, d from the block's mean."""

    value: np.ndarray  # [3, K]
    resampled: np.ndarray  # [draws, 3, K], samples and classes weighed anew in every draw
    shuffled: np.ndarray  # [shuffles, K]: Σ dx dy with the samples of y in random order within the block


def empty_pairs(pairs: int, draws: int, shuffles: int) -> PairSums:
    """Sums of no samples; 8 · pairs · (3 · draws + shuffles) bytes, whatever their number."""
    return PairSums(np.zeros((3, pairs)), np.zeros((draws, 3, pairs)), np.zeros((shuffles, pairs)))


def add_block(
    sums: PairSums,
    x: Float[np.ndarray, "n K"],
    y: Float[np.ndarray, "n K"],
    weight: Float[np.ndarray, "draws"],
    rng: np.random.Generator,
) -> None:
    """Count one block of samples of one class, in place.

    Args:
      x, y: of every pair the first unit's activations and the second's.
      weight: of the class in every draw.
      rng: randomness of this block: Poisson weights of its samples in every draw, and its shuffles.
    Reference: Hanley, MacGibbon, "Creating non-parametric bootstrap samples using Poisson frequencies", 2006.
    """
    if len(x) < 2:
        return
    x, y = (each - each.mean(axis=0, keepdims=True) for each in (np.asarray(x, np.float64), np.asarray(y, np.float64)))
    products = (x * x, y * y, x * y)
    drawn = rng.poisson(1.0, (len(weight), len(x))).astype(np.float64)
    many = np.maximum(drawn.sum(axis=1), 1.0)[:, None]
    mean_x, mean_y = drawn @ x, drawn @ y
    moved = (mean_x * mean_x, mean_y * mean_y, mean_x * mean_y)
    for place, (product, square) in enumerate(zip(products, moved, strict=True)):
        sums.value[place] += product.sum(axis=0)
        sums.resampled[:, place] += weight[:, None] * (drawn @ product - square / many)
    for row in range(len(sums.shuffled)):
        sums.shuffled[row] += np.einsum("nk,nk->k", x, y[rng.permutation(len(x))])


class Agreement(NamedTuple):
    """Of every pair of units, [K]; correlations within blocks of samples of one class."""

    r: np.ndarray  # signed so that > 0 is the sign with which they were matched
    low: np.ndarray  # interval by resampled classes and samples
    high: np.ndarray
    shuffled: np.ndarray  # [shuffles, K]: what samples in random order give


def agreement(sums: PairSums, sign: Float[np.ndarray, "K"], level: float = 0.95) -> Agreement:
    """Correlations of the pairs, with intervals and shuffles.

    Args:
      sign: of the correlation by which a pair was matched; NaN where there is none.
      level: of the intervals, in (0, 1).
    """
    tails = (100 * (1 - level) / 2, 100 * (1 + level) / 2)
    size = np.sqrt(sums.value[0] * sums.value[1])
    size = np.where(size > 0, size, np.nan)
    drawn = np.sqrt(np.maximum(sums.resampled[:, 0] * sums.resampled[:, 1], 0.0))
    r = sign * sums.value[2] / size
    with np.errstate(all="ignore"):
        resampled = sign * sums.resampled[:, 2] / np.where(drawn > 0, drawn, np.nan)
    known = np.isfinite(r)
    low, high = np.full((2, len(r)), np.nan)
    if known.any():
        low[known], high[known] = np.nanpercentile(resampled[:, known], tails, axis=0)
    return Agreement(r, low, high, sums.shuffled / size)


def chance(shuffled: Float[np.ndarray, "shuffles K"], level: float = 0.95) -> float:
    """The |correlation| that this share of shuffled pairs stays below, over all pairs; NaN where none varies."""
    known = np.abs(shuffled[np.isfinite(shuffled)])
    return float(np.quantile(known, level)) if known.size else np.nan


def p_values(found: Agreement) -> Float[np.ndarray, "K"]:
    """How often samples in random order agree as well: (1 + #{shuffled ≥ r}) / (1 + shuffles); NaN for dead units."""
    more = (np.abs(found.shuffled) >= found.r[None] - 1e-12).sum(axis=0)  # equal but for rounding is as well
    return np.where(np.isfinite(found.r), (1 + more) / (1 + len(found.shuffled)), np.nan)


def decide(found: Agreement, least: float, q: Float[np.ndarray, "K"], fdr: float) -> Int[np.ndarray, "K"]:
    """SHARED, PRIVATE, UNDECIDED or DEAD.

    Shared: the interval lies at or above `least`, and chance is no explanation. Private: it lies below `least`, so that
    no unit of the other network says the same, as far as the matching found. A unit that does not vary is dead.

    Args:
      q: p-values adjusted over units; fdr: what they may reach, the expected share of false ones among those found.
    """
    kind = np.full(len(found.r), UNDECIDED)
    kind[(found.low >= least) & (q <= fdr)] = SHARED
    kind[found.high < least] = PRIVATE
    kind[~np.isfinite(found.r)] = DEAD
    return kind


def mutual(there: Int[np.ndarray, "p"], back: Int[np.ndarray, "q"]) -> Bool[np.ndarray, "p"]:
    """Whether a unit's partner has that unit as its own."""
    known = there >= 0
    return known & (np.where(known, back[np.where(known, there, 0)], -1) == np.arange(len(there)))
