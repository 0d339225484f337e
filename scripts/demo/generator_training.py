"""Teach the generator to draw the world: regression of its pictures onto the renderer's, for the same z and breed."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
from flax import nnx

from linkjax import numerics
from linkjax.demo import factors, world
from linkjax.devices import parallel
from linkjax.models import build
from linkjax.models.generator_spec import GeneratorSpec
from linkjax.models.stylegan_xl import Generator, layer_outputs
from scripts.demo import losses, training

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the generator is trained."""

    minutes: float = 60.0  # of wall-clock time, resumed ones included; decides the learning rate
    steps: int = 10**9  # or so many steps, if that comes first
    batch_size: int = 8  # pictures a step, over all devices; raised to a multiple of their number
    learning_rate: float = 6e-3
    warm_up: int = 50  # steps
    optimizer: str = "adam"  # adam | muon (of matrices and kernels; Adam for the rest)
    ema: float = 0.998
    coarse: float = 0.25  # share of the training in which only the inner layers learn, on pictures of half the size
    straight: float = 0.02  # weight of the penalty that keeps w near linear in the factors
    kernel_std: float = 0.15  # of the convolutions at the start: demodulation makes it the inverse of their step size
    seed: int = 0
    save_minutes: float = 3.0
    log_seconds: float = 60.0


def new_generator(spec: GeneratorSpec, settings: Settings) -> Generator:
    """Random weights, with smaller convolution kernels than StyleGAN's."""
    generator = Generator(spec, rngs=nnx.Rngs(settings.seed))
    for name in spec.layer_names:
        kernel = generator.synthesis.layers[name].kernel
        kernel[...] = kernel[...] * settings.kernel_std
    return generator


def _loss(
    trained: dict, constants: Any, items: dict[str, Array], graph: Any, straight: float, coarse: bool
) -> tuple[Array, dict[str, Array]]:
    """Of a device's own items."""
    generator = nnx.merge(graph, trained["generator"], constants)
    z, breed = items["z"], items["breed"]
    truth = factors.factors_of(z, breed)
    drawing = jax.lax.stop_gradient(world.render(truth))
    w = generator.mapping(z, breed)
    if coarse:
        difference = _coarse_picture(generator, trained["sketch"], w) - losses.halved(drawing.image)
        weights = losses.halved(losses.part_weights(drawing.labels)[..., None])
    else:
        difference = generator.synthesis(w) - drawing.image
        weights = losses.part_weights(drawing.labels)[..., None]
    line = jnp.matmul(truth, trained["kernel"], precision=numerics.PRECISION) + trained["bias"][None]
    mean_w = jax.lax.pmean(jnp.mean(w, axis=0), parallel.ITEM)
    spread = jax.lax.pmean(jnp.mean(jnp.square(w - mean_w[None])), parallel.ITEM)  # of all devices' items
    bent = jnp.mean(jnp.square(w - line)) / (spread + 1e-6)
    loss = losses.drawing_loss(difference, weights)
    return loss + straight * bent, {"mse": jnp.mean(jnp.square(difference)), "bent": bent}


def _coarse_layers(spec: GeneratorSpec) -> int:
    """How many layers there are up to the last whose output has at most half the picture's rate."""
    return max(i for i, layer in enumerate(spec.layers, 1) if layer.out_sampling_rate <= spec.resolution / 2)


def _coarse_picture(generator: Generator, sketch: Array, w: Array) -> Array:
    """A picture of half the size, read from an inner layer by a matrix that training throws away afterwards."""
    spec = generator.spec
    count = _coarse_layers(spec)
    margin = spec.layers[count - 1].margin
    outputs = layer_outputs(generator.synthesis, w)  # the compiler leaves out what is not read
    x = outputs[spec.layer_names[count - 1]][:, margin:-margin, margin:-margin]
    ones = jnp.ones((*x.shape[:3], 1))
    return jnp.matmul(jnp.concatenate([x, ones], axis=-1), sketch, precision=numerics.PRECISION)


def make_optimizer(name: str) -> optax.GradientTransformation:
    """Directions to descend against, of a size near 1 per weight."""
    if name == "adam":
        return optax.scale_by_adam(b1=0.9, b2=0.99, eps=1e-8)

    def matrices(weights: Any) -> Any:
        dims = {2: optax.contrib.MuonDimensionNumbers(0, 1), 4: optax.contrib.MuonDimensionNumbers((0, 1, 2), 3)}
        return jax.tree.map(lambda weight: dims.get(weight.ndim), weights)

    return optax.contrib.muon(
        -1.0,
        beta=0.9,
        adam_b1=0.9,
        adam_b2=0.99,
        muon_weight_dimension_numbers=matrices,
        consistent_rms=float(name[4:] or 0.4),
    )


def make_step(
    graph: Any, settings: Settings, optimizer: optax.GradientTransformation, mesh: Any, coarse: bool = False
) -> Any:
    """step(state, constants, learning rate) → state, mean squared error and share of w not linear in the factors."""
    spread = training.gradients(functools.partial(_loss, graph=graph, straight=settings.straight, coarse=coarse), mesh)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: dict, constants: Any, learning_rate: Array) -> tuple[dict, dict[str, Array]]:
        key = jax.random.fold_in(jax.random.key(settings.seed), state["step"])
        z, breed = factors.sample(key, settings.batch_size)
        log, gradient = spread(state["trained"], constants, {"z": z, "breed": breed})
        updates, moments = optimizer.update(gradient, state["moments"], state["trained"])
        updates = jax.tree.map(lambda u: -learning_rate * u, updates)
        trained = optax.apply_updates(state["trained"], updates)
        mean = training.average(state["mean"], trained["generator"], state["step"], settings.ema)
        return {"trained": trained, "moments": moments, "mean": mean, "step": state["step"] + 1}, log

    return step


def psnr_of(generator: Generator, seed: int, count: int = 256, batch: int = 32) -> dict[str, float]:
    """Peak signal-to-noise ratio in dB on fresh z: of whole pictures, and of the animals' pixels alone."""
    squares = np.zeros(4)
    for start in range(0, count, batch):
        key = jax.random.fold_in(jax.random.key(seed + 10**6), start)
        squares += np.asarray(_squares(generator, *factors.sample(key, batch)), np.float64)
    whole, animal = squares[0] / squares[1], squares[2] / squares[3]
    return {"psnr": 10 * math.log10(4 / whole), "psnr_foreground": 10 * math.log10(4 / animal)}


@jax.jit
def _squares(generator: Generator, z: Array, breed: Array) -> Array:
    drawing = world.render(factors.factors_of(z, breed))
    images = generator.synthesis(generator.mapping(z, breed))
    square = jnp.mean(jnp.square(jnp.clip(images, -1.0, 1.0) - drawing.image), axis=-1)
    animal = (drawing.labels > 0).astype(jnp.float32)
    size = jnp.asarray(square.size, jnp.float32)
    return jnp.stack([jnp.sum(square), size, jnp.sum(square * animal), jnp.sum(animal)])


def train(spec: GeneratorSpec, settings: Settings, folder: Path) -> tuple[Generator, dict[str, Any]]:
    """Train, or go on from the checkpoint in `folder`; returns the averaged generator and how it went."""
    mesh = parallel.mesh()
    settings = dataclasses.replace(settings, batch_size=parallel.round_up(settings.batch_size, mesh))
    generator = new_generator(spec, settings)
    graph, weights, constants = nnx.split(generator, nnx.Param, ...)
    trained = {
        "generator": weights,
        "kernel": jnp.zeros((len(factors.FACTORS), spec.w_dim)),
        "bias": jnp.zeros((spec.w_dim,)),
        "sketch": jnp.zeros((spec.layers[_coarse_layers(spec) - 1].out_channels + 1, 3)),
    }
    optimizer = make_optimizer(settings.optimizer)
    state = {
        "trained": trained,
        "moments": optimizer.init(trained),
        "mean": jax.tree.map(jnp.copy, weights),
        "step": jnp.zeros((), jnp.int32),
    }
    state, constants = parallel.replicate((state, constants), mesh)
    steps = {coarse: make_step(graph, settings, optimizer, mesh, coarse) for coarse in (False, True)}

    def report(state: dict, log: dict[str, float], progress: float) -> dict[str, float]:
        found = {"train_psnr": 10 * math.log10(4 / log["mse"]), "bent": log["bent"]}
        if progress >= settings.coarse:
            mean = nnx.merge(graph, state["mean"], constants)
            found |= psnr_of(jax.device_put(mean, jax.devices()[0]), settings.seed, 64)
        return found

    state, how = training.run(
        lambda state, rate, progress: steps[progress < settings.coarse](state, constants, rate),
        state,
        training.Schedule(
            settings.minutes,
            settings.steps,
            settings.learning_rate,
            settings.warm_up,
            settings.save_minutes,
            settings.log_seconds,
        ),
        folder,
        {
            "network": "generator",
            "layers": [layer.name for layer in spec.layers],
            **{name: getattr(settings, name) for name in ("batch_size", "optimizer", "learning_rate", "seed")},
        },
        report,
    )
    mean = nnx.merge(graph, state["mean"], constants)
    made = with_mean_w(jax.device_put(mean, jax.devices()[0]), settings.seed)
    return made, how | {"images": how["steps"] * settings.batch_size}


def with_mean_w(generator: Generator, seed: int, count: int = 2048) -> Generator:
    """The generator with every breed's mean w, which truncation pulls towards."""
    z = jax.random.normal(jax.random.key(seed + 2 * 10**6), (count, generator.spec.z_dim))
    rows = [
        jnp.mean(generator.mapping(z, jnp.full((count,), breed, jnp.int32)), axis=0)
        for breed in range(generator.spec.num_classes)
    ]
    arrays = build.leaves(generator)
    arrays["mapping.w_avg"] = jnp.stack(rows)
    return build.fill(Generator, generator.spec, arrays)
