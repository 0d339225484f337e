"""Whether counterfactuals of two classifiers move the same samples the same way, and what one of them moves more."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from linkjax.analysis.comparisons import effect_profiles
from linkjax.analysis.finite import finite_mean
from linkjax.analysis.units import selectivity


class Agreement(NamedTuple):
    """How alike the moves of two classifiers are, on the whole; NaN where fewer than two samples tell."""

    mean: float  # of the cosines
    low: float  # ends of its interval
    high: float
    chance_low: float  # the same mean with each move beside that of another search
    chance_high: float
    p: float  # that searches in random order give as much


def agreement(
    one: Float[np.ndarray, "N features"],
    other: Float[np.ndarray, "N features"],
    sample: Int[np.ndarray, "N"],
    rng: np.random.Generator,
    draws: int,
    shuffles: int,
    level: float,
) -> Agreement:
    """Mean cosine of two classifiers' moves, with its interval by resampled samples, and what chance gives.

    Args:
      one, other: moves of the same searches; NaN where a feature is not there.
      sample: which sample each search starts from; those of one sample are drawn together.
      draws, shuffles: of the samples, and of the order of the searches.
      level: of both intervals.
    """
    found = effect_profiles.cosine(one, other)
    known = np.isfinite(found)
    one, other, found = one[known], other[known], found[known]
    names, place = np.unique(sample[known], return_inverse=True)
    if len(names) < 2:
        return Agreement(*[np.nan] * 6)
    total, count = (np.bincount(place, weights, len(names)) for weights in (found, None))
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), draws)
    resampled = (drawn @ total) / (drawn @ count)
    shuffled = np.array(
        [finite_mean(effect_profiles.cosine(one, other[rng.permutation(len(other))])) for _ in range(shuffles)]
    )
    ends = 50 * np.array([1 - level, 1 + level])
    low, high = np.percentile(resampled, ends)
    chance_low, chance_high = np.percentile(shuffled, ends)
    p = (1 + int((shuffled >= found.mean()).sum())) / (1 + shuffles)
    return Agreement(float(found.mean()), low, high, chance_low, chance_high, p)


def shares(moves: Float[np.ndarray, "N *features"]) -> Float[np.ndarray, "N *features"]:
    """What share of a move's square each feature has: at least 0, 1 in all.

    Args:
      moves: NaN where a feature is not there, which has no share.
    Returns: NaN throughout where nothing moved.
    """
    square = np.nan_to_num(np.asarray(moves, np.float64)) ** 2
    total = square.sum(axis=tuple(range(1, square.ndim)), keepdims=True)
    return square / np.where(total > 0, total, np.nan)


class Difference(NamedTuple):
    """Which features one classifier moves more than another."""

    mean: np.ndarray  # [features], of the shares: one less other, −1 … 1
    q: np.ndarray  # [features], by tossed signs of the samples, adjusted over features; NaN where neither moves it


def difference(
    one: Float[np.ndarray, "N *features"],
    other: Float[np.ndarray, "N *features"],
    sample: Int[np.ndarray, "N"],
    rng: np.random.Generator,
    flips: int,
) -> Difference:
    """Which features have a larger share in one classifier's moves: a paired sign-flip test over samples.

    Args:
      one, other: of `shares`, of the same searches.
      sample: which sample each search starts from; its searches are averaged first.
      flips: tosses of the samples' signs.
    """
    shape = one.shape[1:]
    apart = (one - other).reshape(len(one), -1)
    apart, sample = apart[np.isfinite(apart).all(axis=1)], sample[np.isfinite(apart).all(axis=1)]
    if not len(apart):
        return Difference(np.full(shape, np.nan), np.full(shape, np.nan))
    names, place, count = np.unique(sample, return_inverse=True, return_counts=True)
    each = np.zeros((len(names), apart.shape[1]))
    np.add.at(each, place, apart)
    each /= count[:, None]
    # one class of samples and no bootstrap: the sign-flip test alone
    key, labels = jax.random.key(int(rng.integers(2**31))), jnp.zeros(len(names), jnp.int32)
    p = np.asarray(selectivity.effects(jnp.asarray(each[:, None], jnp.float32), labels, key, 1, flips=flips).p_sign[0])
    q = selectivity.benjamini_hochberg(jnp.asarray(np.where(np.abs(each).max(axis=0) > 0, p, np.nan)))
    return Difference(each.mean(axis=0).reshape(shape), np.asarray(q).reshape(shape))
