"""The photographs of an `encode` in which each unit is highest, read again from where they lie."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.atlas import examples, pictures, shards
from linkjax.atlas.read import Results, find_one
from linkjax.errors import InputError
from linkjax.outside.photographs import decode
from linkjax.report.source import Source
from linkjax.stages import encode
from linkjax.storage import manifest as manifests

KIND = "encoding"
_UNITS = 64  # whose photographs are read together
_THREADS = 8


@dataclasses.dataclass(frozen=True)
class Photographs:
    """Which photographs are shown of every unit, and where they are read from."""

    highest: examples.Highest
    names: dict[int, str]  # row → path below the folder
    seen: np.ndarray | None  # [photographs] the class that the classifier sees in it
    files: Any  # `Folder` or `Prepared`
    made_with: list[Any]


def find(folder: Path, results: Results, given: str | None) -> Source | None:
    """Photographs that were encoded by the classifier of some results.

    Args:
      folder: to look in.
      given: the encoding's folder, where it was named.
    Returns: None where there are none; of readouts none.
    Raises: InputError if those given are of other pairs, or if several fit.
    """
    if results.pairs is None or results.names is not None:
        return None
    own = results.pairs.id
    return find_one(
        folder, given, KIND, lambda source: source.inputs.get("pairs") == own, flag="photographs",
        of="result of linkjax encode",
        other=f"expected photographs encoded beside the pairs in {results.pairs.path}, found others; encode these",
    )  # fmt: skip


def highest(source: Source, results: Results, most: int) -> Photographs | None:
    """The photographs in which each unit is highest.

    Args:
      source: the encoding.
      most: how many of each unit.
    Returns: None, and says so, where the photographs are not where they were, or are others by now.
    """
    if most < 1:
        return None
    try:
        files = encode.source_of(encode.Config(**source.settings))
    except (InputError, TypeError) as error:
        print(f"photographs are not shown: {error}")
        return None
    if files.identity != source.inputs.get("photographs"):
        print(f"photographs are not shown: they were changed since {source.path} was made; encode them again")
        return None
    usable = np.flatnonzero(source.array("flag", "sample") == 0)
    found = examples.highest_rows(source, usable, results.units, most)
    rows = np.unique(found.rows[found.rows >= 0]).tolist()
    seen = source.array("prediction", "sample", "rank")[:, 0] if source.has("prediction") else None
    made_with = [source.id, source.inputs["photographs"]]
    return Photographs(found, {row: files.name(row) for row in rows}, seen, files, made_with)


def name(unit: Any) -> str:
    """Name of the shard of a unit's photographs."""
    return f"photographs/{int(unit)}"


def keys(found: Photographs, tile: int, quality: int) -> list[str]:
    """What each unit's pictures depend on, as a short fingerprint."""
    stem = manifests.fingerprint([found.made_with, tile, quality, pictures.image_format()])
    return [manifests.fingerprint([stem, rows.tolist()])[:12] for rows in found.highest.rows]


def missing(data: Path, results: Results, found: Photographs, keys: list[str], earlier: Path | None) -> np.ndarray:
    """Places of units whose photographs are neither in `data` nor in an earlier atlas; the latter's are taken over."""
    places = np.flatnonzero((found.highest.rows >= 0).any(axis=1)).tolist()
    units = results.units
    return np.array([k for k in places if not pictures.kept(data, name(units[k]), keys[k], earlier)], int)


def draw(
    data: Path, results: Results, found: Photographs, keys: list[str], places: np.ndarray, *, tile: int, quality: int,
    advance: Callable[[int], None],
) -> None:  # fmt: skip
    """Read the photographs of some units, make them small, and store a row of them of each.

    Args:
      data: of the page.
      places: of units.
      tile: side of a picture: the shorter side is resized to it, and what is beyond is cut off.
      advance: told of units done.
    """
    small: dict[int, np.ndarray] = {}
    framing = (decode.Framing(tile, tile),)
    with ThreadPoolExecutor(_THREADS) as threads:
        for start in range(0, len(places), _UNITS):
            some = places[start : start + _UNITS]
            rows = np.unique(found.highest.rows[some])
            wanted = [row for row in rows.tolist() if row >= 0 and row not in small]
            read = decode.read_many(list(found.files.items(np.array(wanted, int))), framing, threads)
            for row, image in zip(wanted, read, strict=True):
                small[row] = (
                    np.full((tile, tile, 3), 128, np.uint8) if isinstance(image, decode.Unreadable) else image[0]
                )
            small[-1] = np.full((tile, tile, 3), 128, np.uint8)
            for place in some:
                images = np.stack([small[row] for row in found.highest.rows[place].tolist()])
                pictures.store(data, name(results.units[place]), keys[place], images[None], tile, quality)
            advance(len(some))


def of_units(found: Photographs, rows: slice) -> list[list[list[Any]]]:
    """Of some units what the page tells of their photographs: name, activation, class seen in it or None."""
    seen = found.seen
    return [
        [
            [found.names[row], shards.number(value), None if seen is None else int(seen[row])]
            for row, value in zip(each.tolist(), values.tolist(), strict=True)
            if row >= 0
        ]
        for each, values in zip(found.highest.rows[rows], found.highest.value[rows], strict=True)
    ]
