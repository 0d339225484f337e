"""The operations a graph may hold, by name, and what each takes: what is not in this table is refused."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

from linkjax.errors import InputError
from linkjax.models.graph.view import View


class Value(NamedTuple):
    """The result of an earlier node, or the image, by name."""

    name: str


class Leaf(NamedTuple):
    """One of the graph's arrays, by name."""

    name: str


#: Whole numbers and fractions in a graph lie within this; a length, a side, a step within `LONGEST`.
LARGEST, LONGEST = 1e12, 1 << 16
#: Entries of a list in a graph: tensors that are joined, axes.
MOST_ENTRIES = 512


class Operation(NamedTuple):
    """One operation: the function, and what it takes."""

    function: Callable[..., View]
    parameters: Mapping[str, Any]  # name → annotation
    required: frozenset[str]
    shaped: bool  # whether it is told the shape that its result should have


OPERATIONS: dict[str, Operation] = {}


def operation(function: Callable[..., View], name: str | None = None) -> Callable[..., View]:
    """Put a function into the table (also a decorator); its annotations say what it takes, and are checked."""
    given = dict(inspect.signature(function).parameters)
    shaped = given.pop("shape", None) is not None
    OPERATIONS[name or function.__name__] = Operation(
        function,
        {key: parameter.annotation for key, parameter in given.items()},
        frozenset(key for key, parameter in given.items() if parameter.default is parameter.empty),
        shaped,
    )
    return function


def check(name: str, arguments: Mapping[str, Any]) -> None:
    """Check an operation's name and what it is given.

    Args:
      arguments: numbers, texts, None, `Value`, `Leaf`, and tuples of these.
    Raises: InputError in one sentence.
    """
    known = OPERATIONS.get(name)
    if known is None:
        raise InputError(f"the operation {name[:80]!r} is not one that linkjax has")
    wrong = sorted(set(arguments) ^ (set(arguments) & set(known.parameters)))
    missing = sorted(known.required - set(arguments))
    if wrong or missing:
        which = f"{wrong[0][:80]!r}, which it does not take" if wrong else f"no {missing[0]!r}"
        raise InputError(f"{name} is given {which}")
    for key, value in arguments.items():
        if not accepts(known.parameters[key], value):
            raise InputError(f"{name} is given a {key} that is none: {str(value)[:80]}")


def accepts(annotation: Any, value: Any) -> bool:
    """Whether a value from a graph is of an annotated kind, and within bounds."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return any(accepts(each, value) for each in inner)
    if origin is Literal:
        return type(value) is str and value in inner
    if origin is tuple:
        return isinstance(value, tuple) and len(value) <= MOST_ENTRIES and type(value) not in (Value, Leaf) and all(
            accepts(inner[0], each) for each in value
        )  # fmt: skip
    if annotation is View:
        return type(value) in (Value, Leaf)
    if annotation is types.NoneType:
        return value is None
    if annotation is float:
        return type(value) in (int, float) and (abs(value) <= LARGEST or value in (float("inf"), -float("inf")))
    if annotation is int:
        return type(value) is int and abs(value) <= LONGEST
    assert annotation is bool, annotation
    return type(value) is bool
