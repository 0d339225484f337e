"""The compiled programs of a sweep: from latents and unit values to measurements, many items at once."""

from typing import Any

import jax
import jax.numpy as jnp

from linkjax import numerics
from linkjax.analysis.metrics import measurements, parts
from linkjax.analysis.names.interventional import unit_length
from linkjax.analysis.units import sweep


def draw_items(
    models: tuple[Any, Any, Any, Any, Any, dict[str, Any]],
    items: dict[str, jax.Array],
    mode: sweep.Mode,
    definitions: measurements.Definitions,
) -> dict[str, jax.Array]:
    """(anchor, unit, value) → outputs of `sweep_step`; anchors are looked up on the device.

    Beside the anchors lie the rows of W+ that steps enter, `layers`, where these are not all, and an `embedder` that is
    shown every image too, if there is one. Of local directions items bring their steps, `along`.
    """
    generator, classifier, link, segmenter, directions, anchors = models
    w, r, image = (anchors[name][items["anchor"]] for name in ("w", "r", "image"))
    unit, value = items["unit"], items["value"]
    step = sweep.sweep_step(
        generator, classifier, link, w, r, image, unit, value, mode=mode, segmenter=segmenter, directions=directions,
        definitions=definitions, layers=anchors.get("layers"), along=items.get("along"),
        return_images="embedder" in anchors,
    )  # fmt: skip
    found = {"r": step.r, "metrics": step.metrics, **({} if step.logits is None else {"logits": step.logits})}
    if step.images is not None:
        embedder = anchors["embedder"]
        seen = unit_length(embedder(embedder.preprocess(step.images)).penultimate)
        found["embedded"] = jnp.where(jnp.isfinite(step.r).all(axis=1)[:, None], seen, jnp.nan)
    return found


def swept(
    models: tuple[Any, Any, Any, Any, Any, dict[str, Any]], items: dict[str, jax.Array], mode: sweep.Mode
) -> jax.Array:
    """(anchor, unit, value) → w."""
    _, _, link, _, _, anchors = models
    w, r = (anchors[name][items["anchor"]] for name in ("w", "r"))
    layers, along = anchors.get("layers"), items.get("along")
    return sweep.swept_w(link, w, r, items["unit"], items["value"], mode, layers=layers, along=along)


def draw_labelled(models: tuple[Any, Any], items: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """w → the image as bytes, whether all of it is finite, and its parts' labels if there is a segmenter."""
    drawn = parts.draw_pixels(*models, items["w"])
    labels = {} if drawn.labels is None else {"labels": drawn.labels.astype(jnp.uint8)}
    return {"image": drawn.pixels, "finite": drawn.finite, **labels}


def untouched(
    models: tuple[()], items: dict[str, jax.Array], num_parts: int, definitions: measurements.Definitions
) -> jax.Array:
    """What `draw_labelled` made of anchors → their metrics."""
    del models
    image = numerics.unit_interval(items["image"])
    return measurements.measure(image, image, items.get("labels"), num_parts, definitions)
