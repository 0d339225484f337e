"""Redundant units: clusters of nearly parallel rows (steps in W, or what w says), and the effective rank of all."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linkjax.analysis.links.linear import effective_rank
from linkjax.errors import InputError


class Clusters(NamedTuple):
    """Groups of units whose directions are parallel, or opposite: all pairs within one have |cosine| ≥ the least."""

    label: np.ndarray  # [K] int: clusters by falling size, from 0; −1 for a unit without a direction
    representative: np.ndarray  # [K] bool: one of each cluster
    order: np.ndarray  # [K] int: units as the leaves of the tree, so that neighbours are alike; those without one last


def cosines(directions: Float[np.ndarray, "K w_dim"]) -> Float[np.ndarray, "K K"]:
    """Cosine of every two directions; NaN where one has no length."""
    rows = np.asarray(directions, np.float64)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = rows / np.where(length > 0, length, np.nan)
    return np.clip(unit @ unit.T, -1.0, 1.0)


def clusters(cosine: Float[np.ndarray, "K K"], least: float, merit: Float[np.ndarray, "K"]) -> Clusters:
    """Complete linkage on 1 − |cosine|, cut where two members would have |cosine| < `least`.

    A unit and its opposite are one cluster: what raising the one draws, lowering the other draws.

    Args:
      cosine: of `cosines`.
      least: in (0, 1].
      merit: which member represents its cluster, the one of largest merit; NaN is least.
    Reference: Defays, "An efficient algorithm for a complete link method", 1977.
    """
    if not 0 < least <= 1:
        raise InputError(f"expected a least cosine above 0 and at most 1, found {least}")
    usable = np.flatnonzero(np.isfinite(np.diag(cosine)))
    label = np.full(len(cosine), -1, np.int32)
    order = usable
    if len(usable) > 1:
        from scipy.cluster import hierarchy  # here: it takes a seventh of a second
        from scipy.spatial.distance import squareform

        distance = 1.0 - np.abs(cosine[np.ix_(usable, usable)])
        np.fill_diagonal(distance, 0.0)
        tree = hierarchy.linkage(squareform((distance + distance.T) / 2.0, checks=False), "complete")
        found = hierarchy.fcluster(tree, 1.0 - least + 1e-9, "distance")
        order = usable[hierarchy.leaves_list(tree)]
        # By falling size, ties by the first member.
        names, first, column, sizes = np.unique(found, return_index=True, return_inverse=True, return_counts=True)
        rank = np.empty(len(names), np.int32)
        rank[np.lexsort((first, -sizes))] = np.arange(len(names), dtype=np.int32)
        label[usable] = rank[column]
    else:
        label[usable] = 0
    return Clusters(label, _representatives(label, merit), np.concatenate([order, np.flatnonzero(label < 0)]))


def _representatives(label: Int[np.ndarray, "K"], merit: Float[np.ndarray, "K"]) -> Bool[np.ndarray, "K"]:
    """The member of largest merit of each cluster, the first of equals."""
    ranked = np.lexsort((np.arange(len(label)), -np.nan_to_num(merit, nan=-np.inf), label))
    ranked = ranked[label[ranked] >= 0]
    first = np.ones(len(ranked), bool)
    first[1:] = label[ranked][1:] != label[ranked][:-1]
    chosen = np.zeros(len(label), bool)
    chosen[ranked[first]] = True
    return chosen


def direction_rank(directions: Float[np.ndarray, "K w_dim"]) -> float:
    """How many directions the steps of the units span, softly: the exponential of the entropy of their shares.

    Args:
      directions: steps per σ of the unit, so that a unit counts by how far it moves w.
    """
    values = np.linalg.svd(np.asarray(directions, np.float64), compute_uv=False) ** 2
    return effective_rank(values) if values.sum() > 0 else 0.0
