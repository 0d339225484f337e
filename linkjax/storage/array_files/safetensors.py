"""Safetensors files: a JSON header and bytes. Nothing in them can be run; everything in them is checked.

The format: eight bytes with the header's length N (little-endian), N bytes of JSON {name: {"dtype", "shape",
"data_offsets": [begin, end]}, "__metadata__": {text: text}}, then the data, without holes and without overlaps.
"""

import json
import math
from typing import IO, Any

import ml_dtypes
import numpy as np

from linkjax.errors import InputError, shown

MAX_HEADER = 1 << 24  # bytes of JSON: some hundred thousand tensors; parsed it takes twenty times as much memory
MAX_NDIM = 32

DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I16": np.dtype("<i2"),
    "I8": np.dtype("i1"),
    "U64": np.dtype("<u8"),
    "U32": np.dtype("<u4"),
    "U16": np.dtype("<u2"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),
}


def looks_like_one(head: bytes) -> bool:
    """Whether a file that begins with these bytes (at least nine) is meant to be in this format."""
    return len(head) >= 9 and 2 <= int.from_bytes(head[:8], "little") < 1 << 40 and head[8:9] == b"{"


def read_arrays(file: IO[bytes]) -> dict[str, np.ndarray]:
    """All arrays of a file, by name.

    Raises: InputError in one sentence, without the file's name.
    """
    size = file.seek(0, 2)
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise InputError(f"its header is said to have {length} bytes, more than any network needs; refused")
    if length > size - 8:
        raise InputError(f"truncated: a header of {length} bytes is announced and {size - 8} remain; get it again")
    places = _places(_header(file.read(length)), size - 8 - length)
    arrays = {}
    for name, (begin, dtype, shape) in places.items():
        array = np.empty(shape, dtype)
        raw = array.reshape(-1).view(np.uint8)
        file.seek(8 + length + begin)
        if file.readinto(memoryview(raw)) != raw.size:  # type: ignore[attr-defined]
            raise InputError("became shorter while it was read; get the file again")
        if dtype.kind == "b":  # a truth value is 0 or 1 whatever byte the file gives
            array = array.view(np.uint8) != 0
        arrays[name] = array
    return arrays


def _header(text: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({name for name, _ in pairs}) < len(pairs):
            raise ValueError("a name comes twice")
        return dict(pairs)

    def no_constant(text: str) -> None:
        raise ValueError(f"{text} is no JSON")

    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=once, parse_constant=no_constant)
    except RecursionError:
        raise InputError("damaged: its header is nested more deeply than any; get the file again") from None
    except ValueError as error:
        raise InputError(f"damaged: its header is no JSON ({shown(error)}); get the file again") from None
    if not isinstance(header, dict):
        raise InputError("damaged: its header is no table of tensors; get the file again")
    header.pop("__metadata__", None)
    return header


def _places(header: dict[str, Any], size: int) -> dict[str, tuple[int, np.dtype[Any], tuple[int, ...]]]:
    """Name → where its bytes begin, their type and the shape; together they are exactly the `size` bytes there are."""
    found: dict[str, tuple[int, np.dtype[Any], tuple[int, ...]]] = {}
    spans = []
    for name, entry in header.items():
        dtype, shape, (begin, end) = _entry(name, entry)
        needed = math.prod(shape) * dtype.itemsize
        if end - begin != needed or end > size:
            raise InputError(
                f"damaged: {shown(name)} of shape {shown(list(shape))} needs {needed} bytes, has {end - begin} of the "
                f"{size} in the file; get the file again"
            )
        found[name] = begin, dtype, shape
        spans.append((begin, end))
    position = 0
    for begin, end in sorted(spans):
        if begin != position:
            raise InputError("damaged: its tensors overlap, or leave bytes between them; get the file again")
        position = end
    if position != size:
        raise InputError(f"damaged: {size - position} bytes behind its last tensor belong to none; get the file again")
    return found


def _entry(name: str, entry: Any) -> tuple[np.dtype[Any], tuple[int, ...], tuple[int, int]]:
    if not isinstance(entry, dict) or not {"dtype", "shape", "data_offsets"} <= set(entry):
        raise InputError(f"damaged: {shown(name)} has no type, shape or place; get the file again")
    kind, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(kind, str) or kind not in DTYPES:
        raise InputError(
            f"{shown(name)} holds numbers of type {shown(kind)}, which linkjax does not read; save it as float32"
        )
    if not _are_sizes(shape) or len(shape) > MAX_NDIM or math.prod(shape) >= 1 << 62:
        raise InputError(f"damaged: the shape of {shown(name)} is no list of sizes; get the file again")
    if not _are_sizes(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise InputError(f"damaged: the place of {shown(name)} is no pair of offsets; get the file again")
    return DTYPES[kind], tuple(shape), (offsets[0], offsets[1])


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(type(value) is int and 0 <= value < 1 << 62 for value in values)
