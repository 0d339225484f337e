"""Masks of all pictures in one COCO JSON: polygons, and run lengths in both spellings."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

import numpy as np

from linkjax.errors import InputError
from linkjax.outside.masks import parsing


def read(path: Path, content: Mapping[str, Any], size: int, part_names: Sequence[str]) -> tuple[dict[str, Any], tuple]:
    """Label maps by picture's file stem, and the part names.

    Parts are painted in the order of the file: a later one lies over an earlier one. Without `part_names` they are the
    background and the categories by their ids. Pictures without annotation are left out: nobody labelled them.

    Raises: InputError for missing or inconsistent entries, and for an annotation that covers no pixel.
    """
    pictures, categories = _table(path, content, "images", "file_name"), _table(path, content, "categories", "name")
    for entry in content["images"]:
        found = (entry.get("height", size), entry.get("width", size))
        if found != (size, size):
            sides = "×".join(f"{side!r:.12}" for side in found)
            raise InputError(f"{path}: expected pictures of {size}×{size} pixels, found one of {sides}")
    names = tuple(part_names) or parsing.names_from([categories[key] for key in sorted(categories)])
    annotations = content.get("annotations")
    if not isinstance(annotations, list) or not annotations:
        raise InputError(f"{path}: expected COCO annotations, found none")
    stems = {key: PureWindowsPath(name).stem for key, name in pictures.items()}  # either kind of slash
    if len(set(stems.values())) != len(stems):
        raise InputError(f"{path}: expected pictures of different names, found two of the same")
    labels: dict[str, np.ndarray] = {}
    for number, annotation in enumerate(annotations):
        where = f"{path}, annotation {number}"
        if not isinstance(annotation, dict) or not _known(annotation.get("image_id"), pictures):
            raise InputError(f"{where}: expected the id of a picture in this file")
        if not _known(annotation.get("category_id"), categories):
            raise InputError(f"{where}: expected the id of a category in this file")
        label = parsing.label_of(categories[annotation["category_id"]], names, where)
        canvas = labels.setdefault(stems[annotation["image_id"]], np.zeros((size, size), np.int64))
        parsing.paint(canvas, _pixels(annotation, size, where), label, where)
    return labels, names


def _table(path: Path, content: Mapping[str, Any], key: str, value: str) -> dict[Any, str]:
    """id → value of the entries of a list."""
    entries = content.get(key)
    if not isinstance(entries, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("id"), int) and isinstance(entry.get(value), str)
        for entry in entries
    ):
        raise InputError(f"{path}: expected COCO {key} with an id and a {value} each")
    if len({entry["id"] for entry in entries}) != len(entries):
        raise InputError(f"{path}: expected COCO {key} with different ids, found two of the same")
    return {entry["id"]: entry[value] for entry in entries}


def _known(key: Any, table: Mapping[int, str]) -> bool:
    return isinstance(key, int) and key in table


def _pixels(annotation: Mapping[str, Any], size: int, where: str) -> np.ndarray:
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return _run_lengths(segmentation, size, where)
    if not segmentation and annotation.get("bbox"):
        raise InputError(
            f"{where} has a box but no segmentation; draw polygons, or export masks instead of boxes: a box says where "
            "a part is, not what it covers"
        )
    covered = np.zeros((size, size), bool)
    if not isinstance(segmentation, list):
        raise InputError(f"{where}: expected a segmentation of polygons or run lengths, found neither")
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) % 2:
            raise InputError(f"{where}: expected a polygon x, y, x, y, …, found something else")
        covered |= parsing.fill_polygon(list(zip(polygon[::2], polygon[1::2], strict=True)), size, where)
    return covered


def _run_lengths(runs: Mapping[str, Any], size: int, where: str) -> np.ndarray:
    """Pixels from run lengths, column by column, which begin with a run of pixels outside."""
    counts = runs.get("counts")
    if runs.get("size") != [size, size]:
        raise InputError(f"{where}: expected run lengths of {size}×{size} pixels, found {runs.get('size')!r:.40}")
    if isinstance(counts, str):
        counts = _uncompressed(counts, where)
    if (
        not isinstance(counts, list)
        or not all(isinstance(count, int) and 0 <= count <= size * size for count in counts)
        or sum(counts) != size * size
    ):
        raise InputError(f"{where}: expected run lengths that add up to {size}×{size} pixels, found others")
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts).reshape(size, size).T


def _uncompressed(text: str, where: str) -> list[int]:
    """Counts from COCO's text: digits of 5 bits with a sign, low first; from the fourth on differences of every other.

    Reference: pycocotools, rleFrString.
    """
    counts: list[int] = []
    position = 0
    while position < len(text):
        value, shift, more = 0, 0, True
        while more:
            if position == len(text) or shift > 40 or not 0 <= (digit := ord(text[position]) - 48) < 64:
                raise InputError(f"{where}: expected COCO's compressed run lengths, found a damaged text")
            value |= (digit & 0x1F) << shift
            more = bool(digit & 0x20)
            position, shift = position + 1, shift + 5
            if not more and digit & 0x10:
                value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
    return counts
