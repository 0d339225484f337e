"""Functions of each number alone."""

import math
from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from linkjax.models.graph.operations.table import operation
from linkjax.models.graph.view import View

_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "relu": jax.nn.relu,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "silu": jax.nn.silu,
    "hardsigmoid": lambda x: jnp.clip(x + 3.0, 0.0, 6.0) / 6.0,
    "hardswish": lambda x: x * jnp.clip(x + 3.0, 0.0, 6.0) / 6.0,
    "mish": lambda x: x * jnp.tanh(jax.nn.softplus(x)),
    "exp": jnp.exp,
    "log": jnp.log,
    "sqrt": jnp.sqrt,
    "rsqrt": jax.lax.rsqrt,
    "neg": jnp.negative,
    "abs": jnp.abs,
    "reciprocal": lambda x: 1.0 / x,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "erf": jax.lax.erf,
    "logical_not": jnp.logical_not,
}


def _register(name: str, function: Callable[[Array], Array]) -> None:
    def apply(input: View) -> View:
        return input.like(function(input.array))

    operation(apply, name)


for _name, _function in _FUNCTIONS.items():
    _register(_name, _function)


@operation
def gelu(input: View, approximate: Literal["none", "tanh"] = "none") -> View:
    """x Φ(x), exactly or by tanh."""
    return input.like(jax.nn.gelu(input.array, approximate=approximate == "tanh"))


@operation
def leaky_relu(input: View, negative_slope: float = 0.01) -> View:
    """x, or x · slope where it is negative."""
    return input.like(jax.nn.leaky_relu(input.array, negative_slope))


@operation
def elu(input: View, alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> View:
    """scale · x, or scale · alpha · (exp(x · input_scale) − 1) where x is negative; `selu` is one of these."""
    x = input.array
    below = alpha * jnp.expm1(jnp.minimum(x, 0.0) * input_scale)
    return input.like(scale * jnp.where(x > 0, x, below))


@operation
def softplus(input: View, beta: float = 1.0, threshold: float = 20.0) -> View:
    """log(1 + exp(beta · x)) / beta; x itself where beta · x is beyond the threshold."""
    scaled = input.array * beta
    soft = jax.nn.softplus(jnp.minimum(scaled, threshold)) / beta
    return input.like(jnp.where(scaled > threshold, input.array, soft))


@operation
def clamp(input: View, min: float | None = None, max: float | None = None) -> View:
    """The nearest value in [min, max]."""
    return input.like(jnp.clip(input.array, min, max))


@operation
def power(input: View, exponent: float) -> View:
    """x to a constant power."""
    whole = math.isfinite(exponent) and exponent == int(exponent) and abs(exponent) <= 8
    return input.like(input.array ** (int(exponent) if whole else exponent))
