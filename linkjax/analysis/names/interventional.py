"""A unit's name by intervention: the word towards which pictures move when the unit is raised.

With ê the unit-length embedding of an image, of anchor a at the lowest and the highest value asked of unit u:

    Δ(u, a) = ê(x(u, a, high)) − ê(x(u, a, low))      the same anchor on both sides, so what it is cancels
    d(u)    = mean over a of Δ(u, a)
    s(u, q) = cos(d(u), t(q)),   t(q) = the word's vector − that of a text that says nothing

The best of many words has a large cosine by chance, so s is held against the best words of random directions.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from linkjax import numerics
from linkjax.analysis.finite import finite_mean

#: Random directions below which nothing is tested.
FEWEST = 4
_AT_ONCE = 500  # draws
_RISE = 0.5  # of the rise asked, as for a sweep's cautions


def unit_rows(rows: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "n e"]:
    """Rows of length 1, float64; NaN where a row is not finite or all 0."""
    rows = np.asarray(rows, np.float64)
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(length > 0, length, np.nan)


def word_directions(vectors: Float[np.ndarray, "words e"], neutral: Float[np.ndarray, "e"]) -> np.ndarray:
    """Unit-length direction of every word: its text vector less that of a neutral text, [words, e]."""
    return unit_rows(np.asarray(vectors, np.float64) - np.asarray(neutral, np.float64))


def mean_change(change: Float[np.ndarray, "n samples e"]) -> Float[np.ndarray, "n e"]:
    """d(u): the mean change over anchors; NaN where fewer than 2 anchors are finite."""
    known = np.asarray(np.isfinite(change).all(axis=-1))
    mean = finite_mean(np.where(known[..., None], change, np.nan), 1)
    return np.where(known.sum(axis=1)[:, None] >= 2, mean, np.nan)


def clarity(change: Float[np.ndarray, "n samples e"]) -> Float[np.ndarray, "n"]:
    """Mean cosine between the changes of two different anchors, (n ‖mean of unit vectors‖² − 1) / (n − 1).

    1: the same is added to every picture; 0: something else to each. NaN for fewer than 2 finite anchors.

    Source: clarity of SemanticLens (arXiv:2501.05398), there of images, here of changes.
    """
    directions = unit_rows(change)
    count = np.isfinite(directions).all(axis=-1).sum(axis=1)
    mean = finite_mean(directions, 1)
    several = np.where(count >= 2, count, np.nan)
    return (several * np.sum(mean**2, axis=-1) - 1.0) / (several - 1.0)


def cosines(d: Float[np.ndarray, "n e"], words: Float[np.ndarray, "words e"]) -> Float[np.ndarray, "n words"]:
    """s(u, q): cosine of every change with every word; NaN where nothing changes.

    Args:
      words: of `word_directions`.
    Numerics: float64 on the host, row by row, so that a unit's numbers do not depend on which units are beside it.
    """
    return np.stack([words @ row for row in unit_rows(d)]) if len(d) else np.zeros((0, len(words)))


class Null(NamedTuple):
    """Null distribution of the best cosine, from random directions; all empty with fewer than `FEWEST` of them."""

    spread: np.ndarray  # [words] standard deviation of the cosine with each word, about 0
    nearest: np.ndarray  # [draws] the largest cosine with any word
    foremost: np.ndarray  # [draws] the largest cosine with any word, in its standard deviations


def null_of_best(
    random: Float[np.ndarray, "directions e"], words: Float[np.ndarray, "words e"], draws: int, seed: int
) -> Null:
    """Null distribution of the best word's cosine, from `draws` random mixtures of random directions.

    A sweep walks a few dozen random directions, too few for small p. What an image changes along a step is nearly
    linear in the step, so the change along a further random direction, a random mixture of steps, is a random mixture
    of the changes: Σ_j c_j d_j / ‖d_j‖ with independent normal c_j.

    Args:
      random: d of each random direction; rows that are not finite or all 0 are left out.
      words: of `word_directions`.
    """
    rows = unit_rows(random)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) < FEWEST:
        return Null(np.zeros(0), np.zeros(0), np.zeros(0))
    # |Σ c_j d_j| and its products with words need the rows' products alone
    gram, along = rows @ rows.T, rows @ words.T
    mixed = np.random.default_rng(seed).standard_normal((draws, len(rows)))
    length = np.sqrt(np.maximum(np.einsum("dj,dj->d", mixed @ gram, mixed), 1e-300))
    blocks = [slice(start, start + _AT_ONCE) for start in range(0, draws, _AT_ONCE)]
    square, nearest, foremost = np.zeros(len(words)), np.zeros(draws), np.zeros(draws)
    for some in blocks:
        cosine = (mixed[some] @ along) / length[some, None]
        square += np.sum(cosine**2, axis=0)
        nearest[some] = cosine.max(axis=1)
    spread = np.maximum(np.sqrt(square / draws), 1e-12)
    for some in blocks:
        foremost[some] = ((mixed[some] @ along) / length[some, None] / spread).max(axis=1)
    return Null(spread, nearest, foremost)


def best_words(cosine: Float[np.ndarray, "n words"], null: Null) -> tuple[np.ndarray, np.ndarray]:
    """The word nearest to each change, relative to chance: its place [n], and its p-value [n].

    Two ways of being near are tried: nearer than random directions come to any word, and nearer, in standard deviations
    of what they come to that word, than they come to any. A word that stands for much of what pictures differ by (the
    background) can show by the first alone, one that random directions hardly touch (the tongue) by the second. p is
    twice the smaller of both (Bonferroni), and the word is that one's.

    Returns: without a null the nearest word, and p NaN.
    """
    filled = np.nan_to_num(cosine, nan=-2.0)
    place = filled.argmax(axis=1)
    if not len(null.nearest):
        return place, np.full(len(cosine), np.nan)
    scaled = filled / null.spread
    first, second = (
        p_values(cosine.max(axis=1), null.nearest),
        p_values((cosine / null.spread).max(axis=1), null.foremost),
    )
    return np.where(first <= second, place, scaled.argmax(axis=1)), np.minimum(1.0, 2.0 * np.minimum(first, second))


def p_values(best: Float[np.ndarray, "n"], null: Float[np.ndarray, "draws"]) -> Float[np.ndarray, "n"]:
    """P-values against the null, (1 + #{null ≥ best}) / (1 + draws); NaN where there is nothing to test."""
    if not len(null):
        return np.full(len(best), np.nan)
    above = len(null) - np.searchsorted(np.sort(null), np.nan_to_num(best, nan=np.inf), side="left")
    return np.where(np.isfinite(best), (1.0 + above) / (1.0 + len(null)), np.nan)


def rises(fidelity: Float[np.ndarray, "n"], error: Float[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """Whether a unit surely rises by half or more of the requested change: else its name is not its own.

    Args:
      fidelity, error: of the sweep, the second its standard error; without one the fidelity itself must be so much.
    """
    return np.nan_to_num(fidelity - 1.96 * np.nan_to_num(error), nan=-1.0) >= _RISE


@functools.partial(jax.jit)
def unit_length(x: Float[Array, "B e"]) -> Float[Array, "B e"]:
    """ê: embeddings of length 1; NaN where an image's is not finite or all 0."""
    return x * numerics.safe_ratio(jnp.ones_like(x[:, :1]), jnp.sqrt(jnp.sum(jnp.square(x), axis=1, keepdims=True)))
