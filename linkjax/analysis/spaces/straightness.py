"""Straightness of a path in one space that is a straight line in another.

A path is T points r̂(t) at even t from 0 to 1: what a classifier sees in the images drawn along a line in r (by way of
the link) or in W. Everything follows from its Gram matrix, so a path is looked at once.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Straightness(NamedTuple):
    """Of each path [n]; NaN for a path that does not move or is not finite."""

    chord: np.ndarray  # length of the chord / length of the path, 0…1
    r2: np.ndarray  # share of the path's variance that a steady move along a line explains, 0…1
    direction: np.ndarray  # cosine of the chord and the move that was asked, −1…1
    reach: np.ndarray  # how far the chord goes along the move asked, 1: all the way


def measure(
    paths: Float[np.ndarray, "n steps units"], asked: Float[np.ndarray, "n units"]
) -> tuple[Straightness, Float[np.ndarray, "n steps"]]:
    """Straightness of paths, and the progress along their chords.

    With p_t the points, c = p_T − p_1 the chord, τ_t = t − t̄ and p̃ the deviations from the mean point:
    chord = ‖c‖ / Σ ‖p_{t+1} − p_t‖; r2 = ‖Σ τ_t p̃_t‖² / (Σ τ_t² · Σ ‖p̃_t‖²); direction = c·a / ‖c‖‖a‖;
    reach = c·a / ‖a‖²; progress = (p_t − p_1)·c / ‖c‖², which is t for a straight and steady path.

    Args:
      paths: points in order.
      asked: a, the difference in r between the ends of each path.
    """
    chord = paths[:, -1] - paths[:, 0]
    along, square, asked_square = _dot(chord, asked), _dot(chord, chord), _dot(asked, asked)
    moves = np.einsum("ntu,nu->nt", paths - paths[:, :1], chord, dtype=np.float64)
    direction = _ratio(along, np.sqrt(square * asked_square))
    found = Straightness(*_from_gram(gram(paths)), direction, _ratio(along, asked_square))
    return found, _ratio(moves, square[:, None])


def gram(paths: Float[np.ndarray, "n steps units"]) -> Float[np.ndarray, "n steps steps"]:
    """Inner products of each path's points, as deviations from their mean, float64."""
    centred = (paths - paths.mean(axis=1, keepdims=True)).astype(np.float64)
    return centred @ np.swapaxes(centred, 1, 2)


def disordered(
    inner: Float[np.ndarray, "n steps steps"], rng: np.random.Generator, draws: int
) -> tuple[Float[np.ndarray, "draws n"], Float[np.ndarray, "draws n"]]:
    """`chord` and `r2` of the same points in a random order, a new one for every path and draw.

    r2 is 1 / (steps − 1) then, on average.
    """
    n, steps = inner.shape[:2]
    order = rng.permuted(np.broadcast_to(np.arange(steps), (draws, n, steps)), axis=-1)
    return _from_gram(inner[np.arange(n)[None, :, None, None], order[..., :, None], order[..., None, :]])


def of_other_pairs(
    paths: Float[np.ndarray, "n steps units"],
    asked: Float[np.ndarray, "n units"],
    rng: np.random.Generator,
    draws: int,
) -> tuple[Float[np.ndarray, "draws n"], Float[np.ndarray, "draws n"]]:
    """`direction` and `reach` of paths against the moves asked of others: pairs shuffled, a new way each draw."""
    chord = (paths[:, -1] - paths[:, 0]).astype(np.float64)
    products, square = chord @ asked.T, _dot(asked, asked)[None, :]
    n = len(paths)
    order = rng.permuted(np.broadcast_to(np.arange(n), (draws, n)), axis=-1)
    row = np.arange(n)[None, :]
    cosine = _ratio(products, np.sqrt(_dot(chord, chord)[:, None] * square))
    return cosine[row, order], _ratio(products, square)[row, order]


def _from_gram(
    inner: Float[np.ndarray, "*draws steps steps"],
) -> tuple[Float[np.ndarray, "*draws"], Float[np.ndarray, "*draws"]]:
    steps = inner.shape[-1]
    square, between = (np.diagonal(inner, offset, axis1=-2, axis2=-1) for offset in (0, 1))
    length = np.sqrt(np.maximum(square[..., 1:] + square[..., :-1] - 2.0 * between, 0.0)).sum(axis=-1)
    chord = np.sqrt(np.maximum(square[..., 0] + square[..., -1] - 2.0 * inner[..., 0, -1], 0.0))
    t = np.linspace(-0.5, 0.5, steps)
    steady = ((inner @ t) @ t) / (t @ t)
    return _ratio(chord, length), _ratio(steady, square.sum(axis=-1))


def _dot(a: Float[np.ndarray, "n units"], b: Float[np.ndarray, "n units"]) -> Float[np.ndarray, "n"]:
    return (a * b).sum(axis=1, dtype=np.float64)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """NaN where the denominator is 0."""
    return numerator / np.where(denominator > 0, denominator, np.nan)
