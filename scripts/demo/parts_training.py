"""The bundle's segmentation head: trained from generated pictures with the renderer's labels.

A user paints some twenty pictures; here labels cost nothing, and what is measured in parts is held against the truth,
so the head is not to be what limits it. Number of pictures and penalty were chosen by the overlap with other pictures;
`train_demo.py --stages parts --labelled N` tells it: 0.910 with 20, 0.932 with 100, 0.939 with 300.
"""

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linkjax.analysis.metrics.parts import draw_with_parts
from linkjax.analysis.segmenters import overlap, segmentation
from linkjax.demo import factors, world
from linkjax.models.linear_segmenter import LinearSegmenter, LinearSegmenterSpec
from linkjax.models.stylegan_xl import Generator

LABELLED = 300  # pictures, of all breeds alike
_TRAINING = segmentation.LinearTraining(weight_decay=1e-5, iterations=600)


def train(generator: Generator, seed: int, labelled: int = LABELLED) -> tuple[LinearSegmenter, dict[str, Any]]:
    """A linear head on all layers but the last, from `labelled` pictures, and how it went."""
    start = time.monotonic()
    layers = [layer for layer in generator.spec.layers if not layer.is_torgb]
    breed = jnp.arange(labelled, dtype=jnp.int32) % len(factors.BREEDS)
    z = jax.random.normal(jax.random.key(seed + 5 * 10**6), (labelled, factors.Z_DIM))
    labels = world.render(factors.factors_of(z, breed)).labels
    _, features = generator.synthesis(generator.mapping(z, breed), features=tuple(layer.name for layer in layers))
    spec = LinearSegmenterSpec(
        layers=tuple(layer.name for layer in layers),
        channels=tuple(layer.out_channels for layer in layers),
        resolution=generator.spec.resolution,
        num_parts=len(world.PARTS),
        part_names=world.PARTS,
    )
    targets = segmentation.training_targets(labels, len(world.PARTS), world.SIZE)
    head = segmentation.train_linear(features, targets, jnp.ones(labelled, bool), _TRAINING)
    how = {
        "pictures": labelled,
        "weight decay": _TRAINING.weight_decay,
        "steps": int(head.steps),
        "objective": float(head.objective),
    }
    return segmentation.linear_segmenter(spec, head), how | {"seconds": round(time.monotonic() - start, 1)}


def iou(generator: Generator, head: LinearSegmenter, data: dict[str, np.ndarray], batch: int = 32) -> dict[str, float]:
    """Intersection over union of every part on held-out pictures, against the renderer's labels of the same animals."""
    counts = np.zeros((len(world.PARTS),) * 2, np.int64)
    for first in range(0, len(data["labels"]), batch):
        rows = slice(first, first + batch)
        _, scores = draw_with_parts(generator, head, jnp.asarray(data["w"][rows]))
        labels = jnp.asarray(data["labels"][rows])
        counts += np.asarray(overlap.confusion(labels, jnp.argmax(scores, axis=-1), len(world.PARTS)))
    return dict(zip(world.PARTS, (float(value) for value in overlap.intersection_over_union(counts)), strict=True))
