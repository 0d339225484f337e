"""Values that a sweep asks of units, by anchor: within the anchor's own class, or over all classes of the link."""

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from linkjax.errors import InputError

Range = Literal["class", "link"]
_LEAST = 20  # samples of a class from which its own percentiles are read
_STILL = 0.2  # of a unit's range within classes: a class whose own is less than that does not vary in the unit


class Ends(NamedTuple):
    """Between which values a unit moves, by anchor and unit [A, K]; NaN where the anchor's class hardly varies."""

    low: np.ndarray
    high: np.ndarray


def class_ends(
    r: Float[np.ndarray, "samples K"], classes: Int[np.ndarray, "samples"], labels: Int[np.ndarray, "A"],
    over_all: tuple[Float[np.ndarray, "K"], Float[np.ndarray, "K"]], low: float, high: float,
) -> Ends:  # fmt: skip
    """Percentiles of each unit within the class of each anchor.

    Of a class with fewer than 20 samples they are its mean plus percentiles of the deviations from class means of all
    classes, each times √(n / (n − 1)), n its class's samples. A class whose range is less than a fifth of the range of
    these deviations is one in which the unit hardly varies.

    Args:
      r, classes: training activations of these units, and the classes they are of.
      labels: classes of the anchors; one without a sample gets the ends `over_all`.
      over_all: ends for these, by unit.
      low, high: percentiles, 0 ≤ low < high ≤ 100.
    Raises: InputError if no class has two samples.
    """
    names, place, count = np.unique(classes, return_inverse=True, return_counts=True)
    rows = np.asarray(r, np.float64)
    with np.errstate(invalid="ignore"):  # a unit that is not finite is not swept
        sums = np.zeros((len(names), rows.shape[1]))
        np.add.at(sums, place, rows)
        mean = sums / count[:, None]
        enough = count[place] > 1
        if not enough.any():
            raise InputError(
                "range class: expected a class with two training samples or more, found none; make pairs with a larger "
                "--n-train, or give --range link"
            )
        scale = np.sqrt(count / np.maximum(count - 1, 1))[place][enough, None]
        about = np.percentile((rows[enough] - mean[place[enough]]) * scale, [low, high], axis=0)
        ends = np.empty((2, len(labels), rows.shape[1]))
        for label in np.unique(labels):
            [known] = np.flatnonzero(names == label)[:1] if (names == label).any() else [None]
            if known is None:
                own = np.asarray(over_all, np.float64)
            elif count[known] < _LEAST:
                own = mean[known] + about
            else:
                own = np.percentile(rows[place == known], [low, high], axis=0)
            ends[:, labels == label] = own[:, None]
        still = ends[1] - ends[0] < _STILL * (about[1] - about[0])
    return Ends(*np.where(still, np.nan, ends))


def values_around(ends: Ends, own: Float[np.ndarray, "A K"], steps: int) -> Float[np.ndarray, "A K steps"]:
    """Values from the low to the high end, bent so that the middle one is the anchor's own: the untouched image.

    The lower half runs evenly from low to the anchor's value, the upper half from there to high; an even number of
    steps leaves the anchor's own out. An anchor beyond an end takes that end's place, so values never descend. Without
    ends all values are the anchor's own.

    Args:
      own: the anchors' values of these units.
      steps: at least 2.
    """
    half = steps // 2
    t = np.arange(half, dtype=np.float64) / half
    own = np.asarray(own, np.float32)[..., None]
    low, high = (np.where(np.isfinite(end[..., None]), end[..., None], own) for end in ends)
    low, high = np.minimum(low, own), np.maximum(high, own)
    lower = low + (own - low) * t
    upper = (high + (own - high) * t)[..., ::-1]
    middle = [own] if steps % 2 else []
    return np.concatenate([lower, *middle, upper], axis=-1).astype(np.float32)


def values_over(ends: Ends, steps: int) -> Float[np.ndarray, "A K steps"]:
    """Evenly spaced values from the low to the high end, both included, whatever the anchor's own."""
    low, high = (np.asarray(end, np.float32)[..., None] for end in ends)
    t = np.linspace(0.0, 1.0, steps, dtype=np.float32)
    return low * (1 - t) + high * t


def by_sample(values: np.ndarray, samples: int) -> Float[np.ndarray, "A K steps"]:
    """Values as a sweep stores them; those of an older linkjax were the same in all samples, [K, steps]."""
    return values if values.ndim == 3 else np.broadcast_to(values[None], (samples, *values.shape))
