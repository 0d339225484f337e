"""Metrics of labelled parts of an image: colour, entropy, moment ellipse."""

import functools
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Integer

from linkjax import numerics
from linkjax.errors import InputError
from linkjax.ops import color
from linkjax.ops.chunked import map_images
from linkjax.ops.histogram import histogram
from linkjax.ops.local_entropy import disk_entropy

Luminance = Literal["rec709", "original"]
Entropy = Literal["part", "disk"]


class Regions(NamedTuple):
    """One value per part, [..., num_parts]; all but `area` and `area_share` are NaN where the part is absent.

    A part is all pixels of one label, in one piece or several. Positions and lengths are in pixels, y downwards and x
    to the right, the first pixel's centre at 0.
    """

    area: jax.Array  # pixels
    area_share: jax.Array  # of the whole image, 0…1
    luminance: jax.Array  # mean Rec. 709 luma on the byte scale, 0…255 ("original": 0…85)
    luminance_linear: jax.Array  # mean relative luminance (of light, not of encoded values), 0…1
    lightness: jax.Array  # mean CIE L*, 0…100
    red_green: jax.Array  # mean CIE a*, green negative
    yellow_blue: jax.Array  # mean CIE b*, blue negative
    entropy: jax.Array  # bits, of the 256-bin histogram of the luma, 0…8 ("disk": mean local entropy, 0…6.3)
    centroid_y: jax.Array
    centroid_x: jax.Array
    eccentricity: jax.Array  # of the moment ellipse, 0 circle … 1 line
    orientation: jax.Array  # radians from the y axis to the major axis, towards +x; in [−π/2, π/2], modulo π
    axis_major: jax.Array  # full length of the ellipse with the part's second moments
    axis_minor: jax.Array
    height: jax.Array  # full height of the ellipse, along y
    width: jax.Array  # full width, along x
    slant: jax.Array  # −1…1: sin 2θ of the major axis times how elongated the part is; 0 round, upright or level


@functools.partial(jax.jit, static_argnames=("num_parts", "luminance", "entropy"))
def measure_regions(
    image: Float[Array, "H W 3"],
    labels: Integer[Array, "H W"],
    num_parts: int,
    *,
    luminance: Luminance = "rec709",
    entropy: Entropy = "part",
    counts: Int[Array, "parts_and_none 256"] | None = None,
) -> Regions:
    """Area, colour, entropy and moment ellipse of each part of one image; `jax.vmap` it for a batch.

    With n pixels and central moments μ_pq = Σ (y − ȳ)^p (x − x̄)^q / n, λ₁ ≥ λ₂ the eigenvalues of [[μ20, μ11],
    [μ11, μ02]]: axes 4 √λ, eccentricity √(1 − λ₂ / λ₁), orientation ½ atan2(2 μ11, μ20 − μ02). A single pixel has
    axes 0 and eccentricity 0, a one-pixel-wide line minor axis 0 and eccentricity 1. Where λ₁ = λ₂ there is no
    direction and orientation is −π/4; weigh orientations by eccentricity, and treat them modulo π. The same ellipse
    without that corner: height 4 √μ20, width 4 √μ02 and slant 2 μ11 / (μ20 + μ02), smooth for a round part too; a
    single pixel has slant 0.

    Args:
      image: encoded sRGB in [0, 1]; values outside are clipped.
      labels: part of each pixel; pixels with labels outside 0…num_parts − 1 belong to no part.
      num_parts: number of parts, background included (it is measured too); static.
      luminance: "original": the original program's, mean of (0.299 R + 0.587 G + 0.114 B) / 3 in bytes; static.
      entropy: "disk": the original program's, mean over the part of the Rec. 601 grey's entropy in a disk of radius 5
        around each pixel, other parts' pixels included (`disk_entropy`); static.
      counts: what `luma_histograms` gives, where that is known.
    Returns: `Regions` with arrays of [num_parts].
    Errors: InputError for byte images, wrong shapes, num_parts below 1, or a definition that is not known.
    Numerics: row by row, counts, sums and squares of x are whole numbers, exact in float32 up to 512 pixels width;
      everything after is centred first, and λ₂ = det / λ₁ with det = Σ(y − ȳ)² · (Σ of squares of x around its
      regression on y), which does not cancel for thin oblique parts. Histogram bins are exact (`color.luma709_bin`).
      Memory: about 4 · H · W · (num_parts + 24) bytes per image; see `measure_region_batch`.
    Deviations from the original: ellipse from moments rather than fitted to contours (no contour is dropped), luma
      weights of Rec. 709 without the division by 3, entropy of the part's histogram rather than a local entropy that
      leaks across borders; absent parts are NaN rather than 0.
    Reference: Teague, "Image analysis via the general theory of moments", 1980; scikit-image's `regionprops`.
    """
    image, labels = jnp.asarray(image), jnp.asarray(labels)
    if image.ndim != 3 or image.shape[-1] != 3 or labels.shape != image.shape[:2]:
        raise InputError(
            f"expected an image [H, W, 3] and labels [H, W], found {image.shape} and {labels.shape}; "
            "use jax.vmap or measure_region_batch for a batch"
        )
    if not jnp.issubdtype(image.dtype, jnp.floating):
        raise InputError(f"expected a float image in [0, 1], found {image.dtype}; divide a byte image by 255")
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise InputError(f"expected whole-number labels, found {labels.dtype}; take the argmax of segmenter scores")
    if num_parts < 1:
        raise InputError(f"expected at least one part, found num_parts = {num_parts}")
    for name, given, known in (("luminance", luminance, Luminance), ("entropy", entropy, Entropy)):
        if given not in get_args(known):
            raise InputError(f"{name}: expected {' or '.join(map(repr, get_args(known)))}, found {given!r}")
    dtype = image.dtype if image.dtype == jnp.float64 else jnp.float32
    image = jnp.clip(image.astype(dtype), 0.0, 1.0)
    labels = labels.astype(jnp.int32)
    parts = jnp.arange(num_parts, dtype=jnp.int32)
    member = (labels[:, None, :] == parts[None, :, None]).astype(dtype)  # [H, P, W]
    linear = color.linear_from_srgb(image)
    response = color.lab_response(color.xyz_from_linear(linear))
    x = np.arange(labels.shape[1]) - labels.shape[1] // 2
    powers = jnp.broadcast_to(jnp.asarray(np.stack([x**0, x, x * x], axis=-1), dtype)[None], (*labels.shape, 3))
    values = jnp.concatenate([powers, image, linear, response], axis=-1)
    rows = jnp.matmul(member, values, precision=numerics.PRECISION)  # [H, P, 12]: sums of each part in each row
    area, *geometry = _geometry(jnp.moveaxis(rows[..., :3], 0, 1), labels.shape[1])

    def mean(sums: Float[Array, "H P C"]) -> Float[Array, "P C"]:
        total = jnp.sum(sums, axis=0)
        return numerics.safe_ratio(total, jnp.broadcast_to(area[:, None], total.shape))

    if entropy == "disk":
        around = disk_entropy(color.luma601_byte(image)).astype(dtype)
        bits = mean(jnp.matmul(member, around[:, :, None], precision=numerics.PRECISION))[:, 0]
    else:
        counts = luma_histograms(image, labels, num_parts) if counts is None else counts
        bits = color.histogram_entropy(counts[:-1].astype(dtype))
    appearance = _appearance(mean(rows[..., 3:]), bits, luminance)
    return Regions(area, area / (labels.shape[0] * labels.shape[1]), *appearance, *geometry)


def _appearance(means: Float[Array, "P 9"], bits: Float[Array, "P"], luminance: Luminance) -> tuple[Array, ...]:
    """luminance, luminance_linear, lightness, red_green, yellow_blue, entropy, each [P].

    Luma is linear in RGB, luminance in linear RGB, L*a*b* in f(XYZ): the means of these three times three give them
    all, and one product with the parts gives the means.
    """
    encoded, linear, response = means[:, :3], means[:, 3:6], means[:, 6:]
    luma = color.luma709(encoded) if luminance == "rec709" else color.luma601(encoded) / 3.0
    lab = color.lab_from_response(response)
    # a pixel that is not a number has no bin
    bits = jnp.where(jnp.isfinite(luma), bits, jnp.nan)
    return 255.0 * luma, color.luma709(linear), lab[:, 0], lab[:, 1], lab[:, 2], bits


def luma_histograms(
    image: Float[Array, "H W 3"], labels: Integer[Array, "H W"], num_parts: int
) -> Int[Array, "parts_and_none 256"]:
    """Histogram of `color.luma709_bin` of every part, [num_parts + 1, 256], the last of pixels that are in none."""
    inside = (labels >= 0) & (labels < num_parts)
    row = jnp.where(inside, labels.astype(jnp.int32), num_parts)
    return histogram(256 * row + color.luma709_bin(image), 256 * (num_parts + 1)).reshape(num_parts + 1, 256)


def _geometry(rows: Float[Array, "P H 3"], width: int) -> tuple[Array, ...]:
    """The fields of `Regions` that are no appearance, but for the share, in their order, each [P]."""
    height, dtype = rows.shape[1], rows.dtype
    count, first, second = (rows[..., k] for k in range(3))  # [P, H] pixels of the part in this row, Σ x, Σ x²
    y = jnp.broadcast_to(jnp.asarray(np.arange(height) - height // 2, dtype)[None, :], count.shape)

    area = jnp.sum(count, axis=-1)
    mean_y = numerics.safe_ratio(jnp.sum(count * y, axis=-1), area)
    mean_x = numerics.safe_ratio(jnp.sum(first, axis=-1), area)

    # Within a row, squares are taken about the whole number nearest its mean, in whole numbers: nothing cancels.
    row_mean = first / jnp.maximum(count, 1.0)
    near = jnp.round(row_mean).astype(jnp.int32)
    n, s, q = (values.astype(jnp.int32) for values in (count, first, second))
    about_near = (q - 2 * near * s + n * near * near).astype(dtype)
    offset = (s - n * near).astype(dtype)
    within = jnp.sum(about_near - offset * offset / jnp.maximum(count, 1.0), axis=-1)

    absent = area == 0
    dy = y - jnp.where(absent, 0.0, mean_y)[:, None]
    dx = row_mean - jnp.where(absent, 0.0, mean_x)[:, None]
    yy = jnp.sum(count * dy * dy, axis=-1)
    xy = jnp.sum(count * dy * dx, axis=-1)
    xx = within + jnp.sum(count * dx * dx, axis=-1)
    slope = jnp.where(yy == 0, 0.0, xy / jnp.where(yy == 0, 1.0, yy))
    residual = within + jnp.sum(count * (dx - slope[:, None] * dy) ** 2, axis=-1)

    spread = jnp.sqrt((yy - xx) ** 2 + 4.0 * xy * xy)  # λ₁ − λ₂, times the area
    large = 0.5 * (yy + xx + spread)
    point = large == 0
    small = yy * residual / jnp.where(point, 1.0, large)
    eccentricity = jnp.sqrt(jnp.minimum(spread / jnp.where(point, 1.0, large), 1.0))
    orientation = jnp.where(spread == 0, -np.pi / 4, 0.5 * jnp.arctan2(2.0 * xy, yy - xx))
    axes = [4.0 * jnp.sqrt(numerics.safe_ratio(value, area)) for value in (large, small, yy, xx)]
    slant = 2.0 * xy / jnp.where(point, 1.0, yy + xx)
    eccentricity, orientation, slant = (jnp.where(absent, jnp.nan, each) for each in (eccentricity, orientation, slant))
    return area, mean_y + height // 2, mean_x + width // 2, eccentricity, orientation, *axes, slant


@functools.partial(jax.jit, static_argnames=("num_parts", "at_once", "luminance", "entropy"))
def measure_region_batch(
    images: Float[Array, "B H W 3"],
    labels: Integer[Array, "B H W"],
    num_parts: int,
    at_once: int | None = None,
    *,
    luminance: Luminance = "rec709",
    entropy: Entropy = "part",
) -> Regions:
    """`measure_regions` over a batch, `at_once` images at a time.

    Args:
      images, labels: as for `measure_regions`, with a batch axis.
      num_parts: number of parts, static.
      at_once: images held as one-hot parts together, static; None leaves it to `chunked.map_images`.
      luminance, entropy: definitions, as for `measure_regions`.
    Returns: `Regions` with arrays of [B, num_parts].
    """
    if images.ndim != 4 or labels.ndim != 3:
        raise InputError(f"expected images [B, H, W, 3] and labels [B, H, W], found {images.shape} and {labels.shape}")

    def measure(pair: tuple[Array, Array]) -> Regions:
        return measure_regions(*pair, num_parts, luminance=luminance, entropy=entropy)

    return map_images(measure, (images, labels), at_once)
