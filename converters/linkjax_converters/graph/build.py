"""A program and its arrays from what `torch.export` gives."""

import collections
import dataclasses
import math
import operator
from collections.abc import Mapping
from typing import Any

import numpy as np

from linkjax.errors import ConversionError, InputError
from linkjax.models.graph.operations import Leaf, Value, check
from linkjax.models.graph.operations.network import KERNEL, MATRIX
from linkjax.models.graph.program import IMAGE, Node, Program, Side, Stored
from linkjax_converters.graph.aten import ALIKE, LOWERED, RESHAPED, Constant, Made, Refused, Same, base, given
from linkjax_converters.graph.special import SPECIAL, piece

#: What is computed once, at conversion, may be larger than what it is made of by this, or by so many numbers.
_GROWTH, _FREE = 4, 1 << 20
_SHOWN = 30


@dataclasses.dataclass(frozen=True)
class Built:
    """A network as a graph."""

    program: Program
    arrays: dict[str, np.ndarray]  # as they lie
    source: dict[str, str]  # node of the program → node of PyTorch's graph


def build(exported: Any, side: tuple[int, int]) -> Built:
    """The program that an exported network is.

    Args:
      exported: of `torch.export`, with operations as PyTorch's modules call them.
      side: height and width of the images.
    Raises: ConversionError that names every operation that linkjax lacks, with the first module that uses it.
    """
    return _Builder(exported, side).built()


class _Builder:
    def __init__(self, exported: Any, side: tuple[int, int]):
        self.exported, self.side = exported, side
        self.known: dict[Any, Any] = {}  # node of PyTorch's graph → Value, Leaf
        self.constant: dict[Any, Any] = {}  # … → tensor, where no image is needed for it
        self.names: dict[Any, tuple[str, bool]] = {}  # … → name of an array, and whether it is trained
        self.leaves: dict[str, tuple[np.ndarray, bool]] = {}
        self.nodes: list[Node] = []
        self.source: dict[str, str] = {}
        self.refused: dict[str, list[str]] = collections.defaultdict(list)
        self.lost: set[Any] = set()  # nodes that are refused, or that need such

    def built(self) -> Built:
        """The program, or what stands in its way."""
        import torch

        self._take_inputs()
        result = None
        for node in self.exported.graph.nodes:
            if node.op == "output":
                result = self._result(node)
            elif node.op == "call_function" and not self._folded(node, torch):
                self._lower(node)
        if self.refused:
            raise ConversionError(_refusal(self.refused))
        if not isinstance(result, Value) or result.name == IMAGE:
            raise ConversionError("the network's result does not depend on the images")
        arrays, stored = self._stored()
        program = Program(self.side, stored, tuple(self.nodes), result.name)
        return Built(program, arrays, self.source)

    def _take_inputs(self) -> None:
        from torch.export.graph_signature import InputKind

        placeholders = {node.name: node for node in self.exported.graph.nodes if node.op == "placeholder"}
        for spec in self.exported.graph_signature.input_specs:
            node = placeholders[spec.arg.name]
            if spec.kind == InputKind.USER_INPUT:
                self.known[node] = Value(IMAGE)
                continue
            held = self.exported.state_dict if spec.target in self.exported.state_dict else self.exported.constants
            self.constant[node] = held[spec.target].detach()
            self.names[node] = spec.target, spec.kind == InputKind.PARAMETER

    def _folded(self, node: Any, torch: Any) -> bool:
        """Compute what depends on no image, unless it would only make much of little."""
        inputs = node.all_input_nodes
        if not all(each in self.constant for each in inputs) or (not inputs and not _tensor(node)):
            return False
        with torch.no_grad():
            arguments = torch.fx.node.map_arg((node.args, node.kwargs), lambda each: self.constant[each])
            made = node.target(*arguments[0], **arguments[1])
        if isinstance(made, torch.Tensor):
            most = _GROWTH * max((_count(self.constant[each]) for each in inputs), default=0) + _FREE
            if made.numel() > most:
                return False
        self.constant[node] = made
        trained = any(self.names.get(each, ("", False))[1] for each in inputs)
        first = next((self.names[each][0] for each in inputs if each in self.names), _module(node) or "constant")
        same = len(inputs) == 1 and isinstance(made, torch.Tensor) and made.numel() == _count(self.constant[inputs[0]])
        self.names[node] = (first if same else f"{first}:{node.name}"), trained
        return True

    def _lower(self, node: Any) -> None:
        name = base(node)
        if any(each in self.lost for each in node.all_input_nodes):
            self.lost.add(node)
            return
        if not _tensor(node):  # whole numbers of the batch, checks of them, and several tensors at once
            return
        try:
            made = self._lowered(node, name)
            self.known[node] = self._placed(made, node, node.name, outer=True)
        except Refused as why:
            self.refused[f"{name} {why}".strip()].append(_module(node))
            self.lost.add(node)

    def _lowered(self, node: Any, name: str) -> Made | Same:
        if node.target is operator.getitem:
            producer, place = node.args
            arguments = given(producer)[0]
            found = piece(producer, place, arguments, base(producer))
            return found if found is not None else self._direct(producer, base(producer))
        return self._direct(node, name)

    def _direct(self, node: Any, name: str) -> Made | Same:
        if not hasattr(node.target, "_schema"):
            raise Refused("")
        arguments, defaults = given(node)
        if name in ALIKE:
            return Same(arguments["input"])
        if name in RESHAPED:
            like = _sides(node) == _sides(arguments["input"])
            return Same(arguments["input"]) if like else Made("reshape", {"input": arguments["input"]})
        if name in SPECIAL:
            return SPECIAL[name](node, arguments)
        if name not in LOWERED:
            raise Refused("")
        first = next((each for each in (arguments.get("input"), *_tensors(arguments)) if each is not None), node)
        return LOWERED[name](arguments, defaults, len(_sides(node if name == "stack" else first)))

    def _placed(self, made: Made | Same, node: Any, name: str, outer: bool) -> Value | Leaf:
        if isinstance(made, Same):
            return self._reference(made.argument)
        arguments = {}
        for key, value in made.arguments.items():
            if isinstance(value, Made):
                value = self._placed(value, node, f"{name}_{key}", outer=False)
            arguments[key] = self._argument(value)
        try:
            check(made.operation, arguments)
        except InputError as error:
            raise Refused(f"({error})") from None
        shape = _sides(node) if outer else self._inner_shape(made, arguments)
        self.nodes.append(Node(name, made.operation, tuple(arguments.items()), shape, _module(node)))
        self.source[name] = node.name if outer else ""
        return Value(name)

    def _inner_shape(self, made: Made, arguments: Mapping[str, Any]) -> tuple[Side, ...]:
        if made.shape is not None:
            return tuple(map(_side, made.shape))
        shapes = [self._shape_of(value) for value in arguments.values() if isinstance(value, Value | Leaf)]
        rank = max(map(len, shapes))
        wide = [(Side(1),) * (rank - len(shape)) + shape for shape in shapes]
        return tuple(max(each, key=lambda side: (side.batch, side.count)) for each in zip(*wide, strict=True))

    def _shape_of(self, value: Value | Leaf) -> tuple[Side, ...]:
        if isinstance(value, Leaf):
            return tuple(map(Side, self.leaves[value.name][0].shape))
        if value.name == IMAGE:
            return (Side(1, True), Side(3), *map(Side, self.side))
        return next(node.shape for node in self.nodes if node.name == value.name)

    def _argument(self, value: Any) -> Any:
        import torch

        if isinstance(value, torch.fx.Node):
            return self._reference(value)
        if isinstance(value, Constant):
            name = f"constant {value.value:g}"
            self.leaves[name] = np.asarray(value.value, np.float32), False
            return Leaf(name)
        if isinstance(value, list | tuple) and not isinstance(value, Value | Leaf):
            return tuple(map(self._argument, value))
        if isinstance(value, torch.SymInt):
            raise Refused("with a number that grows with the batch")
        return value

    def _reference(self, node: Any) -> Value | Leaf:
        if node in self.known:
            return self.known[node]
        if node not in self.constant:
            raise Refused("of something that could not be had")
        name, trained = self.names[node]
        array = _array(self.constant[node])
        while name in self.leaves and not _equal(self.leaves[name][0], array):
            name = f"{name}'"
        self.leaves[name] = array, trained
        self.known[node] = Leaf(name)
        return self.known[node]

    def _result(self, node: Any) -> Any:
        (outputs,) = node.args
        wanted = [each for each in outputs if each is not None]
        if len(wanted) != 1:
            raise ConversionError(
                f"the network gives {len(wanted)} values; expected one, class scores or features [batch, n]: wrap it "
                "in a module whose forward gives that one alone"
            )
        if wanted[0] in self.constant:
            return None
        return self.known.get(wanted[0], Value("") if self.refused else None)

    def _stored(self) -> tuple[dict[str, np.ndarray], tuple[Stored, ...]]:
        """Arrays in the layout in which they are used."""
        uses: dict[str, set[tuple[int, ...] | None]] = collections.defaultdict(set)
        for node in self.nodes:
            for key, value in node.arguments:
                for name in _leaves(value):
                    lies = {("conv2d", "weight"): KERNEL, ("linear", "weight"): MATRIX}.get((node.operation, key))
                    uses[name].add(lies)
        arrays, stored = {}, []
        for name, (array, trained) in self.leaves.items():
            if name not in uses:
                continue
            (order,) = uses[name] if len(uses[name]) == 1 else (None,)
            order = tuple(range(array.ndim)) if order is None else order
            # not np.ascontiguousarray, which makes a single number a list of one
            lies = np.asarray(array.transpose([order.index(axis) for axis in range(array.ndim)]), order="C")
            arrays[name] = lies
            stored.append(Stored(name, tuple(lies.shape), order, lies.dtype.name, trained))
        return arrays, tuple(stored)


def _refusal(refused: Mapping[str, list[str]]) -> str:
    lines = [
        f"{what}: {len(modules)} times, first in {modules[0] or 'the network itself'}"
        for what, modules in list(refused.items())[:_SHOWN]
    ]
    more = [f"… and {len(refused) - _SHOWN} more"] if len(refused) > _SHOWN else []
    head = (
        f"the network uses {len(refused)} operation(s) that linkjax does not have; nothing was converted. Replace "
        "these modules, or ask for the operations:"
    )
    return "\n  ".join([head, *lines, *more])


def _leaves(value: Any) -> list[str]:
    if type(value) is Leaf:
        return [value.name]
    return [name for each in value for name in _leaves(each)] if type(value) is tuple else []


def _tensor(node: Any) -> bool:
    import torch

    return isinstance(node.meta.get("val"), torch.Tensor)


def _tensors(arguments: Mapping[str, Any]) -> list[Any]:
    import torch

    flat = [each for value in arguments.values() for each in (value if isinstance(value, list | tuple) else [value])]
    return [each for each in flat if isinstance(each, torch.fx.Node) and _tensor(each)]


def _count(value: Any) -> int:
    import torch

    return value.numel() if isinstance(value, torch.Tensor) else 0


def _module(node: Any) -> str:
    stack = node.meta.get("nn_module_stack") or {}
    paths = [path for path, _ in stack.values()]
    return paths[-1] if paths else ""


def _sides(node: Any) -> tuple[Side, ...]:
    return tuple(map(_side, node.meta["val"].shape))


def _side(size: Any) -> Side:
    """A length of PyTorch's graph: a number, or a multiple of the batch."""
    if isinstance(size, Side):
        return size
    if isinstance(size, int):
        return Side(size)
    expression = size.node.expr
    symbols = sorted(expression.free_symbols, key=str)
    if not symbols:
        return Side(int(expression))
    factor = expression.subs(symbols[0], 1) if len(symbols) == 1 else None
    if factor is None or not factor.is_Integer or (expression - factor * symbols[0]).expand() != 0:
        raise Refused(f"to a length that is no multiple of the batch ({expression})")
    return Side(int(factor), True)


def _array(tensor: Any) -> np.ndarray:
    import torch

    if tensor.dtype == torch.bool:
        return tensor.cpu().numpy()
    if tensor.dtype.is_floating_point:
        return np.asarray(tensor.to(torch.float32).cpu().numpy(), order="C")
    if tensor.dtype.is_complex:
        raise Refused("of complex numbers")
    array = tensor.cpu().numpy()
    if array.size and (array.max() > np.iinfo(np.int32).max or array.min() < np.iinfo(np.int32).min):
        raise Refused("of whole numbers beyond 32 bits")
    return array.astype(np.int32)


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and one.dtype == other.dtype and np.array_equal(one, other)


def total(arrays: Mapping[str, np.ndarray]) -> int:
    """Numbers in all arrays."""
    return sum(math.prod(array.shape) for array in arrays.values())
