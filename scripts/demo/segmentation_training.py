"""A small segmenter of pictures, trained on renders: it judges where the generator drew which part."""

import functools
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from demo import losses
from demo.classifier_training import Settings, augmented

from linkjax.demo import factors, world
from linkjax.ops.full_conv import full_conv

Array = jax.Array
_WIDTHS = (16, 32, 48, 64)  # at 64, 32, 16 and 8 pixels


def _initial(key: Array) -> dict[str, Array]:
    sizes = {"in": (3, _WIDTHS[0])}
    for level in range(1, 4):
        sizes[f"down{level}"] = (_WIDTHS[level - 1], _WIDTHS[level])
        sizes[f"up{level}"] = (_WIDTHS[level] + _WIDTHS[level - 1], _WIDTHS[level - 1])
    sizes["out"] = (_WIDTHS[0], len(world.PARTS))
    weights = {}
    for index, (name, (inputs, outputs)) in enumerate(sizes.items()):
        scale = math.sqrt(2 / (9 * inputs))
        weights[name] = scale * jax.random.normal(jax.random.fold_in(key, index), (3, 3, inputs, outputs))
        weights[f"{name}.bias"] = jnp.zeros((outputs,))
    return weights


def scores(weights: dict[str, Array], images: Array) -> Array:
    """[B, 64, 64, parts]: a U of 3×3 convolutions with halving and doubling between them."""

    def conv(name: str, x: Array) -> Array:
        return full_conv(x, weights[name])[:, 1:-1, 1:-1] + weights[f"{name}.bias"]

    x = jax.nn.relu(conv("in", images))
    kept = [x]
    for level in range(1, 4):
        batch, height, width, channels = x.shape
        x = jnp.mean(x.reshape(batch, height // 2, 2, width // 2, 2, channels), axis=(2, 4))
        x = jax.nn.relu(conv(f"down{level}", x))
        kept.append(x)
    for level in (3, 2, 1):
        x = jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)
        x = jax.nn.relu(conv(f"up{level}", jnp.concatenate([x, kept[level - 1]], axis=-1)))
    return conv("out", x)


def train(minutes: float, steps: int, seed: int = 0, batch_size: int = 8) -> tuple[dict[str, Array], dict[str, Any]]:
    """Weights of the segmenter, and how it went."""
    settings = Settings("segmenter", minutes=minutes, steps=steps, batch_size=batch_size)
    weights = _initial(jax.random.key(seed + 4 * 10**6))
    optimizer = optax.adam(optax.constant_schedule(1.0))
    moments = optimizer.init(weights)
    key = jax.random.key(seed + 5 * 10**6)

    def loss(weights: dict, images: Array, labels: Array) -> Array:
        each = optax.losses.softmax_cross_entropy_with_integer_labels(scores(weights, images), labels)
        return jnp.mean(each * losses.part_weights(labels))

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(weights: dict, moments: Any, count: Array, rate: Array) -> tuple:
        here = jax.random.fold_in(key, count)
        drawing = world.render(factors.factors_of(*factors.sample(here, batch_size)))
        images = augmented(drawing.image, jax.random.fold_in(here, 7), settings)
        value, gradient = jax.value_and_grad(loss)(weights, images, drawing.labels)
        updates, moments = optimizer.update(gradient, moments)
        return optax.apply_updates(weights, jax.tree.map(lambda u: rate * u, updates)), moments, value

    start, count = time.monotonic(), 0
    while (progress := max((time.monotonic() - start) / (60 * minutes), count / steps)) < 1:
        rate = 4e-3 * min((count + 1) / 30, 1.0) * 0.5 * (1 + math.cos(math.pi * progress))
        weights, moments, value = step(weights, moments, jnp.asarray(count, jnp.int32), jnp.asarray(rate, jnp.float32))
        value.block_until_ready()
        count += 1
    return weights, {"steps": count, "minutes": round((time.monotonic() - start) / 60, 2), "loss": float(value)}


@jax.jit
def confusion(weights: dict[str, Array], images: Array, labels: Array) -> Array:
    """Pixels of every (true, predicted) pair of parts, [parts, parts]."""
    count = len(world.PARTS)
    predicted = jnp.argmax(scores(weights, images), axis=-1)
    return jnp.bincount((labels * count + predicted).ravel(), length=count * count).reshape(count, count)


def iou(counts: np.ndarray) -> dict[str, float]:
    """Intersection over union of every part, from a confusion matrix."""
    hits = np.diag(counts)
    values = hits / np.maximum(counts.sum(0) + counts.sum(1) - hits, 1)
    return dict(zip(world.PARTS, (float(v) for v in values), strict=True))
