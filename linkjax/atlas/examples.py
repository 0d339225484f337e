"""Samples of highest activation of each unit, beside what raising it does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from linkjax.atlas import pictures
from linkjax.atlas.read import Results
from linkjax.devices import drawing, parallel
from linkjax.report.source import Source
from linkjax.storage import manifest as manifests

TILE = 56  # pixels, at most
_BLOCK = 4096  # samples read at once
_UNITS = 16  # whose pictures are drawn together


class Examples(NamedTuple):
    """By unit of a sweep, the highest first."""

    rows: np.ndarray  # [K, most] of the pairs; −1: none, since the unit is the same in all of them
    value: np.ndarray  # [K, most] activations
    label: np.ndarray  # [K, most] classes


class Highest(NamedTuple):
    """By unit, the samples in which it is highest, the highest first."""

    rows: np.ndarray  # [K, most]; −1: none, since the unit is the same in all of them
    value: np.ndarray  # [K, most] activations, NaN where there is none


def highest_rows(source: Source, among: np.ndarray, units: np.ndarray, most: int) -> Highest:
    """Which samples of a result that holds r each unit is highest in.

    Args:
      source: with `r` [sample, unit].
      among: the samples that count, ascending.
      units: of r.
      most: how many of each unit.
    """
    most = min(most, len(among))
    rows = np.full((0, len(units)), -1)
    value, lowest = np.zeros((0, len(units)), np.float32), np.full(len(units), np.inf)
    for start in range(0, len(among), _BLOCK):
        some = among[start : start + _BLOCK]
        r = source.array("r", "sample", "unit", rows=slice(int(some[0]), int(some[-1]) + 1))[some - some[0]][:, units]
        r = np.where(np.isfinite(r), r, -np.inf)
        lowest = np.minimum(lowest, r.min(axis=0))
        value = np.concatenate([value, r])
        rows = np.concatenate([rows, np.broadcast_to(some[:, None], r.shape)])
        best = np.argsort(-value, axis=0, kind="stable")[:most]
        value, rows = (np.take_along_axis(each, best, axis=0) for each in (value, rows))
    known = np.isfinite(value) & (value > lowest)
    return Highest(np.where(known, rows, -1).T, np.where(known, value, np.nan).T)


def highest(results: Results, most: int) -> Examples | None:
    """The samples of the pairs, of all splits, in which each unit is highest.

    Args:
      most: how many of each unit.
    Returns: None without pairs that hold activations, with none asked for, or of readouts.
    """
    pairs = results.pairs
    if pairs is None or not pairs.has("r") or most < 1 or results.names is not None:
        return None
    label = pairs.array("label", "sample")
    found = highest_rows(pairs, np.arange(len(label)), results.units, most)
    return Examples(*found, np.where(found.rows >= 0, label[found.rows], -1))


def name(unit: Any) -> str:
    """Name of the shard of a unit's examples."""
    return f"examples/{int(unit)}"


def keys(results: Results, examples: Examples, tile: int, quality: int) -> list[str]:
    """What each unit's pictures depend on, as a short fingerprint."""
    assert results.pairs is not None
    made_with = [results.sweep.weights.get("generator"), results.pairs.id, results.sweep.settings.get("precision")]
    stem = manifests.fingerprint([made_with, tile, quality, pictures.image_format()])
    return [manifests.fingerprint([stem, rows.tolist()])[:12] for rows in examples.rows]


def missing(data: Path, results: Results, examples: Examples, keys: list[str], earlier: Path | None) -> np.ndarray:
    """Places of units whose pictures are neither in `data` nor in an earlier atlas, from which they are taken over."""
    places = np.flatnonzero((examples.rows >= 0).any(axis=1)).tolist()
    units = results.units
    return np.array([k for k in places if not pictures.kept(data, name(units[k]), keys[k], earlier)], int)


def draw(
    data: Path, results: Results, examples: Examples, keys: list[str], places: np.ndarray, generator: Any, *,
    tile: int, quality: int, batch_size: int, advance: Callable[[int], None],
) -> None:  # fmt: skip
    """Draw the examples of some units again from their w, and store a row of pictures of each."""
    assert results.pairs is not None
    mesh, pairs = parallel.mesh(), results.pairs
    size, model = parallel.round_up(batch_size, mesh), parallel.replicate(generator, mesh)
    for start in range(0, len(places), _UNITS):
        some = places[start : start + _UNITS]
        rows, where = np.unique(examples.rows[some], return_inverse=True)
        known = rows >= 0
        w = pairs.array("w", *pairs.dims("w"), rows=rows[known])
        drawn = drawing.pictures(model, w, size, mesh)
        images = np.full((len(rows), *drawn.shape[1:]), 128, np.uint8)
        images[known] = drawn
        for place, each in zip(some, where.reshape(len(some), -1), strict=True):
            pictures.store(data, name(results.units[place]), keys[place], images[each][None], tile, quality)
        advance(len(some))
