"""The table of metrics that a sweep measures: of the whole image, and of every part of it."""

from collections.abc import Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from linkjax.analysis.finite import finite_mean, finite_std
from linkjax.analysis.metrics.image_metrics import IMAGE_METRICS, ImageMetric, measure_image, measure_images, uncompared
from linkjax.analysis.metrics.regions import luma_histograms, measure_region_batch, measure_regions
from linkjax.errors import InputError
from linkjax.ops.chunked import map_images

#: Part name of the whole image: the first row of every measurement.
WHOLE = "image"
#: Metrics that only parts have; the others of `Regions` are in `IMAGE_METRICS` too.
PART_METRICS = {
    "area": ImageMetric("pixel", "pixels of the part"),
    "area_share": ImageMetric("1", "share of the image, 0…1"),
    "luminance_linear": ImageMetric("1", "mean relative luminance of light, 0…1"),
    "centroid_y": ImageMetric("pixel", "mean row, downwards"),
    "centroid_x": ImageMetric("pixel", "mean column, to the right"),
    "eccentricity": ImageMetric("1", "of the moment ellipse: 0 circle … 1 line"),
    "orientation": ImageMetric("radian", "major axis from the y axis towards +x, modulo π"),
    "axis_major": ImageMetric("pixel", "full length of the moment ellipse"),
    "axis_minor": ImageMetric("pixel", "full width of the moment ellipse"),
    "height": ImageMetric("pixel", "of the moment ellipse, along y"),
    "width": ImageMetric("pixel", "of the moment ellipse, along x"),
    "slant": ImageMetric("1", "of the moment ellipse: 1 falling to the right, −1 rising, 0 upright, level or round"),
}
#: Columns of `measure` with parts, in order.
METRICS = IMAGE_METRICS | PART_METRICS
#: Metrics that are angles, and the period in which they repeat.
PERIODS = {"orientation": np.pi}


Definitions = Literal["standard", "original"]
#: What the original program means by these two, where `Definitions` say so.
ORIGINAL_METRICS = {
    "luminance": ImageMetric("byte", "mean of (0.299 R + 0.587 G + 0.114 B) / 3, 0…85"),
    "entropy": ImageMetric("bit", "mean entropy of the grey values within 5 pixels, 0…6.3"),
}


def metrics_of(num_parts: int, definitions: Definitions = "standard") -> dict[str, ImageMetric]:
    """The metrics measured: those of images, and of parts where there are any."""
    metrics = METRICS if num_parts else IMAGE_METRICS
    return metrics if definitions == "standard" else metrics | ORIGINAL_METRICS


def measure(
    images: Float[Array, "B H W 3"],
    references: Float[Array, "B H W 3"] | None = None,
    labels: Integer[Array, "B H W"] | None = None,
    num_parts: int = 0,
    definitions: Definitions = "standard",
) -> Float[Array, "B parts metrics"]:
    """All metrics of whole images and of their parts.

    Args:
      images: encoded sRGB in [0, 1].
      references: what `change` compares with; None makes it NaN.
      labels: part of each pixel; None measures whole images only.
      num_parts: how many parts, static; 0 exactly where labels are None.
      definitions: "original": luminance and entropy as the original program has them (`ORIGINAL_METRICS`); static.
    Returns: [B, 1 + num_parts, len(metrics_of(num_parts))]; the first row is the whole image. NaN where a metric does
      not apply (no centroid of a whole image, no `change` of a part) or a part is absent; its area is 0 then.
    """
    if (labels is None) != (num_parts == 0):
        raise InputError(f"expected labels and num_parts together, found num_parts = {num_parts}")
    original: Any = {"luminance": "original", "entropy": "disk"} if definitions == "original" else {}
    if labels is None:
        whole = measure_images(images, references)
        return (_with_original(whole, images, original) if original else whole)[:, None]

    def both(item: tuple[Array, Array, Array]) -> tuple[Array, Any]:
        """Of one image, so that what the two have in common (colours, histogram bins) is computed once."""
        image, reference, label = item
        counts = luma_histograms(image, label, num_parts)
        whole = measure_image(image, reference, jnp.sum(counts, axis=0))
        return whole, measure_regions(image, label, num_parts, counts=None if original else counts, **original)

    whole, regions = map_images(both, (images, images if references is None else references, labels))
    whole = uncompared(whole) if references is None else whole
    whole = _with_original(whole, images, original) if original else whole
    absent = jnp.full((images.shape[0], num_parts), jnp.nan, whole.dtype)
    parts = jnp.stack([regions._asdict().get(name, absent) for name in METRICS], axis=-1)
    rest = jnp.full((images.shape[0], len(PART_METRICS)), jnp.nan, whole.dtype)
    return jnp.concatenate([jnp.concatenate([whole, rest], axis=-1)[:, None], parts], axis=1)


def _with_original(
    whole: Float[Array, "B metrics"], images: Float[Array, "B H W 3"], original: Any
) -> Float[Array, "B metrics"]:
    """Measurements of whole images whose luminance and entropy are the original's: of one part that is everything."""
    everything = jnp.zeros(images.shape[:3], jnp.int32)
    regions: Any = measure_region_batch(images, everything, 1, **original)._asdict()
    for column, name in enumerate(IMAGE_METRICS):
        if name in ORIGINAL_METRICS:
            whole = whole.at[:, column].set(regions[name][:, 0])
    return whole


def unwrapped(values: np.ndarray, axis: int) -> np.ndarray:
    """Measurements [..., metrics] along a sweep's steps, with angles made continuous.

    A step of an angle is taken the short way round its period: |Δ| ≤ period / 2. Other metrics stay as they are.
    """
    values = np.array(values)
    for column, name in enumerate(METRICS):
        if name in PERIODS and values.shape[-1] > column:
            angle = values[..., column]
            known = np.isfinite(angle)
            turned = np.unwrap(np.where(known, angle, 0.0), period=PERIODS[name], axis=axis)
            values[..., column] = np.where(known, turned, np.nan)
    return values


def spread(baseline: Float[np.ndarray, "samples parts metrics"], metrics: Sequence[str]) -> np.ndarray:
    """Standard deviation of every metric among untouched samples, [parts, metrics], float64: the unit of effects.

    Over the samples that show the part. Of an angle with period P it is the circular one, P/2π · √(−2 ln R) with R the
    length of the mean of exp(2πi x/P), so that a major axis at 1° and at 179° count as neighbours.

    Args:
      baseline: measurements of the samples as they are; NaN where a part is absent.
      metrics: their names, in order.
    Returns: NaN where fewer than 2 samples have a value, or all have the same: there is nothing to compare with.
    Reference: Mardia and Jupp, Directional Statistics, 2000, section 2.3 (circular standard deviation).
    """
    baseline = np.asarray(baseline, np.float64)
    found = finite_std(baseline)
    for column, name in enumerate(metrics):
        if name in PERIODS:
            turns = 2.0 * np.pi * baseline[..., column] / PERIODS[name]
            length = np.hypot(finite_mean(np.cos(turns)), finite_mean(np.sin(turns)))
            found[..., column] = PERIODS[name] / (2 * np.pi) * np.sqrt(-2.0 * np.log(np.clip(length, 1e-12, 1.0)))
    several = np.isfinite(baseline).sum(axis=0) > 1
    # One value repeated leaves rounding alone.
    same = found <= 1e-7 * np.maximum(np.nanmax(np.abs(np.where(several, baseline, 0.0)), axis=0, initial=0.0), 1e-30)
    return np.where(several & ~same, found, np.nan)


def change(
    name: str, before: jax.Array, after: jax.Array, areas: Literal["log_ratio", "relative"] = "log_ratio"
) -> jax.Array:
    """Change of a metric, after − before: of an angle the short way round; of an area the log ratio.

    Areas: ln((a₁ + ½) / (a₀ + ½)), which is antisymmetric, finite where a part appears or vanishes, and near the
    relative change a₁/a₀ − 1 when small. Angles: in (−period/2, period/2].

    Args:
      name: of `METRICS`.
      before, after: values of the metric, any shape.
      areas: "relative": the original's (a₁ − a₀) / a₀, divided by 1 pixel where the part was absent.
    Deviations from the original: unless asked, an area's change is not divided by the first value, which explodes where
      a part was all but absent.
    """
    if areas not in ("log_ratio", "relative"):
        raise InputError(f"areas: expected 'log_ratio' or 'relative', found {areas!r}")
    if name == "area" and areas == "relative":
        return (after - before) / jnp.where(before == 0, 1.0, before)
    if name == "area":
        return jnp.log((after + 0.5) / (before + 0.5))
    difference = after - before
    if name in PERIODS:
        period = PERIODS[name]
        difference = difference - period * jnp.ceil(difference / period - 0.5)
    return difference
