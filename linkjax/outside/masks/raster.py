"""Masks that are pictures of labels: indexed or grey PNG, and NPY."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from linkjax.errors import InputError
from linkjax.outside.masks.parsing import UNLABELLED
from linkjax.storage.array_files import npy

_IGNORED = 255  # in files of bytes: a pixel nobody labelled, by custom


class Palette(NamedTuple):
    """Colours of an indexed PNG."""

    colours: list[tuple[int, int, int]]  # by index
    used: list[int]  # indices that occur in it, ascending

    def colour(self, index: int) -> tuple[int, int, int] | None:
        """The colour of an index; None beyond the end."""
        return self.colours[index] if index < len(self.colours) else None


def read_png(path: Path, size: int) -> np.ndarray:
    """Labels [size, size] of a PNG whose pixel values are the labels: a palette's indices, or grey levels.

    255 is a pixel nobody labelled.

    Raises: InputError if it is no PNG, is coloured, black and white alone, or has another size; the size is checked
      before decoding.
    """
    return read_indexed(path, size)[0]


def read_indexed(path: Path, size: int) -> tuple[np.ndarray, Palette | None]:
    """Labels as `read_png` gives them, and the palette; None for a grey PNG."""
    values, palette = _values(path, size)
    _check_not_black_and_white(path, values)
    return np.where(values == _IGNORED, UNLABELLED, values), palette


def read_painted(path: Path, size: int) -> np.ndarray:
    """`read_png` of a mask that `linkjax label` made, where 255 is "not labelled" whatever lies beside it."""
    values, _ = _values(path, size)
    return np.where(values == _IGNORED, UNLABELLED, values)


def _values(path: Path, size: int) -> tuple[np.ndarray, Palette | None]:
    palette = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG",)) as image:
                _check_size(path, (image.height, image.width), size)
                if image.mode not in ("P", "L", "1", "I", "I;16"):
                    raise InputError(
                        f"{path}: expected a PNG whose pixels are label numbers (with a palette, or grey), found "
                        f"colours ({image.mode}); save it as indexed"
                    )
                labels = np.asarray(image).astype(np.int64)
                if image.mode == "P":
                    flat = image.getpalette("RGB") or []
                    colours = list(zip(flat[::3], flat[1::3], flat[2::3], strict=True))
                    palette = Palette(colours, np.unique(labels).tolist())
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path}: expected a PNG mask, found a damaged or another file ({str(error)[:80]})") from None
    return labels, palette


def check_palettes(palettes: Mapping[Path, Palette]) -> None:
    """Check that masks that share an index share its colour: labels are indices, and an editor may reorder them.

    A colour under two indices is refused too, unless one of the two palettes has it under both.

    Raises: InputError naming two masks, an index or a colour, and what it is in each.
    """
    first: dict[int, tuple[Path, Palette]] = {}
    place: dict[tuple[int, int, int], tuple[int, Path, Palette]] = {}
    for path, palette in palettes.items():
        for index in palette.used:
            colour = palette.colour(index)
            if colour is None:
                continue
            other_path, other = first.setdefault(index, (path, palette))
            if other.colour(index) != colour:
                raise InputError(
                    f"{path}: expected the palette of {other_path.name}, found index {index} coloured {colour}, where "
                    f"that has {other.colour(index)}; labels are indices, so save all masks with one palette"
                )
            there, other_path, other = place.setdefault(colour, (index, path, palette))
            if there != index and other.colour(index) != colour and palette.colour(there) != colour:
                raise InputError(
                    f"{path}: expected the palette of {other_path.name}, found the colour {colour} under index "
                    f"{index}, which that has under index {there}; labels are indices, so save all masks with one "
                    "palette"
                )


def read_npy(path: Path, size: int) -> np.ndarray:
    """Labels [size, size] of a NumPy file of whole numbers; one axis of length 1 may be left in.

    Negative values, and 255 in bytes, are pixels nobody labelled.

    Raises: InputError if it holds anything but such an array; shape and dtype are checked before it is read.
    """
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers of Python 2
            shape, dtype = _header(path, file)
            if dtype.kind not in "iub":
                raise InputError(f"{path}: expected whole numbers, found {dtype}; save the labels as integers")
            _check_size(path, tuple(n for n in shape if n != 1) if len(shape) != 2 else shape, size)
            file.seek(0)
            labels = np.load(file, allow_pickle=False)
    except InputError:
        raise
    except Exception as error:  # a damaged header makes NumPy raise many kinds; to a user they are one
        raise InputError(f"{path}: expected an array saved by np.save ({str(error)[:80]}); save it again") from None
    values = labels.reshape(size, size).astype(np.int64)
    _check_not_black_and_white(path, values)
    unlabelled = (values < 0) | ((labels.reshape(size, size) == _IGNORED) if labels.dtype == np.uint8 else False)
    return np.where(unlabelled, UNLABELLED, values)


def _header(path: Path, file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    try:
        return npy.read_header(file)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _check_not_black_and_white(path: Path, values: np.ndarray) -> None:
    # 255 is "not labelled" beside labels; where nothing else is painted it more likely is the part itself.
    found = np.unique(values)
    if found[-1] == _IGNORED and not found[:-1].any() and len(found) == 2:
        raise InputError(
            f"{path}: only 0 and 255 in the mask of {path.stem}; if 255 is a part, number it 1; if it is what nobody "
            "labelled, paint a part too, or remove the mask"
        )


def _check_size(path: Path, found: tuple[int, ...], size: int) -> None:
    if found != (size, size):
        raise InputError(
            f"{path}: expected a mask of {size}×{size} pixels, the picture's size, found "
            f"{'×'.join(map(str, found)) or 'a single number'}"
        )
