"""Simple metrics of whole images, and of their change against a reference image."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from linkjax.errors import InputError
from linkjax.ops import color
from linkjax.ops.chunked import map_images
from linkjax.ops.histogram import histogram


class ImageMetric(NamedTuple):
    """Unit and meaning of a column of `measure_images`."""

    unit: str
    description: str


#: Columns of `measure_images`, in order.
IMAGE_METRICS = {
    "luminance": ImageMetric("byte", "mean Rec. 709 luma, 0…255"),
    "lightness": ImageMetric("L*", "mean CIE lightness, 0…100"),
    "red_green": ImageMetric("a*", "mean CIE a*: green negative, red positive"),
    "yellow_blue": ImageMetric("b*", "mean CIE b*: blue negative, yellow positive"),
    "chroma": ImageMetric("C*ab", "mean CIE chroma √(a*² + b*²), 0 for greys"),
    "saturation": ImageMetric("1", "mean HSV saturation (max − min) / max of R, G, B; 0 for black"),
    "contrast": ImageMetric("byte", "standard deviation of the luma over pixels"),
    "sharpness": ImageMetric("byte", "mean absolute luma step between horizontal and vertical neighbours"),
    "entropy": ImageMetric("bit", "Shannon entropy of the 256-bin luma histogram, 0…8"),
    "change": ImageMetric("byte", "mean absolute difference to the reference over pixels and channels"),
    "change_lab": ImageMetric("ΔE*ab", "mean CIE 1976 colour difference to the reference over pixels"),
}


@functools.partial(jax.jit, static_argnames="at_once")
def measure_images(
    images: Float[Array, "B H W 3"], references: Float[Array, "B H W 3"] | None = None, at_once: int | None = None
) -> Float[Array, "B metrics"]:
    """The metrics of `IMAGE_METRICS` for each image of a batch.

    Args:
      images: encoded sRGB in [0, 1]; values outside are clipped.
      references: what `change` and `change_lab` compare with, pixel by pixel; None makes these two NaN.
      at_once: images in memory together, static (see `chunked.map_images`).
    Returns: [B, len(IMAGE_METRICS)], columns in the order of `IMAGE_METRICS`.
    Errors: InputError for byte images or wrong shapes.
    """
    for name, array in (("images", images), ("references", references)):
        if array is not None and (array.shape != images.shape or array.ndim != 4 or array.shape[-1] != 3):
            raise InputError(f"expected {name} [B, H, W, 3] like the images, found {array.shape} and {images.shape}")
        if array is not None and not jnp.issubdtype(array.dtype, jnp.floating):
            raise InputError(f"expected {name} as floats in [0, 1], found {array.dtype}; divide bytes by 255")
    if references is None:
        return uncompared(map_images(lambda image: measure_image(image, image), images, at_once))
    return map_images(lambda pair: measure_image(*pair), (images, references), at_once)


def measure_image(
    image: Float[Array, "H W 3"], reference: Float[Array, "H W 3"], counts: Int[Array, "256"] | None = None
) -> Float[Array, "metrics"]:
    """The metrics of `IMAGE_METRICS` of one image; see `measure_images`.

    Args:
      counts: histogram of its `color.luma709_bin`, where that is known.
    """
    image, reference = jnp.clip(image, 0.0, 1.0), jnp.clip(reference, 0.0, 1.0)
    luma = 255.0 * color.luma709(image)
    response, reference_response = _response(image), _response(reference)
    red, green, blue = (image[..., i] for i in range(3))
    brightest = jnp.maximum(jnp.maximum(red, green), blue)
    range_of_rgb = brightest - jnp.minimum(jnp.minimum(red, green), blue)
    black = brightest == 0
    mean_luma = _mean(luma)
    # summed, not averaged, over each direction: both directions' steps weigh the same
    down, right = jnp.abs(luma[1:] - luma[:-1]), jnp.abs(luma[:, 1:] - luma[:, :-1])
    steps = max(down.size + right.size, 1)
    counts = histogram(color.luma709_bin(image), 256) if counts is None else counts
    lab = color.lab_from_response(response)
    mean_lab = _mean(lab)
    # L*a*b* is linear in the response: its difference needs no second L*a*b*
    square = color.squared_difference(response - reference_response)
    same = square == 0  # the root has a finite gradient where nothing changed
    values = {
        "luminance": mean_luma,
        "lightness": mean_lab[0],
        "red_green": mean_lab[1],
        "yellow_blue": mean_lab[2],
        "chroma": _mean(color.chroma(lab)),
        "saturation": _mean(jnp.where(black, 0.0, range_of_rgb / jnp.where(black, 1.0, brightest))),
        "contrast": jnp.sqrt(_mean((luma - mean_luma) ** 2)),
        "sharpness": (jnp.sum(jnp.sum(down, axis=1)) + jnp.sum(jnp.sum(right, axis=1))) / steps,
        "entropy": color.histogram_entropy(counts.astype(image.dtype)),
        "change": 255.0 * _mean(jnp.mean(jnp.abs(image - reference), axis=-1)),
        "change_lab": _mean(jnp.where(same, 0.0, jnp.sqrt(jnp.where(same, 1.0, square)))),
    }
    return jnp.stack([values[name] for name in IMAGE_METRICS])


def uncompared(measured: Float[Array, "B metrics"]) -> Float[Array, "B metrics"]:
    """The metrics with NaN in those that compare with a reference."""
    compared = [name.startswith("change") for name in IMAGE_METRICS]
    return jnp.where(jnp.asarray(compared)[None, :], jnp.nan, measured)


def _response(image: Float[Array, "H W 3"]) -> Float[Array, "H W 3"]:
    return color.lab_response(color.xyz_from_linear(color.linear_from_srgb(image)))


def _mean(values: Float[Array, "H W *c"]) -> Float[Array, "*c"]:
    """Mean as a mean of row means, whose rounding grows with H + W rather than H · W."""
    rows = jax.lax.optimization_barrier(jnp.mean(values, axis=1))
    return jnp.mean(rows, axis=0)
