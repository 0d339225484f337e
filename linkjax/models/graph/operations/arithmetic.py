"""Functions of two numbers each, broadcast against each other."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from linkjax.models.graph.operations.table import operation
from linkjax.models.graph.view import Order, View, together


def _broadcast(function: Callable[[Any, Any], Array], one: View, other: View | float) -> View:
    if not isinstance(other, View):
        return one.like(function(one.array, other))
    first, second, order = together(one, other)
    return View(function(*_alike(first, second)), order)


def _alike(first: Array, second: Array) -> tuple[Array, Array]:
    """Two arrays of one type: where one is of fractions, both are."""
    if first.dtype == second.dtype:
        return first, second
    kind = first.dtype if jnp.issubdtype(first.dtype, jnp.floating) else second.dtype
    return first.astype(kind), second.astype(kind)


@operation
def add(input: View, other: View | float, alpha: float = 1) -> View:
    """input + alpha · other."""
    return _broadcast(lambda a, b: a + b if alpha == 1 else a + alpha * b, input, other)


@operation
def subtract(input: View, other: View | float, alpha: float = 1) -> View:
    """input − alpha · other."""
    return _broadcast(lambda a, b: a - b if alpha == 1 else a - alpha * b, input, other)


@operation
def subtract_from(input: View, other: float, alpha: float = 1) -> View:
    """other − alpha · input."""
    return input.like(other - (input.array if alpha == 1 else alpha * input.array))


def _register(name: str, function: Callable[[Any, Any], Array]) -> None:
    def apply(input: View, other: View | float) -> View:
        return _broadcast(function, input, other)

    operation(apply, name)


for _name, _function in {
    "multiply": jnp.multiply,
    "divide": jnp.divide,
    "maximum": jnp.maximum,
    "minimum": jnp.minimum,
    "greater": jnp.greater,
    "greater_equal": jnp.greater_equal,
    "less": jnp.less,
    "less_equal": jnp.less_equal,
    "equal": jnp.equal,
    "not_equal": jnp.not_equal,
}.items():
    _register(_name, _function)


@operation
def where(condition: View, input: View | float, other: View | float) -> View:
    """input where the condition holds, other elsewhere."""
    if not isinstance(input, View):
        return _broadcast(lambda c, b: jnp.where(c, input, b), condition, other) if isinstance(other, View) else (
            condition.like(jnp.where(condition.array, jnp.float32(input), jnp.float32(other)))
        )  # fmt: skip
    chosen = _of_three(condition, input, other)
    return View(jnp.where(chosen[0], chosen[1], chosen[2]), chosen[3])


def _of_three(condition: View, input: View, other: View | float) -> tuple[Array, Array, Array | float, Order]:
    given = [each for each in (condition, input, other) if isinstance(each, View)]
    rank = max(each.rank for each in given)
    views = [each.widened(rank) for each in given]
    order = max(views, key=lambda each: each.array.size).order
    mask, first, *second = (each.laid(order) for each in views)
    if not isinstance(other, View):
        return mask, first, other, order
    return (mask, *_alike(first, *second), order)
