"""What all readers of masks share: bounded JSON, polygons to pixels, names to labels."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from linkjax.errors import InputError

#: The label of a pixel nobody labelled.
UNLABELLED = -1
#: Part names of the first label, in any spelling.
BACKGROUND = ("background", "_background_", "bg")
#: Shapes of this name are left out of training.
IGNORE = ("__ignore__", "ignore")
_MOST_BYTES = 512 * 2**20  # of a JSON file
_FINE = 8  # samples a pixel's side by which its cover is judged


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object from a file of bounded size.

    Raises: InputError if it cannot be read, is too large, or is not an object.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path}: expected {what} of at most 512 MiB, found {path.stat().st_size / 2**20:.0f} MiB")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read this {what} ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected {what}, found damaged JSON ({str(error)[:80]})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected {what}, found JSON of another kind ({type(content).__name__})")
    return content


def fill_polygon(points: Any, size: int, where: str) -> np.ndarray:
    """Pixels [size, size] bool of which a polygon covers half or more.

    Args:
      points: [[x, y], …] in pixels, (0, 0) the picture's upper left corner, so that the first pixel's centre is at ½.
      where: names the shape in an error.
    Raises: InputError for fewer than three points, what is no number, and points more than a picture away.
    """
    corners = _points(points, 3, size, where)
    canvas = Image.new("L", (size * _FINE, size * _FINE))
    # Pillow puts centres of pixels at whole numbers.
    ImageDraw.Draw(canvas).polygon([(x * _FINE - 0.5, y * _FINE - 0.5) for x, y in corners], fill=255)
    return np.asarray(canvas.resize((size, size), Image.Resampling.BOX)) >= 128


def fill_circle(points: Any, size: int, where: str) -> np.ndarray:
    """Pixels of a circle given by its centre and a point on it."""
    (x, y), (x1, y1) = _points(points, 2, size, where)[:2]
    radius = math.hypot(x1 - x, y1 - y)
    angles = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    ring = np.clip(np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1), -size, 2 * size)
    return fill_polygon(ring.tolist(), size, where)


def fill_rectangle(points: Any, size: int, where: str) -> np.ndarray:
    """Pixels of a rectangle given by two opposite corners."""
    (x0, y0), (x1, y1) = _points(points, 2, size, where)[:2]
    return fill_polygon([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], size, where)


def label_of(name: Any, part_names: Sequence[str], where: str) -> int:
    """The label of a part's name: its place among the part names; −1 for what is to be ignored.

    Raises: InputError for a name that is not among them.
    """
    text = str(name).strip()
    if text.lower() in IGNORE:
        return UNLABELLED
    if text in part_names:
        return part_names.index(text)
    if text.lower() in BACKGROUND:
        return 0
    raise InputError(f"{where}: expected one of the parts {', '.join(part_names)}, found {text[:60]!r}")


def names_from(found: Sequence[str]) -> tuple[str, ...]:
    """Part names from those that occur, in the order given: the background first, whether it occurs or not."""
    kept = [name for name in dict.fromkeys(found) if name.lower() not in (*BACKGROUND, *IGNORE)]
    return ("background", *kept)


def _points(points: Any, least: int, size: int, where: str) -> list[tuple[float, float]]:
    try:
        array: np.ndarray = np.array(points, np.float64)
    except (TypeError, ValueError):
        array = np.zeros((0, 2))
    if array.ndim != 2 or array.shape[1] != 2 or len(array) < least or not np.isfinite(array).all():
        raise InputError(f"{where}: expected {least} points [x, y] or more, found something else")
    if array.min() < -size or array.max() > 2 * size:
        raise InputError(f"{where}: expected points in a picture of {size}×{size} pixels, found them far outside it")
    return [(float(x), float(y)) for x, y in array.tolist()]
