"""The samples that classifiers are compared on: activations of all of them, read run by run."""

import itertools
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from linkjax.analysis import finite
from linkjax.analysis.comparisons import cka
from linkjax.errors import InputError
from linkjax.storage import artifacts

BLOCK = 256  # samples of one class worked on at once
_BYTES = 64 << 20  # of activations of all networks read at once, so that a stored chunk is not unpacked for each class


class Block(NamedTuple):
    """Some samples of one half of one class."""

    group: dict[str, Any]
    number: int  # of the block within its half
    x: np.ndarray  # [n, units of all networks]


class _Rows(NamedTuple):
    group: dict[str, Any]
    number: int
    begin: int
    stop: int


class Samples:
    """Activations of several networks, side by side, of the samples of one split.

    Raises: InputError if a class has too few samples.
    """

    def __init__(self, runs: Sequence[artifacts.Artifact], split: str):
        self.runs = runs
        self.units = [each.summary["units"] for each in runs]
        self.starts = np.concatenate([[0], np.cumsum(self.units)])
        self.groups = [group for group in runs[0].summary["groups"] if group["split"] == split and group["accepted"]]
        if not self.groups or min(group["accepted"] for group in self.groups) < 2 * cka.LEAST:
            raise InputError(
                f"split: expected {2 * cka.LEAST} samples or more of each class in the {split} split of "
                f"{runs[0].path}, found fewer; compare on another split"
            )
        self.count = sum(group["accepted"] for group in self.groups)
        self.tally = finite.Tally("exclude", "samples")
        self._at_once = max(_BYTES // (4 * int(self.starts[-1])), BLOCK)

    def blocks(self, half: int) -> Iterator[Block]:
        """One half of each class, block by block; memory does not grow with the number of samples."""
        for run in self._runs(half):
            first, last = run[0].begin, run[-1].stop
            x, good = self.read(slice(first, last), {row for each in run for row in range(each.begin, each.stop)})
            for each in run:
                rows = slice(each.begin - first, each.stop - first)
                yield Block(each.group, each.number, x[rows][good[rows]])

    def _runs(self, half: int) -> Iterator[list[_Rows]]:
        """Blocks whose rows lie near each other, as many as are read at once."""
        run: list[_Rows] = []
        for group in self.groups:
            count, start = group["accepted"], group["first_row"]
            ends = (start, start + count // 2, start + count)
            first, last = ends[half], ends[half + 1]
            # blocks of nearly equal size, none too small for the estimates
            edges = np.linspace(first, last, 1 + max(1, -(-(last - first) // BLOCK))).round().astype(int)
            for number, (begin, stop) in enumerate(itertools.pairwise(edges.tolist())):
                if run and stop - run[0].begin > self._at_once:
                    yield run
                    run = []
                run.append(_Rows(group, number, begin, stop))
        if run:
            yield run

    def read(self, rows: Any, counted: Collection[int] | None = None) -> tuple[np.ndarray, np.ndarray]:
        """What all networks say of the same samples [n, units of all], and which are finite for all of them [n].

        Args:
          rows: a slice, or row numbers.
          counted: row numbers whose samples are counted where they are not finite; None: all.
        Raises: InputError if the latents differ.
        """
        own = {name: self.runs[0].read(name, rows) for name in ("w", "label", "sample_id")}
        for other in self.runs[1:]:
            if any(not np.array_equal(other.read(name, rows), values) for name, values in own.items()):
                raise other_samples(str(other.path), self.runs[0])
        x = np.concatenate([run.read("r", rows) for run in self.runs], axis=1)
        good = finite.rows(x)
        numbers = np.arange(rows.start, rows.stop) if isinstance(rows, slice) else np.asarray(rows)
        told = np.array([counted is None or row in counted for row in numbers.tolist()], bool)
        self.tally.add(finite.note(good | ~told, own["label"], own["sample_id"]))
        return x, good

    def apart(self, x: np.ndarray) -> list[np.ndarray]:
        """Joint activations, network by network."""
        return np.split(x, self.starts[1:-1], axis=1)


def other_samples(path: str, first: artifacts.Artifact) -> InputError:
    """The complaint about pairs that are not of the first one's samples."""
    return InputError(
        f"the pairs in {path} are of other samples than those in {first.path}; make them of the same latents: "
        f"linkjax pairs --latents {first.path}"
    )
