"""Masks that are pictures of labels: indexed or grey PNG, and NPY."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from linkjax.errors import InputError
from linkjax.masks.drawing import UNLABELLED

_IGNORED = 255  # in files of bytes: a pixel nobody labelled, by custom


def read_png(path: Path, size: int) -> np.ndarray:
    """Labels [size, size] of a PNG whose pixel values are the labels: a palette's indices, or grey levels.

    255 is a pixel nobody labelled.

    Raises: InputError if it is no PNG, is coloured, or has another size; the size is checked before decoding.
    """
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
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path}: expected a PNG mask, found a damaged or another file ({str(error)[:80]})") from None
    return np.where(labels == _IGNORED, UNLABELLED, labels)


def read_npy(path: Path, size: int) -> np.ndarray:
    """Labels [size, size] of a NumPy file of whole numbers; one axis of length 1 may be left in.

    Negative values, and 255 in bytes, are pixels nobody labelled.

    Raises: InputError if it holds anything but such an array; shape and dtype are checked before it is read.
    """
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers of Python 2
            version = np.lib.format.read_magic(file)
            header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
            if version not in header:
                raise InputError(f"{path}: expected NumPy format 1 or 2, found {version}; save it again with np.save")
            shape, _, dtype = header[version](file)
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
    unlabelled = (values < 0) | ((labels.reshape(size, size) == _IGNORED) if labels.dtype == np.uint8 else False)
    return np.where(unlabelled, UNLABELLED, values)


def _check_size(path: Path, found: tuple[int, ...], size: int) -> None:
    if found != (size, size):
        raise InputError(
            f"{path}: expected a mask of {size}×{size} pixels, the picture's size, found "
            f"{'×'.join(map(str, found)) or 'a single number'}"
        )
