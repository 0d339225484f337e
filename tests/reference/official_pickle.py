"""Writer of the layout in which StyleGAN-XL and StyleGAN3 save networks, without torch, dill or their packages.

The opcodes are those that a real save gives (protocol 4, framed, memoised); arrays are streamed, so a file of a
gigabyte needs the memory of its largest array. One file: every record writes with the same pickler and its memo.
"""

import dataclasses
import pickle
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, Literal, Protocol

import numpy as np

FRAME = 1 << 16
CHUNK = 1 << 22
BUFFERS = ("transform", "freqs", "phases", "magnitude_ema", "up_filter", "down_filter", "w_avg")
TORCH_CLASSES = {"Embedding": "torch.nn.modules.sparse"}
STORAGES = {"f4": "Float", "f8": "Double", "f2": "Half", "i8": "Long", "i4": "Int", "i2": "Short", "i1": "Char"}
STORAGES |= {"u1": "Byte", "b1": "Bool"}
HOOKS = (
    "_backward_pre_hooks", "_backward_hooks", "_is_full_backward_hook", "_forward_hooks", "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called", "_forward_pre_hooks", "_forward_pre_hooks_with_kwargs", "_state_dict_hooks",
    "_state_dict_pre_hooks", "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip


@dataclasses.dataclass
class Module:
    """Class name and attributes of a module; numpy scalars and arrays are written as the originals write them."""

    class_name: str
    attributes: Mapping[str, Any]


class NetworkLike(Protocol):
    """Arrays by dotted name and modules by dotted path, "" first: what the reader returns, too."""

    arrays: Mapping[str, Any]
    modules: Mapping[str, Any]


@dataclasses.dataclass
class Network:
    arrays: Mapping[str, Any]
    modules: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Spelling:
    """How one save differs from another: by the versions of dill and numpy, and the device."""

    dill: Literal["0.3.4", "new"] = "0.3.4"
    numpy: Literal["core", "_core"] = "core"
    location: str = "cpu"
    module_src: str = "# source omitted"


@dataclasses.dataclass
class LazyArray:
    """An array made when it is written."""

    shape: tuple[int, ...]
    make: Callable[[], np.ndarray]
    dtype: str = "f4"


@dataclasses.dataclass
class Raw:
    """Opcodes put in place of a value, as they are."""

    opcodes: bytes


@dataclasses.dataclass
class RawStorage:
    """Bytes put in place of a tensor's storage file, as they are."""

    payload: bytes
    shape: tuple[int, ...] = (1,)


class ForeignDiscriminator:
    """Stands for a discriminator of other packages, with hooks, closures and methods."""


def write_snapshot(path: Path, entries: Mapping[str, Any], spelling: Spelling | None = None) -> None:
    """Write a snapshot with the given entries: networks, a ForeignDiscriminator, Raw opcodes or plain values."""
    with path.open("wb") as file:
        writer = _Writer(file, spelling or Spelling())
        writer.dictionary(entries)
        writer.finish()


def network_entries(network: NetworkLike, **others: Any) -> dict[str, Any]:
    """The entries of an official file around one network."""
    return {
        "G": None,
        "D": None,
        "G_ema": network,
        "augment_pipe": None,
        "training_set_kwargs": {
            "class_name": "training.dataset.ImageFolderDataset",
            "use_labels": True,
            "xflip": False,
        },
    } | others


def storage_file(dtype: str, numbers: int, location: str) -> bytes:
    """The head of an old-format torch storage file; the numbers follow it."""
    key = b"94098374810560"
    head = [pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2)]
    sizes = {"short": 2, "int": 4, "long": 4}
    head.append(pickle.dumps({"protocol_version": 1001, "little_endian": True, "type_sizes": sizes}, 2))
    count = pickle.dumps(numbers, 2)[2:-1]
    head.append(
        b"\x80\x02(X\x07\0\0\0storageq\x00ctorch\n" + STORAGES[dtype].encode() + b"Storage\nq\x01" + _binunicode(key)
        + b"q\x02" + _binunicode(location.encode()) + b"q\x03" + count + b"Ntq\x04Q."
    )  # fmt: skip
    head.append(pickle.dumps([key.decode()], 2))
    head.append(struct.pack("<q", numbers))
    return b"".join(head)


def _binunicode(text: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text


class _Writer:
    def __init__(self, file: IO[bytes], spelling: Spelling) -> None:
        self.file = file
        self.spelling = spelling
        self.frame = bytearray()
        self.memo: dict[Any, int] = {}
        self.memoised = 0
        file.write(b"\x80\x04")

    def finish(self) -> None:
        self.frame += b"."
        self.flush()

    def flush(self) -> None:
        if self.frame:
            self.file.write(b"\x95" + struct.pack("<Q", len(self.frame)) + self.frame)
            self.frame = bytearray()

    def emit(self, opcodes: bytes) -> None:
        self.frame += opcodes
        if len(self.frame) >= FRAME:
            self.flush()

    def memoise(self, key: Any = None) -> None:
        if key is not None:
            self.memo[key] = self.memoised
        self.memoised += 1
        self.emit(b"\x94")

    def recall(self, key: Any) -> bool:
        index = self.memo.get(key)
        if index is None:
            return False
        self.emit(b"h" + bytes([index]) if index < 256 else b"j" + struct.pack("<I", index))
        return True

    def reduce(self, key: Any = None) -> None:
        self.emit(b"R")
        self.memoise(key)

    def text(self, value: str) -> None:
        if self.recall(("text", value)):
            return
        data = value.encode("utf-8", "surrogatepass")
        self.emit((b"\x8c" + bytes([len(data)]) if len(data) < 256 else b"X" + struct.pack("<I", len(data))) + data)
        self.memoise(("text", value))

    def name(self, module: str, name: str) -> None:
        if not self.recall(("name", module, name)):
            self.text(module)
            self.text(name)
            self.emit(b"\x93")
            self.memoise(("name", module, name))

    def ordered_dict(self) -> None:
        self.name("collections", "OrderedDict")
        self.emit(b")")
        self.reduce()

    def bytes(self, value: bytes) -> None:
        self.emit(b"C" + bytes([len(value)]) if len(value) < 256 else b"B" + struct.pack("<I", len(value)))
        self.emit(value)
        self.memoise()

    def tuple(self, *values: Any) -> None:
        if not values:
            return self.emit(b")")
        if len(values) > 3:
            self.emit(b"(")
        for value in values:
            self.value(value)
        self.emit(b"t" if len(values) > 3 else (b"\x85", b"\x86", b"\x87")[len(values) - 1])
        return self.memoise()

    def dictionary(self, items: Mapping[str, Any]) -> None:
        self.emit(b"}")
        self.memoise()
        self.set_items(items)

    def set_items(self, items: Mapping[str, Any]) -> None:
        if len(items) > 1:
            self.emit(b"(")
        for key, value in items.items():
            self.value(key)
            self.value(value)
        if items:
            self.emit(b"u" if len(items) > 1 else b"s")

    def list(self, values: list[Any]) -> None:
        self.emit(b"]")
        self.memoise()
        if len(values) > 1:
            self.emit(b"(")
        for value in values:
            self.value(value)
        if values:
            self.emit(b"e" if len(values) > 1 else b"a")

    def integer(self, value: int) -> None:
        if 0 <= value < 2**8:
            self.emit(b"K" + bytes([value]))
        elif 0 <= value < 2**16:
            self.emit(b"M" + struct.pack("<H", value))
        elif -(2**31) <= value < 2**31:
            self.emit(b"J" + struct.pack("<i", value))
        else:
            data = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
            self.emit(b"\x8a" + bytes([len(data)]) + data)

    def value(self, value: Any) -> None:
        match value:
            case None:
                self.emit(b"N")
            case bool():
                self.emit(b"\x88" if value else b"\x89")
            case np.generic():
                self.numpy_scalar(value)
            case np.ndarray():
                self.numpy_array(value)
            case int():
                self.integer(value)
            case float():
                self.emit(b"G" + struct.pack(">d", value))
            case str():
                self.text(value)
            case bytes():
                self.bytes(value)
            case tuple():
                self.tuple(*value)
            case list():
                self.list(value)
            case dict():
                self.dictionary(value)
            case Raw():
                self.emit(value.opcodes)
            case _Opcodes():
                value.write(self)
            case ForeignDiscriminator():
                self.foreign()
            case _:
                self.network(value)

    # numpy

    def numpy_function(self, name: str) -> None:
        old = self.spelling.numpy == "core"
        if self.spelling.dill == "new":
            self.name(f"numpy.{self.spelling.numpy}.multiarray", name)
        elif not self.recall(("numpy", name)):
            self.name("dill._dill", "_get_attr")
            self.name("dill._dill", "_import_module")
            self.tuple("numpy.core._multiarray_umath" if old else "numpy._core._multiarray_umath")
            self.reduce()
            self.text(name)
            self.emit(b"\x86")
            self.memoise()
            self.reduce(("numpy", name))

    def dtype(self, dtype: np.dtype) -> None:
        kind = dtype.str.lstrip("<>|=")
        if self.recall(("dtype", kind)):
            return
        self.name("numpy", "dtype")
        self.tuple(kind, False, True)
        self.reduce(("dtype", kind))
        self.tuple(3, "|" if dtype.itemsize == 1 else "<", None, None, None, -1, -1, 0)
        self.emit(b"b")

    def numpy_scalar(self, value: np.generic) -> None:
        self.numpy_function("scalar")
        self.dtype(value.dtype)
        self.bytes(value.tobytes())
        self.emit(b"\x86")
        self.memoise()
        self.reduce()

    def numpy_array(self, value: np.ndarray) -> None:
        def empty(writer: "_Writer") -> None:
            writer.name("numpy", "ndarray")
            writer.tuple(0)
            writer.bytes(b"b")
            writer.emit(b"\x87")
            writer.memoise()

        def state(writer: "_Writer") -> None:
            writer.tuple(1, value.shape, _Opcodes(lambda w: w.dtype(value.dtype)), False, value.tobytes())

        if self.spelling.dill == "new":
            self.name("dill._dill", "_create_array")
            self.tuple(_Opcodes(lambda w: w.numpy_function("_reconstruct")), _Opcodes(empty), _Opcodes(state), None)
            self.reduce()
        else:
            self.numpy_function("_reconstruct")
            empty(self)
            self.reduce()
            state(self)
            self.emit(b"b")

    # torch

    def tensor(self, array: Any) -> None:
        self.name("torch._utils", "_rebuild_tensor_v2")
        strides = tuple(int(np.prod(array.shape[i + 1 :], dtype=np.int64)) for i in range(len(array.shape)))
        self.emit(b"(")
        self.name("torch.storage", "_load_from_bytes")
        self.storage(array)
        self.emit(b"\x85")
        self.memoise()
        self.reduce()
        self.integer(0)
        self.tuple(*array.shape)
        self.tuple(*strides)
        self.emit(b"\x89")
        self.ordered_dict()
        self.emit(b"t")
        self.memoise()
        self.reduce()

    def storage(self, array: Any) -> None:
        if isinstance(array, RawStorage):
            self.bytes(array.payload)
            return
        dtype = np.dtype(array.dtype)
        count = int(np.prod(array.shape, dtype=np.int64))
        head = storage_file(dtype.str[1:], count, self.spelling.location)
        size = len(head) + count * dtype.itemsize
        start = b"B" + struct.pack("<I", size) if size < 2**32 else b"\x8e" + struct.pack("<Q", size)
        data = array.make() if isinstance(array, LazyArray) else np.asarray(array)
        raw = np.ascontiguousarray(data, dtype).reshape(-1).view(np.uint8)
        if size < FRAME:
            self.emit(start + head + raw.tobytes())
        else:  # too large for a frame: written between frames
            self.flush()
            self.file.write(start + head)
            for begin in range(0, raw.size, CHUNK):
                self.file.write(raw[begin : begin + CHUNK].data)
        self.memoise()

    def parameter(self, array: Any) -> None:
        self.name("torch._utils", "_rebuild_parameter")
        self.tensor(array)
        self.emit(b"\x89")
        self.ordered_dict()
        self.emit(b"\x87")
        self.memoise()
        self.reduce()

    def network(self, network: NetworkLike) -> None:
        if not self.recall(("network", id(network))):
            self.module(network, "", ("network", id(network)))

    def module(self, network: NetworkLike, path: str, key: Any = None) -> None:
        module = network.modules[path]
        if module.class_name in TORCH_CLASSES:
            self.new_object(TORCH_CLASSES[module.class_name], module.class_name)
            self.state(network, path)
            self.emit(b"b")
            return
        self.name("torch_utils.persistence", "_reconstruct_persistent_obj")
        meta = {
            "type": "class",
            "version": 6,
            "module_src": self.spelling.module_src,
            "class_name": module.class_name,
            "state": _Opcodes(lambda w: w.state(network, path)),
        }
        self.tuple(meta)
        self.reduce(key)

    def state(self, network: NetworkLike, path: str) -> None:
        prefix = f"{path}." if path else ""
        module = network.modules[path]
        own = {n.removeprefix(prefix): a for n, a in network.arrays.items() if n.rpartition(".")[0] == path}
        children = [p for p in network.modules if p and p.rpartition(".")[0] == path]
        attributes = dict(module.attributes)
        self.module_dict(
            attributes.pop("training", False),
            {n: _Opcodes(lambda w, a=a: w.parameter(a)) for n, a in own.items() if n not in BUFFERS},
            {n: _Opcodes(lambda w, a=a: w.tensor(a)) for n, a in own.items() if n in BUFFERS},
            {p.removeprefix(prefix): _Opcodes(lambda w, p=p: w.module(network, p)) for p in children},
            attributes,
        )

    def module_dict(self, training: bool, parameters: Any, buffers: Any, children: Any, attributes: Any) -> None:
        """The `__dict__` of a torch module."""
        hooks = {n: _Opcodes(_Writer.ordered_dict) for n in HOOKS} | {"_is_full_backward_hook": None}
        state: dict[str, Any] = {"training": training, "_parameters": parameters, "_buffers": buffers}
        state["_non_persistent_buffers_set"] = _Opcodes(_Writer.empty_set)
        self.dictionary(state | hooks | {"_modules": children} | attributes)

    def empty_set(self) -> None:
        self.emit(b"\x8f")
        self.memoise()

    def new_object(self, module: str, name: str) -> None:
        self.name(module, name)
        self.emit(b")\x81")
        self.memoise()

    # objects of other packages

    def foreign(self) -> None:
        """A discriminator: classes of other packages, spectral norm, a hook that is a closure, a patched method."""
        weight = np.arange(6, dtype="f4").reshape(2, 3)

        def child(module: str, name: str, children: Any = None, **attributes: Any) -> _Opcodes:
            def write(writer: _Writer) -> None:
                writer.new_object(module, name)
                parameters = {"weight": _Opcodes(lambda w: w.parameter(weight))}
                writer.module_dict(True, parameters, {}, children or {}, attributes)
                writer.emit(b"b")

            return _Opcodes(write)

        def hook(writer: _Writer) -> None:
            writer.name("dill._dill", "_create_function")
            code = (1, 0, 0, 1, 2, 67, b"d\x00S\x00", (None,), (), ("x",), "vit.py", "hook", 1, b"", (), ())
            writer.emit(b"(")
            writer.name("dill._dill", "_load_type")
            writer.tuple("CodeType")
            writer.reduce()
            writer.tuple(*code)
            writer.reduce()
            writer.emit(b"cpg_modules.vit\n__dict__\n")
            writer.text("hook")
            writer.emit(b"NN}Nt")
            writer.memoise()
            writer.reduce()

        def method(writer: _Writer) -> None:
            writer.name("dill._dill", "_load_type")
            writer.tuple("MethodType")
            writer.reduce()
            writer.name("pg_modules.vit", "forward_flex")
            writer.emit(b"N\x86")
            writer.memoise()
            writer.reduce()

        backbone = child("timm.models.efficientnet", "EfficientNet", {}, forward_flex=_Opcodes(method))
        projector = child("pg_modules.projector", "F_RandomProj", {"pretrained": backbone}, hook=_Opcodes(hook))
        child("pg_modules.discriminator", "ProjectedDiscriminator", {"feature_network": projector}, diffaug=True).write(
            self
        )


class _Opcodes:
    """A value that writes itself."""

    def __init__(self, write: Callable[[_Writer], None]) -> None:
        self.write = write
