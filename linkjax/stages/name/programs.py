"""The compiled programs of naming: two pictures of an anchor to the change of their embeddings."""

from typing import Any

import jax
import jax.numpy as jnp

from linkjax.analysis.metrics import parts
from linkjax.analysis.names import views
from linkjax.analysis.names.interventional import unit_length


def changes(
    models: tuple[Any, Any, Any, dict[str, jax.Array]], items: dict[str, jax.Array], shown: tuple[int, ...]
) -> jax.Array:
    """(anchor, direction, low, high) → ê(high) − ê(low), [N, 1 + parts, e]; NaN where there is none.

    Args:
      models: generator, embedder, segmenter (or None), and `w` of the anchors, `step` in W of the directions and, where
        steps do not enter all rows of W+, `layers`, those they enter.
      items: `low` and `high`: how far along the step.
      shown: parts that are cut out, beside the whole picture; static.
    """
    generator, embedder, segmenter, held = models
    w, step = held["w"][items["anchor"]], held["step"][items["row"]]
    layers = held.get("layers")

    def draw(far: jax.Array) -> Any:
        moved = w + far[:, None] * step
        if layers is not None:
            moved = jnp.where(layers[None, :, None], moved[:, None], w[:, None])
        return parts.draw_pixels(generator, segmenter if shown else None, moved)

    # one after the other, each of as many images as any stage draws at once
    ends = jax.lax.map(draw, jnp.stack([items["low"], items["high"]]))

    def embed(pixels: jax.Array) -> jax.Array:
        return unit_length(embedder(embedder.preprocess(pixels)).penultimate)

    def changed(pixels: jax.Array, known: jax.Array) -> jax.Array:
        low, high = jax.lax.map(embed, pixels)
        return jnp.where(known[:, None], high - low, jnp.nan)

    drawn = ends.finite.all(axis=0)
    found = [changed(ends.pixels, drawn)]
    for part in shown:
        mask = ends.labels == part
        box = views.part_box(mask.any(axis=0))
        alone = jnp.stack([views.cut_out(ends.pixels[end], ends.labels[end], part, box) for end in range(2)])
        found.append(changed(alone, drawn & mask.any(axis=(2, 3)).all(axis=0)))
    return jnp.stack(found, axis=1)


def seen(models: tuple[Any, Any], items: dict[str, jax.Array]) -> jax.Array:
    """w → ê of the picture, [N, e]; NaN where it is not finite."""
    generator, embedder = models
    drawn = parts.draw_pixels(generator, None, items["w"])
    found = unit_length(embedder(embedder.preprocess(drawn.pixels)).penultimate)
    return jnp.where(drawn.finite[:, None], found, jnp.nan)
