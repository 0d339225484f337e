"""Response to a swept unit: slope of every output on the asked value, with an intercept per anchor.

For swept unit u, anchor a and item i with asked value x_i and obtained output y_i (a re-encoded unit, a logit, an
image metric), the model is y_i = α_ua + β_u x_i: every anchor its own level, one slope. Least squares gives

    β_u = Σ_a S_ua^xy / Σ_a S_ua^xx,   S_ua^xy = Σ_i x_i y_i − (Σ_i x_i)(Σ_i y_i) / n_ua,   S_ua^xx likewise,

so sums per (unit, anchor) are enough. They are added to item by item: items of a cell may come in any batches, padding
adds nothing, and sums of different batches, devices or resumed runs add up.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from linkjax import numerics
from linkjax.errors import InputError
from linkjax.ops.chunked import in_shares


class ResponseSums(NamedTuple):
    """Sums over items by (swept unit, anchor) [K, A], and by output [K, A, V] under each output's name.

    Memory: 8 · K · A · V bytes an output; for many units, go through them K at a time.
    """

    count: jax.Array
    x: jax.Array
    xx: jax.Array
    y: dict[str, jax.Array]
    xy: dict[str, jax.Array]


def empty_sums(units: int, anchors: int, outputs: dict[str, int]) -> ResponseSums:
    """Sums of no items.

    Args:
      units, anchors: K and A, how many of each this accumulator is for.
      outputs: name → number of values V, such as {"r": 2048, "logits": 1000, "metrics": 11}.
    """
    cell = jnp.asarray(np.zeros((units, anchors), np.float32))

    def by_output() -> dict[str, jax.Array]:
        shapes = {name: (units, anchors, values) for name, values in outputs.items()}
        return {name: jnp.asarray(np.zeros(shape, np.float32)) for name, shape in shapes.items()}

    return ResponseSums(cell, cell, cell, by_output(), by_output())


@numerics.jit
def add_items(
    sums: ResponseSums,
    unit: Int[Array, "N"],
    anchor: Int[Array, "N"],
    asked: Float[Array, "N"],
    obtained: dict[str, Array],
    mask: Bool[Array, "N"] | None = None,
) -> ResponseSums:
    """The sums with N more items.

    Args:
      unit: row of `sums` each item belongs to, 0…K − 1 (not the unit's number in r).
      anchor: column, 0…A − 1.
      asked: value the unit was set to.
      obtained: name → outputs [N, V], the names and V of `empty_sums`.
      mask: false for padding, whose other entries may be anything, NaN included; None: all true.
    Errors: InputError if names or V differ from those of `sums`.
    Numerics: items are added one after the other on a CPU, so sums do not depend on how items are batched, to the
      bit; elsewhere items of one cell in one batch may be added in any order.
    """
    expected = {name: array.shape[2:] for name, array in sums.y.items()}
    found = {name: array.shape[1:] for name, array in obtained.items()}
    if found != expected:
        raise InputError(f"expected the outputs these sums were made for, {expected}, found {found}")
    keep = jnp.ones(asked.shape, bool) if mask is None else mask
    units, anchors = sums.count.shape
    # One more item that is dropped: the compiler would turn the loop over a single item into a fused multiply-add,
    # which rounds once where the loop rounds twice.
    keep = jnp.append(keep, False)
    row = jnp.where(keep, jnp.append(unit, units), units)  # out of range: dropped
    column = jnp.where(keep, jnp.append(anchor, anchors), anchors)
    x = jnp.where(keep, jnp.append(asked, 0.0), 0.0).astype(jnp.float32)

    def add(total: Array, values: Array) -> Array:
        return total.at[row, column].add(values, mode="drop")

    clean = {
        name: jnp.where(keep[:, None], jnp.pad(y, ((0, 1), (0, 0))), 0.0).astype(jnp.float32)
        for name, y in obtained.items()
    }
    return ResponseSums(
        add(sums.count, jnp.ones_like(x)),
        add(sums.x, x),
        add(sums.xx, x * x),
        {name: add(sums.y[name], y) for name, y in clean.items()},
        {name: add(sums.xy[name], x[:, None] * y) for name, y in clean.items()},
    )


def merge(a: ResponseSums, b: ResponseSums) -> ResponseSums:
    """Sums over the items of both."""
    return jax.tree.map(jnp.add, a, b)


class Slopes(NamedTuple):
    """Per output name, [K, V]; NaN where no anchor saw two different values."""

    slope: dict[str, jax.Array]
    error: dict[str, jax.Array]  # standard error; NaN with fewer than two anchors
    anchors: dict[str, jax.Array]  # int, anchors that saw two different values and whose outputs are all finite


@jax.jit
def slopes(sums: ResponseSums) -> Slopes:
    """Slope of every output on the asked value, and its standard error over anchors.

    Standard error: anchors are the independent draws, their steps are not, so the variance is that of the ratio
    Σ_a S^xy / Σ_a S^xx over anchors: A / (A − 1) · Σ_a (S_a^xy − β S_a^xx)² / (Σ_a S_a^xx)².

    An anchor with an output that is not finite (the shape of a part that is not there) is left out for that output.

    Numerics: a cell whose spread S^xx is below 1e-6 of its Σ x² has seen one value only, and is left out.
    Reference: Liang and Zeger, "Longitudinal data analysis using generalized linear models", 1986 (clustered errors).
    """
    n = jnp.maximum(sums.count, 1.0)
    spread = sums.xx - sums.x * sums.x / n
    used = (sums.count > 1) & (spread > 1e-6 * sums.xx)
    spread = jnp.where(used, spread, 0.0)

    def one(y: Array, xy: Array) -> tuple[Array, Array, Array]:
        covaried = xy - (sums.x / n)[..., None] * y  # [K, A, V]
        kept = used[..., None] & jnp.isfinite(covaried)
        covaried = jnp.where(kept, covaried, 0.0)
        weight = jnp.where(kept, spread[..., None], 0.0)
        below = jnp.sum(weight, axis=1)
        slope = numerics.safe_ratio(jnp.sum(covaried, axis=1), below)
        surplus = covaried - slope[:, None, :] * weight
        anchors = jnp.sum(kept, axis=1)
        correction = numerics.safe_ratio(anchors.astype(jnp.float32), (anchors - 1).astype(jnp.float32))
        variance = correction * numerics.safe_ratio(jnp.sum(jnp.where(kept, surplus, 0.0) ** 2, axis=1), below**2)
        return slope, jnp.sqrt(variance), anchors

    found = {name: one(sums.y[name], sums.xy[name]) for name in sums.y}
    slope, error, anchors = ({name: values[i] for name, values in found.items()} for i in range(3))
    return Slopes(slope, error, anchors)


@jax.jit
def fidelity(slope: Float[Array, "K units"], units: Int[Array, "K"]) -> Float[Array, "K"]:
    """Slope of each swept unit on its own asked value: 1 moved as asked, 0 did not move.

    Args:
      slope: of re-encoded units, `Slopes.slope["r"]` (or of its standard errors).
      units: number in r of each swept unit.
    """
    return jnp.take_along_axis(slope, units[:, None], axis=1)[:, 0]


@jax.jit
def response_matrix(
    slope: Float[Array, "K V"],
    units: Int[Array, "K"],
    unit_std: Float[Array, "units"],
    output_std: Float[Array, "V"] | None = None,
) -> Float[Array, "K V"]:
    """Slopes in standard deviations: R_uv = β_uv · σ_u / σ_v, the change of v in its σ per σ of the asked unit u.

    Args:
      slope: of outputs on the asked value.
      units: number in r of each swept unit.
      unit_std: σ of every unit of r over the training split.
      output_std: σ of every output; None: outputs keep their own unit (logits, metrics).
    Returns: NaN where σ_v = 0.
    """
    scaled = slope * unit_std[units][:, None]
    if output_std is None:
        return scaled
    return numerics.safe_ratio(scaled, jnp.broadcast_to(output_std[None, :], scaled.shape))


class SideEffects(NamedTuple):
    """[K, k] by falling magnitude; −1 and NaN where fewer than k other units have a response."""

    unit: jax.Array
    response: jax.Array


@functools.partial(jax.jit, static_argnames="k")
def largest_side_effects(response: Float[Array, "K units"], units: Int[Array, "K"], k: int) -> SideEffects:
    """The k other units that move most when a unit is swept; the unit itself (its fidelity) is left out.

    Args:
      response: of `response_matrix` between units.
      units: number in r of each swept unit.
      k: at most the number of units.
    """
    if not 1 <= k <= response.shape[1]:
        raise InputError(f"expected 1 ≤ k ≤ {response.shape[1]} side effects, found {k}")
    own = jnp.arange(response.shape[1], dtype=units.dtype)[None, :] == units[:, None]
    magnitude = jnp.where(own | jnp.isnan(response), -1.0, jnp.abs(response))
    largest, unit = jax.lax.top_k(magnitude, k)
    found = largest >= 0
    value = jnp.take_along_axis(response, unit, axis=1)
    return SideEffects(jnp.where(found, unit, -1), jnp.where(found, value, jnp.nan))


def unit_results(
    sums: ResponseSums,
    units: Int[Array, "K"],
    unit_std: Float[Array, "units"],
    shape: tuple[int, int],
    side: int,
    count: int | None = None,
) -> dict[str, jax.Array]:
    """Everything a sweep stores about some swept units, by name, each with a leading axis of units.

    Args:
      sums: of outputs "r", "metrics" and, of a classifier with a head, "logits".
      units: number in r of each swept unit; unit_std: σ of every unit of r.
      shape: parts and metrics, into which the outputs "metrics" unfold.
      side: how many of the most affected other units are kept.
      count: of the first so many units; None: of all. What is given of others is nothing.
    Numerics: on a CPU one unit after the other, so that a unit's bits do not depend on those beside it.
    """
    return _unit_results(sums, units, unit_std, np.int32(len(units) if count is None else count), shape, side)


@functools.partial(numerics.jit, static=("shape", "side"))
def _unit_results(
    sums: ResponseSums, units: Array, unit_std: Array, count: Any, shape: tuple[int, int], side: int
) -> dict[str, jax.Array]:
    of_units = functools.partial(_of_units, shape=shape, side=side)
    if jax.default_backend() != "cpu":
        return of_units(unit_std, (sums, units))
    return in_shares(of_units, unit_std, (sums, units), 1, count)


def _of_units(
    unit_std: Array, of: tuple[ResponseSums, Array], shape: tuple[int, int], side: int
) -> dict[str, jax.Array]:
    sums, units = of
    found = slopes(sums)
    responses = response_matrix(found.slope["r"], units, unit_std, unit_std)
    largest = largest_side_effects(responses, units, side)
    results = {
        "fidelity": fidelity(found.slope["r"], units),
        "fidelity_se": fidelity(found.error["r"], units),
        "response": responses,
        "effect": response_matrix(found.slope["metrics"], units, unit_std).reshape(-1, *shape),
        "effect_se": response_matrix(found.error["metrics"], units, unit_std).reshape(-1, *shape),
        "side_effect": largest.response,
        "side_effect_unit": largest.unit,
    }
    if "logits" in found.slope:
        results["logit_response"] = response_matrix(found.slope["logits"], units, unit_std)
    return results
