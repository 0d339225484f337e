"""The smallest models with linkjax's public calls: linear but for one squashing, so that answers are known."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

SIDE = 6


class Encoded(NamedTuple):
    penultimate: jax.Array
    logits: jax.Array | None


class Generator(nnx.Module):
    """image = w · kernel, [N, SIDE, SIDE, 3]."""

    def __init__(self, kernel):
        self.kernel = nnx.Param(jnp.asarray(kernel))

    def synthesis(self, w):
        return jnp.matmul(w, self.kernel[...], precision="highest").reshape(w.shape[0], SIDE, SIDE, 3)


class Classifier(nnx.Module):
    """r = image · encode; logits = r · weight + bias."""

    reads_bytes = False

    def __init__(self, encode, weight, bias, has_head=True):
        self.encode, self.weight, self.bias = (nnx.Param(jnp.asarray(a)) for a in (encode, weight, bias))
        self.has_head = has_head

    def preprocess(self, images, differentiable=False):
        del differentiable
        return images

    def __call__(self, x):
        r = jnp.matmul(x.reshape(x.shape[0], -1), self.encode[...], precision="highest")
        return Encoded(r, self.head(r) if self.has_head else None)

    def head(self, r):
        return jnp.matmul(r, self.weight[...], precision="highest") + self.bias[...][None]


class LinearLink(nnx.Module):
    """w = r · kernel + bias in the type of its arrays."""

    def __init__(self, kernel, bias):
        self.kernel, self.bias = nnx.Param(jnp.asarray(kernel)), nnx.Param(jnp.asarray(bias))

    def __call__(self, r):
        return jnp.matmul(r, self.kernel[...], precision="highest") + self.bias[...][None]


class BentLink(nnx.Module):
    """A link without a kernel: w = tanh(r · weight)."""

    def __init__(self, weight):
        self.weight = nnx.Param(jnp.asarray(weight))

    def __call__(self, r):
        return jnp.tanh(jnp.matmul(r, self.weight[...], precision="highest"))


def world(units=5, w_dim=8, classes=4, seed=0):
    """Generator, classifier and link with r̂ = r exactly: the classifier inverts what link and generator do."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(size=(units, w_dim)) / w_dim
    picture = rng.normal(size=(w_dim, SIDE * SIDE * 3)) / w_dim
    encode = np.linalg.pinv(kernel @ picture)
    weight, bias = rng.normal(size=(units, classes)), rng.normal(size=classes)
    f32 = [a.astype(np.float32) for a in (picture, encode, weight, bias, kernel, np.zeros(w_dim))]
    return Generator(f32[0]), Classifier(*f32[1:4]), LinearLink(*f32[4:])
