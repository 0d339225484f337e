"""Chunks of a sweep: how many units are stored together, and the loop over chunks."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from linkjax.analysis import finite
from linkjax.storage import artifacts

_BATCHES = 8  # between two notes of what is done, at least: a chunk is whole units
# And so many pixels, where the stage chose the batch: to store a chunk takes as long as to draw 15 images of 64 × 64,
# and the batch that is drawn meanwhile has about as many.
_PIXELS = 512 * 64 * 64

# Images drawn at once on a CPU, in pixels: what is done once a batch (the head's kernels repeated for every row, the
# host's part) costs 1 % of 16 images of 64 × 64. Where images are large it is nothing, and 16 take minutes already.
_DRAWN = 64 * 64 * 64


def batch_on_cpu(resolution: int) -> int:
    """Images that a CPU device draws at once, at most, where the stage chooses: 64 small ones, 16 large ones."""
    return min(64, max(16, _DRAWN // resolution**2))


def units_of(batch: int, images_a_unit: int, resolution: int, chosen: bool) -> int:
    """Units of a chunk; results do not depend on it.

    Args:
      batch: images drawn at once.
      images_a_unit: anchors times steps.
      resolution: side of an image in pixels.
      chosen: whether the stage chose the batch itself; a batch that was asked for also says how often to store.
    """
    images = max(_BATCHES * batch, _PIXELS // resolution**2) if chosen else _BATCHES * batch
    return math.ceil(images / images_a_unit)


def split(kind: str, rows: np.ndarray, size: int) -> list[tuple[str, np.ndarray]]:
    """Rows in chunks of `size`, each with its name in the run's notes."""
    return [(f"{kind}{start}", rows[start : start + size]) for start in range(0, len(rows), size)]


def remaining(work: list[tuple[str, np.ndarray]], writer: artifacts.Writer) -> list[np.ndarray]:
    """The rows of chunks that are not noted as done."""
    return [rows for name, rows in work if writer.done(name) is None]


def run(
    work: list[tuple[str, np.ndarray]],
    make: Callable[[np.ndarray], dict[str, Any]],
    writer: artifacts.Writer,
    tally: finite.Tally,
    skipped: Callable[[int], None],
) -> None:
    """Make and note every chunk that is not noted yet, and add up the notes of all.

    Args:
      make: stores what comes of some rows, and returns its `finite.note`.
      skipped: told the number of rows of a chunk that was made before.
    """
    for name, rows in work:
        note = writer.done(name)
        if note is None:
            note = make(rows)
            writer.mark(name, note)
        else:
            skipped(len(rows))
        tally.add(note)
