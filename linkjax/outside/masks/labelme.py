"""Masks drawn with labelme, or by programs that write its files: one JSON a picture."""

import base64
import binascii
import io
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from linkjax.errors import InputError
from linkjax.outside.masks import parsing

# Those after the circle are turned rectangles of labelme and X-AnyLabeling, by their four corners.
_FILLS = {
    "polygon": parsing.fill_polygon,
    "rectangle": parsing.fill_rectangle,
    "circle": parsing.fill_circle,
    "rotation": parsing.fill_rectangle,
    "oriented_rectangle": parsing.fill_rectangle,
    "quadrilateral": parsing.fill_polygon,
}


def names(path: Path, content: Mapping[str, Any]) -> list[str]:
    """Labels of all shapes, as they occur."""
    return [parsing.part_name(shape["label"]) for shape in _shapes(path, content)]


def read(path: Path, content: Mapping[str, Any], size: int, part_names: Sequence[str]) -> np.ndarray | None:
    """Labels [size, size]; shapes are painted in the order of the file, a later one over an earlier one.

    Returns: None if the file holds no shape: nobody labelled that picture.
    Raises: InputError for another size, an unknown label, or a shape that covers no pixel.
    """
    found = (content.get("imageHeight", size), content.get("imageWidth", size))
    if found != (size, size):
        sides = "×".join(f"{side!r:.12}" for side in found)
        raise InputError(f"{path}: expected a picture of {size}×{size} pixels, found {sides}")
    shapes = _shapes(path, content)
    if not shapes:
        return None
    labels = np.zeros((size, size), np.int64)
    for number, shape in enumerate(shapes):
        where = f"{path}, shape {number}"
        label = parsing.label_of(shape["label"], part_names, where)
        parsing.paint(labels, _covered(shape, size, where), label, where)
    return labels


def _covered(shape: Mapping[str, Any], size: int, where: str) -> np.ndarray:
    kind = shape.get("shape_type") or "polygon"
    if kind == "mask":
        return _pasted(shape, size, where)
    fill = _FILLS.get(kind) if isinstance(kind, str) else None
    if fill is None:
        raise InputError(
            f"{where}: expected a polygon, rectangle, circle or mask, found {str(kind)[:40]!r}; draw it as a polygon"
        )
    return fill(shape.get("points"), size, where)


def _pasted(shape: Mapping[str, Any], size: int, where: str) -> np.ndarray:
    """Pixels of a shape that is itself a small PNG, between two corners that belong to it both."""
    [(left, top), (right, bottom)] = np.floor(parsing.two_corners(shape.get("points"), size, where)).astype(int)
    extent = (bottom - top + 1, right - left + 1)
    if not (0 <= left <= right < size and 0 <= top <= bottom < size):
        raise InputError(f"{where}: expected a mask inside a picture of {size}×{size} pixels, found it beyond")
    text = shape.get("mask")
    try:
        if not isinstance(text, str):
            raise ValueError("no text")
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as image:
                if (image.height, image.width) != extent or image.mode not in ("1", "L"):
                    raise ValueError(f"{image.width}×{image.height} pixels, {image.mode}")
                pasted = np.asarray(image) > 0
    except (
        OSError, ValueError, SyntaxError, binascii.Error, Image.DecompressionBombError, Image.DecompressionBombWarning
    ) as error:  # fmt: skip
        raise InputError(
            f"{where}: expected a black and white PNG of {extent[1]}×{extent[0]} pixels in base64, found something "
            f"else ({str(error)[:60]})"
        ) from None
    covered = np.zeros((size, size), bool)
    covered[top : bottom + 1, left : right + 1] = pasted
    return covered


def _shapes(path: Path, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    shapes = content.get("shapes")
    if not isinstance(shapes, list) or not all(
        isinstance(shape, dict) and isinstance(shape.get("label"), str) and parsing.part_name(shape["label"])
        for shape in shapes
    ):
        raise InputError(f"{path}: expected labelme's shapes with a label each, found something else")
    return shapes
