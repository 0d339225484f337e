"""Matching units of other classifiers, from a result of `linkjax compare`."""

from pathlib import Path
from typing import Any

import numpy as np

from linkjax.atlas import shards
from linkjax.atlas.read import Results, find_one
from linkjax.report.source import Source

KIND = "side_by_side"
_WORDS = ("shared", "private", "undecided", "dead")  # by code, as stored
_ARRAYS = (("partner", "i4"), ("agreement", "f4"), ("low", "f4"), ("high", "f4"), ("kind", "u1"), ("mutual", "u1"))

_WITH_SEARCHES = (("used", "f4"),)  # where counterfactuals were compared too


def find(folder: Path, results: Results, given: str | None) -> Source | None:
    """A comparison that the pairs of some results take part in.

    Args:
      folder: to look in.
      given: the comparison's folder, where it was named.
    Returns: None where there is none; of readouts none, since units were compared.
    Raises: InputError if the one given is of other pairs, or if several fit.
    """
    if results.pairs is None or results.names is not None:
        return None
    return find_one(
        folder, given, KIND, lambda source: _place(source, results) is not None, flag="compared",
        of="comparison of these pairs",
        other=f"expected a comparison of the pairs in {results.pairs.path} with others, found one of other pairs; "
        "compare these",
    )  # fmt: skip


def _place(source: Source, results: Results) -> int | None:
    """Which of the compared classifiers is the one shown."""
    assert results.pairs is not None
    roles = ["pairs", *(f"other_pairs_{place}" for place in range(1, len(source.summary["networks"])))]
    ids = [source.inputs.get(role) for role in roles]
    return ids.index(results.pairs.id) if results.pairs.id in ids else None


def index(source: Source, results: Results) -> dict[str, dict[str, Any]]:
    """By name of every other classifier, and by unit of the results, what is known of the unit's partner in it."""
    place, found = _place(source, results), {}
    assert place is not None
    networks = [str(name) for name in source.summary["networks"]]
    network, other = (np.array(source.names(name), object) for name in ("network", "other"))
    unit = source.array("unit", "match")
    told = (*_ARRAYS, *(each for each in _WITH_SEARCHES if source.has(each[0])))
    arrays = {name: source.array(name, "match") for name, _ in told}
    for name in networks[:place] + networks[place + 1 :]:
        rows = np.flatnonzero((network == networks[place]) & (other == name))
        row_of = dict(zip(unit[rows].tolist(), rows.tolist(), strict=True))
        rows = np.array([row_of.get(int(each), -1) for each in results.units])
        blank = {"partner": -1, "kind": len(_WORDS) - 1, "mutual": 0}
        found[name] = {
            key: shards.pack(np.where(rows >= 0, arrays[key][rows], blank.get(key, np.nan)), kind) for key, kind in told
        }
    return found
