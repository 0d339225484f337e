"""Models as plain pytrees: built without memory, filled from named arrays, listed as named arrays.

A model class is an `nnx.Module` whose constructor is `Model(spec, *, rngs)`, with a frozen, hashable dataclass as
`spec`. A leaf's name is its path joined by dots, such as `layers.L0_36_26.weight`.
"""

import functools
from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from linkjax import numerics
from linkjax.errors import InputError

M = TypeVar("M", bound=nnx.Module)


class Buffer(nnx.Variable):
    """A constant of a model (filters, frequencies, running averages): stored with the weights, never trained."""


def abstract(cls: type[M], spec: Any) -> M:
    """The model with `jax.ShapeDtypeStruct` leaves: its shapes without its memory."""
    with numerics.float32_default():
        return nnx.eval_shape(lambda: cls(spec, rngs=nnx.Rngs(0)))  # pyright: ignore[reportCallIssue]


@functools.cache
def _structure(cls: type[nnx.Module], spec: Any) -> tuple[Any, tuple[tuple[str, Any, Any], ...]]:
    """What `nnx.merge` needs besides arrays, and (name, path, variable) of each; kept: building it is half a load."""
    graph, state = nnx.split(abstract(cls, spec))
    return graph, tuple((".".join(map(str, path)), path, variable) for path, variable in nnx.to_flat_state(state))


def leaves(model: nnx.Module) -> dict[str, Any]:
    """Every array of a model (or its shape, if abstract) by dotted name."""
    return {".".join(map(str, path)): variable[...] for path, variable in nnx.to_flat_state(nnx.state(model))}


def shapes(cls: type[nnx.Module], spec: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Name → shape and dtype of every array of `cls(spec)`."""
    return {name: variable.get_raw_value() for name, _, variable in _structure(cls, spec)[1]}


def fill(cls: type[M], spec: Any, arrays: Mapping[str, Any]) -> M:
    """A model of `spec` whose leaves are `arrays`; every leaf must be given, once, in its shape.

    Raises: InputError that lists all missing, unexpected and mis-shaped names.
    """
    graph, flat = _structure(cls, spec)
    names = {name for name, _, _ in flat}
    wrong = [f"missing: {name}" for name in sorted(names - set(arrays))]
    wrong += [f"unexpected: {name}" for name in sorted(set(arrays) - names)]
    wrong += [
        f"shape of {name}: expected {tuple(variable.get_raw_value().shape)}, found {tuple(arrays[name].shape)}"
        for name, _, variable in flat
        if name in arrays and tuple(arrays[name].shape) != tuple(variable.get_raw_value().shape)
    ]
    if wrong:
        raise InputError(f"weights do not fit {cls.__name__}:\n  " + "\n  ".join(wrong))
    filled = [
        (path, variable.replace(jnp.asarray(arrays[name], variable.get_raw_value().dtype)))
        for name, path, variable in flat
    ]
    return nnx.merge(graph, nnx.from_flat_state(filled))


def random(cls: type[M], spec: Any, seed: int = 0) -> M:
    """A model of random weights, initialised in one compiled program rather than operation by operation."""
    graph = _structure(cls, spec)[0]
    make = jax.jit(lambda key: nnx.state(cls(spec, rngs=nnx.Rngs(key))))  # pyright: ignore[reportCallIssue]
    with numerics.float32_default():
        # the hardware generator compiles ten times faster than threefry, which is unrolled once a leaf
        return nnx.merge(graph, make(jax.random.key(seed, impl="rbg")))
