"""Resizing as the originals do it: Pillow's bilinear on bytes, torch's nearest on feature maps, torchvision's crop.

A resize along one axis is a matrix product; the matrices depend on sizes only, are made on the host and cached.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8

from linkjax import numerics
from linkjax.errors import InputError

#: Pillow holds the weights of an 8-bit resize as integers in units of 2^-22.
_BITS = 22
#: A float32 product of bytes with these halves of a 22-bit weight is exact: 255 · 2^11 < 2^24.
_HALF = 11


@functools.cache
def bilinear_weights(size: int, new_size: int) -> np.ndarray:
    """Antialiased bilinear weights W [new_size, size], rows summing to 1, float64.

    W[i, j] ∝ max(0, 1 − |j + ½ − c_i| / s), with c_i = (i + ½) · size / new_size and s = max(1, size / new_size): the
    triangle widens with the reduction, and is cut and normalised at the borders.

    Reference: Pillow, Image.resize with BILINEAR.
    """
    scale = size / new_size
    support = max(scale, 1.0)
    weights = np.zeros((new_size, size))
    for i in range(new_size):
        centre = (i + 0.5) * scale
        first = max(int(centre - support + 0.5), 0)
        last = min(int(centre + support + 0.5), size)
        taps = np.maximum(0.0, 1.0 - np.abs((np.arange(first, last) - centre + 0.5) * (1.0 / support)))
        weights[i, first:last] = taps / taps.sum()
    return weights


@functools.cache
def _bilinear_halves(size: int, new_size: int, start: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Pillow's integer weights of rows start … start + length, as high · 2^11 + low, each exact in float32."""
    fixed = (0.5 + bilinear_weights(size, new_size)[start : start + length] * 2**_BITS).astype(np.int64)
    return (fixed >> _HALF).astype(np.float32), (fixed & (2**_HALF - 1)).astype(np.float32)


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


def _rounded(images: Float[Array, "B H W C"], size: tuple[int, int, int], axis: int) -> Float[Array, "B h w C"]:
    """One pass of Pillow's 8-bit resize: (Σ k·x + 2^21) >> 22, with integers throughout."""
    start, length, new_size = size
    if new_size == images.shape[axis]:
        return jax.lax.slice_in_dim(images, start, start + length, axis=axis)
    high, low = (_along(images, half, axis) for half in _bilinear_halves(images.shape[axis], new_size, start, length))
    total = (high.astype(jnp.int32) << _HALF) + low.astype(jnp.int32) + (1 << (_BITS - 1))
    return jnp.clip(total >> _BITS, 0, 255).astype(jnp.float32)


def resize_bytes(
    images: UInt8[Array, "B H W C"], height: int, width: int, crop: int | None = None
) -> UInt8[Array, "B h w C"]:
    """Pillow's antialiased bilinear resize of bytes, bit for bit; with `crop`, the centre of the result only.

    Width first, then height, each rounded to bytes; an axis of the right size is not resampled. (Pillow ≥ 13 takes the
    height first where an image more than twice as high as wide is reduced: a few bytes differ by one there.)

    Args:
      height, width: new size in pixels.
      crop: side of the central square to keep; what lies outside is not computed.
    Numerics: the 22-bit weights are split in two halves whose float32 products with bytes are exact, so that the
      result is the same on every device.
    Reference: Pillow, Image.resize with BILINEAR on 8-bit images.
    """
    top, left, rows, columns = _window(height, width, crop)
    values = _rounded(images.astype(jnp.float32), (left, columns, width), axis=2)
    return _rounded(values, (top, rows, height), axis=1).astype(jnp.uint8)


def resize(
    images: Float[Array, "B H W C"], height: int, width: int, crop: int | None = None
) -> Float[Array, "B h w C"]:
    """`resize_bytes` without rounding, on any values: differentiable."""
    top, left, rows, columns = _window(height, width, crop)
    for axis, start, length, size in ((2, left, columns, width), (1, top, rows, height)):
        if size == images.shape[axis]:
            images = jax.lax.slice_in_dim(images, start, start + length, axis=axis)
        else:
            images = _along(images, bilinear_weights(images.shape[axis], size)[start : start + length], axis)
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
