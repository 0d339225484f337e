"""Set one unit of r to chosen values, map to w, synthesise, and measure the image.

An item of a sweep is a triple (unit, anchor, step); functions here take flat lists of N items, so that a batch may mix
units, anchors and steps as it likes.
"""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from linkjax import numerics
from linkjax.analysis.metrics import measurements, parts
from linkjax.analysis.units import random_directions
from linkjax.errors import InputError

Mode = Literal["residual", "absolute"]


class UnitRange(NamedTuple):
    """Where a unit lives, per unit [units]; in activation units but for `dead`."""

    low: jax.Array
    median: jax.Array
    high: jax.Array
    std: jax.Array  # population standard deviation
    dead: jax.Array  # bool: the range is nothing against that of a typical unit


def robust_range(
    r: Float[Array, "samples units"], low: float = 1.0, high: float = 99.0, dead_below: float = 1e-3
) -> UnitRange:
    """Percentiles of each unit over samples, and which units hardly move.

    dead = (high − low ≤ dead_below · median over moving units of (high − low)), or any value not finite.

    Args:
      r: activations, thousands of rows at most (they are sorted in memory).
      low, high: percentiles, 0 ≤ low < high ≤ 100, interpolated linearly between samples.
      dead_below: share of the median range.
    Numerics: on the host, not to be compiled: NumPy selects where XLA sorts, 7 times as fast for 8192 × 2048 on a CPU.
    Deviations from the original: minimum and maximum over all anchors of all classes, so one outlier sets the range.
    """
    if r.ndim != 2 or r.shape[0] < 2:
        raise InputError(f"expected r [samples, units] with at least 2 samples, found {r.shape}")
    if not 0 <= low < high <= 100:
        raise InputError(f"expected percentiles 0 ≤ low < high ≤ 100, found {low} and {high}")
    rows = np.asarray(r)
    bottom, middle, top = np.percentile(rows, [low, 50.0, high], axis=0).astype(rows.dtype)
    span = top - bottom
    moving = span[span > 0]
    alive = (span > dead_below * np.median(moving)) if moving.size else np.zeros(span.shape, bool)
    alive &= np.isfinite(rows).all(axis=0)
    std = np.std(rows, axis=0, dtype=np.float64).astype(rows.dtype)
    return UnitRange(*(jnp.asarray(column) for column in (bottom, middle, top, std, ~alive)))


def off_range(
    values: Float[np.ndarray, "A K steps"],
    own: Float[np.ndarray, "A K"],
    r: Float[np.ndarray, "samples K"],
    classes: Int[np.ndarray, "samples"],
    labels: Int[np.ndarray, "A"],
    least: int = 20,
) -> Float[np.ndarray, "K"]:
    """Share of (anchor, step) in which a unit is asked for a value that no training sample of the anchor's class has.

    The anchor's own value is not asked for: it is there.

    Such a value may be common in other classes: what is drawn then is not known to look like anything.

    Args:
      values: asked of each unit around each anchor.
      own: what the anchors have.
      r, classes: training activations of these units, and the classes they are of.
      labels: classes of the anchors; one with fewer than `least` training samples is held against all of them.
    """
    outside = np.zeros(values.shape[1])
    for name in np.unique(labels):
        mine, here = r[classes == name], labels == name
        mine = mine if len(mine) >= least else r
        low, high = mine.min(axis=0)[None, :, None], mine.max(axis=0)[None, :, None]
        asked = values[here]
        beyond = ((asked < low) | (asked > high)) & (asked != own[here][:, :, None])
        outside += beyond.sum(axis=(0, 2))
    return (outside / (len(labels) * values.shape[2])).astype(np.float32)


def cautions(
    off_range: Float[np.ndarray, "K"], fidelity: Float[np.ndarray, "K"], error: Float[np.ndarray, "K"]
) -> Int[np.ndarray, "K"]:
    """Caution code of a unit: 1, most values asked are off range; 2, fidelity is surely far from 1; 3, both.

    Surely far: its 95 % interval, ± 1.96 standard errors, lies outside 0.5 … 1.5; of one anchor there is none.
    Units not swept get 0.
    """
    swept = np.isfinite(fidelity)
    far = np.abs(np.nan_to_num(fidelity, nan=1.0) - 1.0) - 1.96 * np.nan_to_num(error, nan=np.inf) > 0.5
    return (swept * ((off_range > 0.5) + 2 * far)).astype(np.int8)


def swept_w(
    link: Any,
    w: Float[Array, "N w_dim"],
    r: Float[Array, "N units"],
    unit: Int[Array, "N"],
    value: Float[Array, "N"],
    mode: Mode = "residual",
    directions: random_directions.RandomDirections | None = None,
    layers: Bool[Array, "num_ws"] | None = None,
    along: Float[Array, "N w_dim"] | None = None,
) -> Float[Array, "N w_dim"] | Float[Array, "N num_ws w_dim"]:
    """Latents of anchors whose one unit is set to a value; r′ is r with r′[unit] = value.

    residual: w + link(r′) − link(r): the anchor keeps all that the link does not explain. absolute: link(r′).
    For a linear link link(r′) − link(r) = (value − r[unit]) · kernel[unit], which is what is computed.

    Args:
      link: callable, as units are raised along it (`models.link.along`); linear if it has a `kernel` [units, w_dim].
      w, r: the anchors, by item; w is not read in absolute mode.
      unit: of r, or beyond: a random direction, as `random_directions` counts them.
      value: what the unit is set to; of a random direction how far to go along it.
      layers: rows of W+ that the step enters; the others keep, to the bit, what is there without it. None: all, as w.
      along: change of w per activation, or length, by item, in place of the link's; in residual mode.
    Deviations from the original: it knows the absolute mode only, in which a sample falls back towards its class mean.
    """
    if mode not in ("residual", "absolute"):
        raise InputError(f'expected mode "residual" or "absolute", found {mode!r}')
    units = r.shape[1]
    own = jnp.take_along_axis(r, jnp.minimum(unit, units - 1)[:, None], axis=1)[:, 0]
    step = jnp.where(unit < units, value - own, value)[:, None]
    if along is not None:
        if mode != "residual":
            raise InputError(f"steps by item: expected mode residual, found {mode}")
        moved = w + step * along
        return moved if layers is None else _in_rows(layers, moved, w)
    kernel = getattr(link, "kernel", None)
    if kernel is None:
        along_r, along_w = random_directions.axes_of(directions, unit, units)
        changed = link(r + step * along_r)
        moved = changed if mode == "absolute" else w + (changed - link(r))
        moved = moved if along_w is None else moved + step * along_w
        return moved if layers is None else _in_rows(layers, moved, w if mode == "residual" else link(r))
    rows = _all_rows(kernel[...], directions)
    base = w if mode == "residual" else link(r)
    moved = base + step * rows[unit]
    return moved if layers is None else _in_rows(layers, moved, base)


def _in_rows(layers: Array, moved: Array, base: Array) -> Float[Array, "N num_ws w_dim"]:
    """W+ with what was moved in some rows and the base in the others."""
    return jnp.where(layers[None, :, None], moved[:, None], base[:, None])


class Steps(NamedTuple):
    """Of a linear link what `swept_w` reads in residual mode."""

    kernel: jax.Array  # [rows, w_dim], of units, then of random directions


_STEPS = 64  # rows of steps are filled up to a multiple, so that a few random directions more are no other program


def steps_of(
    link: Any, mode: Mode, directions: random_directions.RandomDirections | None = None
) -> tuple[Any, random_directions.RandomDirections | None]:
    """What `swept_w` takes as link and directions: of a linear link in residual mode nothing but steps is read.

    Those of units and those along random directions are then rows of one table, and sweeps along any directions one
    program. Other links, and the absolute mode, are given back as they are.
    """
    kernel = getattr(link, "kernel", None)
    if kernel is None or mode != "residual":
        return link, directions
    rows = np.asarray(_all_rows(jnp.asarray(kernel[...]), directions))
    return Steps(jnp.asarray(np.pad(rows, ((0, -len(rows) % _STEPS), (0, 0))))), None


def _all_rows(rows: Array, directions: random_directions.RandomDirections | None) -> Array:
    """Steps per activation of units, then those along random directions in r and in W."""
    if directions is None:
        return rows
    in_r = jnp.matmul(jnp.asarray(directions.in_r), rows, precision=numerics.PRECISION)
    return jnp.concatenate([rows, in_r, jnp.asarray(directions.in_w)])


class SweepStep(NamedTuple):
    """Outputs of `sweep_step`, by item. Rows outside the mask, or not finite, are NaN, their images black."""

    w: jax.Array  # [N, w_dim], or [N, num_ws, w_dim] of some rows alone: what the image was made from
    r: jax.Array  # [N, units], of the image made
    logits: jax.Array | None  # [N, classes]; None without a head
    metrics: jax.Array  # [N, 1 + parts, metrics] of `measurements.measure`; change against the anchor's image
    images: jax.Array | None  # [N, H, W, 3] bytes; None unless asked for


@functools.partial(jax.jit, static_argnames=("mode", "return_images", "definitions"))
def sweep_step(
    generator: Any,
    classifier: Any,
    link: Any,
    w_anchor: Float[Array, "N w_dim"],
    r_anchor: Float[Array, "N units"],
    image_anchor: Array | None,
    unit: Int[Array, "N"],
    value: Float[Array, "N"],
    mask: Bool[Array, "N"] | None = None,
    mode: Mode = "residual",
    return_images: bool = False,
    segmenter: Any | None = None,
    directions: random_directions.RandomDirections | None = None,
    definitions: measurements.Definitions = "standard",
    layers: Bool[Array, "num_ws"] | None = None,
    along: Float[Array, "N w_dim"] | None = None,
) -> SweepStep:
    """One batch of items through link, generator and classifier, in one compiled program.

    Args:
      generator, classifier, link: pytrees with linkjax's public calls.
      w_anchor, r_anchor: the anchors, by item.
      image_anchor: the anchors' images [N, H, W, 3], bytes or values in [-1, 1]; None leaves `change` NaN.
      unit, value: which unit is set to what.
      mask: false for padding; None: all true.
      mode: see `swept_w`; static.
      return_images: also return the images as bytes; static.
      segmenter: measures every part of the images too; None: whole images alone.
      directions: random ones, which units beyond those of r name (see `swept_w`).
      definitions: of the metrics, see `measurements.measure`; static.
      layers: rows of W+ that steps enter (see `swept_w`).
      along: steps by item, in place of the link's (see `swept_w`).
    Numerics: metrics are those of the images as bytes, which is what the classifier and a reader see.
    """
    w = swept_w(link, w_anchor, r_anchor, unit, value, mode, directions, layers, along)
    drawn, encoded = parts.draw_and_classify(generator, classifier, segmenter, w)
    references = None if image_anchor is None else _unit_interval(image_anchor)
    num_parts = 0 if segmenter is None else segmenter.spec.num_parts
    metrics = measurements.measure(
        numerics.unit_interval(drawn.pixels), references, drawn.labels, num_parts, definitions
    )
    # An image that is not finite has no metrics, though its bytes have.
    keep = jnp.all(jnp.isfinite(encoded.penultimate), axis=1)
    keep = keep if mask is None else keep & mask

    def masked(values: Array) -> Array:
        return jnp.where(keep.reshape(-1, *[1] * (values.ndim - 1)), values, jnp.nan)

    logits = None if encoded.logits is None else masked(encoded.logits)
    black = jnp.zeros_like(drawn.pixels)
    shown = jnp.where(keep[:, None, None, None], drawn.pixels, black) if return_images else None
    return SweepStep(masked(w), masked(encoded.penultimate), logits, masked(metrics), shown)


def _unit_interval(images: Array) -> Float[Array, "N H W 3"]:
    """Bytes, or values in [-1, 1] by way of bytes, as encoded values in [0, 1]."""
    pixels = images if images.dtype == jnp.uint8 else numerics.to_uint8(images)
    return numerics.unit_interval(pixels)
