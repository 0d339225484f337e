"""Tensors inside a pickle: torch's old-format storage files, read without torch, whatever device wrote them."""

import math
from collections.abc import Callable, Mapping
from typing import IO, Any

import ml_dtypes
import numpy as np

from linkjax.errors import InputError, shown
from linkjax_converters.reader.machine import Machine, load
from linkjax_converters.reader.records import Budget, Call, Global, Persistent, Span

MAGIC = 0x1950A86A20F9469CFC6C
MAX_NDIM = 32
MAX_EXPANDED = 4096  # numbers a tensor may have although its storage has fewer (a repeated scalar)

DTYPES: dict[str, np.dtype[Any]] = {
    "Float": np.dtype("<f4"),
    "Double": np.dtype("<f8"),
    "Half": np.dtype("<f2"),
    "BFloat16": np.dtype(ml_dtypes.bfloat16),
    "Long": np.dtype("<i8"),
    "Int": np.dtype("<i4"),
    "Short": np.dtype("<i2"),
    "Char": np.dtype("i1"),
    "Byte": np.dtype("u1"),
    "Bool": np.dtype("?"),
    "ComplexFloat": np.dtype("<c8"),
    "ComplexDouble": np.dtype("<c16"),
    "Untyped": np.dtype("u1"),
}
BY_NAME = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long", "int32": "Int",
    "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool", "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
}  # fmt: skip


class UnknownNumbers(InputError):
    """A storage of numbers linkjax does not read; an error only where the network itself uses it."""


class Storage:
    """A flat run of numbers: where it lies, of what kind, and how many."""

    __slots__ = ("data", "dtype", "size")

    def __init__(self, data: Span, dtype: np.dtype[Any], size: int) -> None:
        self.data = data
        self.dtype = dtype
        self.size = size


def as_span(value: Any) -> Span | None:
    """The bytes a record stands for, or None; old protocols write them as text to encode."""
    if isinstance(value, Span):
        return value
    if isinstance(value, Call) and value.function.path == "_codecs.encode":
        text, codec = value.args[0], value.args[1] if len(value.args) > 1 else "utf-8"
        try:
            return Span(memoryview(text.encode(codec)), None)
        except UnicodeError:
            raise InputError("damaged: bytes written as text do not fit their encoding; get the file again") from None
    return None


def read_storages(calls: list[Call], budget: Budget) -> dict[int, Storage | UnknownNumbers]:
    """The storages of all `_load_from_bytes` records of a file, by the identity of the record.

    Errors: those of `read_storage`, whether the network to convert uses the storage or not.
    """
    storages: dict[int, Storage | UnknownNumbers] = {}
    for call in calls:
        try:
            storages[id(call)] = read_storage(call, budget)
        except UnknownNumbers as error:
            storages[id(call)] = error
    return storages


def read_storage(call: Call, budget: Budget) -> Storage:
    """The storage in the bytes given to `torch.storage._load_from_bytes`.

    Errors: UnsafeFileError if the pickles inside ask for a call, InputError if they are no storage file or cut short.
    """
    span = as_span(call.args[0]) if len(call.args) == 1 else None
    if span is None:
        raise InputError("damaged: a tensor has no bytes; get the file again")
    position = 0

    def following() -> tuple[Any, Machine]:
        nonlocal position
        start = None if span.start is None else span.start + position
        value, machine = load(span.view[position:], start, budget)
        if machine.nested:
            raise UnsafeFileError(
                "nests a tensor file in a tensor file, which no weight file needs; refused, nothing was run"
            )
        position += machine.position
        return value, machine

    if following()[0] != MAGIC:
        raise InputError(
            "a tensor's bytes are not an old-format torch file; save the network again with its original program"
        )
    following()  # version
    system, _ = following()
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise InputError("its tensors were written on a big-endian machine; save the network again on another")
    value, _ = following()
    keys, _ = following()
    dtype, key, size, offset = described(value)
    if keys != [key]:
        raise InputError("damaged: a tensor's bytes do not name the one storage they hold; get the file again")
    data = span.view[position + 8 :]
    stored = int.from_bytes(span.view[position : position + 8], "little")
    if stored * dtype.itemsize > len(data) or offset + size > stored:
        raise InputError(
            f"truncated: a tensor announces {stored} numbers and has {len(data)} bytes; get the file again"
        )
    begin = offset * dtype.itemsize
    start = None if span.start is None else span.start + position + 8 + begin
    return Storage(Span(data[begin : begin + size * dtype.itemsize], start), dtype, size)


def storage_of(record: Persistent, stored: Callable[[str], Span]) -> Storage:
    """The storage that a persistent id describes.

    Args:
      stored: its key → the bytes that the file has under it.
    """
    dtype, key, size, offset = described(record)
    span = stored(key)
    begin, end = offset * dtype.itemsize, (offset + size) * dtype.itemsize
    if end > len(span):
        raise InputError(
            f"truncated: a tensor announces {size} numbers and has {len(span)} bytes, more than the file holds; "
            "get the file again"
        )
    return Storage(Span(span.view[begin:end], None if span.start is None else span.start + begin), dtype, size)


def described(value: Any) -> tuple[np.dtype[Any], str, int, int]:
    """dtype, key, size and offset out of torch's persistent id ("storage", type, key, location, size, view)."""
    found = value.key if isinstance(value, Persistent) else None
    if not isinstance(found, tuple) or len(found) not in (5, 6) or found[0] != "storage":
        raise InputError("damaged: a tensor's bytes hold no storage; get the file again")
    kind, key, size = found[1], found[2], found[4]
    if not isinstance(kind, Global) or kind.module.partition(".")[0] != "torch" or not isinstance(key, str):
        raise InputError("damaged: a tensor's storage has no type; get the file again")
    dtype = DTYPES.get(kind.name.removesuffix("Storage"))
    if dtype is None:
        raise UnknownNumbers(
            f"holds numbers of type {shown(kind.name)}, which linkjax does not read; save it as float32"
        )
    offset = 0
    view = found[5] if len(found) == 6 else None
    if isinstance(view, tuple) and len(view) == 3:
        offset, size = view[1], view[2]
    if not _is_count(size) or not _is_count(offset):
        raise InputError("damaged: a tensor's storage has no size; get the file again")
    return dtype, key, size, offset


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62


class Layout:
    """How a tensor lies in its storage: dtype, offset, sizes and strides in numbers; checked to stay inside."""

    __slots__ = ("count", "dtype", "offset", "shape", "storage", "strides")

    def __init__(
        self, storage: Storage, offset: Any, shape: Any, strides: Any, dtype: np.dtype[Any] | None = None
    ) -> None:
        shape, strides = as_sizes(shape), as_sizes(strides)
        if shape is None or strides is None or len(shape) != len(strides) or not _is_count(offset):
            raise InputError("damaged: a tensor's shape or strides are no sizes; get the file again")
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides
        self.dtype = dtype or storage.dtype
        available = storage.size * storage.dtype.itemsize // self.dtype.itemsize
        self.count = math.prod(shape)
        _, last = self.span
        if max(shape, default=0) >= 2**31 or last > available or self.count > max(available, MAX_EXPANDED):
            raise InputError(
                f"damaged: a tensor of shape {shown(shape)} and strides {shown(strides)} reaches beyond the "
                f"{available} numbers of its storage; get the file again"
            )

    @property
    def nbytes_read(self) -> int:
        """Bytes that must be read for the tensor, or that it has as an array of its own, whichever is more."""
        first, last = self.span
        return max(self.count, last - first) * self.dtype.itemsize

    @property
    def span(self) -> tuple[int, int]:
        """First and last + 1 number of the storage that it uses."""
        if not self.count:
            return 0, 0
        return self.offset, self.offset + 1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))

    def arrange(self, flat: np.ndarray) -> np.ndarray:
        """The tensor as a C-ordered array, from the numbers of `span`; `flat` itself where it is in order already."""
        if self.dtype.kind == "b":
            flat = flat.view(np.uint8) != 0  # a truth value is 0 or 1 whatever byte the file gives
        if not self.count:
            return np.zeros(self.shape, self.dtype)
        if flat.size == self.count and _in_order(self.shape, self.strides):
            return flat.reshape(self.shape)
        strides = tuple(s * self.dtype.itemsize for s in self.strides)
        return np.lib.stride_tricks.as_strided(flat, self.shape, strides, writeable=False).copy()


def as_sizes(value: Any) -> tuple[int, ...] | None:
    """A tuple of sizes (a tuple, list or torch.Size of the file), or None."""
    if isinstance(value, Call) and value.function.path == "torch.Size" and len(value.args) == 1:
        value = value.args[0]
    if isinstance(value, tuple | list) and len(value) <= MAX_NDIM and all(map(_is_count, value)):
        return tuple(value)
    return None


def _in_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    step = 1
    for extent, stride in zip(reversed(shape), reversed(strides), strict=True):
        if extent != 1 and stride != step:
            return False
        step *= extent
    return True


def layout(value: Any, storages: dict[int, Storage | UnknownNumbers]) -> Layout | None:
    """The tensor or parameter a record stands for, or None for any other record.

    Args:
      value: a record of a pickle.
      storages: storage by the identity of its `_load_from_bytes` record.
    """
    for _ in range(4):  # a parameter wraps a tensor; no file wraps deeper
        if not isinstance(value, Call):
            return None
        path, args = value.function.path, value.args
        if path in ("torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"):
            value = args[0] if args else None
            continue
        if path == "torch._tensor._rebuild_from_type_v2":
            value = Call(args[0], args[2]) if len(args) > 2 and isinstance(args[2], tuple) else None
            continue
        break
    if not isinstance(value, Call) or not value.function.path.startswith("torch._utils._rebuild_tensor"):
        return None
    args = value.args
    storage = storages.get(id(args[0])) if args else None
    if isinstance(storage, UnknownNumbers):
        raise storage
    if storage is None or len(args) < 4:
        raise InputError("damaged: a tensor has no storage; get the file again")
    dtype = None
    if value.function.path.endswith("_v3"):
        name = args[6].name if len(args) > 6 and isinstance(args[6], Global) else ""
        dtype = DTYPES.get(BY_NAME.get(name, ""))
        if dtype is None:
            raise InputError(f"holds numbers of type {shown(name)}, which linkjax does not read; save it as float32")
    return Layout(storage, args[1], args[2], args[3], dtype)


def read_arrays(file: IO[bytes], tensors: Mapping[str, tuple[Any, Layout]]) -> dict[str, np.ndarray]:
    """Copy tensors out of their file by reading it: pages of its map would count as memory a second time.

    Args:
      tensors: name → the record of a tensor, which may come under several names, and its layout.
    """
    made: dict[int, np.ndarray] = {}
    arrays = {}
    for name, (record, tensor) in tensors.items():
        if id(record) not in made:
            first, last = tensor.span
            flat = np.empty(last - first, tensor.dtype)
            raw = flat.view(np.uint8)
            begin = first * tensor.dtype.itemsize
            data = tensor.storage.data
            if data.start is None:
                raw[:] = np.frombuffer(data.view[begin : begin + raw.size], np.uint8)
            else:
                file.seek(data.start + begin)
                if file.readinto(memoryview(raw)) != raw.size:  # type: ignore[attr-defined]
                    raise InputError("became shorter while it was read; get the file again")
            made[id(record)] = tensor.arrange(flat)
        arrays[name] = made[id(record)]
    return arrays
