"""Plain Python values out of records: what a module's attributes may say."""

import re
from typing import Any

import numpy as np

from linkjax.errors import InputError
from linkjax_converters.pickle_policy import canonical
from linkjax_converters.pickle_records import Call, Global, OpaqueKey
from linkjax_converters.torch_storage import as_span

MAX_DEPTH = 20
MAX_VALUES = 2_000_000  # over all attributes of a network; shared sub-objects count each time they are met
MAX_ARRAY_BYTES = 1 << 24
_DTYPE = re.compile(r"[<>|=]?[biufc](1|2|4|8|16)")


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
    if isinstance(value, Global):
        if value.module == "torch":
            return value.name  # a dtype
        raise NotPlain
    found = mapping(value)
    if found is not None:
        allowance.spend(len(found))
        return {plain_key(k): plain(v, allowance, depth + 1) for k, v in found.items()}
    if isinstance(value, Call):
        return _called(value, allowance, depth)
    raise NotPlain


def plain_key(key: Any) -> Any:
    """A dict key, if it is a plain one."""
    if isinstance(key, OpaqueKey):
        raise NotPlain
    return key


def mapping(value: Any) -> dict[Any, Any] | None:
    """The contents of a dict, or of a record of one (OrderedDict, EasyDict), or None."""
    if isinstance(value, dict):
        return value
    if isinstance(value, Call) and value.items is not None and value.state is None:
        return value.items
    if isinstance(value, Call) and value.function.path in ("collections.OrderedDict", "builtins.dict"):
        first = value.args[0] if value.args else None
        if isinstance(first, dict):
            return first
        if isinstance(first, tuple | list) and all(isinstance(p, tuple | list) and len(p) == 2 for p in first):
            return {p[0]: p[1] for p in first if isinstance(p[0], str)}
    return None


def _called(value: Call, allowance: Allowance, depth: int) -> Any:
    function, args = canonical(value.function), value.args
    if function.path == "torch.Size" and len(args) == 1 and isinstance(args[0], tuple | list):
        return plain(tuple(args[0]), allowance, depth + 1)
    if function.path == "builtins.range":
        return [plain(v, allowance, depth + 1) for v in args] and tuple(args)
    if function.path == "numpy.scalar":
        return _scalar(args)
    if function.path in ("numpy._reconstruct", "dill._dill._create_array", "numpy._frombuffer"):
        return _array(value, allowance)
    if function.path == "numpy.dtype":
        return np.dtype(_dtype(value)).name
    raise NotPlain


def _dtype(value: Any) -> np.dtype[Any]:
    """A number type, with the byte order its state gives."""
    if not isinstance(value, Call) or value.function.path != "numpy.dtype" or not value.args:
        raise NotPlain
    name = value.args[0]
    if not isinstance(name, str) or not _DTYPE.fullmatch(name):
        raise NotPlain
    try:
        dtype = np.dtype(name)
    except TypeError:
        raise NotPlain from None
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "|"
    return dtype.newbyteorder(order) if order in ("<", ">") else dtype


def _scalar(args: tuple[Any, ...]) -> Any:
    span = as_span(args[1]) if len(args) == 2 else None
    dtype = _dtype(args[0]) if args else np.dtype("f4")
    if span is None or len(span) != dtype.itemsize:
        raise NotPlain
    return np.frombuffer(span.view, dtype)[0].item()


def _array(value: Call, allowance: Allowance) -> np.ndarray:
    """An array from (version, shape, dtype, Fortran order, bytes), numpy's state."""
    path = canonical(value.function).path
    if path == "numpy._frombuffer":
        if len(value.args) != 4:
            raise NotPlain
        data, dtype_record, shape, order = value.args
        fortran = order == "F"
    else:
        state = value.args[2] if path == "dill._dill._create_array" and len(value.args) > 2 else value.state
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise NotPlain
        shape, dtype_record, fortran, data = state[-4:]
    span, dtype = as_span(data), _dtype(dtype_record)
    if span is None or not isinstance(shape, tuple) or not all(isinstance(n, int) and n >= 0 for n in shape):
        raise NotPlain
    count = 1
    for extent in shape:
        count *= extent
    if count * dtype.itemsize != len(span) or len(span) > MAX_ARRAY_BYTES or len(shape) > 32:
        raise InputError(
            "damaged: an array of a module's attributes has not the bytes its shape needs; get the file again"
        )
    allowance.spend(count)
    flat = np.frombuffer(span.view, dtype).astype(dtype.newbyteorder("="))
    return flat.reshape(shape, order="F" if fortran else "C")
