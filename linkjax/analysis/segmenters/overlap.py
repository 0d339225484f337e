"""Intersection over union of predicted and labelled parts, held out by folds."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer

from linkjax.errors import InputError


@functools.partial(jax.jit, static_argnames="num_parts")
def confusion(
    labels: Integer[Array, "*shape"], predicted: Integer[Array, "*shape"], num_parts: int
) -> Int[Array, "P P"]:
    """Number of pixels by (label, prediction); pixels whose label is not in 0 … num_parts − 1 do not count."""
    labels, predicted = labels.astype(jnp.int32).ravel(), predicted.astype(jnp.int32).ravel()
    counts = (labels >= 0) & (labels < num_parts)
    cell = jnp.where(counts, labels * num_parts + predicted, num_parts**2)
    return jnp.bincount(cell, length=num_parts**2 + 1)[:-1].reshape(num_parts, num_parts)


def intersection_over_union(confusion: Integer[np.ndarray, "P P"]) -> Float[np.ndarray, "P"]:
    """|label ∧ prediction| / |label ∨ prediction| of every part; NaN for a part neither labelled nor predicted."""
    counts = np.asarray(confusion, np.float64)
    hits = np.diag(counts)
    union = counts.sum(0) + counts.sum(1) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)


def mean_of_parts(iou: Float[np.ndarray, "P"]) -> float | None:
    """Mean of the values that there are; None where the background (the first) alone has one: that is no mean."""
    return float(np.nanmean(iou)) if np.isfinite(iou[1:]).any() else None


def folds_of(count: int, folds: int, seed: int = 0) -> Int[np.ndarray, "N"]:
    """Fold of every image: a seeded shuffle, dealt out in turn, so that sizes differ by one at most.

    Errors: InputError for fewer than two folds, or more folds than images.
    """
    if not 2 <= folds <= count:
        raise InputError(f"folds: expected from 2 to the number of labelled images, {count}, found {folds}")
    fold = np.empty(count, np.int64)
    fold[np.random.default_rng(seed).permutation(count)] = np.arange(count) % folds
    return fold
