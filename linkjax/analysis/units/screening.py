"""First-order effect of every unit on every part, from derivatives of a few images.

A linear link moves w by kernel[u] for each unit that unit u rises, so the derivative of a metric with respect to w,
times the kernel, is that metric's derivative for *all* units. Labels and pixel counts have no derivatives; here a pixel
belongs to a part by the trimmed softmax of its scores (`memberships`), and a part's area is the sum of what belongs to
it. All metrics follow from eleven such sums a part (`soft_sums`), which are what is differentiated: by 11 · parts
products with the transposed Jacobian, or by one product with the Jacobian for each direction the kernel can move w in,
whichever is fewer.

The histogram entropy of `Regions` is not among the metrics: a histogram has no derivative worth having.
"""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from linkjax import numerics
from linkjax.analysis.metrics.parts import draw_with_parts
from linkjax.errors import InputError
from linkjax.ops import color

Mode = Literal["reverse", "forward"]

#: Metrics, as in `analysis.metrics.regions.Regions` and in its units, with a soft membership in place of labels.
#: Of the moment ellipse only what is smooth: where a part is nearly round, the derivatives of its axes, eccentricity
#: and orientation have no bound, and a list of strongest effects would be a list of round parts.
METRICS = (
    "area", "area_share", "luminance", "luminance_linear", "lightness", "red_green", "yellow_blue", "centroid_y",
    "centroid_x", "height", "width", "slant",
)  # fmt: skip
#: Sums from which they follow: of 1, y, x, y², x², yx, luma, luminance, f(X), f(Y), f(Z) over what belongs to a part.
SUMS = 11
#: Directions of the kernel weaker than this share of the strongest are rounding.
RANK_TOLERANCE = 1e-6
#: Softer than a head's own probabilities, so that a part's border is several pixels wide and its derivative averages
#: over them. Chosen on the demo world (docs/benchmarks.md).
TEMPERATURE = 2.0
#: A pixel below this probability belongs to a part not at all, above one less this wholly.
TRIM = 0.05


class Derivatives(NamedTuple):
    """Soft metrics of some images and their derivatives along some directions in W."""

    metrics: jax.Array  # [B, P, M]; NaN where no pixel has the part's label, but for the areas
    slopes: jax.Array  # [B, P, M, D], likewise
    finite: jax.Array  # [B] bool: the image and all its derivatives are; else all of both is NaN


class Products(NamedTuple):
    """How the derivatives are taken: along `directions` [D, w_dim], of which units are `coefficients` [units, D]."""

    mode: Mode
    count: int  # products an anchor, each about two or three syntheses' work
    directions: np.ndarray  # reverse: the identity
    coefficients: np.ndarray  # coefficients · directions = kernel


def choose_products(
    kernel: Float[np.ndarray, "units w_dim"], num_parts: int, mode: Mode | Literal["fewest"] = "fewest"
) -> Products:
    """The cheaper derivative of all units: 11 · num_parts products, or one for each direction of the kernel.

    Args:
      kernel: of the link, or the rows of the units wanted.
      mode: choose by counting, or take this one.
    """
    kernel = np.asarray(kernel, np.float64)
    left, strength, right = np.linalg.svd(kernel, full_matrices=False)
    rank = max(1, int(np.sum(strength > RANK_TOLERANCE * strength[0])))
    reverse = SUMS * num_parts
    if mode == "fewest":
        mode = "forward" if rank < reverse else "reverse"
    if mode == "reverse":
        return Products(mode, reverse, np.eye(kernel.shape[1], dtype=np.float32), kernel.astype(np.float32))
    coefficients = (left * strength)[:, :rank]
    return Products(mode, rank, right[:rank].astype(np.float32), coefficients.astype(np.float32))


def memberships(scores: Float[Array, "*B P"], temperature: float = TEMPERATURE) -> Float[Array, "*B P"]:
    """How far a pixel belongs to each part: m = t² (3 − 2 t) with t = clip((p − c) / (1 − 2 c), 0, 1), c = `TRIM`.

    p = softmax(scores / temperature). Without the trim, the small probabilities of thousands of far pixels would
    outweigh a small part, in its area as in its moments: an eye's axes would be those of the image.

    Args:
      scores: before the softmax; a head trained by logistic regression is calibrated at temperature 1.
      temperature: lower is nearer to labels, and concentrates the derivatives on the parts' borders.
    """
    if not temperature > 0:
        raise InputError(f"temperature: expected a number above 0, found {temperature}")
    share = jnp.clip((jax.nn.softmax(scores / temperature, axis=-1) - TRIM) / (1.0 - 2.0 * TRIM), 0.0, 1.0)
    return share * share * (3.0 - 2.0 * share)


def soft_sums(
    images: Float[Array, "B H W 3"], scores: Float[Array, "B H W P"], temperature: float = TEMPERATURE
) -> Float[Array, "B P S"]:
    """Σ_pixels m_p · φ_s with m of `memberships` and the φ of `SUMS`.

    Args:
      images: about [-1, 1]; what is outside is clipped, and has no derivative.
      scores, temperature: of `memberships`.
    Numerics: y and x are pixels from the image's middle, so that squares do not cancel.
    """
    height, width = images.shape[1:3]
    member = memberships(scores, temperature)
    encoded = jnp.clip((images + 1.0) / 2.0, 0.0, 1.0)
    linear = color.linear_from_srgb(encoded)
    response = color.lab_response(color.xyz_from_linear(linear))
    y, x = np.meshgrid(np.arange(height) - (height - 1) / 2, np.arange(width) - (width - 1) / 2, indexing="ij")
    place = jnp.asarray(np.stack([np.ones_like(y), y, x, y * y, x * x, y * x], axis=-1), images.dtype)
    place = jnp.broadcast_to(place[None], (*images.shape[:3], 6))
    tone = jnp.stack([color.luma709(encoded), color.luma709(linear)], axis=-1)
    features = jnp.concatenate([place, tone, response], axis=-1)
    return jnp.einsum("bhwp,bhws->bps", member, features, precision=numerics.PRECISION)


def soft_metrics(sums: Float[Array, "S"], height: int, width: int) -> Float[Array, "M"]:
    """The `METRICS` of one part from its sums; formulas as `measure_regions`, memberships in place of counts.

    Numerics: finite, with finite derivatives, for every part that has some area; one without height or width gets
      derivative 0 for it.
    """
    area = sums[0]
    safe = jnp.where(area > 0, area, 1.0)
    y, x, yy, xx, yx, luma, luminance = (sums[i] / safe for i in range(1, 8))
    yy, xx, yx = yy - y * y, xx - x * x, yx - y * x
    yy, xx = jnp.maximum(yy, 0.0), jnp.maximum(xx, 0.0)
    height_width = [4.0 * jnp.where(value > 0, jnp.sqrt(jnp.where(value > 0, value, 1.0)), 0.0) for value in (yy, xx)]
    point = yy + xx <= 0
    slant = jnp.where(point, 0.0, 2.0 * yx / jnp.where(point, 1.0, yy + xx))
    lab = color.lab_from_response(sums[8:11] / safe)
    centre = jnp.stack([y + (height - 1) / 2, x + (width - 1) / 2])
    first = jnp.stack([area, area / (height * width), 255.0 * luma, luminance])
    return jnp.concatenate([first, lab, centre, jnp.stack([*height_width, slant])])


def derivatives(
    generator: Any,
    segmenter: Any,
    w: Float[Array, "B w_dim"],
    directions: Float[Array, "D w_dim"],
    mode: Mode,
    temperature: float = TEMPERATURE,
    at_once: int = 1,
) -> Derivatives:
    """Soft metrics of the images of w, and their derivatives along directions in W.

    Args:
      generator, segmenter: pytrees.
      directions: not read in reverse mode, which gives the derivatives for every entry of w (D = w_dim).
      mode: which products to take; static.
      at_once: products computed side by side; more memory, same result; static.
    Numerics: memory is that of a synthesis with all its intermediate maps kept, for B images, and `at_once` passes.
    """
    (sums, counts), jacobian = _sums_jacobian(generator, segmenter, w, directions, mode, temperature, at_once)
    return _chain(sums, counts, jacobian, generator.spec.resolution)


def unit_effects(slopes: Float[Array, "B P M D"], coefficients: Float[Array, "units D"]) -> Float[Array, "B units P M"]:
    """Derivatives of every metric for every unit: one product with the kernel, or with its coefficients."""
    return jnp.einsum("bpmd,ud->bupm", slopes, coefficients, precision=numerics.PRECISION)


def path_effects(
    generator: Any,
    segmenter: Any,
    w: Float[Array, "N w_dim"],
    direction: Float[Array, "N w_dim"],
    low: Float[Array, "N"],
    high: Float[Array, "N"],
    points: int,
    temperature: float = TEMPERATURE,
) -> Float[Array, "N P M"]:
    """Mean derivative along the straight path w + t · direction, t from low to high: for effects that are not linear.

    ∫ d metric / dt dt / (high − low), by Gauss and Legendre's rule with so many points, which is the difference of the
    soft metrics at the ends over high − low if the path is smooth. Costs `points` products an item.

    Args:
      direction: kernel[unit] of each item.
      low, high: change of the unit at the ends, relative to the anchor's own value.
      points: 3 to 5 are enough where 1 (the middle) nearly is; static.
    """
    nodes, weights = np.polynomial.legendre.leggauss(points)

    def at(place: tuple[Array, Array]) -> Array:
        node, weight = place
        moved = w + (low + (high - low) * (node + 1.0) / 2.0)[:, None] * direction
        sums, slope, counts = _pushed(generator, segmenter, moved, direction, temperature)
        found = _chain(sums, counts, slope[..., None], generator.spec.resolution)
        return weight / 2.0 * found.slopes[..., 0]

    terms = jax.lax.map(at, (jnp.asarray(nodes, w.dtype), jnp.asarray(weights, w.dtype)))
    return jnp.sum(terms, axis=0)


def _sums(generator: Any, segmenter: Any, w: Array, temperature: float) -> tuple[Array, Int[Array, "B P"]]:
    """Soft sums, and how many pixels have each part's label."""
    images, scores = draw_with_parts(generator, segmenter, w)
    labels = jnp.argmax(scores, axis=-1)
    parts = jnp.arange(scores.shape[-1], dtype=labels.dtype)
    counts = jnp.sum(labels[..., None] == parts[None, None, None], axis=(1, 2), dtype=jnp.int32)
    return soft_sums(images, scores, temperature), counts


def _sums_jacobian(
    generator: Any, segmenter: Any, w: Array, directions: Array, mode: Mode, temperature: float, at_once: int
) -> tuple[tuple[Array, Array], Float[Array, "B P S D"]]:
    function = functools.partial(_sums, generator, segmenter, temperature=temperature)
    if mode == "forward":
        sums, push, counts = jax.linearize(function, w, has_aux=True)
        columns = jax.lax.map(
            lambda direction: push(jnp.broadcast_to(direction[None], w.shape)), directions, batch_size=at_once
        )
        return (sums, counts), jnp.moveaxis(columns, 0, -1)
    sums, pull, counts = jax.vjp(function, w, has_aux=True)
    parts, count = sums.shape[1:]
    which = jnp.eye(parts * count, dtype=sums.dtype).reshape(parts * count, parts, count)
    rows = jax.lax.map(lambda one: pull(jnp.broadcast_to(one[None], sums.shape))[0], which, batch_size=at_once)
    return (sums, counts), jnp.moveaxis(rows, 0, 1).reshape(w.shape[0], parts, count, -1)


def _pushed(
    generator: Any, segmenter: Any, w: Array, direction: Array, temperature: float
) -> tuple[Array, Array, Array]:
    """Soft sums, their derivative along one direction for each item, and pixel counts."""
    function = functools.partial(_sums, generator, segmenter, temperature=temperature)
    return jax.jvp(function, (w,), (direction,), has_aux=True)


def _chain(sums: Array, counts: Array, jacobian: Array, resolution: int) -> Derivatives:
    """From sums to metrics, values and derivatives; NaN where a part is absent, but for its areas."""
    metrics_of = functools.partial(soft_metrics, height=resolution, width=resolution)
    values = jax.vmap(jax.vmap(metrics_of))(sums)
    inner = jax.vmap(jax.vmap(jax.jacfwd(metrics_of)))(sums)
    slopes = jnp.einsum("bpms,bpsd->bpmd", inner, jacobian, precision=numerics.PRECISION)
    always = jnp.asarray([name.startswith("area") for name in METRICS])
    finite = jnp.all(jnp.isfinite(sums), axis=(1, 2)) & jnp.all(jnp.isfinite(jacobian), axis=(1, 2, 3))
    there = (always[None, None] | (counts > 0)[..., None]) & finite[:, None, None]
    return Derivatives(jnp.where(there, values, jnp.nan), jnp.where(there[..., None], slopes, jnp.nan), finite)
