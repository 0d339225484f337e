"""Latents by name, and the chain z → w → image → r that makes a training pair of the link."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from linkjax import numerics

#: Sample ids of the three splits: disjoint by construction, whatever their sizes (up to 2³⁰ ids each).
SPLITS = {"train": 0, "val": 1 << 30, "test": 2 << 30}
_BLOCK = 64  # latents drawn together, so that one program draws any number


class Pairs(NamedTuple):
    """Outputs of `draw`, by item."""

    w: Array | np.ndarray  # [B, w_dim]
    r: Array | np.ndarray  # [B, units]
    prediction: Array | np.ndarray  # [B] int
    probability: Array | np.ndarray  # [B], 0 … 1


def named_latents(seed: int, label: np.ndarray, sample_id: np.ndarray, z_dim: int) -> np.ndarray:
    """Standard normal z whose values depend on (seed, class, sample id) alone.

    key = fold_in(fold_in(key(seed), class), sample id); so a sample is the same in any batch, order or resumed run.

    Args:
      label: class [B]; −1 for an unconditional generator.
      sample_id: [B], 0 … 2³² − 1; the splits of `SPLITS` own disjoint ranges.
    Returns: z [B, z_dim] float32.
    """
    names = np.stack([np.asarray(label).astype(np.int32).view(np.uint32), np.asarray(sample_id).astype(np.uint32)])
    count, key = names.shape[1], jax.random.key(seed)
    names = np.pad(names, ((0, 0), (0, -count % _BLOCK)))
    blocks = np.split(names, names.shape[1] // _BLOCK, axis=1) if count else []
    drawn = [np.asarray(_named_latents(key, block[0], block[1], z_dim)) for block in blocks]
    return np.concatenate(drawn)[:count] if count else np.zeros((0, z_dim), np.float32)


def _named_latents_one(key: Array, label: Array, sample_id: Array, z_dim: int) -> Array:
    return jax.random.normal(jax.random.fold_in(jax.random.fold_in(key, label), sample_id), (z_dim,), jnp.float32)


@functools.partial(numerics.jit, static=("z_dim",))
def _named_latents(key: Array, label: Any, sample_id: Any, z_dim: int) -> Array:
    return jax.vmap(_named_latents_one, (None, 0, 0, None))(key, label, sample_id, z_dim)


def original_latents(seed: int, sample_id: np.ndarray, z_dim: int) -> np.ndarray:
    """z as the original program draws it: row k of `RandomState(seed).randn(n, z_dim)`, the same rows for every class.

    Deviations: the original draws its test set from the same rows as its training set, and repeats rows when it
    refills; here validation and test have streams of their own, and refills go on where the stream stopped.

    Args:
      sample_id: [B]; the range of `SPLITS` an id lies in chooses the stream, the rest is the row.
    Returns: z [B, z_dim] float32 (the original rounds its float64 draw to float32 before the mapping network).
    """
    ids = np.asarray(sample_id, np.int64)
    z = np.empty((len(ids), z_dim), np.float32)
    for number, start in enumerate(SPLITS.values()):
        mine = (ids >= start) & (ids < start + (1 << 30))
        if mine.any():
            rows = ids[mine] - start
            z[mine] = _rows(seed, number, 1 << int(rows.max()).bit_length(), z_dim)[rows]
    return z


@functools.lru_cache(maxsize=3)  # one a split; a stream's first rows do not depend on how many are drawn
def _rows(seed: int, split: int, count: int, z_dim: int) -> np.ndarray:
    stream = np.random.RandomState(seed if split == 0 else [seed, split])
    return stream.randn(count, z_dim).astype(np.float32)


def draw(models: tuple[Any, Any], items: dict[str, Array], truncation: float) -> Pairs:
    """Map latents to w, draw, encode: one pair an item.

    Args:
      models: (generator, classifier).
      items: `z` [B, z_dim], `label` [B] int (−1: unconditional).
      truncation: ψ towards the mean w of the class, 0 … 1.
    Returns: the pairs, with the classifier's top class (−1 if it has no head) and that class's probability.
    """
    return encode(models, {"w": latents(models[0], items, truncation)})


def encode(models: tuple[Any, Any], items: dict[str, Array]) -> Pairs:
    """Draw latents and show them to the classifier: one pair an item.

    Args:
      models: (generator, classifier).
      items: `w` [B, w_dim].
    Returns: as `draw`, with the same w.
    """
    generator, classifier = models
    w = items["w"]
    encoded = classifier(classifier.preprocess(generator.synthesis(w)))
    if encoded.logits is None:
        return Pairs(w, encoded.penultimate, *unrecognised(w.shape[0]))
    return Pairs(w, encoded.penultimate, *recognised((), {"logits": encoded.logits}))


def latents(generator: Any, items: dict[str, Array], truncation: float) -> Array:
    """w of latents: `z` [B, z_dim] and `label` [B], as `draw` takes them."""
    return generator.mapping(items["z"], items["label"] if generator.spec.num_classes else None, truncation)


def recognised(models: tuple[()], items: dict[str, Array]) -> tuple[Array, Array]:
    """`logits` [B, classes] → the top class [B] int and its probability [B]."""
    del models
    logits = items["logits"]
    probability = jax.nn.softmax(logits, axis=-1)
    return jnp.argmax(logits, axis=-1).astype(jnp.int32), jnp.max(probability, axis=-1)


def unrecognised(count: int) -> tuple[Array, Array]:
    """What `recognised` gives of a classifier without a head."""
    return jnp.full(count, -1, jnp.int32), jnp.full(count, jnp.nan, jnp.float32)
