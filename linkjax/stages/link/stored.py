"""Pairs on disk as the problem of a link: read block by block, on all processes and devices, and resumed."""

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.analysis.links import fit_checks, moments
from linkjax.analysis.links.moments import Moments
from linkjax.analysis.links.problem import Pairs, Split
from linkjax.devices import cluster, parallel
from linkjax.devices.progress import progress
from linkjax.stages import rows
from linkjax.stages.link import epochs, summing
from linkjax.storage import artifacts

_SAVE_SECONDS = 60.0  # between two notes of the sums so far


class StoredPairs:
    """Pairs on disk as the problem of a link.

    Args:
      ranges: where the rows of each split lie.
      work: folder in which sums and trainings of an unfinished run are kept.
    """

    def __init__(self, config: Any, pairs: artifacts.Artifact, ranges: Mapping[str, list[rows.Range]], work: Path):
        self.config, self.pairs, self.ranges, self.work = config, pairs, ranges, work

    @property
    def moments_fit(self) -> bool:
        """Whether moments of two splits need no more memory than was allowed."""
        return moments_fit(self.config, self.pairs)

    @property
    def prefers_gram(self) -> bool:
        """Only where moments do not fit, because they tell more about the pairs."""
        return not self.moments_fit

    @functools.cached_property
    def sums(self) -> dict[str, summing.Summed]:
        """Moments and class sums of every split, from one pass over all."""
        count = sum(rows.count(_own_blocks(self.config, each)) for each in self.ranges.values())
        with progress("pairs read", count) as advance:
            return {
                split: accumulate(self.config, self.pairs, split, self.ranges[split], self.work, advance)
                for split in self.ranges
            }

    def count(self, split: Split) -> int:
        """Pairs of a split; 0 where there is none."""
        return rows.count(self.ranges.get(split, ()))

    def moments(self, split: Split) -> Moments:
        """Second moments of a split.

        Raises: InputError for fewer than 2 pairs, and for pairs that are not finite.
        """
        found = self.sums[split].moments
        fit_checks.moments(found, {"train": "training", "val": "validation"}[split])
        return found

    def whole(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of a split, in memory."""
        widths = (self.pairs.summary[width] for width in ("units", "w_dim"))
        r, w = (np.empty((self.count(split), width), np.float32) for width in widths)
        at = 0
        for some_r, some_w in self.blocks(split):
            r[at : at + len(some_r)], w[at : at + len(some_r)] = some_r, some_w
            at += len(some_r)
        return r, w

    def blocks(self, split: Split) -> Iterator[Pairs]:
        """All pairs of a split, in blocks of bounded memory."""
        size = rows.fitting(self.pairs, self.config.rows)
        return rows.read(self.pairs, rows.blocks(self.ranges[split], size))

    def batches(self, split: Split, size: int) -> Iterator[Pairs]:
        """The same on all devices; `size` is for pairs in memory."""
        del size
        return rows.on_devices(self.blocks(split))

    def shuffled(self, size: int, seed: int, epoch: int) -> Iterator[Pairs]:
        """Training pairs in batches on all devices; see `rows.shuffled`."""
        return rows.on_devices(rows.shuffled(self.pairs, self.ranges["train"], size, seed, epoch))

    def training(self, name: str) -> dict[str, Any]:
        """A training on all devices that is kept after every epoch, in a folder of this name."""
        mesh = parallel.mesh()
        return {
            "place": lambda tree: parallel.replicate(tree, mesh),
            "agree": cluster.agreed,
            **epochs.kept(self.work / name),
        }


def moments_fit(config: Any, pairs: artifacts.Artifact) -> bool:
    """Whether moments of two splits need no more memory than was allowed."""
    return 2 * moments.nbytes(pairs.summary["units"], pairs.summary["w_dim"]) <= config.moments_gib * 2**30


def accumulate(
    config: Any,
    pairs: artifacts.Artifact,
    split: str,
    ranges: list[rows.Range],
    work: Path,
    advance: Callable[[int], None],
) -> summing.Summed:
    """Sums over some rows, block by block, of all processes together; kept in `work` now and then, and at the end.

    Of several processes each reads every n-th block, on its own devices; only the sums meet.
    """
    number, processes = cluster.index(), cluster.count()
    blocks = _own_blocks(config, ranges)
    path = work / f"{split}-{number}-of-{processes}.npz"
    wanted = {"rows": config.rows, "pairs": pairs.id}
    known = rows.class_places(pairs, split, None if config.classes == "all" else config.classes)
    so_far, done = summing.nothing(pairs.summary["units"], pairs.summary["w_dim"], known.classes), 0
    found = summing.load(path)
    if found is not None and {name: found[1][name] for name in wanted} == wanted:
        so_far, done = found[0], found[1]["blocks"]
    advance(rows.count(blocks[:done]))
    sums = summing.start(so_far, config.products, min(config.rows, rows.count(ranges)))
    saved = time.monotonic()
    for block, (r, w) in zip(blocks[done:], rows.read(pairs, blocks[done:]), strict=True):
        sums.add(r, w, known.of(block))
        done += 1
        advance(len(r))
        if done == len(blocks) or (sums.settled and time.monotonic() - saved > _SAVE_SECONDS):
            summing.save(path, sums.summed(), {**wanted, "blocks": done})
            saved = time.monotonic()
    total = summing.over_processes(sums.summed())
    if not all(np.isfinite(np.asarray(mean)).all() for mean in (total.moments.mean_r, total.moments.mean_w)):
        rows.refuse_nonfinite(pairs, split, ranges, config.rows)
    return total


def _own_blocks(config: Any, ranges: Sequence[rows.Range]) -> list[rows.Range]:
    """Every n-th block of n processes: those that this one reads."""
    return rows.blocks(ranges, config.rows)[cluster.index() :: cluster.count()]
