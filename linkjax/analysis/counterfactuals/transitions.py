"""Transition units: units that recur among those that change most from one class to another, tested against chance.

Null: in every search the k units that change most are any k of the live ones, each k-set as likely, independently of
the other searches: what shuffling the changes over the live units of each sample would give. How often a unit is among
them is then a sum of independent coins, and two pairs of classes share units as two random sets do.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from linkjax.analysis.units.selectivity import benjamini_hochberg

RELATIONS = ("reversed", "same target", "same origin", "chained", "apart")


class Recurrence(NamedTuple):
    """By pair of classes and unit, [pairs, units]."""

    count: np.ndarray  # searches in which the unit is among those that change most
    p: np.ndarray  # chance of as many or more; NaN for a unit that is not live
    q: np.ndarray  # adjusted over the units of a pair: Benjamini and Hochberg


class Overlap(NamedTuple):
    """Of the transition units of pairs of classes, [pairs, pairs]; NaN on the diagonal and where a set is empty."""

    jaccard: np.ndarray  # |A ∩ B| / |A ∪ B|
    p: np.ndarray  # chance that random sets of live units, as large, share as many or more
    q: np.ndarray  # adjusted over all pairs of pairs


class Shared(NamedTuple):
    """What pairs of pairs of classes of one relation share."""

    relation: str
    count: int  # pairs of pairs
    jaccard: float  # mean
    chance: float  # mean of random sets of the same sizes
    p: float  # share of draws of random sets that reach the mean
    significant: int  # with q ≤ the level asked for


def counted(
    top_unit: Int[np.ndarray, "N k"], pair: Int[np.ndarray, " N"], pairs: int, units: int
) -> Int[np.ndarray, "pairs units"]:
    """Count in how many searches of each pair a unit is among those that change most; −1 names no unit."""
    found = np.zeros((pairs, units), np.int32)
    named = top_unit >= 0
    np.add.at(found, (np.broadcast_to(pair[:, None], top_unit.shape)[named], top_unit[named]), 1)
    return found


def chances(
    drawn: Int[np.ndarray, " N"], pair: Int[np.ndarray, " N"], pairs: int, live: int
) -> Float[np.ndarray, "pairs counts"]:
    """P(C ≥ c), c = 0, 1, …, of C = Σ_i Bernoulli(k_i / live): a live unit's count under the null, by pair.

    Args:
      drawn: k_i, live units named in each search.
    Numerics: the distribution of the sum is built search by search, all pairs at once; tails are summed from their
      small end.
    Reference: Poisson's binomial distribution.
    """
    place = np.zeros(len(pair), int)  # of a search among those of its pair
    order = np.argsort(pair, kind="stable")
    sizes = np.bincount(pair, minlength=pairs)
    place[order] = np.arange(len(pair)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    most = int(sizes.max(initial=0))
    share = np.zeros((pairs, most))
    share[pair, place] = drawn / max(live, 1)
    chance = np.zeros((pairs, most + 1))
    chance[:, 0] = 1.0
    for column in range(most):
        heads = share[:, column : column + 1]
        chance[:, 1:] = chance[:, 1:] * (1 - heads) + chance[:, :-1] * heads
        chance[:, :1] *= 1 - heads
    return np.minimum(np.cumsum(chance[:, ::-1], axis=1)[:, ::-1], 1.0)


def recurrence(
    top_unit: Int[np.ndarray, "N k"], pair: Int[np.ndarray, " N"], pairs: int, live: Bool[np.ndarray, " units"]
) -> Recurrence:
    """How often units recur in the searches of each pair of classes, with p-values.

    Args:
      top_unit: units that change most in each search, −1 for none (`paths.top_units`).
      pair: of each search, of `boundary.class_pairs`.
      live: units that vary over the training samples: those the null draws from.
    """
    count = counted(top_unit, pair, pairs, len(live))
    named = (top_unit >= 0) & live[np.maximum(top_unit, 0)]
    tail = chances(named.sum(axis=1), pair, pairs, int(live.sum()))
    p = np.where(live[None], np.take_along_axis(tail, count.astype(int), axis=1), np.nan)
    q = np.asarray(benjamini_hochberg(jnp.asarray(p.T, jnp.float32))).T
    return Recurrence(count, p, q)


def overlap(member: Bool[np.ndarray, "pairs units"], live: int) -> Overlap:
    """Overlap of the sets of units of pairs of classes, with p-values from the hypergeometric distribution.

    Args:
      member: a pair's transition units.
      live: number of units they were found among.
    """
    ones = member.astype(np.float64)
    shared, size = ones @ ones.T, ones.sum(axis=1)
    union = size[:, None] + size[None] - shared
    known = (size[:, None] > 0) & (size[None] > 0) & ~np.eye(len(size), dtype=bool)
    jaccard = np.where(known, shared / np.maximum(union, 1.0), np.nan)
    from scipy.stats import hypergeom  # here: it takes half a second

    p = np.where(known, hypergeom.sf(shared - 1, live, size[:, None], size[None]), np.nan)
    upper = np.triu_indices(len(size), 1)
    q = np.full_like(p, np.nan)
    if len(upper[0]):
        q[upper] = np.asarray(benjamini_hochberg(jnp.asarray(p[upper], jnp.float32)))
        q.T[upper] = q[upper]
    return Overlap(jaccard, p, q)


def relations(pairs: Int[np.ndarray, "pairs 2"]) -> Int[np.ndarray, "pairs pairs"]:
    """What two pairs of classes have in common, as a place in `RELATIONS`; the first that holds.

    reversed: A→B and B→A; chained: A→B and B→C; apart: no class in common. A pair and itself: −1.
    """
    origin, target = pairs[:, 0], pairs[:, 1]
    same_origin, same_target = origin[:, None] == origin[None], target[:, None] == target[None]
    follows = target[:, None] == origin[None]
    found = np.select(
        [follows & follows.T, same_target, same_origin, follows | follows.T], [0, 1, 2, 3], default=4
    )  # fmt: skip
    return np.where(same_origin & same_target, -1, found)


def shared_by_relation(
    member: Bool[np.ndarray, "pairs units"],
    pairs: Int[np.ndarray, "pairs 2"],
    live: Bool[np.ndarray, " units"],
    rng: np.random.Generator,
    draws: int = 200,
    fdr: float = 0.05,
) -> list[Shared]:
    """Mean overlap of pairs of classes by what they have in common, against random sets of live units, as large.

    Returns: a row for each relation that occurs between pairs with transition units.
    """
    found, of = overlap(member, int(live.sum())), relations(pairs)
    upper = np.triu(np.isfinite(found.jaccard), 1)
    chosen = [upper & (of == place) for place in range(len(RELATIONS))]
    size = member.sum(axis=1)
    among = np.arange(int(live.sum()))[None] < size[:, None]
    null = []
    for _ in range(draws if upper.any() else 0):
        drawn = overlap_alone(rng.permuted(among, axis=1))
        null.append([drawn[which].mean() if which.any() else np.nan for which in chosen])
    rows = []
    for place, (name, which) in enumerate(zip(RELATIONS, chosen, strict=True)):
        if which.any():
            mean = float(found.jaccard[which].mean())
            by_chance = np.array([draw[place] for draw in null])
            rows.append(
                Shared(
                    name, int(which.sum()), mean, float(by_chance.mean()),
                    float((1 + (by_chance >= mean).sum()) / (1 + draws)), int((found.q[which] <= fdr).sum()),
                )
            )  # fmt: skip
    return rows


def overlap_alone(member: Bool[np.ndarray, "pairs units"]) -> Float[np.ndarray, "pairs pairs"]:
    """|A ∩ B| / |A ∪ B| of all pairs of sets; 0 where both are empty."""
    ones = member.astype(np.float64)
    shared, size = ones @ ones.T, ones.sum(axis=1)
    return shared / np.maximum(size[:, None] + size[None] - shared, 1.0)
