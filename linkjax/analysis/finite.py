"""Samples with non-finite numbers: counted, named, and either left out or refused.

One bad sample in a million should not cost a run of days, so leaving out is the default; it is never silent. What is
left out has no part in any mean, slope or count of the results.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from linkjax.errors import LinkjaxError

Policy = Literal["exclude", "stop"]
NAMED = 20  # samples named, at most; all are counted


def rows(*arrays: Any) -> np.ndarray:
    """Which rows [N] of all arrays [N, …] hold finite numbers alone; arrays of whole numbers always do."""
    return np.logical_and.reduce([
        np.isfinite(array).reshape(len(array), -1).all(axis=1) for array in map(np.asarray, arrays)
    ])  # fmt: skip


def finite_mean(values: Any, axis: int | tuple[int, ...] = 0, weights: Any = None) -> Any:
    """Mean over axes of what is finite; NaN where nothing is.

    Args:
      values: any shape.
      axis: to take the mean over.
      weights: of the values, ≥ 0, broadcast against them; None: all alike.
    Returns: float64, or a number where no axis is left.
    """
    values = np.asarray(values, np.float64)
    known = np.isfinite(values)
    weight = known if weights is None else known * np.asarray(weights, np.float64)
    total = weight.sum(axis=axis)
    return (np.where(known, values, 0.0) * weight).sum(axis=axis) / np.where(total > 0, total, np.nan)


def finite_std(values: Any, axis: int | tuple[int, ...] = 0) -> Any:
    """Population standard deviation over axes of what is finite; NaN where nothing is, 0 of a single value."""
    values = np.asarray(values, np.float64)
    middle = np.expand_dims(finite_mean(values, axis), axis)
    return np.sqrt(finite_mean(np.square(values - middle), axis))


def note(good: np.ndarray, *names: Sequence[Any] | np.ndarray) -> dict[str, Any]:
    """What to note of a chunk of samples: how many are bad, and the first ones' names.

    Args:
      good: [N] bool, as `rows` gives it.
      names: columns [N] of a name, such as classes and sample ids.
    """
    bad = np.flatnonzero(~good)
    return {"count": len(bad), "named": [[_plain(column[row]) for column in names] for row in bad[:NAMED]]}


class Tally:
    """Sum of the notes of a run's chunks: how many samples were left out, and the first ones' names.

    Args:
      policy: exclude goes on; stop ends the run at the first note that counts any.
      what: a sample is called, in the plural ("candidates", "photographs").
      names: the columns of a name, as they are called ("class", "sample").
    """

    def __init__(self, policy: Policy, what: str, names: tuple[str, ...] = ("class", "sample")):
        self.policy, self.what, self.names = policy, what, names
        self.count, self.named = 0, []

    def add(self, noted: Mapping[str, Any]) -> None:
        """Add one chunk's note.

        Raises: LinkjaxError naming the samples if the policy is to stop.
        """
        self.count += noted["count"]
        self.named = [*self.named, *noted["named"]][:NAMED]
        if self.policy == "stop" and self.count:
            raise LinkjaxError(
                f"{self.describe()}; leave such samples out with --nonfinite exclude (the same command then goes on), "
                "or look at the weights"
            )

    def summary(self) -> dict[str, Any]:
        """For a manifest: the count, and the first names."""
        return {"nonfinite": self.count, "nonfinite_samples": self.named}

    def describe(self) -> str:
        """The count and the first names, as a sentence."""
        shown = (
            " ".join(f"{name} {part}" for name, part in zip(self.names, each, strict=True)) for each in self.named[:5]
        )
        more = ", …" if self.count > 5 else ""
        return f"{self.count} {self.what} with numbers that are not finite: {', '.join(shown)}{more}"

    def print_summary(self) -> None:
        """Print how many were left out, if any were."""
        if self.count:
            print(f"left out {self.describe()}")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value
