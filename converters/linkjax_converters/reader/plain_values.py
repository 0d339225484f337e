"""Plain Python values out of records: what a module's attributes may say."""

import math
import re
from typing import Any

import numpy as np

from linkjax.errors import InputError
from linkjax_converters.reader.policy import canonical
from linkjax_converters.reader.records import Call, Global, OpaqueKey
from linkjax_converters.reader.torch_storage import as_sizes, as_span

MAX_DEPTH = 20
MAX_VALUES = (
    500_000  # over all attributes of a network (a real one has 5 000); shared ones count each time they are met
)
MAX_ARRAY = 1 << 16  # numbers of an array among the attributes; a network's weights are tensors
_DTYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248]|c8|c16)")


class NotPlain(Exception):
    """A value that is no number, text, array or collection of these; its attribute is left out."""


class Allowance:
    """How many values may still be made."""

    __slots__ = ("values",)

    def __init__(self, values: int = MAX_VALUES) -> None:
        self.values = values

    def spend(self, count: int = 1) -> None:
        """Count values made. Errors: InputError once there are more than any network has."""
        self.values -= count
        if self.values < 0:
            raise InputError("its modules hold more values than any network has; refused as a pickle bomb")


def plain(value: Any, allowance: Allowance, depth: int = 0) -> Any:
    """Numbers, texts, tuples, lists, dicts and arrays out of records; numpy scalars and torch.Size become plain Python.

    Errors: NotPlain for any other object; InputError for more values, or deeper ones, than a network has.
    """
    allowance.spend()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth > MAX_DEPTH:
        raise InputError(f"nests values more than {MAX_DEPTH} deep in a module's attributes; refused as a pickle bomb")
    if isinstance(value, tuple | list):
        allowance.spend(len(value))
        return type(value)([plain(v, allowance, depth + 1) for v in value])
    if isinstance(value, Global) and value.module == "torch":
        return value.name  # a dtype
    found = mapping(value, allowance)
    if found is not None:
        if any(isinstance(key, OpaqueKey) for key in found):
            raise NotPlain
        return {key: plain(v, allowance, depth + 1) for key, v in found.items()}
    if isinstance(value, Call):
        return _called(value, allowance, depth)
    raise NotPlain


def mapping(value: Any, allowance: Allowance) -> dict[Any, Any] | None:
    """The contents of a dict, or of the record of one (OrderedDict, EasyDict), or None."""
    if isinstance(value, Call):
        value = _mapping_of_record(value, allowance)
    if isinstance(value, dict):
        allowance.spend(len(value))
        return value
    return None


def _mapping_of_record(record: Call, allowance: Allowance) -> Any:
    if record.items is not None:
        return record.items
    if record.function.path in ("collections.OrderedDict", "builtins.dict") and record.args:
        pairs = record.args[-1]
        if isinstance(pairs, tuple | list):
            allowance.spend(len(pairs))
            if all(isinstance(pair, tuple | list) and len(pair) == 2 and isinstance(pair[0], str) for pair in pairs):
                return {pair[0]: pair[1] for pair in pairs}
        return pairs
    if record.function.name == "EasyDict" and record.state is None:
        return next((arg for arg in record.args if isinstance(arg, dict)), {})
    return None


def _called(record: Call, allowance: Allowance, depth: int) -> Any:
    path, args = canonical(record.function).path, record.args
    if path == "torch.Size" and len(args) == 1 and isinstance(args[0], tuple | list):
        return plain(tuple(args[0]), allowance, depth + 1)
    if path == "builtins.range" and len(args) in (1, 2, 3) and all(isinstance(v, int) for v in args):
        steps = range(*args) if len(args) < 3 or args[2] else range(0)
        allowance.spend(min(len(steps), allowance.values + 1) if abs(steps.stop) < 2**31 else allowance.values + 1)
        return tuple(steps)
    if path == "numpy.scalar":
        return _scalar(args)
    if path in ("numpy._reconstruct", "dill._dill._create_array", "numpy._frombuffer"):
        return _array(record, path)
    if path == "numpy.dtype":
        return _dtype(record).name
    raise NotPlain


def _dtype(record: Any) -> np.dtype[Any]:
    """A number type, with the byte order its state gives."""
    if not isinstance(record, Call) or record.function.path != "numpy.dtype" or not record.args:
        raise NotPlain
    name = record.args[0]
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise NotPlain
    dtype = np.dtype(name)
    order = record.state[1] if isinstance(record.state, tuple) and len(record.state) > 1 else "|"
    return dtype.newbyteorder(order) if order in ("<", ">") else dtype


def _scalar(args: tuple[Any, ...]) -> Any:
    """A Python number from (dtype, bytes)."""
    if len(args) != 2:
        raise NotPlain
    dtype, span = _dtype(args[0]), as_span(args[1])
    if span is None or len(span) != dtype.itemsize:
        raise NotPlain
    return np.frombuffer(_bytes(span.view, dtype), dtype)[0].item()


def _array(record: Call, path: str) -> np.ndarray:
    """An array from (version, shape, dtype, Fortran order, bytes), numpy's state."""
    if path == "numpy._frombuffer":
        if len(record.args) != 4:
            raise NotPlain
        data, dtype_record, shape, order = record.args
        fortran = order == "F"
    else:
        state = record.args[2] if path == "dill._dill._create_array" and len(record.args) > 2 else record.state
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise NotPlain
        shape, dtype_record, fortran, data = state[-4:]
    span, dtype, sizes = as_span(data), _dtype(dtype_record), as_sizes(shape)
    if span is None or sizes is None or len(span) > MAX_ARRAY * dtype.itemsize:
        raise NotPlain
    if math.prod(sizes) * dtype.itemsize != len(span) or max(sizes, default=0) > MAX_ARRAY:
        raise InputError("damaged: an array among a module's attributes has more or fewer bytes than its shape needs")
    flat = np.frombuffer(_bytes(span.view, dtype), dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(sizes, order="F" if fortran else "C")


def _bytes(view: memoryview, dtype: np.dtype[Any]) -> bytes:
    """Raw numbers; a truth value is 0 or 1 whatever byte the file gives."""
    return bytes(byte != 0 for byte in view) if dtype.kind == "b" else bytes(view)
