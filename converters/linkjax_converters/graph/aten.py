"""PyTorch's operations as those of linkjax's graphs: by their schemas, argument for argument.

An entry of `LOWERED` says which of linkjax's operations one of PyTorch's is, what its arguments are called there, and
which may be left out. What has more to it is a function in `special`.
"""

import dataclasses
import typing
from collections.abc import Callable, Mapping
from typing import Any

from linkjax.models.graph.operations import OPERATIONS


class Refused(Exception):
    """Why an operation of PyTorch cannot be one of linkjax's."""


@dataclasses.dataclass(frozen=True)
class Same:
    """The node gives what one that it takes gives."""

    argument: Any  # a node of PyTorch's graph


@dataclasses.dataclass(frozen=True)
class Made:
    """The node is an operation of linkjax's; arguments may still be nodes of PyTorch's graph."""

    operation: str
    arguments: dict[str, Any]
    shape: tuple[Any, ...] | None = None  # of one inside another, where it is not that of what it takes, broadcast


@dataclasses.dataclass(frozen=True)
class Constant:
    """An argument that is one number, as an array."""

    value: float


@dataclasses.dataclass(frozen=True)
class Direct:
    """How an operation of PyTorch's is one of linkjax's."""

    operation: str
    names: Mapping[str, str] = dataclasses.field(default_factory=dict)  # PyTorch's → linkjax's
    unused: tuple[str, ...] = ()  # arguments that change nothing here
    sides: int = 0  # lists of one number stand for so many

    def __call__(self, arguments: dict[str, Any], defaults: Mapping[str, Any], rank: int) -> Made:
        """The operation with its arguments."""
        known, made = OPERATIONS[self.operation].parameters, {}
        for name, value in arguments.items():
            own = self.names.get(name, name)
            if own in known:
                made[own] = self._value(own, value, known[own], rank)
            elif name not in self.unused and value is not None and value != defaults.get(name, False):
                raise Refused(f"with {name} {value}")
        return Made(self.operation, {name: value for name, value in made.items() if value is not None})

    def _value(self, name: str, value: Any, annotation: Any, rank: int) -> Any:
        listed = typing.get_origin(annotation) is tuple
        if listed and value is not None and not isinstance(value, list | tuple):
            value = [value]
        if isinstance(value, list | tuple):
            value = tuple(value) * (self.sides if self.sides and len(value) == 1 else 1)
        if name in ("dim", "dims") and value is not None:
            return tuple(each % rank for each in value) if isinstance(value, tuple) else value % rank
        return value


#: How upsampling says the size of its result, which the record of the export states.
_SIZES = ("output_size", "scales_h", "scales_w", "scale_factors")
#: Operations that have the name that linkjax gives them.
_ALIKE_IN_NAME = tuple(
    """relu sigmoid tanh silu hardsigmoid hardswish mish exp log sqrt rsqrt neg abs reciprocal sin cos erf logical_not
    gelu leaky_relu softplus clamp maximum minimum where roll flip conv1d linear matmul pad permute""".split()  # noqa: SIM905
)


def _entries() -> dict[str, Direct]:
    entries = {name: Direct(name) for name in _ALIKE_IN_NAME}
    entries |= {f"{name}_": entries[name] for name in ("relu", "silu", "hardswish", "hardsigmoid", "sigmoid", "clamp")}
    others = {
        "add": Direct("add"),
        "sub": Direct("subtract"),
        "rsub": Direct("subtract_from"),
        "mul": Direct("multiply"),
        "div": Direct("divide"),
        "pow": Direct("power"),
        "gt": Direct("greater"),
        "ge": Direct("greater_equal"),
        "lt": Direct("less"),
        "le": Direct("less_equal"),
        "eq": Direct("equal"),
        "ne": Direct("not_equal"),
        "elu": Direct("elu"),
        "hardtanh": Direct("clamp", {"min_val": "min", "max_val": "max"}),
        "clamp_min": Direct("clamp"),
        "clamp_max": Direct("clamp"),
        "bmm": Direct("matmul", {"mat2": "other"}),
        "mm": Direct("matmul", {"mat2": "other"}),
        "mean": Direct("mean"),
        "sum": Direct("sum"),
        "amax": Direct("amax"),
        "amin": Direct("amin"),
        "linalg_vector_norm": Direct("vector_norm"),
        "batch_norm": Direct("batch_norm", unused=("momentum", "cudnn_enabled")),
        "_native_batch_norm_legit_no_training": Direct("batch_norm", unused=("momentum",)),
        "adaptive_avg_pool2d": Direct("adaptive_avg_pool2d", sides=2),
        "_adaptive_avg_pool2d": Direct("adaptive_avg_pool2d", sides=2),
        "constant_pad_nd": Direct("pad"),
        "scaled_dot_product_attention": Direct("attention"),
        "index_select": Direct("take"),
        "pixel_shuffle": Direct("pixel_shuffle", {"upscale_factor": "factor"}),
        "pixel_unshuffle": Direct("pixel_unshuffle", {"downscale_factor": "factor"}),
        "cat": Direct("concatenate"),
        "stack": Direct("stack"),
        "upsample_nearest2d": Direct("upsample_nearest2d", unused=_SIZES),
        "upsample_bilinear2d": Direct("upsample_bilinear2d", unused=_SIZES),
        "layer_norm": Direct("layer_norm", unused=("cudnn_enable",)),
        "native_layer_norm": Direct("layer_norm"),
        "group_norm": Direct("group_norm", unused=("cudnn_enabled",)),
    }  # fmt: skip
    return entries | others


#: PyTorch's operations, by name without overload, that are one of linkjax's.
LOWERED = _entries()
#: Those that give what they are given: copies, checks, what does something in training alone.
ALIKE = frozenset(
    """alias clone contiguous detach detach_ dropout dropout_ feature_dropout alpha_dropout lift_fresh lift_fresh_copy
    _assert_tensor_metadata _conj resolve_conj positive""".split()  # noqa: SIM905
)
#: Those whose result is the same numbers in the shape that the record of the export states.
RESHAPED = frozenset(
    """view _unsafe_view reshape flatten unflatten unsqueeze squeeze view_copy squeeze_copy unsqueeze_copy
    _reshape_alias view_as""".split()  # noqa: SIM905
)


def given(node: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A node's arguments by the names of PyTorch's schema, defaults filled in; and the defaults.

    `self` is called `input`, as in linkjax's operations.
    """
    schema = node.target._schema
    arguments, defaults = {}, {}
    for place, each in enumerate(schema.arguments):
        name = "input" if each.name == "self" else each.name
        if each.has_default_value():
            defaults[name] = each.default_value
        if place < len(node.args):
            arguments[name] = node.args[place]
        elif each.name in node.kwargs:
            arguments[name] = node.kwargs[each.name]
        elif each.has_default_value():
            arguments[name] = each.default_value
        else:
            arguments[name] = None
    return arguments, defaults


def base(node: Any) -> str:
    """Name of a node's operation, without overload: conv2d for aten.conv2d.default."""
    schema = getattr(node.target, "_schema", None)
    return schema.name.split("::")[-1] if schema is not None else getattr(node.target, "__name__", str(node.target))


Special = Callable[[Any, dict[str, Any]], Made | Same]
