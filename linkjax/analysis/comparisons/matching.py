"""Units matched across networks by correlation: partners chosen on one half of the samples, measured on the other.

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

#: Bytes of deviations that wait for a product.
PENDING_BYTES = 64 << 20
#: Samples from which blocks that wait are counted.
BLOCK = 256
_TILE = 512  # pairs worked on at once, so that what is shuffled stays in the processor's cache


class WithinClasses:
    """Within-class scatter matrix, added up block by block in float64, in any order.

    S = Σ_c Σ_{i∈c} (x_i − m_c)(x_i − m_c)ᵀ. Deviations wait until they are many enough for one symmetric product, and
    so do the rank-one terms by which blocks of one class meet: samples · units² operations, however small the classes.
    Memory is 8 · units · (2 · units + classes) bytes and `PENDING_BYTES`, whatever the number of samples.
    Reference: Chan, Golub, LeVeque, "Algorithms for computing the sample variance", 1983.
    """

    def __init__(self, units: int):
        self._sums = np.zeros((units, units))
        self._classes: dict[int, tuple[int, np.ndarray]] = {}  # samples and mean
        self._waiting: list[np.ndarray] = []
        self._most = max(PENDING_BYTES // (8 * max(units, 1)), 1)

    def add(self, x: Float[np.ndarray, "n units"], label: int) -> None:
        """Add samples of one class."""
        if not len(x):
            return
        x = np.asarray(x, np.float64)
        mean = x.mean(axis=0)
        self._waiting.append(x - mean[None])
        count, known = self._classes.get(label, (0, np.zeros_like(mean)))
        share = len(x) / (count + len(x))
        if count:
            self._waiting.append((np.sqrt(count * share) * (mean - known))[None])
        self._classes[label] = (count + len(x), known + share * (mean - known))
        if sum(map(len, self._waiting)) >= self._most:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            rows = np.concatenate(self._waiting)
            self._sums += rows.T @ rows  # the same array twice: NumPy calls xSYRK
        self._waiting = []

    @property
    def S(self) -> Float[np.ndarray, "units units"]:
        """The scatter matrix so far; shares memory with this object."""
        self._flush()
        return self._sums

    def correlations(self) -> Float[np.ndarray, "units units"]:
        """Correlation within classes of every two units; NaN for those that do not vary but by rounding."""
        square = np.zeros(len(self._sums))
        for count, mean in self._classes.values():
            square += count * mean**2
        variance = self.S.diagonal()
        scale = np.sqrt(np.where(variance > 1e-12 * square, variance, np.nan))
        made = self.S / scale[:, None]
        made /= scale[None, :]
        return np.clip(made, -1.0, 1.0, out=made)


class Partner(NamedTuple):
    """For each unit the unit of largest |correlation|."""

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


class PairSums:
    """Sums over blocks of samples of one class for K given pairs of units, d being deviations from a block's mean.

    Every sum of squares is made once a unit, not once a pair; resampled sums are products of matrices, weights by
    samples; blocks wait until they are `BLOCK` samples together, so small classes cost no more than large ones.
    Operations: samples · (4 · draws · (units + K) + 2 · shuffles · K). Memory: 8 · (draws · (units + K) + shuffles · K)
    bytes and a block, whatever the number of samples.
    Reference: Hanley, MacGibbon, "Creating non-parametric bootstrap samples using Poisson frequencies", 2006.
    """

    def __init__(
        self, units: int, first: Int[np.ndarray, "K"], second: Int[np.ndarray, "K"], draws: int, shuffles: int
    ):
        self.first, self.second = np.asarray(first), np.asarray(second)
        pairs = len(self.first)
        self._squares, self._products = np.zeros(units), np.zeros(pairs)  # Σ d², Σ dx dy
        self._drawn_squares, self._drawn = np.zeros((units, draws)), np.zeros((pairs, draws))  # the same, resampled
        self._shuffled = np.zeros((shuffles, pairs))  # Σ dx dy with the samples of y in random order within the block
        self._waiting: list[_Block] = []

    def add(
        self, x: Float[np.ndarray, "n units"], weight: Float[np.ndarray, "draws"], rng: np.random.Generator
    ) -> None:
        """Add one block of samples of one class; a single sample adds nothing.

        Args:
          weight: of the class in every draw.
          rng: randomness of this block: Poisson weights of its samples in every draw, and its shuffles.
        """
        if len(x) < 2:
            return
        x = np.asarray(x, np.float64)
        drawn = rng.poisson(1.0, (len(weight), len(x))).astype(np.float64).T
        orders = np.array([rng.permutation(len(x)) for _ in range(len(self._shuffled))], int).reshape(-1, len(x))
        self._waiting.append(_Block(x - x.mean(axis=0, keepdims=True), drawn, np.asarray(weight, np.float64), orders))
        if sum(len(block.rows) for block in self._waiting) >= BLOCK:
            self._flush()

    def _flush(self) -> None:
        if not self._waiting:
            return
        blocks, self._waiting = self._waiting, []
        ends = np.cumsum([0, *(len(block.rows) for block in blocks)])
        rows = np.concatenate([block.rows for block in blocks])  # [n, units]
        columns = np.ascontiguousarray(rows.T)
        orders = np.concatenate([begin + block.orders for begin, block in zip(ends, blocks, strict=False)], axis=1)
        weights = np.concatenate([block.drawn * block.weight for block in blocks])
        squares = columns * columns
        self._squares += squares.sum(axis=1)
        self._drawn_squares += squares @ weights
        # Σ w (d − m)(d − m)ᵀ = Σ w d dᵀ − (Σ w d)(Σ w d)ᵀ / Σ w, block by block
        means = []
        for begin, end, block in zip(ends, ends[1:], blocks, strict=False):
            share = block.weight / np.maximum(block.drawn.sum(axis=0), 1.0)
            means.append(columns[:, begin:end] @ (block.drawn * np.sqrt(share)))
            self._drawn_squares -= means[-1] * means[-1]
        for begin in range(0, len(self.first), _TILE):
            tile = slice(begin, begin + _TILE)
            one, other = self.first[tile], self.second[tile]
            products = columns[one] * columns[other]
            self._products[tile] += products.sum(axis=1)
            self._drawn[tile] += products @ weights
            for mean in means:
                self._drawn[tile] -= mean[one] * mean[other]
            x, y = (np.ascontiguousarray(columns[each].T) for each in (one, other))
            ordered = np.empty_like(y)
            for order, total in zip(orders, self._shuffled[:, tile], strict=True):
                np.take(y, order, axis=0, out=ordered, mode="clip")  # the other modes copy once more
                total += np.einsum("nk,nk->k", x, ordered)

    def sums(self) -> "Sums":
        """The sums so far, by pair."""
        self._flush()
        value = np.stack([self._squares[self.first], self._squares[self.second], self._products])
        return Sums(value, self._drawn_squares, self._drawn, self._shuffled, self.first, self.second)


class _Block(NamedTuple):
    rows: np.ndarray  # [n, units] deviations
    drawn: np.ndarray  # [n, draws] how often each sample is in each draw
    weight: np.ndarray  # [draws] of the class
    orders: np.ndarray  # [shuffles, n]


class Sums(NamedTuple):
    """Sums over all samples, of `PairSums`."""

    value: np.ndarray  # [3, K] Σ dx², Σ dy², Σ dx dy
    drawn_squares: np.ndarray  # [units, draws] Σ d², samples and classes weighed anew in every draw
    drawn: np.ndarray  # [K, draws] Σ dx dy, the same
    shuffled: np.ndarray  # [shuffles, K] Σ dx dy with the samples of y in random order within the block
    first: np.ndarray  # [K] units of the pairs
    second: np.ndarray


class Agreement(NamedTuple):
    """Of every pair of units, [K]; correlations within blocks of samples of one class."""

    r: np.ndarray  # signed so that > 0 is the sign with which they were matched
    low: np.ndarray  # interval by resampled classes and samples
    high: np.ndarray
    shuffled: np.ndarray  # [shuffles, K]: what samples in random order give


def agreement(pair_sums: PairSums, sign: Float[np.ndarray, "K"], level: float = 0.95) -> Agreement:
    """Correlations of the pairs, with intervals and shuffles.

    Args:
      sign: of the correlation by which a pair was matched; NaN where there is none.
      level: of the intervals, in (0, 1).
    """
    tails = (100 * (1 - level) / 2, 100 * (1 + level) / 2)
    sums = pair_sums.sums()
    size = np.sqrt(sums.value[0] * sums.value[1])
    size = np.where(size > 0, size, np.nan)
    r = sign * sums.value[2] / size
    low, high = np.full((2, len(r)), np.nan)
    known = np.flatnonzero(np.isfinite(r))
    for begin in range(0, len(known), _TILE):
        some = known[begin : begin + _TILE]
        squares = sums.drawn_squares[sums.first[some]] * sums.drawn_squares[sums.second[some]]
        drawn = np.sqrt(np.maximum(squares, 0.0))
        resampled = sign[some, None] * sums.drawn[some] / np.where(drawn > 0, drawn, np.nan)
        whole = np.isfinite(resampled).all(axis=1)
        for rows, ends in ((whole, np.percentile), (~whole, np.nanpercentile)):  # the second is slow
            if rows.any():
                low[some[rows]], high[some[rows]] = ends(resampled[rows], tails, axis=1)
    return Agreement(r, low, high, sums.shuffled / size)


def chance(shuffled: Float[np.ndarray, "shuffles K"], level: float = 0.95) -> float:
    """This quantile of |correlation| over shuffled pairs; NaN where none varies."""
    known = np.abs(shuffled[np.isfinite(shuffled)])
    return float(np.quantile(known, level)) if known.size else np.nan


def p_values(agreement: Agreement) -> Float[np.ndarray, "K"]:
    """Permutation p-values, (1 + #{shuffled ≥ r}) / (1 + shuffles); NaN for dead units."""
    more = (np.abs(agreement.shuffled) >= agreement.r[None] - 1e-12).sum(axis=0)  # equal but for rounding is as well
    return np.where(np.isfinite(agreement.r), (1 + more) / (1 + len(agreement.shuffled)), np.nan)


def decide(agreement: Agreement, least: float, q: Float[np.ndarray, "K"], fdr: float) -> Int[np.ndarray, "K"]:
    """Classify every unit as SHARED, PRIVATE, UNDECIDED or DEAD.

    Shared: the interval lies at or above `least`, and chance is no explanation. Private: it lies below `least`, so that
    no unit of the other network says the same, as far as the matching found. A unit that does not vary is dead.

    Args:
      q: p-values adjusted over units; fdr: what they may reach, the expected share of false ones among those found.
    """
    kind = np.full(len(agreement.r), UNDECIDED)
    kind[(agreement.low >= least) & (q <= fdr)] = SHARED
    kind[agreement.high < least] = PRIVATE
    kind[~np.isfinite(agreement.r)] = DEAD
    return kind


def mutual(partner: Int[np.ndarray, "p"], partner_back: Int[np.ndarray, "q"]) -> Bool[np.ndarray, "p"]:
    """Whether a unit is the partner of its partner."""
    known = partner >= 0
    return known & (np.where(known, partner_back[np.where(known, partner, 0)], -1) == np.arange(len(partner)))
