"""A network as a list of operations: what a graph file may hold, checked before anything of it is used.

The file is JSON. Every node names an operation of the table, what it takes, and the shape of what it gives; it may take
only the image, arrays and nodes before it, so there are no cycles. A side that grows with the batch is "B", or "64B".
"""

import dataclasses
import difflib
import functools
import hashlib
import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from linkjax.errors import InputError
from linkjax.models.graph.operations import Leaf, Value, check

FORMAT, VERSION = "linkjax graph", 1
#: The name by which nodes take the image.
IMAGE = "image"
#: What a graph may be: bytes of its file, nodes, arrays, axes, numbers of one value and of all values an image, numbers
#: of all arrays, letters of a name.
MOST_BYTES, MOST_NODES, MOST_ARRAYS, MOST_AXES = 1 << 24, 20_000, 20_000, 8
MOST_NUMBERS, MOST_IN_ALL, MOST_STORED, MOST_LETTERS = 1 << 27, 1 << 33, 1 << 32, 300
_SIDE = re.compile(r"([1-9][0-9]{0,8})?B")
_DTYPES = ("float32", "int32", "bool")


class Side(NamedTuple):
    """A length: `count`, times the number of images if `batch`."""

    count: int
    batch: bool = False

    def of(self, images: int) -> int:
        """The length for so many images."""
        return self.count * images if self.batch else self.count


class Stored(NamedTuple):
    """An array of the graph's weights."""

    name: str
    shape: tuple[int, ...]  # as it lies
    order: tuple[int, ...]  # axis i, as the graph counts them, is axis order[i] as it lies
    dtype: str
    trained: bool  # a weight; else a constant


class Node(NamedTuple):
    """One operation."""

    name: str
    operation: str
    arguments: tuple[tuple[str, Any], ...]  # numbers, texts, None, `Value`, `Leaf`, tuples of these
    shape: tuple[Side, ...]
    module: str  # path of the module it comes from

    @property
    def takes(self) -> tuple[str, ...]:
        """Names of the values it takes."""
        return tuple(dict.fromkeys(_names(self.arguments, Value)))


@dataclasses.dataclass(frozen=True, eq=False)
class Program:
    """A network as a list of operations; equal to another with the same content.

    Raises: InputError in one sentence for anything that is not allowed.
    """

    side: tuple[int, int]  # height and width of the images it takes
    arrays: tuple[Stored, ...]
    nodes: tuple[Node, ...]
    result: str  # the node whose value the network gives

    def __post_init__(self):
        _check(self)

    @functools.cached_property
    def text(self) -> str:
        """What the file holds."""
        content = {
            "format": FORMAT,
            "version": VERSION,
            "image": ["B", 3, *self.side],
            "arrays": [_plain_array(array) for array in self.arrays],
            "nodes": [_plain_node(node) for node in self.nodes],
            "result": self.result,
        }
        return _lines(content)

    @functools.cached_property
    def sha256(self) -> str:
        """SHA-256 of the content."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @functools.cached_property
    def by_name(self) -> Mapping[str, Node]:
        """Nodes by name."""
        return {node.name: node for node in self.nodes}

    def __hash__(self) -> int:
        return hash(self.sha256)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Program) and self.sha256 == other.sha256

    def layers(self) -> dict[str, str]:
        """Path of every module → the node that gives what it gives, in the order in which they are done."""
        last: dict[str, str] = {}
        for node in self.nodes:
            parts = node.module.split(".") if node.module else []
            for depth in range(1, len(parts) + 1):
                last[".".join(parts[:depth])] = node.name
        place = {node.name: index for index, node in enumerate(self.nodes)}
        return dict(sorted(last.items(), key=lambda item: place[item[1]]))

    def find(self, layer: str) -> Node:
        """The node of a layer: a node's own name, or the path of a module.

        Raises: InputError naming the nearest for another.
        """
        layers = self.layers()
        name = layers.get(layer, layer)
        if name not in self.by_name:
            near = difflib.get_close_matches(layer, [*layers, *self.by_name], n=3, cutoff=0.4)
            hint = f"; near it are {', '.join(near)}" if near else ""
            raise InputError(f"expected a layer of the network, found {layer!r}{hint}; --list-layers names all")
        return self.by_name[name]


def read_file(path: Path) -> Program:
    """The program in a graph file.

    Raises: InputError in one sentence that names the file.
    """
    try:
        with path.open("rb") as file:
            return read(file.read(MOST_BYTES + 1))
    except OSError as error:
        raise InputError(f"{path}: expected a graph, found none ({error.strerror})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def read(text: str | bytes) -> Program:
    """The program in a graph file's content.

    Raises: InputError in one sentence for anything that is not allowed.
    """
    if len(text) > MOST_BYTES:
        raise InputError(f"expected a graph of at most {MOST_BYTES} bytes, found {len(text)}")
    try:
        content = json.loads(text, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected a graph in JSON, found a damaged file ({str(error)[:80]})") from None
    try:
        return _program(content)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, RecursionError) as error:
        raise InputError(f"expected a linkjax graph, found another content ({str(error)[:80]})") from None


def _constant(word: str) -> float:
    if word == "NaN":
        raise ValueError("NaN is no setting")
    return float(word)


def _program(content: Any) -> Program:
    if content["format"] != FORMAT:
        raise InputError("expected a linkjax graph, found JSON of another program")
    if type(content["version"]) is not int or content["version"] != VERSION:
        raise InputError(f"its version {str(content['version'])[:20]} is not the one this linkjax reads ({VERSION})")
    batch, channels, *side = content["image"]
    if (batch, channels) != ("B", 3) or len(side) != 2:
        raise ValueError("image: expected [B, 3, height, width]")
    unknown = set(content) - {"format", "version", "image", "arrays", "nodes", "result"}
    if unknown:
        raise ValueError(f"unknown entries {sorted(unknown)}")
    return Program(
        (side[0], side[1]),
        tuple(
            Stored(each["name"], tuple(each["shape"]), tuple(each["order"]), each["dtype"], each["trained"])
            for each in _list(content["arrays"], MOST_ARRAYS)
        ),
        tuple(
            Node(
                each["name"],
                each["operation"],
                tuple((str(key), _argument(value)) for key, value in each["arguments"].items()),
                tuple(map(_side, _list(each["shape"], MOST_AXES))),
                each["module"],
            )
            for each in _list(content["nodes"], MOST_NODES)
        ),
        content["result"],
    )


def _list(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"expected a list of at most {most}")
    return value


def _argument(value: Any, depth: int = 0) -> Any:
    if isinstance(value, list) and depth < 2:
        return tuple(_argument(each, depth + 1) for each in value)
    if isinstance(value, dict):
        ((kind, name),) = value.items()
        return {"value": Value, "array": Leaf}[kind](name)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError("expected numbers, texts, names and lists of these")


def _side(value: Any) -> Side:
    if isinstance(value, str) and (found := _SIDE.fullmatch(value)):
        return Side(int(found[1] or 1), True)
    if type(value) is not int:
        raise ValueError(f"{str(value)[:20]} is no length")
    return Side(value)


def _check(program: Program) -> None:
    if not all(type(side) is int and 1 <= side <= 1 << 13 for side in program.side):
        raise InputError(f"expected images of 1 … {1 << 13} pixels a side, found {str(program.side)[:80]}")
    stored = {array.name for array in program.arrays}
    if len(stored) < len(program.arrays):
        raise InputError("two of the graph's arrays have the same name")
    total = 0
    for array in program.arrays:
        _check_name(array.name)
        if array.dtype not in _DTYPES or type(array.trained) is not bool or len(array.shape) > MOST_AXES:
            raise InputError(f"array {array.name}: expected one of {', '.join(_DTYPES)} and at most {MOST_AXES} axes")
        if not all(type(size) is int and size >= 0 for size in array.shape) or (
            sorted(array.order, key=str) != list(range(len(array.shape))) or bool in map(type, array.order)
        ):
            raise InputError(f"array {array.name}: expected lengths, and each axis once, found {str(array.shape)[:80]}")
        total += math.prod(array.shape)
    if total > MOST_STORED:
        raise InputError(f"expected arrays of at most {MOST_STORED} numbers, found {total}")
    _check_nodes(program, stored)


def _check_nodes(program: Program, stored: set[str]) -> None:
    known, total = {IMAGE}, 0
    for node in program.nodes:
        _check_name(node.name)
        if not isinstance(node.module, str) or len(node.module) > MOST_LETTERS:
            raise InputError(f"node {node.name}: expected the path of a module, found {str(node.module)[:80]!r}")
        if node.name in known:
            raise InputError(f"two of the graph's nodes are called {node.name}")
        if not isinstance(node.operation, str):
            raise InputError(f"node {node.name}: expected the name of an operation")
        try:
            check(node.operation, dict(node.arguments))
        except InputError as error:
            raise InputError(f"node {node.name}: {error}") from None
        for kind, there in ((Value, known), (Leaf, stored)):
            for name in _names(node.arguments, kind):
                if name not in there:
                    raise InputError(f"node {node.name} takes {str(name)[:80]!r}, which is not before it")
        if any(side.count < 0 for side in node.shape) or len(node.shape) > MOST_AXES:
            raise InputError(f"node {node.name}: expected at most {MOST_AXES} lengths")
        size = math.prod(side.count for side in node.shape)
        total += size
        if size > MOST_NUMBERS or total > MOST_IN_ALL:
            raise InputError(f"node {node.name} makes the graph too large: {size} numbers an image, {total} so far")
        known.add(node.name)
    if program.result not in known - {IMAGE}:
        raise InputError("the graph's result is none of its nodes")


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not 0 < len(name) <= MOST_LETTERS or not name.isprintable():
        raise InputError(f"expected names of 1 … {MOST_LETTERS} letters, found {str(name)[:80]!r}")


def _names(arguments: Any, kind: type) -> list[str]:
    if type(arguments) is kind:
        return [arguments.name]
    if isinstance(arguments, tuple) and type(arguments) not in (Value, Leaf):
        return [name for each in arguments for name in _names(each, kind)]
    return []


def _plain_array(array: Stored) -> dict[str, Any]:
    return array._asdict()


def _plain_node(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "operation": node.operation,
        "arguments": {key: _plain_argument(value) for key, value in node.arguments},
        "shape": [_plain_side(side) for side in node.shape],
        "module": node.module,
    }


def _plain_side(side: Side) -> int | str:
    return side.count if not side.batch else "B" if side.count == 1 else f"{side.count}B"


def _plain_argument(value: Any) -> Any:
    if type(value) in (Value, Leaf):
        return {"value" if type(value) is Value else "array": value.name}
    return [_plain_argument(each) for each in value] if isinstance(value, tuple) else value


def _lines(content: Mapping[str, Any]) -> str:
    """JSON with a line for each node and array."""
    entries = []
    for key, value in content.items():
        if key in ("arrays", "nodes"):
            each = ",\n".join(f"  {json.dumps(item)}" for item in value)
            entries.append(f' "{key}": [\n{each}\n ]')
        else:
            entries.append(f' "{key}": {json.dumps(value)}')
    return "{\n" + ",\n".join(entries) + "\n}\n"
