"""Runs a program of operations on images: pure, differentiable, for any number of images."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from linkjax.errors import InputError
from linkjax.models.graph.operations import OPERATIONS, Leaf, Value
from linkjax.models.graph.program import IMAGE, Node, Program
from linkjax.models.graph.view import View, inverse

#: Node → a function of its value, whose result takes its place.
Edits = Mapping[str, Callable[[View], View]]


def run(
    program: Program,
    arrays: Mapping[str, Array],
    images: Float[Array, "B H W 3"] | None,
    wanted: tuple[str, ...],
    *,
    edits: Edits | None = None,
    given: Mapping[str, View] | None = None,
) -> dict[str, View]:
    """The values of some nodes.

    Args:
      program: the network.
      arrays: name → array, as they lie.
      images: preprocessed images; None where all that is wanted follows from `given`.
      wanted: names of nodes.
      edits: functions of values, before what follows sees them.
      given: values to begin with instead of computing them.
    Raises: InputError naming the node whose operation does not fit what it is given, or gives another shape than the
      graph states; while tracing, before anything is computed.
    """
    values: dict[str, View] = dict(given or {})
    if images is not None:
        if images.ndim != 4 or images.shape[1:] != (*program.side, 3):
            raise InputError(
                f"expected preprocessed images [batch, {program.side[0]}, {program.side[1]}, 3], "
                f"found {tuple(images.shape)}"
            )
        values[IMAGE] = View(images, (0, 3, 1, 2))
    count = next(iter(values.values())).shape[0]
    leaves = {stored.name: View(jnp.asarray(arrays[stored.name]), stored.order) for stored in program.arrays}
    for node in _to_do(program, wanted, values):
        value = _done(node, values, leaves, count)
        values[node.name] = edits[node.name](value) if edits and node.name in edits else value
    return {name: values[name] for name in wanted}


def _to_do(program: Program, wanted: tuple[str, ...], have: Mapping[str, View]) -> list[Node]:
    """The nodes to compute, in order, from the values that are there."""
    needed = {name for name in wanted if name not in have}
    for node in reversed(program.nodes):
        if node.name in needed:
            needed.update(name for name in node.takes if name not in have)
    return [node for node in program.nodes if node.name in needed]


def depends(program: Program, name: str, on: tuple[str, ...]) -> bool:
    """Whether a node can be computed from these values (and arrays) alone."""
    needed = {name}
    for node in reversed(program.nodes):
        if node.name in needed and node.name not in on:
            needed.update(node.takes)
    return IMAGE not in needed


def channel_axes(program: Program, names: tuple[str, ...]) -> dict[str, int]:
    """The axis of each node's value that lies last, images aside: that of channels, of maps and of tokens.

    Nothing is computed. Values without axes besides that of images are left out.
    """
    found: dict[str, int] = {}

    def traced(arrays: Mapping[str, Array], images: Array) -> None:
        for name, value in run(program, arrays, images, names).items():
            if value.rank > 1:
                found[name] = [axis for axis in inverse(value.order) if axis != 0][-1]

    arrays = {each.name: jax.ShapeDtypeStruct(each.shape, each.dtype) for each in program.arrays}
    jax.eval_shape(traced, arrays, jax.ShapeDtypeStruct((2, *program.side, 3), jnp.float32))
    return found


def _done(node: Node, values: Mapping[str, View], leaves: Mapping[str, View], count: int) -> View:
    def argument(value: Any) -> Any:
        if type(value) is Value:
            return values[value.name]
        if type(value) is Leaf:
            return leaves[value.name]
        return tuple(map(argument, value)) if isinstance(value, tuple) else value

    known = OPERATIONS[node.operation]
    shape = tuple(side.of(count) for side in node.shape)
    given = {key: argument(value) for key, value in node.arguments}
    if known.shaped:
        given["shape"] = shape
    try:
        value = known.function(**given)
    except Exception as error:  # the border to graphs from outside: whatever they do inside, one sentence leaves
        text = str(error).strip().splitlines()
        raise InputError(
            f"node {node.name} ({node.operation}) does not fit what it takes: {text[0][:200] if text else ''}"
        ) from error
    if value.shape != shape:
        raise InputError(f"node {node.name} ({node.operation}) gives {value.shape}, and its graph states {shape}")
    return value
