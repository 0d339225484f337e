"""The arrays that all pairs have, and what their classes are called."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from linkjax.storage import artifacts, coordinates

ROWS = 1024  # samples per stored chunk, at most
_CHUNK_BYTES = 16 << 20  # of activations in one: those of more than 4096 units are stored in smaller chunks


def make_arrays(writer: artifacts.Writer, total: int, units: int, w_dim: int) -> None:
    """The arrays of pairs, in chunks of at most ROWS samples."""
    rows = min(ROWS, total, max(_CHUNK_BYTES // (4 * units), 1))
    writer.array("w", ("sample", "w"), (total, w_dim), np.float32, (rows, w_dim), long_name="latent, stored once")
    writer.array("r", ("sample", "unit"), (total, units), np.float32, (rows, units), long_name="activation")
    for name, dtype in (
        ("label", np.int32), ("sample_id", np.int64), ("prediction", np.int32), ("probability", np.float32)
    ):  # fmt: skip
        writer.array(name, ("sample",), (total,), dtype, (rows,))


def called(names: Sequence[str], sampled: Sequence[int], seen_as: Sequence[int], classifier: Any) -> dict[str, Any]:
    """The sampled classes and the classifier's: ids, names, and which is which.

    Args:
      names: of the sampled classes; empty: those of the classifier where both have one list, else their numbers.
    """
    one_list = tuple(seen_as) == tuple(sampled)
    if not names:
        theirs = classifier.class_names if one_list else ()
        names = coordinates.called(sampled, dict(enumerate(theirs)))
    seen_names = classifier.class_names or ()
    seen_classes = tuple(range(len(seen_names)))
    if not seen_names and one_list:
        seen_classes, seen_names = tuple(sampled), names
    return {
        "classes": sampled,
        "class_names": names,
        "seen_as": seen_as,
        "seen_classes": seen_classes,
        "seen_class_names": seen_names,
    }
