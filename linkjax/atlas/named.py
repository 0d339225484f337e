"""Words for units, from a result of `linkjax name`."""

from pathlib import Path
from typing import Any

import numpy as np

from linkjax.atlas import shards
from linkjax.atlas.read import Results, find_one
from linkjax.errors import InputError
from linkjax.report.source import Source

KIND = "names"
NEAR = 5  # words told of every unit


def find(folder: Path, results: Results, given: str | None) -> Source | None:
    """The names of the units of some results.

    Args:
      folder: to look in.
      given: the names' folder, where it was named.
    Returns: None where there are none.
    Raises: InputError if those given are of another sweep, or if several fit.
    """
    return find_one(
        folder, given, KIND, lambda source: source.inputs.get("sweep") == results.sweep.id, flag="named",
        of="result of linkjax name",
        other=f"expected names of the units of {results.sweep.path}, found those of another sweep; name these",
    )  # fmt: skip


def index(source: Source, results: Results) -> dict[str, Any]:
    """What the page tells of all units' names; places are of `words`, −1: no name.

    Returns: by unit of the results `name` [units, 2 ends, parts], `q` and `clarity` of it, the `near` words with their
      cosines, whether it `rises`, those seen in its pictures, `verdict`.
    """
    words, parts = source.names("word"), source.names("part")
    cosine = source.array("cosine", "unit", "part", "word")
    q = source.array("q", "unit", "end", "part")
    nearest = source.array("nearest", "unit", "end", "part")
    fdr = float(source.summary["fdr"])
    near = np.argsort(-np.nan_to_num(cosine[:, 0], nan=-2.0), axis=1, kind="stable")[:, :NEAR]
    found = {
        "words": words,
        "parts": parts,
        "fdr": fdr,
        "samples": source.summary["samples"],
        "random_directions": source.summary["random_directions"],
        "name": shards.pack(np.where(np.nan_to_num(q, nan=1.0) <= fdr, nearest, -1), "i2"),
        "nearest": shards.pack(nearest, "i2"),
        "q": shards.pack(q, "f4"),
        "rises": shards.pack(source.array("rises", "unit"), "u1"),
        "clarity": shards.pack(source.array("clarity", "unit", "part"), "f2"),
        "near": shards.pack(near, "i2"),
        "cosine": shards.pack(np.take_along_axis(cosine[:, 0], near, axis=1), "f2"),
    }
    if source.has("seen_score"):
        seen_q, seen = source.array("seen_q", "unit"), source.array("seen_nearest", "unit")
        score = source.array("seen_score", "unit", "word")
        order = np.argsort(-np.nan_to_num(score, nan=-np.inf), axis=1, kind="stable")[:, :NEAR]
        found |= {
            "seen": shards.pack(np.where(np.nan_to_num(seen_q, nan=1.0) <= fdr, seen, -1), "i2"),
            "seen_q": shards.pack(seen_q, "f4"),
            "seen_near": shards.pack(order, "i2"),
            "images": source.summary["images"],
            "verdict": shards.pack(source.array("verdict", "unit"), "u1"),
        }
    if not np.array_equal(source.array("unit", "unit"), results.units):
        raise InputError(f"{source.path}: expected names of the units of {results.sweep.path}, found others")
    return found
