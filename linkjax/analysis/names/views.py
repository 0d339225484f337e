"""Crops of single parts for an embedder: a part's box enlarged, all other pixels grey."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, UInt8

GREY = 128  # of the bytes around a part
_MARGIN = 0.125  # of the box's side, on every side
_LEAST = 8.0  # pixels, of a box's side


class Box(NamedTuple):
    """A square in a picture, in pixels, by item."""

    top: Float[Array, "N"]
    left: Float[Array, "N"]
    side: Float[Array, "N"]


def part_box(shown: Bool[Array, "N H W"]) -> Box:
    """Bounding square of a mask with a margin; all of the picture where the mask is empty."""
    height, width = shown.shape[1:]
    top, bottom = _ends(shown.any(axis=2))
    left, right = _ends(shown.any(axis=1))
    side = jnp.maximum(jnp.maximum(bottom - top, right - left) * (1.0 + 2.0 * _MARGIN), _LEAST)
    some = shown.any(axis=(1, 2))
    side = jnp.where(some, side, float(max(height, width)))
    middle_y = jnp.where(some, (top + bottom) / 2.0, height / 2.0)
    middle_x = jnp.where(some, (left + right) / 2.0, width / 2.0)
    return Box(middle_y - side / 2.0, middle_x - side / 2.0, side)


def cut_out(
    pixels: UInt8[Array, "N H W 3"], labels: Int[Array, "N H W"], part: int, box: Box
) -> UInt8[Array, "N H W 3"]:
    """One part of each picture, its box enlarged to the picture's size, all other pixels grey.

    Args:
      pixels: bytes.
      labels: the part of each pixel.
      part: which to show.
      box: of `part_box`; the same for two pictures that are compared, so that what grows is seen to.
    Numerics: bilinear; grey beyond the picture.
    """
    height, width = pixels.shape[1:3]
    alone = jnp.where((labels == part)[..., None], pixels, jnp.uint8(GREY)).astype(jnp.float32) - GREY

    def one(image: Array, top: Array, left: Array, side: Array) -> Array:
        scale = jnp.stack([height / side, width / side])
        move = -jnp.stack([top, left]) * scale
        return jax.image.scale_and_translate(image, image.shape, (0, 1), scale, move, method="linear", antialias=True)

    found = jax.vmap(one)(alone, *box) + GREY
    return jnp.clip(jnp.round(found), 0.0, 255.0).astype(jnp.uint8)


def _ends(some: Bool[Array, "N n"]) -> tuple[Array, Array]:
    """Where the first true begins and the last ends, as numbers."""
    count = some.shape[1]
    first = jnp.argmax(some, axis=1)
    last = count - jnp.argmax(some[:, ::-1], axis=1)
    return first.astype(jnp.float32), last.astype(jnp.float32)
