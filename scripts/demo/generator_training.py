"""Teach the generator to draw the world: regression of its pictures onto the renderer's, for the same z and breed."""

import dataclasses
import functools
import json
import math
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import orbax.checkpoint as ocp
from demo import losses
from flax import nnx
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from linkjax import numerics, parallel
from linkjax.demo import factors, world
from linkjax.models import build
from linkjax.models.generator_spec import GeneratorSpec
from linkjax.models.stylegan_xl import Generator, layer_outputs

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the generator is trained."""

    minutes: float = 60.0  # of wall-clock time, resumed ones included; decides the learning rate
    steps: int = 10**9  # or so many steps, if that comes first
    batch_size: int = 8
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
    trained: dict, graph: Any, constants: Any, z: Array, breed: Array, straight: float, coarse: bool
) -> tuple[Array, Array]:
    generator = nnx.merge(graph, trained["generator"], constants)
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
    bent = jnp.mean(jnp.square(w - line)) / (jnp.mean(jnp.var(w, axis=0)) + 1e-6)
    loss = losses.drawing_loss(difference, weights)
    return loss + straight * bent, jnp.stack([jnp.mean(jnp.square(difference)), bent])


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
    """step(state, constants, learning rate) → state, (mean squared error, share of w not linear in the factors)."""
    items = NamedSharding(mesh, P(parallel.ITEM))

    def gradients(trained: dict, constants: Any, z: Array, breed: Array) -> tuple[Array, dict]:
        (_, log), gradient = jax.value_and_grad(_loss, has_aux=True)(
            trained, graph, constants, z, breed, settings.straight, coarse
        )
        return jax.lax.pmean((log, gradient), parallel.ITEM)

    spread = jax.shard_map(
        gradients,
        mesh=mesh,
        in_specs=(P(), P(), P(parallel.ITEM), P(parallel.ITEM)),
        out_specs=P(),
        check_vma=False,
    )

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state: dict, constants: Any, learning_rate: Array) -> tuple[dict, Array]:
        key = jax.random.fold_in(jax.random.key(settings.seed), state["step"])
        z, breed = jax.lax.with_sharding_constraint(factors.sample(key, settings.batch_size), items)
        log, gradient = spread(state["trained"], constants, z, breed)
        updates, moments = optimizer.update(gradient, state["moments"], state["trained"])
        updates = jax.tree.map(lambda u: -learning_rate * u, updates)
        trained = optax.apply_updates(state["trained"], updates)
        count = state["step"].astype(jnp.float32)
        decay = jnp.minimum(settings.ema, (1.0 + count) / (10.0 + count))
        mean = jax.tree.map(lambda a, b: a * decay + b * (1.0 - decay), state["mean"], trained["generator"])
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
    folder.mkdir(parents=True, exist_ok=True)
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
    spent, history = 0.0, []
    with ocp.CheckpointManager(
        (folder / "checkpoints").absolute(), options=ocp.CheckpointManagerOptions(max_to_keep=2)
    ) as manager:
        if manager.latest_step() is not None:
            restored = manager.restore(
                manager.latest_step(),
                args=ocp.args.Composite(state=ocp.args.StandardRestore(_plain(state)), log=ocp.args.JsonRestore()),
            )
            state = _unplain(state, restored.state)
            spent, history = restored.log["spent"], restored.log["history"]
        steps = {coarse: make_step(graph, settings, optimizer, mesh, coarse) for coarse in (False, True)}
        start = time.monotonic() - spent
        logged = saved = time.monotonic()
        count, logs = int(state["step"]), []
        while True:
            now = time.monotonic()
            progress = max((now - start) / (60 * settings.minutes), count / settings.steps)
            done = progress >= 1
            if logs and (done or now - logged > settings.log_seconds):
                mean = nnx.merge(graph, state["mean"], constants)
                mse, bent = np.mean(np.stack([np.asarray(log) for log in logs]), axis=0)
                entry = {"step": count, "minutes": (now - start) / 60, "train_psnr": 10 * math.log10(4 / mse)}
                entry["bent"] = float(bent)
                if progress >= settings.coarse:
                    entry |= psnr_of(jax.device_put(mean, jax.devices()[0]), settings.seed, 64)
                history.append({name: round(float(value), 3) for name, value in entry.items()})
                print(json.dumps(history[-1]), flush=True)
                logged, logs = time.monotonic(), []
            if done or now - saved > 60 * settings.save_minutes:
                log = {"spent": time.monotonic() - start, "history": history}
                manager.save(
                    count,
                    args=ocp.args.Composite(state=ocp.args.StandardSave(_plain(state)), log=ocp.args.JsonSave(log)),
                )
                saved = time.monotonic()
            if done:
                break
            rate = settings.learning_rate * min((count + 1) / settings.warm_up, 1.0)
            rate *= 0.5 * (1 + math.cos(math.pi * progress))
            state, log = steps[progress < settings.coarse](state, constants, jnp.asarray(rate, jnp.float32))
            logs.append(jax.block_until_ready(log))
            count += 1
    mean = nnx.merge(graph, state["mean"], constants)
    return with_mean_w(jax.device_put(mean, jax.devices()[0]), settings.seed), {
        "steps": count,
        "images": count * settings.batch_size,
        "minutes": (time.monotonic() - start) / 60,
        "history": history,
    }


def _plain(state: dict) -> dict[str, Any]:
    """A flat dictionary of arrays: what a checkpoint holds must not depend on Flax's classes."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _unplain(like: dict, arrays: dict[str, Any]) -> dict:
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    return jax.tree.unflatten(structure, [arrays[jax.tree_util.keystr(path)] for path, _ in paths])


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
