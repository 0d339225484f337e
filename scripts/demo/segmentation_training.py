"""A small segmenter of pictures, trained on renders: it judges where the generator drew which part."""

import functools
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from linkjax.analysis.segmenters import overlap
from linkjax.demo import factors, world
from linkjax.devices import parallel
from linkjax.ops.full_conv import full_conv
from scripts.demo import losses, training
from scripts.demo.classifier_training import augmented

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


def train(
    minutes: float, steps: int, folder: Path, seed: int = 0, batch_size: int = 8
) -> tuple[dict[str, Array], dict[str, Any]]:
    """Weights of the segmenter, and how it went; goes on from the checkpoint in `folder`."""
    mesh = parallel.mesh()
    batch_size = parallel.round_up(batch_size, mesh)
    weights = _initial(jax.random.key(seed + 4 * 10**6))
    optimizer = optax.scale_by_adam()
    start = {"weights": weights, "moments": optimizer.init(weights), "step": jnp.zeros((), jnp.int32)}
    spread = training.gradients(_loss, mesh)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: dict, rate: Array) -> tuple[dict, dict[str, Array]]:
        here = jax.random.fold_in(jax.random.key(seed + 5 * 10**6), state["step"])
        z, breed = factors.sample(here, batch_size)
        items = {"z": z, "breed": breed, "key": jax.random.split(jax.random.fold_in(here, 7), batch_size)}
        value, gradient = spread(state["weights"], None, items)
        updates, moments = optimizer.update(gradient, state["moments"])
        weights = optax.apply_updates(state["weights"], jax.tree.map(lambda u: -rate * u, updates))
        return {"weights": weights, "moments": moments, "step": state["step"] + 1}, {"loss": value}

    state, how = training.run(
        lambda state, rate, _: step(state, rate),
        parallel.replicate(start, mesh),
        training.Schedule(minutes, steps, learning_rate=4e-3, warm_up=30),
        folder,
        {"network": "judge of parts", "widths": _WIDTHS, "seed": seed, "batch_size": batch_size},
    )
    return jax.device_put(state["weights"], jax.devices()[0]), how | {"loss": how["history"][-1]["loss"]}


def _loss(weights: dict[str, Array], _: None, items: dict[str, Array]) -> tuple[Array, Array]:
    drawing = world.render(factors.factors_of(items["z"], items["breed"]))
    predicted = scores(weights, augmented(drawing.image, items["key"]))
    each = optax.losses.softmax_cross_entropy_with_integer_labels(predicted, drawing.labels)
    loss = jnp.mean(each * losses.part_weights(drawing.labels))
    return loss, loss


@jax.jit
def confusion(weights: dict[str, Array], images: Array, labels: Array) -> Array:
    """Pixels of every (true, predicted) pair of parts, [parts, parts]."""
    return overlap.confusion(labels, jnp.argmax(scores(weights, images), axis=-1), len(world.PARTS))


def iou(counts: np.ndarray) -> dict[str, float]:
    """Intersection over union of every part, from a confusion matrix."""
    return dict(zip(world.PARTS, overlap.intersection_over_union(counts).tolist(), strict=True))
