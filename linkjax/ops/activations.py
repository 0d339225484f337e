"""Activations of the generators."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float


def leaky_relu(x: Float[Array, "*shape"], slope: float = 0.2, gain: float = math.sqrt(2.0)) -> Float[Array, "*shape"]:
    """gain · max(x, slope · x); the gain √2 keeps the second moment of a standard normal input.

    Args:
      x: any shape.
      slope: in [0, 1].
    """
    return jnp.maximum(x, slope * x) * gain
