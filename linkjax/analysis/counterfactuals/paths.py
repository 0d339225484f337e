"""Paths from a sample to its counterfactual: logits, activations and parts along them, and where the class flips.

A path is r(t) = relu(r − t s), t = 0 the sample, t = 1 the counterfactual of shift s, and t > 1 beyond it. Every point
is linked, drawn and classified anew, so the path is one of images, not of what the head says of r alone.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from linkjax import numerics
from linkjax.analysis.counterfactuals import minimal
from linkjax.analysis.metrics import measurements, parts
from linkjax.errors import InputError


class Plane(NamedTuple):
    """The plane of two principal components."""

    mean: Any  # [width]
    directions: Any  # [width, 2], orthonormal columns


class PathModels(NamedTuple):
    """The models of a path, a pytree."""

    generator: Any
    classifier: Any
    link: Any
    segmenter: Any  # None: metrics of the whole image alone
    plane_r: Plane
    plane_w: Plane
    floor: Any = 0.0  # [1, units], of `counterfactual.floor_of`


class Crossing(NamedTuple):
    """Where each path first becomes the target, [N]: between two points, or at the first."""

    reached: jax.Array  # bool
    before: jax.Array  # int, the last point before
    after: jax.Array  # int, the first point at which the target is top-1
    fraction: jax.Array  # of the step between them, 0…1


def positions(points: int, beyond: int = 0) -> tuple[float, ...]:
    """t of a path's points: `points` of them evenly from 0 to 1, and `beyond` more at the same distance.

    Errors: InputError for fewer than two points.
    """
    if points < 2 or beyond < 0:
        raise InputError(f"expected 2 points of a path or more and none or more beyond, found {points} and {beyond}")
    return tuple(i / (points - 1) for i in range(points + beyond))


def first_crossing(there: Bool[Array, "N T"], margin: Float[Array, "N T"]) -> Crossing:
    """The first point classified as the target, and how far before it the margin crossed 0, interpolated linearly.

    fraction = −m₀ / (m₁ − m₀) of the margins m = z_t − max_{c≠t} z_c at the points before and after; 1 where they do
    not tell.
    """
    after = jnp.argmax(there, axis=1)
    before = jnp.maximum(after - 1, 0)
    low, high = (jnp.take_along_axis(margin, place[:, None], axis=1)[:, 0] for place in (before, after))
    rise = high - low
    fraction = jnp.where(rise > 0, jnp.clip(-low / jnp.where(rise > 0, rise, 1.0), 0.0, 1.0), 1.0)
    return Crossing(jnp.any(there, axis=1), before, after, jnp.where(after == 0, 0.0, fraction))


def at_crossing(values: Float[Array, "N T"], crossing: Crossing) -> Float[Array, "N"]:
    """Values along paths, interpolated where they cross; NaN where they never do."""
    low, high = (
        jnp.take_along_axis(values, place[:, None], axis=1)[:, 0] for place in (crossing.before, crossing.after)
    )
    return jnp.where(crossing.reached, low + crossing.fraction * (high - low), jnp.nan)


def margin_of(logits: Float[Array, "N classes"], target: Int[Array, "N"]) -> Float[Array, "N"]:
    """z_t − max_{c≠t} z_c: above 0 where the target is top-1."""
    chosen = jax.nn.one_hot(target, logits.shape[1], dtype=bool)
    own = jnp.sum(jnp.where(chosen, logits, 0.0), axis=1)
    return own - jnp.max(jnp.where(chosen, -jnp.inf, logits), axis=1)


def top_units(change: Float[Array, "N units"], most: int) -> tuple[Int[Array, "N most"], Float[Array, "N most"]]:
    """The units that change most, largest first, and their change; unit −1 where fewer change at all."""
    _, unit = jax.lax.top_k(jnp.abs(change), most)
    moved = jnp.take_along_axis(change, unit, axis=1)
    return jnp.where(moved != 0, unit, -1).astype(jnp.int32), moved


def projected(x: Float[Array, "N width"], plane: Plane) -> Float[Array, "N 2"]:
    """(x − mean) · directions."""
    return jnp.matmul(x - plane.mean[None], plane.directions, precision=numerics.PRECISION)


@functools.partial(jax.jit, static_argnames=("t", "most_units"))
def walk(
    models: PathModels,
    r: Float[Array, "N units"],
    shift: Float[Array, "N units"],
    origin: Int[Array, "N"],
    target: Int[Array, "N"],
    t: tuple[float, ...],
    most_units: int,
) -> dict[str, Array]:
    """Draw, re-encode and measure every point of every path.

    The flip point t* is found by straight interpolation of the margin z_t − max_{c≠t} z_c between the first path point
    at which the target is top-1 and the one before it; no image is drawn for it. NaN where no point is the target, 0
    where the first one is.

    Args:
      models: see `PathModels`.
      r, shift, origin, target: one search a row.
      t: of `positions`; holds 1. Static.
      most_units: how many of the units that change most are named; static.
    Returns: by search,
      `path_origin`, `path_target` [N, T]: probabilities of both classes in the drawn image;
      `path_log_odds`: log p_t / (1 − p_t); `path_margin`: z_t − max_{c≠t} z_c; `path_prediction`: its class;
      `path_head_gap`: z_t − z_o of the head at r(t) itself, without an image;
      `flip`: t*; `flip_slope`: of the log-odds on t around it; `flip_head_gap`: the head's gap there;
      `crossings`: how often the target becomes or ceases to be top-1;
      `place_r`, `seen_r` [N, T, 2]: r(t) and the re-encoded r̂(t) in the plane of r; `place_w`, `seen_w`: link(r(t))
      and link(r̂(t)) in the plane of W;
      `top_unit`, `top_change` [N, most_units]: of `top_units`, at t = 1;
      `metric_start`, `metric_end`, `metric_change` [N, parts, metrics]: of `measurements.measure` at t = 0 and t = 1,
      and `measurements.change` between them.
    Numerics: rows are independent; points of a path follow each other, so memory does not grow with T.
    """
    generator, classifier, link, segmenter, plane_r, plane_w, floor = models
    num_parts = 0 if segmenter is None else segmenter.spec.num_parts
    shape = jax.eval_shape(lambda: generator.synthesis(link(r)))

    def at(first: Array, place: Array) -> tuple[Array, dict[str, Array]]:
        there = jnp.maximum(r - place * shift, floor)
        w = link(there)
        drawn, seen = parts.draw_and_classify(generator, classifier, segmenter, w)
        pixels = numerics.unit_interval(drawn.pixels)
        first = jnp.where(place == 0, pixels, first)
        metrics = measurements.measure(pixels, first, drawn.labels, num_parts)
        p = jax.nn.softmax(seen.logits, axis=1)

        def of(values: Array, label: Array) -> Array:
            return jnp.take_along_axis(values, label[:, None], axis=1)[:, 0]

        head = classifier.head(there)
        return first, {
            "path_origin": of(p, origin),
            "path_target": of(p, target),
            "path_log_odds": minimal.smooth_margin(seen.logits, target),
            "path_margin": margin_of(seen.logits, target),
            "path_prediction": jnp.argmax(seen.logits, axis=1).astype(jnp.int32),
            "path_head_gap": of(head, target) - of(head, origin),
            "place_r": projected(there, plane_r),
            "seen_r": projected(seen.penultimate, plane_r),
            "place_w": projected(w, plane_w),
            "seen_w": projected(link(seen.penultimate), plane_w),
            # an image that is not finite has no metrics, though its bytes have
            "metrics": jnp.where(drawn.finite[:, None, None], metrics, jnp.nan),
        }

    _, found = jax.lax.scan(at, jnp.zeros(shape.shape, jnp.float32), jnp.asarray(t, r.dtype))
    found = {name: jnp.moveaxis(values, 0, 1) for name, values in found.items()}
    metrics = found.pop("metrics")
    there = (found["path_prediction"] == target[:, None]) & jnp.isfinite(found["path_margin"])
    crossing = first_crossing(there, found["path_margin"])
    along = jnp.asarray(t, r.dtype)
    odds = [
        jnp.take_along_axis(found["path_log_odds"], i[:, None], axis=1)[:, 0] for i in (crossing.before, crossing.after)
    ]
    inside = crossing.reached & (crossing.after > 0)
    step = jnp.where(inside, along[crossing.after] - along[crossing.before], 1.0)
    unit, change = top_units(jnp.maximum(r - shift, floor) - r, most_units)
    start, end = metrics[:, 0], metrics[:, t.index(1.0)]
    names = list(measurements.metrics_of(num_parts))
    changed = [measurements.change(name, start[..., i], end[..., i]) for i, name in enumerate(names)]
    return {
        **found,
        "flip": at_crossing(jnp.broadcast_to(along[None], there.shape), crossing),
        "flip_slope": jnp.where(inside, (odds[1] - odds[0]) / step, jnp.nan),
        "flip_head_gap": at_crossing(found["path_head_gap"], crossing),
        "crossings": jnp.sum(there[:, 1:] != there[:, :-1], axis=1).astype(jnp.int32),
        "top_unit": unit,
        "top_change": change,
        "metric_start": start,
        "metric_end": end,
        "metric_change": jnp.stack(changed, axis=-1),
    }


@jax.jit
def decision_lines(classifier: Any, plane: Plane) -> tuple[Float[Array, "classes"], Float[Array, "classes 2"]]:
    """Logits of the head in the plane of r: z_c(x) = z_c(m) + g_c · x at r = m + P x, with g_c = Pᵀ ∇z_c(m).

    The decision line between classes a and b is {x: z_a(m) − z_b(m) + (g_a − g_b) · x = 0}. Exact for a linear head, to
    first order at the mean m for others. It is the cut of the plane through m: a point that lies off the plane may be
    on the other side of the decision than its picture in it.

    Returns: z(m) and g.
    """
    logits, along = jax.linearize(lambda r: classifier.head(r[None])[0], jnp.asarray(plane.mean))
    slope = jax.vmap(along, in_axes=1, out_axes=1)(jnp.asarray(plane.directions))
    return logits, slope
