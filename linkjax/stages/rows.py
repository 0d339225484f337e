"""Rows of stored pairs, in blocks: of some classes, read while the block before is being worked on, or shuffled."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from linkjax.analysis import finite
from linkjax.devices import parallel
from linkjax.errors import InputError
from linkjax.storage import artifacts

Range = tuple[int, int]

#: Pairs that lie together on disk and are read together, when order does not matter; at most.
PIECE = 1024
#: Whole pieces whose rows are mixed with each other: 32 768 rows, of 2048 + 512 float32 values 335 MB.
MIXED = 32
#: Bytes of the rows held at once; fewer rows where they are so wide that these hold no more.
BYTES = 512 << 20


def check_classes(pairs: artifacts.Artifact, classes: Sequence[int]) -> None:
    """Raises: InputError for none, for one twice, and for classes that the pairs do not hold."""
    if not classes or len(set(classes)) < len(classes):
        raise InputError(f"classes: expected one or more, each once, found {list(classes)[:20] or 'none'}")
    missing = sorted(set(classes) - set(pairs.summary["classes"]))
    if missing:
        raise InputError(
            f"classes: expected some of {list(pairs.summary['classes'])[:20]}, which {pairs.path} holds, found "
            f"{missing[:5]}"
        )


def of_classes(pairs: artifacts.Artifact, split: str, classes: Sequence[int] | None = None) -> list[Range]:
    """Where the rows of a split lie, of some classes or of all: [start, stop) in ascending order, neighbours joined.

    Raises: as `check_classes`.
    """
    if classes is not None:
        check_classes(pairs, classes)
    groups = [group for group in pairs.summary["groups"] if group["split"] == split]
    starts = [
        (g["first_row"], g["first_row"] + g["wanted"]) for g in groups if classes is None or g["label"] in classes
    ]
    found: list[Range] = []
    for start, stop in sorted(starts):
        if found and found[-1][1] == start:
            start = found.pop()[0]
        found.append((start, stop))
    return found


def count(ranges: Sequence[Range]) -> int:
    """Rows in some ranges."""
    return sum(stop - start for start, stop in ranges)


class Places(NamedTuple):
    """Which class the rows of a split are of, told by the pairs' table of contents alone."""

    classes: int  # how many there are
    stops: np.ndarray  # [classes] one past the last row of each, ascending
    order: np.ndarray  # [classes] place of each in sums by class

    def of(self, block: Range) -> np.ndarray:
        """Place of the class of every row of a block."""
        return self.order[np.searchsorted(self.stops, np.arange(*block), side="right")]


def class_places(pairs: artifacts.Artifact, split: str, classes: Sequence[int] | None = None) -> Places:
    """Places of the classes of a split, of some or of all, in the order of their rows."""
    groups = [group for group in pairs.summary["groups"] if group["split"] == split]
    groups = sorted(groups, key=lambda group: group["first_row"])
    chosen = [classes is None or group["label"] in classes for group in groups]
    order = np.cumsum(chosen) - 1
    return Places(int(sum(chosen)), np.array([g["first_row"] + g["wanted"] for g in groups]), order)


def blocks(ranges: Sequence[Range], size: int) -> list[Range]:
    """Ranges cut into blocks of at most `size` rows."""
    return [(at, min(at + size, stop)) for start, stop in ranges for at in range(start, stop, size)]


def fitting(pairs: artifacts.Artifact, wanted: int) -> int:
    """As many rows as wanted, or the largest power of two (which devices mostly divide) that `BYTES` hold."""
    fit = max(BYTES // (4 * (pairs.summary["units"] + pairs.summary["w_dim"])), 1)
    return wanted if wanted <= fit else 1 << (fit.bit_length() - 1)


def read(pairs: artifacts.Artifact, wanted: Sequence[Range]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """r and w of block after block; the next one is read, by a thread, while the caller works on the last."""

    def one(block: Range) -> tuple[np.ndarray, np.ndarray]:
        return pairs.read("r", slice(*block)), pairs.read("w", slice(*block))

    with ThreadPoolExecutor(1) as reader:
        ahead = None
        for block in wanted:
            following = reader.submit(one, block)
            if ahead is not None:
                yield ahead.result()
            ahead = following
        if ahead is not None:
            yield ahead.result()


def refuse_nonfinite(pairs: artifacts.Artifact, split: str, ranges: Sequence[Range], size: int) -> None:
    """Look for rows that a link cannot be fitted on, `size` at a time or as many as `fitting` allows.

    Raises: InputError with how many rows hold NaN or infinite values, and the class and sample id of the first.
    """
    tally = finite.Tally("exclude", f"{split} pairs")
    wanted = blocks(ranges, fitting(pairs, size))
    for block, (r, w) in zip(wanted, read(pairs, wanted), strict=True):
        names = (pairs.read(name, slice(*block)) for name in ("label", "sample_id"))
        tally.add(finite.note(finite.rows(r, w), *names))
    if tally.count:
        raise InputError(f"{tally.describe()}; make {pairs.path} again, or leave their classes out with --classes")


def on_devices(blocks: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """Blocks split over all devices; those that the devices do not divide are worked on by each of them, whole."""
    mesh = parallel.mesh()
    for r, w in blocks:
        items = {"r": r, "w": w}
        items = parallel.place(items, mesh) if len(r) % mesh.size == 0 else parallel.replicate(items, mesh)
        yield items["r"], items["w"]


def shuffled(
    pairs: artifacts.Artifact, ranges: Sequence[Range], batch: int, seed: int, epoch: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Batches of `batch` pairs in an order that (seed, epoch) alone decides; what is left over at the end is dropped.

    Pieces of rows that lie together come in random order, and are mixed row by row once `PIECE · MIXED` rows are there,
    or what `BYTES` hold of wider ones: a whole shuffle of up to 32 768 pairs, wherever they lie, and near to one above.

    Memory: `BYTES`, the piece that is read ahead, and a batch, whatever the number of pairs.
    """
    random = np.random.default_rng([seed, epoch])
    room = fitting(pairs, PIECE * MIXED)
    stored = pairs.open()["r"].encoding["chunks"][0]  # a smaller piece would be read as slowly as all of these rows
    pieces = blocks(ranges, min(PIECE, room, max(room // MIXED, stored)))
    order = [pieces[index] for index in random.permutation(len(pieces))]
    if not order:
        return
    most = min(room, count(ranges)) + batch - 1
    r, w = (np.empty((most, pairs.summary[width]), np.float32) for width in ("units", "w_dim"))
    held = fresh = 0  # rows in r and w, and those of them that were read since the last were mixed
    for piece, following in zip(read(pairs, order), [*order[1:], None], strict=True):
        size = len(piece[0])
        r[held : held + size], w[held : held + size] = piece
        held, fresh = held + size, fresh + size
        if following is not None and fresh + following[1] - following[0] <= room:
            continue
        rows = random.permutation(held)
        whole = held // batch * batch
        for at in range(0, whole, batch):
            yield r[rows[at : at + batch]], w[rows[at : at + batch]]
        held, fresh = held - whole, 0
        r[:held], w[:held] = r[rows[whole:]], w[rows[whole:]]
