"""Train small ResNets on renders: the two classifiers of the bundle, and the regressor that gates the generator.

`planted` sees generated pictures too, half of them: its units must carry their factors in those that it is used on.
"""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from linkjax import numerics
from linkjax.demo import factors, world
from linkjax.devices import parallel
from linkjax.models.build import Buffer
from linkjax.models.classifier import Classifier, ClassifierSpec, Preprocessing
from linkjax.models.stylegan_xl import Generator
from scripts.demo import fast_resnet, planted, training

Array = jax.Array
_BLUR = 0.6  # largest share of a 3×3 mean in a picture
_NOISE = 0.04  # largest standard deviation of added noise, in units of [-1, 1]


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a network is trained."""

    goal: str  # breeds | planted | factors
    minutes: float = 4.0
    steps: int = 10**9  # whichever ends first
    batch_size: int = 32  # pictures a step, over all devices; raised to a multiple of twice their number
    learning_rate: float = 3e-3
    seed: int = 0
    save_minutes: float = 1.0
    log_seconds: float = 30.0
    world: str = planted.EMBEDDED  # whose planted units


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


def augmented(images: Array, keys: Array) -> Array:
    """Pictures [B, 64, 64, 3] a little blurred and noisy, as a generator's are, each by its own key."""
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = images.shape[1:3]
    rows = sum(padded[:, i : i + height] for i in range(3)) / 3
    mean = sum(rows[:, :, j : j + width] for j in range(3)) / 3

    def random(key: Array) -> tuple[Array, Array]:
        share, degree = jax.random.uniform(key, (2,))
        noise = jax.random.normal(jax.random.fold_in(key, 1), images.shape[1:])
        return _BLUR * share, _NOISE * degree * noise

    share, grain = jax.vmap(random)(keys)
    return jnp.clip(images + share[:, None, None, None] * (mean - images) + grain, -1.0, 1.0)


def _loss(
    weights: Any, constants: tuple, items: dict[str, Array], graph: Any, goal: str, table: str
) -> tuple[Array, tuple]:
    """Of a device's own items; beside the batch norms' statistics, the number to report.

    Args:
      table: the world whose planted units are aimed at.
    """
    buffers, generator = constants
    z, breed, keys = items["z"], items["breed"], items["key"]
    truth = factors.factors_of(z, breed)
    if generator is None:
        images = world.render(truth).image
    else:  # every second picture is a generated one, on however many devices
        drawn = generator.synthesis(generator.mapping(z[1::2], breed[1::2]))
        images = jnp.concatenate([world.render(truth[::2]).image, jnp.clip(drawn, -1.0, 1.0)])
        truth, breed, keys = (jnp.concatenate([each[::2], each[1::2]]) for each in (truth, breed, keys))
    model = nnx.merge(graph, weights, buffers)
    x = model.preprocess(augmented(images, keys), differentiable=True)
    units, seen = fast_resnet.features(model.network, x)
    if goal == "planted":
        # The head reads the units and leaves them alone: they carry what was planted, nothing of the breed's label.
        error = jnp.mean(jnp.square(units - planted.targets(truth, table)))
        units = jax.lax.stop_gradient(units)
    scores = jnp.matmul(units, model.last.kernel[...], precision=numerics.PRECISION) + model.last.bias[...]
    if goal == "factors":
        loss = jnp.mean(jnp.square(scores - truth))
        return loss, (seen, loss)
    loss = jnp.mean(optax.losses.softmax_cross_entropy_with_integer_labels(scores, breed))
    right = jnp.mean(jnp.argmax(scores, axis=1) == breed)
    return (0.2 * loss + 10.0 * error, (seen, error)) if goal == "planted" else (loss, (seen, right))


def train(
    settings: Settings, folder: Path, generator: Generator | None = None, begin: Classifier | None = None
) -> tuple[Classifier, dict[str, Any]]:
    """A trained network and how it went; goes on from the checkpoint in `folder`.

    Args:
      settings: what and how long.
      folder: of the checkpoints.
      generator: draws half of the pictures; none: all are renders.
      begin: a trained network to start from; none: random weights.
    """
    mesh = parallel.mesh()
    half = parallel.round_up(-(-settings.batch_size // 2), mesh)
    settings = dataclasses.replace(settings, batch_size=2 * half)
    model = begin or Classifier(classifier_spec(settings.goal), rngs=nnx.Rngs(settings.seed))
    graph, weights, buffers = nnx.split(model, nnx.Param, ...)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())
    start = {
        "weights": weights,
        "mean": jax.tree.map(jnp.copy, weights),
        "buffers": buffers,
        "moments": optimizer.init(weights),
        "step": jnp.zeros((), jnp.int32),
    }
    start, generator = parallel.replicate((start, generator), mesh)
    spread = training.gradients(functools.partial(_loss, graph=graph, goal=settings.goal, table=settings.world), mesh)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: dict, generator: Any, rate: Array) -> tuple[dict, dict[str, Array]]:
        here = jax.random.fold_in(jax.random.key(settings.seed + 3 * 10**6), state["step"])
        z, breed = factors.sample(here, settings.batch_size)
        keys = jax.random.split(jax.random.fold_in(here, 7), settings.batch_size)
        items = {"z": z, "breed": breed, "key": keys}
        (seen, score), gradient = spread(state["weights"], (state["buffers"], generator), items)
        updates, moments = optimizer.update(gradient, state["moments"])
        weights = optax.apply_updates(state["weights"], jax.tree.map(lambda u: -rate * u, updates))
        mean = training.average(state["mean"], weights, state["step"], 0.99)
        whole = nnx.merge(graph, weights, state["buffers"])
        for module, (m, v) in zip(fast_resnet.norms(whole.network), seen, strict=True):
            module.mean[...] = training.average(module.mean[...], m, state["step"], 0.99)
            module.var[...] = training.average(module.var[...], v, state["step"], 0.99)
        made = {"weights": weights, "mean": mean, "buffers": nnx.state(whole, Buffer), "moments": moments}
        return {**made, "step": state["step"] + 1}, {"score": score}

    other = {} if settings.world == planted.EMBEDDED else {"world": settings.world}
    what = {**other, "network": settings.goal, "units": model.spec.num_units, "seed": settings.seed}
    state, how = training.run(
        lambda state, rate, _: step(state, generator, rate),
        start,
        training.Schedule(
            settings.minutes,
            settings.steps,
            settings.learning_rate,
            save_minutes=settings.save_minutes,
            log_seconds=settings.log_seconds,
        ),
        folder,
        {**what, "batch_size": settings.batch_size, "learning_rate": settings.learning_rate},
    )
    how |= {"images": how["steps"] * settings.batch_size, "settings": dataclasses.asdict(settings)}
    return jax.device_put(nnx.merge(graph, state["mean"], state["buffers"]), jax.devices()[0]), how
