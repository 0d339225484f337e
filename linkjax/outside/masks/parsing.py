"""Parts shared by all readers of masks: bounded JSON, polygons to pixels, names to labels."""

import json
import math
import unicodedata
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


def read_text(path: Path, what: str) -> str:
    """A text file of bounded size in UTF-8, with or without a byte-order mark.

    Raises: InputError if it cannot be read, is too large, or is in another encoding.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path}: expected {what} of at most 512 MiB, found {path.stat().st_size / 2**20:.0f} MiB")
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot read this {what} ({error.strerror})") from None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else f"another encoding at byte {error.start}"
        raise InputError(f"{path}: expected {what} in UTF-8, found {found}; save it as UTF-8") from None


def read_json(path: Path, what: str) -> dict[str, Any]:
    """A JSON object from a file of bounded size.

    Raises: InputError if it cannot be read, is too large, is not UTF-8, or is not an object.
    """
    try:
        content = json.loads(read_text(path, what))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected {what}, found damaged JSON ({str(error)[:80]})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected {what}, found JSON of another kind ({type(content).__name__})")
    return content


def paint(labels: np.ndarray, covered: np.ndarray, label: int, where: str) -> None:
    """Give the covered pixels of `labels` a label, in place.

    Raises: InputError if no pixel is covered: such a shape is a slip of the hand, or lies outside the picture.
    """
    if not covered.any():
        raise InputError(
            f"{where}: expected a shape that covers pixels of the picture, found one that covers none (a line, a "
            "point, or outside the picture); draw it larger, or remove it"
        )
    labels[covered] = label


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
    (x, y), (x1, y1) = two_corners(points, size, where)
    radius = math.hypot(x1 - x, y1 - y)
    angles = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    ring = np.clip(np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1), -size, 2 * size)
    return fill_polygon(ring.tolist(), size, where)


def fill_rectangle(points: Any, size: int, where: str) -> np.ndarray:
    """Pixels of a rectangle given by two opposite corners, or by all four in any order, upright or turned."""
    corners = _points(points, 2, size, where)
    if len(corners) == 2:
        (x0, y0), (x1, y1) = corners
        corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    if len(corners) != 4:
        raise InputError(f"{where}: expected a rectangle by two opposite corners or all four, found {len(corners)}")
    middle = np.mean(corners, axis=0)
    around = sorted(corners, key=lambda corner: math.atan2(corner[1] - middle[1], corner[0] - middle[0]))
    return fill_polygon(around, size, where)


def two_corners(points: Any, size: int, where: str) -> list[tuple[float, float]]:
    """Two opposite corners, checked as all points are."""
    corners = _points(points, 2, size, where)
    if len(corners) != 2:
        raise InputError(f"{where}: expected two corners, found {len(corners)}")
    return corners


def label_of(name: Any, part_names: Sequence[str], where: str) -> int:
    """The label of a part's name: its place among the part names; −1 for what is to be ignored.

    Blanks around a name and how its accents are stored do not matter, nor capital letters where no part is spelled so.

    Raises: InputError for a name that is not among them.
    """
    text = part_name(name)
    if text.casefold() in IGNORE:
        return UNLABELLED
    spelled = [part_name(each) for each in part_names]
    if text in spelled:
        return spelled.index(text)
    alike = [label for label, each in enumerate(spelled) if each.casefold() == text.casefold()]
    if len(alike) == 1:
        return alike[0]
    if text.casefold() in BACKGROUND:
        return 0
    raise InputError(f"{where}: expected one of the parts {', '.join(part_names)}, found {text[:60]!r}")


def part_name(name: Any) -> str:
    """A part's name on one line, without blanks around it, its accents stored as one letter each (NFC)."""
    letters = unicodedata.normalize("NFC", str(name))
    return "".join(" " if unicodedata.category(letter) == "Cc" else letter for letter in letters).strip()


def names_from(found: Sequence[str]) -> tuple[str, ...]:
    """Part names from those that occur, in the order given: the background first, whether it occurs or not.

    Of names that differ in capital letters alone the first is taken.
    """
    kept: dict[str, str] = {}
    for name in map(part_name, found):
        kept.setdefault(name.casefold(), name)
    return ("background", *(name for key, name in kept.items() if key not in (*BACKGROUND, *IGNORE)))


def _points(points: Any, least: int, size: int, where: str) -> list[tuple[float, float]]:
    try:
        array: np.ndarray = np.array(points, np.float64)
    except (TypeError, ValueError, OverflowError):  # the last: whole numbers beyond any float
        array = np.zeros((0, 2))
    if array.ndim != 2 or array.shape[1] != 2 or len(array) < least or not np.isfinite(array).all():
        raise InputError(f"{where}: expected {least} points [x, y] or more, found something else")
    if array.min() < -size or array.max() > 2 * size:
        raise InputError(f"{where}: expected points in a picture of {size}×{size} pixels, found them far outside it")
    return [(float(x), float(y)) for x, y in array.tolist()]
