"""Verdict of the two ways to name a unit, by intervention and by observation."""

import enum

import numpy as np
from jaxtyping import Bool, Float, Int


class Verdict(enum.IntEnum):
    """What the two ways together say of a unit."""

    NOTHING = 0  # neither gives a name
    RAISING = 1  # raising has a name, what is seen in its pictures has none
    SEEING = 2  # its pictures have a name, raising it has none
    SAME = 3  # both, and the first name is among the first few of the second
    OTHER = 4  # both, and it is not: a unit that answers to one thing and changes another


#: In words, by code, for a result's readers.
MEANINGS = (
    "0 no name, 1 by raising alone, 2 by observation alone, 3 both agree, 4 they disagree: raising adds another thing "
    "than the unit answers to"
)
AMONG = 5  # words of the observation, of which one must be the name by raising


def verdicts(
    raised: Int[np.ndarray, "units"], sure: Bool[np.ndarray, "units"],
    score: Float[np.ndarray, "units words"], seen_sure: Bool[np.ndarray, "units"],
) -> Int[np.ndarray, "units"]:  # fmt: skip
    """`Verdict` of every unit.

    Args:
      raised: the word by raising, its place; sure: whether it is a name at all.
      score: by observation; seen_sure: whether its best is a name.
    """
    rank = place_of(score, raised)
    both = np.where(rank < AMONG, Verdict.SAME, Verdict.OTHER)
    return np.where(sure & seen_sure, both, np.where(sure, Verdict.RAISING, np.where(seen_sure, Verdict.SEEING, 0)))


def place_of(score: Float[np.ndarray, "units words"], word: Int[np.ndarray, "units"]) -> Int[np.ndarray, "units"]:
    """Rank of a given word, by unit: how many words score higher."""
    own = np.take_along_axis(score, np.maximum(word, 0)[:, None], axis=1)
    return np.sum(score > own, axis=1)
