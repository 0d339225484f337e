"""Train small ResNets on renders: the two classifiers of the bundle, and the regressor that gates the generator.

`planted` sees generated pictures too, half of them: its units must carry their factors in those that it is used on.
"""

import dataclasses
import functools
import json
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import optax
from demo import fast_resnet, planted
from flax import nnx

from linkjax import numerics
from linkjax.demo import factors, world
from linkjax.models.build import Buffer
from linkjax.models.classifier import Classifier, ClassifierSpec, Preprocessing
from linkjax.models.stylegan_xl import Generator

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a network is trained."""

    goal: str  # breeds | planted | factors
    minutes: float = 4.0
    steps: int = 10**9  # whichever ends first
    batch_size: int = 32
    learning_rate: float = 3e-3
    blur: float = 0.6  # largest share of a 3×3 mean in a picture
    noise: float = 0.04  # largest standard deviation of added noise, in units of [-1, 1]
    seed: int = 0


def classifier_spec(goal: str) -> ClassifierSpec:
    """A ResNet of basic blocks for 64×64 pictures; the last stage's width is the number of units."""
    units = {"breeds": 128, "planted": planted.UNITS, "factors": 128}[goal]
    return ClassifierSpec(
        f"demo_{goal}",
        "resnet",
        widths=(24, 48, 96, units),
        blocks=(1, 1, 1, 1),
        expansion=1,
        num_classes=len(factors.FACTORS) if goal == "factors" else len(factors.BREEDS),
        preprocessing=Preprocessing(resize=None, crop=None, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    )


def augmented(images: Array, key: Array, settings: Settings) -> Array:
    """Pictures a little blurred and noisy, each to its own degree, as a generator's are."""
    keys = jax.random.split(key, 3)
    shape = (images.shape[0], 1, 1, 1)
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = images.shape[1:3]
    rows = sum(padded[:, i : i + height] for i in range(3)) / 3
    mean = sum(rows[:, :, j : j + width] for j in range(3)) / 3
    share = settings.blur * jax.random.uniform(keys[0], shape)
    grain = settings.noise * jax.random.uniform(keys[1], shape) * jax.random.normal(keys[2], images.shape)
    return jnp.clip(images + share * (mean - images) + grain, -1.0, 1.0)


def _loss(weights: Any, graph: Any, constants: Any, x: Array, truth: Array, breed: Array, goal: str) -> tuple:
    model = nnx.merge(graph, weights, constants)
    units, seen = fast_resnet.features(model.network, x)
    if goal == "planted":
        # The head reads the units and leaves them alone: they carry what was planted, nothing of the breed's label.
        error = jnp.mean(jnp.square(units - planted.targets(truth)))
        units = jax.lax.stop_gradient(units)
    scores = jnp.matmul(units, model.last.kernel[...], precision=numerics.PRECISION) + model.last.bias[...]
    if goal == "factors":
        loss = jnp.mean(jnp.square(scores - truth))
        return loss, (seen, loss)
    loss = jnp.mean(optax.losses.softmax_cross_entropy_with_integer_labels(scores, breed))
    right = jnp.mean(jnp.argmax(scores, axis=1) == breed)
    return (0.2 * loss + 10.0 * error, (seen, error)) if goal == "planted" else (loss, (seen, right))


def train(settings: Settings, generator: Generator | None = None) -> tuple[Classifier, dict[str, Any]]:
    """A trained network and how it went.

    Args:
      settings: what and how long.
      generator: draws half of the pictures; none: all are renders.
    """
    spec = classifier_spec(settings.goal)
    model = Classifier(spec, rngs=nnx.Rngs(settings.seed))
    graph, weights, constants = nnx.split(model, nnx.Param, ...)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())
    moments = optimizer.init(weights)
    key = jax.random.key(settings.seed + 3 * 10**6)

    @functools.partial(jax.jit, donate_argnums=(0, 1, 2, 3))
    def step(weights: Any, mean: Any, constants: Any, moments: Any, generator: Any, count: Array, rate: Array) -> tuple:
        here = jax.random.fold_in(key, count)
        z, breed = factors.sample(here, settings.batch_size)
        truth = factors.factors_of(z, breed)
        images = world.render(truth).image
        if generator is not None:
            half = settings.batch_size // 2
            drawn = generator.synthesis(generator.mapping(z[half:], breed[half:]))
            images = jnp.concatenate([images[:half], jnp.clip(drawn, -1.0, 1.0)])
        images = augmented(images, jax.random.fold_in(here, 7), settings)
        x = model.preprocess(images, differentiable=True)
        (_, (seen, score)), gradient = jax.value_and_grad(_loss, has_aux=True)(
            weights, graph, constants, x, truth, breed, settings.goal
        )
        updates, moments = optimizer.update(gradient, moments)
        weights = optax.apply_updates(weights, jax.tree.map(lambda u: -rate * u, updates))
        decay = jnp.minimum(0.99, (1.0 + count) / (10.0 + count))
        mean = jax.tree.map(lambda a, b: a * decay + b * (1 - decay), mean, weights)
        whole = nnx.merge(graph, weights, constants)
        for module, (m, v) in zip(fast_resnet.norms(whole.network), seen, strict=True):
            module.mean[...] = module.mean[...] * decay + m * (1 - decay)
            module.var[...] = module.var[...] * decay + v * (1 - decay)
        return weights, mean, nnx.state(whole, Buffer), moments, score

    start = logged = time.monotonic()
    mean, count, history = jax.tree.map(jnp.copy, weights), 0, []
    while True:
        now = time.monotonic()
        progress = max((now - start) / (60 * settings.minutes), count / settings.steps)
        if progress >= 1:
            break
        rate = settings.learning_rate * min((count + 1) / 50, 1.0) * 0.5 * (1 + math.cos(math.pi * progress))
        place = (jnp.asarray(count, jnp.int32), jnp.asarray(rate, jnp.float32))
        weights, mean, constants, moments, score = step(weights, mean, constants, moments, generator, *place)
        score.block_until_ready()
        count += 1
        if now - logged > 30:
            logged = now
            history.append({"step": count, "minutes": round((now - start) / 60, 2), "score": round(float(score), 5)})
            print(settings.goal, json.dumps(history[-1]), flush=True)
    how = {"steps": count, "images": count * settings.batch_size, "minutes": (time.monotonic() - start) / 60}
    return nnx.merge(graph, mean, constants), how | {"settings": dataclasses.asdict(settings), "history": history}
