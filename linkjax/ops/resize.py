"""Resizing as the originals do it: Pillow's filters on bytes, torch's nearest on feature maps, torchvision's crop.

A resize along one axis is a matrix product; the matrices depend on sizes only, are made on the host and cached.
"""

import functools
import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8

from linkjax import numerics
from linkjax.errors import InputError

#: Pillow's filters, by its names.
Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]

#: Pillow holds the weights of an 8-bit resize as integers in units of 2^-22.
_BITS = 22
#: Sums of products below this are exact in float32.
_EXACT = 1 << 24


def _hamming(x: float) -> float:
    return math.sin(math.pi * x) / (math.pi * x) * (0.54 + 0.46 * math.cos(math.pi * x)) if 0 < x < 1 else float(x == 0)


def _bicubic(x: float) -> float:
    """Keys' cubic with a = −½."""
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * -0.5 if x < 2 else 0.0


def _sinc(x: float) -> float:
    return 1.0 if x == 0 else math.sin(math.pi * x) / (math.pi * x)


#: Name → how far the filter reaches where nothing is reduced, in pixels, and its value at x.
_FILTERS: dict[str, tuple[float, Callable[[float], float]]] = {
    "box": (0.5, lambda x: float(-0.5 < x <= 0.5)),
    "bilinear": (1.0, lambda x: max(0.0, 1.0 - abs(x))),
    "hamming": (1.0, lambda x: _hamming(abs(x))),
    "bicubic": (2.0, lambda x: _bicubic(abs(x))),
    "lanczos": (3.0, lambda x: _sinc(x) * _sinc(x / 3) if -3.0 <= x < 3.0 else 0.0),
}


@functools.cache
def filter_weights(size: int, new_size: int, interpolation: Interpolation = "bilinear") -> np.ndarray:
    """Antialiased weights W [new_size, size] of one of Pillow's filters f, rows summing to 1, float64.

    W[i, j] ∝ f((j + ½ − c_i) / s), with c_i = (i + ½) · size / new_size and s = max(1, size / new_size): the filter
    widens with the reduction, and is cut and normalised at the borders. Nearest takes the pixel at c_i.

    Reference: Pillow, Image.resize.
    """
    weights = np.zeros((new_size, size))
    if interpolation == "nearest":
        weights[np.arange(new_size), _nearest_of_pillow(size, new_size)] = 1.0
        return weights
    reach, function = _FILTERS[interpolation]
    scale = size / new_size
    support, inverse = reach * max(scale, 1.0), 1.0 / max(scale, 1.0)
    for i in range(new_size):
        centre = (i + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), size)
        taps = [function((j - centre + 0.5) * inverse) for j in range(first, last)]
        total = sum(taps)
        weights[i, first:last] = np.array(taps) / total if total else taps
    return weights


def _nearest_of_pillow(size: int, new_size: int) -> np.ndarray:
    """The pixel at each centre; Pillow adds up the step, and its roundings."""
    step = size / new_size
    centres = np.add.accumulate(np.array([step * 0.5, *[step] * (new_size - 1)]))
    return np.minimum(centres.astype(np.int64), size - 1)


@functools.cache
def _integer_parts(
    size: int, new_size: int, start: int, length: int, interpolation: Interpolation
) -> tuple[tuple[np.ndarray, ...], int]:
    """Pillow's integer weights of rows start … start + length as Σ_k part_k · 2^(bits · k), and the bits of a part.

    Parts are whole numbers, so small that sums of their products with bytes are exact in float32.
    """
    exact = filter_weights(size, new_size, interpolation)[start : start + length] * 2**_BITS
    fixed = np.trunc(exact + np.where(exact < 0, -0.5, 0.5)).astype(np.int64)
    taps = int((fixed != 0).sum(axis=1).max())
    bits = next(bits for bits in (11, 8, 6, 4, 2) if 255 * taps * (2**bits - 1) < _EXACT)
    parts = []
    while 255 * np.abs(fixed).sum(axis=1).max() >= _EXACT:
        parts.append((fixed & (2**bits - 1)).astype(np.float32))
        fixed = fixed >> bits
    return (*parts, fixed.astype(np.float32)), bits


def shorter_side(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width with the shorter one `size` and the longer int(size · longer / shorter), torchvision's rule."""
    if height <= width:
        return size, int(size * width / height)
    return int(size * height / width), size


def crop_start(size: int, crop: int) -> int:
    """Where a centre crop begins: (size − crop) / 2, halves to even, torchvision's rule."""
    return round((size - crop) / 2)


def centre_crop(images: Shaped[Array, "B H W C"], crop: int) -> Shaped[Array, "B crop crop C"]:
    """The central crop × crop pixels.

    Raises: InputError if an image is smaller than the crop.
    """
    height, width = images.shape[1:3]
    if min(height, width) < crop:
        raise InputError(f"expected images of at least {crop}×{crop} pixels to crop, found {height}×{width}")
    top, left = crop_start(height, crop), crop_start(width, crop)
    return images[:, top : top + crop, left : left + crop]


def _along(images: Float[Array, "B H W C"], weights: np.ndarray, axis: int) -> Float[Array, "B h w C"]:
    """Σ_j weights[i, j] · images[…, j, …] along axis 1 or 2.

    Numerics: along the rows one product an image, of rows as they lie: nothing is transposed, as it would be for one
      product of all images.
    """
    matrix = jnp.asarray(weights, images.dtype)
    if axis == 2:
        return jnp.einsum("jw,bhwc->bhjc", matrix, images, precision=numerics.PRECISION)
    batch, height, width, channels = images.shape
    rows = images.reshape(batch, height, width * channels)
    product = jnp.matmul(jnp.broadcast_to(matrix[None], (batch, *matrix.shape)), rows, precision=numerics.PRECISION)
    return product.reshape(batch, -1, width, channels)


def _rounded(
    images: Float[Array, "B H W C"], size: tuple[int, int, int], axis: int, interpolation: Interpolation
) -> Float[Array, "B h w C"]:
    """One pass of Pillow's 8-bit resize: (Σ k·x + 2^21) >> 22, with integers throughout."""
    start, length, new_size = size
    if new_size == images.shape[axis]:
        return jax.lax.slice_in_dim(images, start, start + length, axis=axis)
    parts, bits = _integer_parts(images.shape[axis], new_size, start, length, interpolation)
    total = jnp.asarray(1 << (_BITS - 1), jnp.int32)
    for place, part in enumerate(parts):
        total = total + (_along(images, part, axis).astype(jnp.int32) << (bits * place))
    return jnp.clip(total >> _BITS, 0, 255).astype(jnp.float32)


def resize_bytes(
    images: UInt8[Array, "B H W C"],
    height: int,
    width: int,
    crop: int | None = None,
    interpolation: Interpolation = "bilinear",
) -> UInt8[Array, "B h w C"]:
    """Pillow's antialiased resize of bytes, bit for bit; with `crop`, the centre of the result only.

    Width first, then height, each rounded to bytes; an axis of the right size is not resampled. (Pillow ≥ 13 takes the
    height first where an image more than twice as high as wide is reduced: a few bytes differ by one there.)

    Args:
      height, width: new size in pixels.
      crop: side of the central square to keep; what lies outside is not computed.
    Numerics: the 22-bit weights are split in parts whose float32 products with bytes add up exactly, so that the
      result is the same on every device.
    Reference: Pillow, Image.resize on 8-bit images.
    """
    top, left, rows, columns = _window(height, width, crop)
    if interpolation == "nearest":
        across = _nearest_of_pillow(images.shape[2], width)[left : left + columns]
        down = _nearest_of_pillow(images.shape[1], height)[top : top + rows]
        return jnp.take(jnp.take(images, down, axis=1, mode="clip"), across, axis=2, mode="clip")
    values = _rounded(images.astype(jnp.float32), (left, columns, width), 2, interpolation)
    return _rounded(values, (top, rows, height), 1, interpolation).astype(jnp.uint8)


def resize(
    images: Float[Array, "B H W C"],
    height: int,
    width: int,
    crop: int | None = None,
    interpolation: Interpolation = "bilinear",
) -> Float[Array, "B h w C"]:
    """`resize_bytes` without rounding, on any values: differentiable.

    Bicubic and Lanczos overshoot at edges; where `resize_bytes` cuts at 0 and 255 this does not.
    """
    top, left, rows, columns = _window(height, width, crop)
    for axis, start, length, size in ((2, left, columns, width), (1, top, rows, height)):
        if size == images.shape[axis]:
            images = jax.lax.slice_in_dim(images, start, start + length, axis=axis)
        else:
            matrix = filter_weights(images.shape[axis], size, interpolation)[start : start + length]
            images = _along(images, matrix, axis)
    return images


def _window(height: int, width: int, crop: int | None) -> tuple[int, int, int, int]:
    """Top, left, rows and columns of what is kept of a height × width image."""
    if crop is None:
        return 0, 0, height, width
    if min(height, width) < crop:
        raise InputError(f"expected images of at least {crop}×{crop} pixels to crop, found {height}×{width}")
    return crop_start(height, crop), crop_start(width, crop), crop, crop


@functools.cache
def nearest_indices(size: int, new_size: int) -> np.ndarray:
    """Source index of each new position: min(⌊i · size / new_size⌋, size − 1), the scale in float32.

    Reference: torch.nn.functional.interpolate with mode "nearest".
    """
    scale = np.float32(size) / np.float32(new_size)
    positions = np.floor(np.arange(new_size, dtype=np.float32) * scale).astype(np.int32)
    return np.minimum(positions, np.int32(size - 1))


def resize_nearest(maps: Shaped[Array, "B H W C"], height: int, width: int) -> Shaped[Array, "B height width C"]:
    """Nearest neighbour by torch's rule, for feature maps and labels."""
    if height != maps.shape[1]:
        maps = jnp.take(maps, nearest_indices(maps.shape[1], height), axis=1, mode="clip")
    if width != maps.shape[2]:
        maps = jnp.take(maps, nearest_indices(maps.shape[2], width), axis=2, mode="clip")
    return maps
