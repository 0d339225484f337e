"""Pictures drawn for a segmenter: with the features that heads are trained on, or with predicted labels."""

from typing import Any

import jax
import jax.numpy as jnp

from linkjax import numerics
from linkjax.analysis.metrics import parts
from linkjax.analysis.segmenters import labelling
from linkjax.analysis.segmenters.trainers import FewShotTrainer, LinearHeadTrainer


def draw_features(
    models: tuple[Any], items: dict[str, jax.Array], trainer: LinearHeadTrainer | FewShotTrainer
) -> dict[str, Any]:
    """w → image as bytes, and the maps a head is trained on."""
    images, maps = trainer.features(models[0], items["w"])
    good = [jnp.all(jnp.isfinite(each), axis=(1, 2, 3)) for each in (images, *jax.tree.leaves(maps))]
    return {"image": numerics.to_uint8(images), "maps": maps, "finite": jnp.all(jnp.stack(good), axis=0)}


def draw_labels(models: tuple[Any, Any], items: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """w → image as bytes, labels as bytes, and how unsure the segmenter is, in nats."""
    images, scores = parts.draw_with_parts(*models, items["w"])
    labels = jnp.argmax(scores, axis=-1).astype(jnp.uint8)
    return {"image": numerics.to_uint8(images), "labels": labels, "uncertainty": labelling.uncertainty(scores)}
