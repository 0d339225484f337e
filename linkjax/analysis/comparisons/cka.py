"""Linear CKA: similarity of two networks' representations of the same samples, without the bias of few samples."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linkjax.errors import InputError

#: Samples of a block below which the unbiased estimate does not exist.
LEAST = 4
_ENTRIES = 1 << 17  # of reordered Gram matrices at once, so that they stay in the processor's cache


class Hsic(NamedTuple):
    """Running sums of the unbiased HSIC of every two networks, over blocks weighted by their number of samples."""

    value: np.ndarray  # [networks, networks]
    resampled: np.ndarray  # [draws, networks, networks], blocks weighed anew in every draw
    shuffled: np.ndarray  # [shuffles, networks, networks], samples of the second of the two in random order
    blocks: int


class Similarity(NamedTuple):
    """Linear CKA of every two networks: 1 for equal up to rotation and scale, 0 for independent, [networks, networks].

    Unbiased sums may leave 0 … 1 a little.
    """

    value: np.ndarray
    low: np.ndarray  # interval by resampled blocks
    high: np.ndarray
    shuffled_low: np.ndarray  # range of the same share of the shuffles
    shuffled_high: np.ndarray


def unbiased_hsic(k: Float[np.ndarray, "m m"], l: Float[np.ndarray, "m m"]) -> float:  # noqa: E741
    """Hilbert–Schmidt independence criterion of two Gram matrices of the same samples, without bias.

    HSIC₁ = [tr(K̃L̃) + 1ᵀK̃1 · 1ᵀL̃1 / ((m−1)(m−2)) − 2/(m−2) · 1ᵀK̃L̃1] / (m(m−3)), K̃ being K with a diagonal of 0. It does
    not change where all samples are moved together, and its mean is 0 for independent samples, however many units.

    Raises: InputError for fewer than 4 samples.
    Reference: Song, Smola, Gretton, Bedo, Borgwardt, "Feature selection via dependence maximization", 2012, equation 5.
    """
    if len(k) < LEAST:
        raise InputError(f"expected {LEAST} samples or more in a block, found {len(k)}")
    return float(_hsic(_Gram.of_matrix(k), _Gram.of_matrix(l), np.arange(len(k))[None])[0])


class _Gram(NamedTuple):
    """A Gram matrix without its diagonal, and its sums by sample."""

    off: np.ndarray  # [m, m]
    sums: np.ndarray  # [m]

    @classmethod
    def of_matrix(cls, k: np.ndarray) -> "_Gram":
        off = np.array(k, np.float64)
        np.fill_diagonal(off, 0.0)
        return cls(off, off.sum(axis=0))

    @classmethod
    def of(cls, x: np.ndarray) -> "_Gram":
        return cls.of_matrix(x @ x.T)


def _centred(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x, np.float64)
    return x - x.mean(axis=0, keepdims=True)  # changes nothing but the rounding


def _hsic(k: _Gram, l: _Gram, orders: np.ndarray) -> np.ndarray:  # noqa: E741
    """Of K and L with L's samples in each of some orders [n, m]: only the products of the two differ among them."""
    m, found = len(k.sums), np.empty(len(orders))
    many = max(_ENTRIES // (m * m), 1)
    for begin in range(0, len(orders), many):
        some = orders[begin : begin + many]
        moved = l.off[some[:, :, None], some[:, None, :]].reshape(len(some), -1)
        crossed = k.sums.sum() * l.sums.sum() / ((m - 1) * (m - 2)) - 2.0 / (m - 2) * (l.sums[some] @ k.sums)
        found[begin : begin + many] = moved @ k.off.ravel() + crossed
    return found / (m * (m - 3))


def empty(networks: int, draws: int, shuffles: int) -> Hsic:
    """Sums of no blocks."""
    shape = (networks, networks)
    return Hsic(np.zeros(shape), np.zeros((draws, *shape)), np.zeros((shuffles, *shape)), 0)


def add(
    sums: Hsic,
    rows: Sequence[Float[np.ndarray, "m units"]],
    weight: Float[np.ndarray, "draws"],
    rng: np.random.Generator,
) -> Hsic:
    """Sums with one more block of samples.

    Args:
      rows: activations of the same m samples by every network, whose units differ in number.
      weight: of this block in every draw.
      rng: randomness of the shuffles of this block.
    Memory: Gram matrices of the block, [m, m] a network, whatever the number of samples in all.
    """
    m, shuffles = len(rows[0]), len(sums.shuffled)
    grams = [_Gram.of(_centred(x)) for x in rows]
    orders = np.array([rng.permutation(m) for _ in range(shuffles)], int).reshape(-1, m)
    value, shuffled = np.zeros_like(sums.value), np.zeros_like(sums.shuffled)
    for a, k in enumerate(grams):
        for b, l in enumerate(grams[a:], start=a):  # noqa: E741
            value[a, b] = value[b, a] = m * _hsic(k, l, np.arange(m)[None])[0]
            if a != b and shuffles:
                shuffled[:, a, b] = shuffled[:, b, a] = m * _hsic(k, l, orders)
    resampled = sums.resampled + weight[:, None, None] * value
    return Hsic(sums.value + value, resampled, sums.shuffled + shuffled, sums.blocks + 1)


def similarity(sums: Hsic, level: float = 0.95) -> Similarity:
    """Linear CKA from the sums: mean HSIC of two networks over the root of those of each with itself.

    CKA = Σ_b HSIC₁(K_b, L_b) / √(Σ_b HSIC₁(K_b, K_b) · Σ_b HSIC₁(L_b, L_b)), b over blocks of samples.

    Args:
      level: of the intervals, in (0, 1).
    Returns: NaN where a network does not vary; intervals of NaN of a single block, of which all draws are alike.
    Reference: Kornblith, Norouzi, Lee, Hinton, "Similarity of neural network representations revisited", 2019; with the
      unbiased estimate over blocks: Nguyen, Raghu, Kornblith, "Do wide and deep networks learn the same things?", 2021.
    """
    tails = (100 * (1 - level) / 2, 100 * (1 + level) / 2)
    value, resampled = _ratio(sums.value, sums.value), _ratio(sums.resampled, sums.resampled)
    shuffled = _ratio(sums.shuffled, np.broadcast_to(sums.value, sums.shuffled.shape))
    with np.errstate(all="ignore"):
        ends = np.nanpercentile(resampled, tails, axis=0)
        shuffled_low, shuffled_high = np.percentile(shuffled, tails, axis=0)
    low, high = ends if sums.blocks > 1 else np.full_like(ends, np.nan)
    return Similarity(value, low, high, shuffled_low, shuffled_high)


def _ratio(hsic: np.ndarray, own: np.ndarray) -> np.ndarray:
    size = np.einsum("...aa->...a", own)
    size = np.sqrt(np.where(size > 0, size, np.nan))
    return hsic / (size[..., :, None] * size[..., None, :])
