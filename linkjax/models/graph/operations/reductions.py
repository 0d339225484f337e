"""Functions of numbers along axes."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from linkjax.models.graph.operations.table import operation
from linkjax.models.graph.view import View


def reduced(function: Callable[..., Array], input: View, dim: tuple[int, ...], keepdim: bool) -> View:
    """A reduction along axes of a value, all where none are named; `function` is as `jnp.mean`."""
    dim = dim or tuple(range(input.rank))
    kept = input.like(function(input.array, axis=tuple(input.axis(axis) for axis in dim), keepdims=True))
    return kept if keepdim else kept.without(dim)


def _register(name: str, function: Callable[..., Array]) -> None:
    def apply(input: View, dim: tuple[int, ...] = (), keepdim: bool = False) -> View:
        return reduced(function, input, dim, keepdim)

    operation(apply, name)


for _name, _function in {"mean": jnp.mean, "sum": jnp.sum, "amax": jnp.max, "amin": jnp.min}.items():
    _register(_name, _function)


@operation
def variance(input: View, dim: tuple[int, ...] = (), correction: float = 1, keepdim: bool = False) -> View:
    """Σ (x − mean)² / (n − correction)."""

    def of(x: Array, **how: Any) -> Array:
        return jnp.var(x, correction=correction, **how)

    return reduced(of, input, dim, keepdim)


@operation
def vector_norm(input: View, ord: float = 2, dim: tuple[int, ...] = (), keepdim: bool = False) -> View:
    """(Σ |x|ᵒʳᵈ)^(1/ord): 1 or 2."""

    def of(x: Array, **how: Any) -> Array:
        return jnp.sum(jnp.abs(x), **how) if ord == 1 else jnp.sqrt(jnp.sum(x * x, **how))

    if ord not in (1, 2):
        raise ValueError(f"expected a norm of order 1 or 2, found {ord}")
    return reduced(of, input, dim, keepdim)


@operation
def softmax(input: View, dim: int) -> View:
    """exp(x) / Σ exp(x) along an axis."""
    return input.like(jax.nn.softmax(input.array, axis=input.axis(dim)))


@operation
def cumsum(input: View, dim: int) -> View:
    """Σ x up to each place along an axis, as float32."""
    return input.like(jnp.cumsum(input.array.astype(jnp.float32), axis=input.axis(dim)))


@operation
def log_softmax(input: View, dim: int) -> View:
    """x − log Σ exp(x) along an axis."""
    return input.like(jax.nn.log_softmax(input.array, axis=input.axis(dim)))
