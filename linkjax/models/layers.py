"""The layers that all classifiers share: weights with their shapes, and one operation each."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from linkjax.models.build import Buffer
from linkjax.ops import conv as ops
from linkjax.ops.normalise import batch_norm


class Keys:
    """Random keys one after the other; `nnx.Rngs` does the same, four times slower over the hundreds of layers here."""

    def __init__(self, rngs: nnx.Rngs):
        self._key, self._count = rngs.params(), 0

    def __next__(self) -> Array:
        self._count += 1
        return jax.random.fold_in(self._key, self._count)


def _he(keys: Keys, *shape: int) -> Array:
    """Normal values of variance 2 / inputs, which keeps the size of activations through ReLUs."""
    return jax.random.normal(next(keys), shape, jnp.float32) * math.sqrt(2 / math.prod(shape[:-1]))


class Conv(nnx.Module):
    """A square convolution; `kernel` [k, k, in / groups, out]."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        size: int,
        *,
        stride: int = 1,
        padding: int = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        keys: Keys,
    ):
        self.stride, self.padding, self.dilation, self.groups = stride, padding, dilation, groups
        self.kernel = nnx.Param(_he(keys, size, size, in_channels // groups, out_channels))
        self.bias = nnx.Param(jnp.zeros(out_channels, jnp.float32)) if bias else None

    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B h w O"]:
        """The convolution of x, with the bias if there is one."""
        bias = None if self.bias is None else self.bias[...]
        how: Any = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}
        return ops.conv(x, self.kernel[...], bias, **how)


class Dense(nnx.Module):
    """y = x · kernel + bias; `kernel` [in, out]."""

    def __init__(self, in_features: int, out_features: int, *, keys: Keys):
        self.kernel = nnx.Param(_he(keys, in_features, out_features))
        self.bias = nnx.Param(jnp.zeros(out_features, jnp.float32))

    def __call__(self, x: Float[Array, "B I"]) -> Float[Array, "B O"]:
        """The product with the bias added."""
        return ops.dense(x, self.kernel[...], self.bias[...])


class BatchNorm(nnx.Module):
    """Batch normalisation in evaluation mode, by the stored mean and variance; see `ops.normalise.batch_norm`."""

    def __init__(self, channels: int, *, scale: float = 1.0):
        self.scale = nnx.Param(jnp.full(channels, scale, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))
        self.mean = Buffer(jnp.zeros(channels, jnp.float32))
        self.var = Buffer(jnp.ones(channels, jnp.float32))

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """The normalised maps."""
        return batch_norm(x, self.scale[...], self.bias[...], self.mean[...], self.var[...])
