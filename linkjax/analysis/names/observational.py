"""A unit's name by observation: the word that an embedder sees in the images of highest activation.

soft WPMI, as of CLIP-Dissect (arXiv:2204.10965): with P(q | x) = softmax over words of a · cos(ê(x), ê(q)) and the K
pictures in which unit u is highest, in falling order with weights p_k from 0.998 to 0.97,

    log p(q | u) = Σ_k log(1 + p_k (P(q | x_k) − 1)),   score(u, q) = log p(q | u) − λ log mean over units of p(q | ·)
"""

import numpy as np
from jaxtyping import Float, Int

from linkjax.analysis.names.interventional import p_values as counted
from linkjax.analysis.names.interventional import unit_rows

_HIGH, _LOW = 0.998, 0.97  # weights of the first picture, and of one beyond the last
_AT_ONCE = 64  # units, or draws


def word_shares(
    images: Float[np.ndarray, "images e"], vectors: Float[np.ndarray, "words e"], sharpness: float = 10.0
) -> Float[np.ndarray, "images words"]:
    """P(q | x): softmax over words of `sharpness` times the cosine; NaN for an image that is not finite."""
    score = sharpness * np.stack([unit_rows(vectors) @ row for row in unit_rows(images)])
    score = np.exp(score - score.max(axis=1, keepdims=True))
    return score / score.sum(axis=1, keepdims=True)


def highest(r: Float[np.ndarray, "images units"], top: int) -> Int[np.ndarray, "top units"]:
    """The `top` images in which each unit is highest, the highest first; ties in the order of images."""
    return np.argsort(-r, axis=0, kind="stable")[:top]


def evidence(shares: Float[np.ndarray, "images words"], rows: Int[np.ndarray, "top n"]) -> Float[np.ndarray, "n words"]:
    """Evidence for every word, log p(q | ·), from n lists of images, the one that counts most first."""
    weight = _HIGH - (_HIGH - _LOW) * np.arange(len(rows)) / max(len(rows), 1)
    found = np.zeros((rows.shape[1], shares.shape[1]))
    for start in range(0, rows.shape[1], _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        for place, p in enumerate(weight):
            found[some] += np.log1p(p * (shares[rows[place, some]] - 1.0))
    return found


def commonness(log_p: Float[np.ndarray, "units words"]) -> Float[np.ndarray, "words"]:
    """Log of the mean over units of p(q | u): how common a word is among all units."""
    top = log_p.max(axis=0)
    return top + np.log(np.exp(log_p - top).mean(axis=0))


def p_values(
    log_p: Float[np.ndarray, "units words"], named: Int[np.ndarray, "units"], shares: Float[np.ndarray, "images words"],
    top: int, draws: int, seed: int,
) -> Float[np.ndarray, "units"]:  # fmt: skip
    """P-values of names: how often a random list of images gives as much evidence for any word.

    Both are in standard deviations of what random lists say for that word: z = (log p(q | list) − mean) / sd.

    Args:
      log_p: of `evidence`, by unit.
      named: each unit's name, its place among words.
      top: pictures of a list.
      draws: random lists of different pictures.
    """
    rng = np.random.default_rng(seed)
    rows = np.stack([rng.choice(len(shares), top, replace=False) for _ in range(draws)], axis=1)
    chance = evidence(shares, rows)
    mean, spread = chance.mean(axis=0), np.maximum(chance.std(axis=0), 1e-12)
    best = ((chance - mean) / spread).max(axis=1)
    own = np.take_along_axis((log_p - mean) / spread, named[:, None], axis=1)[:, 0]
    return counted(own, best)
