"""Training the few-shot segmentation network by the original's recipe."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int, Integer

from linkjax.config import positive
from linkjax.models import build
from linkjax.models.segmenter import Segmenter, SegmenterSpec
from linkjax.ops.resize import resize_nearest


@dataclasses.dataclass(frozen=True)
class FewShotTraining:
    """How a few-shot network is trained; the defaults are the original's."""

    epochs: int = 100  # each image once an epoch, one image a step, in a shuffled order
    learning_rate: float = 1e-3  # of Adam; a tenth of it after every `decay_every` epochs
    decay_every: int = 50
    weight_decay: float = 1e-3  # added to the gradient, as weight_decay · weight

    def __post_init__(self) -> None:
        positive(epochs=self.epochs, learning_rate=self.learning_rate, decay_every=self.decay_every)


def few_shot_targets(labels: Integer[Array, "B H W"], map_size: int) -> Integer[Array, "B s s"]:
    """Labels at the size of the maps, by nearest neighbour, as in the original."""
    return resize_nearest(labels[..., None], map_size, map_size)[..., 0]


def learning_rate(training: FewShotTraining, images: int) -> optax.Schedule:
    """Rate by step: a tenth of it after every `decay_every` epochs of so many images."""
    return optax.exponential_decay(training.learning_rate, training.decay_every * images, 0.1, staircase=True)


def train_few_shot(
    maps: Float[Array, "N H W C"],
    labels: Integer[Array, "N H W"],
    rows: Int[np.ndarray, "M"],
    spec: SegmenterSpec,
    training: FewShotTraining,
    seed: int = 0,
) -> tuple[Segmenter, Float[np.ndarray, "epochs"]]:
    """A network trained on some of the images, and the mean cross-entropy of each epoch, in nats.

    Args:
      maps: joined feature maps at `spec.map_size`.
      labels: at that size; pixels with labels outside 0 … num_parts − 1 do not count.
      rows: which images to train on.
    Deviations from the original: weights start from He's normal distribution, not PyTorch's uniform one; pixels
      nobody labelled are left out.
    """
    model = build.random(Segmenter, spec, seed)
    shuffle = np.random.default_rng(seed)
    order = np.stack([shuffle.permutation(rows) for _ in range(training.epochs)])
    trained, losses = _train(model, maps, labels, jnp.asarray(order, jnp.int32), training)
    return trained, np.asarray(losses)


def held_out_labels(
    maps: Float[Array, "N H W C"],
    labels: Integer[Array, "N H W"],
    fold: Int[np.ndarray, "N"],
    spec: SegmenterSpec,
    training: FewShotTraining,
    seed: int = 0,
) -> Int[np.ndarray, "N H W"]:
    """Labels of every image by a network trained on the images of all other folds."""
    predicted = np.zeros(labels.shape, np.int32)
    for held in np.unique(fold):
        model, _ = train_few_shot(maps, labels, np.flatnonzero(fold != held), spec, training, seed)
        for row in np.flatnonzero(fold == held):
            predicted[row] = np.argmax(np.asarray(model(maps[row : row + 1]))[0], axis=-1)
    return predicted


@functools.partial(jax.jit, static_argnames="training")
def _train(
    model: Segmenter, maps: Array, labels: Array, order: Array, training: FewShotTraining
) -> tuple[Segmenter, Array]:
    rate = learning_rate(training, order.shape[1])
    optimiser = optax.chain(optax.add_decayed_weights(training.weight_decay), optax.adam(rate))
    graph, start = nnx.split(model)

    def loss(params: nnx.State, row: Array) -> Array:
        scores = nnx.merge(graph, params)(maps[row][None])[0]
        counts = (labels[row] >= 0) & (labels[row] < scores.shape[-1])
        target = jnp.where(counts, labels[row], 0).astype(jnp.int32)
        each = -jnp.take_along_axis(jax.nn.log_softmax(scores, axis=-1), target[..., None], axis=-1)[..., 0]
        return jnp.sum(jnp.where(counts, each, 0.0)) / jnp.maximum(jnp.sum(counts), 1).astype(jnp.float32)

    def step(carry: tuple[Any, optax.OptState], row: Array) -> tuple[tuple[Any, optax.OptState], Array]:
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params, row)
        with jax.numpy_dtype_promotion("standard"):  # optax raises float decay rates to integer step counts
            updates, state = optimiser.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), value

    (params, _), losses = jax.lax.scan(step, (start, optimiser.init(start)), order.ravel())
    return nnx.merge(graph, params), jnp.mean(losses.reshape(order.shape), axis=1)
