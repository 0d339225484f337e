"""Train the demo world's embedder: an image tower, and a vector for each phrase that its captions are made of.

A caption says of a few factors, where there is surely little or much of them, what `linkjax.demo.phrases` calls it, and
sometimes the breed. Its vector is the sum of its phrases' vectors: the text tower is a table of phrases. Pictures, half
of them rendered and half generated, and captions are told apart within a batch, as in CLIP (InfoNCE).
"""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from linkjax import numerics
from linkjax.demo import factors, phrases, world
from linkjax.devices import parallel
from linkjax.models.build import Buffer
from linkjax.models.classifier import Classifier, ClassifierSpec, Preprocessing
from linkjax.models.stylegan_xl import Generator
from scripts.demo import classifier_training, fast_resnet, training

Array = jax.Array
_SAID = 0.25  # of a factor's value, from which a caption may speak of it
_OFTEN, _BREED = 0.6, 0.3  # how often it does, and names the breed
_AT_ONCE = 64  # drawn


@dataclasses.dataclass(frozen=True)
class Settings:
    """How the embedder is trained."""

    steps: int = 900
    pool: int = 4096  # animals, a multiple of 64
    batch_size: int = 64
    learning_rate: float = 3e-3
    seed: int = 0
    widths: tuple[int, ...] = (16, 32, 64, 48)  # the last: of the embedding
    save_minutes: float = 1.0


def spec_of(settings: Settings) -> ClassifierSpec:
    """A ResNet of basic blocks for 64 × 64 pictures without a head: r is the embedding."""
    see = Preprocessing(resize=None, crop=None, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
    return ClassifierSpec(
        "demo_embedder", "resnet", settings.widths, (1, 1, 1, 1), expansion=1, num_classes=0, preprocessing=see
    )


def captions(truth: Array, breed: Array, key: Array) -> Array:
    """[B, words] 1 where a caption has a phrase, of factors [B, factors] and breeds."""
    often, named = jax.random.split(key)
    said = (jnp.abs(truth) > _SAID) & jax.random.bernoulli(often, _OFTEN, truth.shape)
    pair = jnp.stack([said & (truth < 0), said & (truth > 0)], axis=-1).reshape(len(truth), -1)
    kind = jax.nn.one_hot(breed, len(factors.BREEDS), dtype=bool) & jax.random.bernoulli(named, _BREED, (len(truth), 1))
    return jnp.concatenate([pair, kind], axis=1).astype(jnp.float32)


class Pool(NamedTuple):
    """Animals to learn from, half of them rendered and half generated."""

    images: Array  # [n, 64, 64, 3] bytes
    truth: Array  # [n, factors]
    breed: Array  # [n]


def draw_pool(settings: Settings, generator: Generator) -> Pool:
    """The animals of a training, `settings.pool` of them."""
    z, breed = factors.sample(jax.random.key(settings.seed + 4 * 10**6), settings.pool)
    truth = factors.factors_of(z, breed)

    @jax.jit
    def draw(generator: Generator, z: Array, breed: Array, truth: Array) -> Array:
        drawn = generator.synthesis(generator.mapping(z[1::2], breed[1::2]))
        both = jnp.stack([world.render(truth[::2]).image, drawn], axis=1)
        return numerics.to_uint8(both.reshape(-1, *both.shape[2:]))

    rows = np.arange(settings.pool).reshape(-1, _AT_ONCE)
    images = jnp.concatenate([draw(generator, z[some], breed[some], truth[some]) for some in rows])
    return Pool(images, truth, breed)


def unit(x: Array) -> Array:
    """Rows of length 1."""
    return x * jax.lax.rsqrt(jnp.sum(jnp.square(x), axis=-1, keepdims=True) + 1e-8)


def train(settings: Settings, folder: Path, generator: Generator) -> tuple[Classifier, np.ndarray, dict[str, Any]]:
    """The image tower, the phrases' vectors [words, e], and how it went; goes on from the checkpoint in `folder`."""
    with numerics.float32_default():
        model = Classifier(spec_of(settings), rngs=nnx.Rngs(settings.seed))
    graph, weights, buffers = nnx.split(model, nnx.Param, ...)
    table = 0.3 * jax.random.normal(jax.random.key(settings.seed), (len(phrases.WORDS), settings.widths[-1]))
    trained = {"image": weights, "words": table, "scale": jnp.asarray(np.log(10.0), jnp.float32)}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())
    start = {
        "weights": trained, "mean": jax.tree.map(jnp.copy, trained), "buffers": buffers,
        "moments": optimizer.init(trained), "step": jnp.zeros((), jnp.int32),
    }  # fmt: skip

    def loss(trained: Any, buffers: Any, images: Array, said: Array) -> tuple[Array, Any]:
        tower = nnx.merge(graph, trained["image"], buffers)
        x = tower.preprocess(images, differentiable=True)
        made, seen = fast_resnet.features(tower.network, x)
        text = unit(jnp.matmul(said, trained["words"], precision=numerics.PRECISION))
        score = jnp.exp(trained["scale"]) * jnp.matmul(unit(made), text.T, precision=numerics.PRECISION)
        own = jnp.arange(len(images))
        both = (optax.losses.softmax_cross_entropy_with_integer_labels(each, own) for each in (score, score.T))
        return 0.5 * sum(jnp.mean(each) for each in both), (seen, jnp.mean(jnp.argmax(score, axis=1) == own))

    def graded(trained: Any, buffers: Any, images: Array, said: Array) -> Any:
        """Value and gradient; the batch norms' mean over devices is that of one, which has the whole batch."""
        given = jax.value_and_grad(loss, has_aux=True)
        one = jax.vmap(given, in_axes=None, axis_name=parallel.ITEM, axis_size=1)
        return jax.tree.map(lambda each: each[0], one(trained, buffers, images, said))

    @jax.jit
    def step(state: dict, pool: Pool, rate: Array) -> tuple[dict, dict[str, Array]]:
        here = jax.random.fold_in(jax.random.key(settings.seed + 5 * 10**6), state["step"])
        rows = jax.random.choice(here, len(pool.images), (settings.batch_size,), replace=False)
        keys = jax.random.split(jax.random.fold_in(here, 7), settings.batch_size)
        said = captions(pool.truth[rows], pool.breed[rows], jax.random.fold_in(here, 8))
        images = classifier_training.augmented(numerics.unit_interval(pool.images[rows]) * 2.0 - 1.0, keys)
        (value, (seen, right)), gradient = graded(state["weights"], state["buffers"], images, said)
        updates, moments = optimizer.update(gradient, state["moments"])
        trained = optax.apply_updates(state["weights"], jax.tree.map(lambda u: -rate * u, updates))
        mean = training.average(state["mean"], trained, state["step"], 0.99)
        whole = nnx.merge(graph, trained["image"], state["buffers"])
        for module, (m, v) in zip(fast_resnet.norms(whole.network), seen, strict=True):
            module.mean[...] = training.average(module.mean[...], m, state["step"], 0.99)
            module.var[...] = training.average(module.var[...], v, state["step"], 0.99)
        made = {"weights": trained, "mean": mean, "buffers": nnx.state(whole, Buffer), "moments": moments}
        return {**made, "step": state["step"] + 1}, {"loss": value, "right": right}

    pool = draw_pool(settings, generator)
    schedule = training.Schedule(
        float("inf"), settings.steps, settings.learning_rate, save_minutes=settings.save_minutes, log_seconds=30.0
    )
    what = {"network": "embedder", **dataclasses.asdict(settings)}
    del what["save_minutes"]
    state, how = training.run(lambda state, rate, _: step(state, pool, rate), start, schedule, folder, what)
    how |= {"images": how["steps"] * settings.batch_size, "settings": dataclasses.asdict(settings)}
    return nnx.merge(graph, state["mean"]["image"], state["buffers"]), np.asarray(state["mean"]["words"]), how
