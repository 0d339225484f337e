"""Masks drawn with labelme: one JSON a picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.errors import InputError
from linkjax.masks import drawing

_FILLS = {"polygon": drawing.fill_polygon, "rectangle": drawing.fill_rectangle, "circle": drawing.fill_circle}


def names(path: Path, content: Mapping[str, Any]) -> list[str]:
    """Labels of all shapes, as they occur."""
    return [str(shape["label"]).strip() for shape in _shapes(path, content)]


def read(path: Path, content: Mapping[str, Any], size: int, part_names: Sequence[str]) -> np.ndarray:
    """Labels [size, size]; shapes are painted in the order of the file, a later one over an earlier one.

    Raises: InputError for another size, an unknown label, or a shape that encloses nothing.
    """
    found = (content.get("imageHeight", size), content.get("imageWidth", size))
    if found != (size, size):
        raise InputError(
            f"{path}: expected a picture of {size}×{size} pixels, found {str(found[0])[:12]}×{str(found[1])[:12]}"
        )
    labels = np.zeros((size, size), np.int64)
    for number, shape in enumerate(_shapes(path, content)):
        where = f"{path}, shape {number}"
        fill = _FILLS.get(shape.get("shape_type") or "polygon")
        if fill is None:
            raise InputError(
                f"{where}: expected a polygon, rectangle or circle, found {str(shape.get('shape_type'))[:40]!r}; "
                "draw it as a polygon"
            )
        labels[fill(shape.get("points"), size, where)] = drawing.label_of(shape["label"], part_names, where)
    return labels


def _shapes(path: Path, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    shapes = content.get("shapes")
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) and "label" in shape for shape in shapes):
        raise InputError(f"{path}: expected labelme's shapes with a label each, found something else")
    return shapes
