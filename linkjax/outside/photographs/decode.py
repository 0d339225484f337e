"""Decode image files to a classifier's pixels: upright, RGB, resized, cropped to a square."""

import contextlib
import warnings
from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageFile

from linkjax.errors import InputError
from linkjax.models.classifier_spec import Preprocessing
from linkjax.ops import resize

_ORIENTATION = 0x0112  # the EXIF tag
_DARK = 1 << 14  # 16 bits whose values stay below hold 8, 10, 12 or 14, as cameras and scanners store them
_THIN = 16  # times as long as wide: from there on the resize makes the central square alone
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class Item(NamedTuple):
    """A photograph yet to be decoded."""

    name: str  # its path below the folder, or its place in the data set
    file: Path | IO[bytes]
    group: int  # place of its group's name in the source's `groups`; −1 if it has none


class Framing(NamedTuple):
    """Resize until the shorter side is `shorter` pixels, then keep the central square of `crop` pixels."""

    shorter: int
    crop: int
    interpolation: str = "bilinear"  # Pillow's name of the filter
    squash: bool = False  # both sides become `shorter`


class Unreadable(InputError):
    """A file that gives no photograph."""


def framing(preprocessing: Preprocessing, resolution: int) -> Framing:
    """How a classifier frames a photograph.

    Where the classifier takes images as they come, or does not crop, a photograph gets the size and the square shape
    of a generated image.

    Args:
      preprocessing: the classifier's.
      resolution: side in pixels of the generator's images.
    """
    shorter = preprocessing.resize or resolution
    return Framing(shorter, preprocessing.crop or shorter, preprocessing.interpolation, preprocessing.squash)


def read(item: Item, framings: Sequence[Framing]) -> list[UInt8[np.ndarray, "side side 3"]]:
    """The photograph in each framing.

    The EXIF orientation is applied; transparent pixels are laid over white; greyscale, palette and CMYK images become
    RGB, and 16 bits 8 (where the values of 16 bits end below 16384 the range is anyone's guess: such a file is
    unreadable). Of animations the first frame is taken; colour profiles are not applied. The resize is Pillow's on
    bytes, by the classifier's filter, as for generated images.

    Raises: Unreadable with one sentence: damaged, not an image, or more pixels than Pillow thinks safe to decode.
    """
    try:
        if isinstance(item.file, Path) and item.file.exists() and not item.file.is_file():
            raise Unreadable("expected a photograph, found a pipe, a socket or a device")  # which may never answer
        with Image.open(item.file) as opened:
            deep = _deep_colour(opened)
            image = _upright(opened)
            if deep:
                _check_bright(image)
            image = _rgb(image)
            return [_framed(image, each) for each in framings]
    except Unreadable as error:
        raise Unreadable(f"{item.name}: {error}") from None
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise Unreadable(
            f"{item.name}: expected a photograph of at most {Image.MAX_IMAGE_PIXELS:,} pixels, found one so large that "
            "it may be made to exhaust memory; make it smaller"
        ) from None
    except Image.UnidentifiedImageError:
        raise Unreadable(f"{item.name}: expected a photograph, found no image format that Pillow knows") from None
    except Exception as error:  # decoders raise many kinds on damaged files; to a user they are one
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Unreadable(f"{item.name}: expected a photograph, found a file that cannot be read ({reason})") from None


def read_many(
    items: Sequence[Item], framings: Sequence[Framing], pool: Executor
) -> list[list[UInt8[np.ndarray, "side side 3"]] | Unreadable]:
    """`read` side by side; in place of an unreadable photograph, the error that says why."""
    with warnings.catch_warnings():
        # Filters are global, so they are set once around the threads: bombs stop, other remarks on odd files do not.
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return list(pool.map(lambda item: _or_error(item, framings), items))


def _or_error(item: Item, framings: Sequence[Framing]) -> Any:
    try:
        return read(item, framings)
    except Unreadable as error:
        return error


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # first: Pillow turns a TIFF itself while it loads it, and forgets its orientation then
    orientation = None
    with contextlib.suppress(Exception):  # broken metadata beside sound pixels
        orientation = image.getexif().get(_ORIENTATION)
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _deep_colour(image: ImageFile.ImageFile) -> bool:
    """Whether a file that is not decoded yet holds 16 bits a channel, of which Pillow keeps the high byte."""
    return not image.mode.startswith("I") and any(";16" in str(tile[3]) for tile in image.tile)


def _check_bright(image: Image.Image) -> None:
    """Refuse colours of 16 bits that do not use them.

    Raises: Unreadable.
    """
    bands = [band for name, band in zip(image.getbands(), image.split(), strict=True) if name not in "Aa"]
    most = max(int(np.asarray(band).max()) for band in bands)
    if most < _DARK >> 8:
        raise Unreadable(
            f"expected colours of 8 bits, or of 16 that use them, found 16 bits whose values end below "
            f"{(most + 1) << 8}; scale them to their range"
        )


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit greyscale: the high byte
        values = np.asarray(image).astype(np.int64)
        least, most = int(values.min()), int(values.max())
        if least < 0 or most > 65535 or 0 < most < _DARK:
            raise Unreadable(
                f"expected greyscale of 8 bits, or of 16 that uses them, found 16 or 32 bits whose values go from "
                f"{least} to {most}; scale it to its range"
            )
        return Image.fromarray((values >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise Unreadable("expected 8 or 16 bits a pixel, found floating-point numbers, whose range is anyone's guess")
    if "A" in image.mode or "a" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, image).convert("RGB")
    return image.convert("RGB")


def _framed(image: Image.Image, framing: Framing) -> UInt8[np.ndarray, "side side 3"]:
    height, width = (
        (framing.shorter,) * 2 if framing.squash else resize.shorter_side(image.height, image.width, framing.shorter)
    )
    left, top = resize.crop_start(width, framing.crop), resize.crop_start(height, framing.crop)
    kind = Image.Resampling[framing.interpolation.upper()]
    if max(width, height) > _THIN * framing.shorter:  # only what is kept, or a strip of 100 000 × 1 would take 26 GB
        across, down = image.width / width, image.height / height
        box = (left * across, top * down, (left + framing.crop) * across, (top + framing.crop) * down)
        return np.array(image.resize((framing.crop, framing.crop), kind, box), np.uint8)
    if (width, height) != image.size:
        image = image.resize((width, height), kind)
    return np.array(image.crop((left, top, left + framing.crop, top + framing.crop)), np.uint8)
