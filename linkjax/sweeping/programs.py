"""The compiled programs of a sweep: from latents and unit values to what is measured, many items at once."""

from typing import Any

import jax
import jax.numpy as jnp

from linkjax import numerics
from linkjax.analysis import measurements, sweep


def draw_items(
    models: tuple[Any, Any, Any, Any, Any, dict[str, Any]],
    items: dict[str, jax.Array],
    mode: sweep.Mode,
    definitions: measurements.Definitions,
) -> dict[str, jax.Array]:
    """(anchor, unit, value) → what became of it; anchors are looked up on the device."""
    generator, classifier, link, segmenter, directions, anchors = models
    w, r, image = (anchors[name][items["anchor"]] for name in ("w", "r", "image"))
    unit, value = items["unit"], items["value"]
    step = sweep.sweep_step(
        generator, classifier, link, w, r, image, unit, value, mode=mode, segmenter=segmenter, directions=directions,
        definitions=definitions,
    )  # fmt: skip
    logits = {} if step.logits is None else {"logits": step.logits}
    return {"r": step.r, "metrics": step.metrics, **logits}


def swept(
    models: tuple[Any, Any, Any, Any, Any, dict[str, Any]], items: dict[str, jax.Array], mode: sweep.Mode
) -> jax.Array:
    """(anchor, unit, value) → w."""
    _, _, link, _, _, anchors = models
    w, r = (anchors[name][items["anchor"]] for name in ("w", "r"))
    return sweep.swept_w(link, w, r, items["unit"], items["value"], mode)


def draw_anchors(
    models: tuple[Any, Any], items: dict[str, jax.Array], definitions: measurements.Definitions
) -> dict[str, jax.Array]:
    """w → the untouched image as bytes, its parts' labels if there is a segmenter, and its metrics."""
    generator, segmenter = models
    images, labels = sweep.draw_labelled(generator, segmenter, items["w"])
    pixels = numerics.to_uint8(images)
    image = pixels.astype(jnp.float32) / 255.0
    num_parts = 0 if segmenter is None else segmenter.spec.num_parts
    drawn = {"image": pixels, "metrics": measurements.measure(image, image, labels, num_parts, definitions)}
    return drawn if labels is None else {**drawn, "labels": labels.astype(jnp.uint8)}
