"""Networks out of StyleGAN-XL and StyleGAN3 snapshots, read as data: nothing of the file is imported or run."""

import contextlib
import dataclasses
import mmap
from pathlib import Path
from typing import IO, Any

import numpy as np

from linkjax.errors import InputError, LinkjaxError, shown
from linkjax_converters.reader.machine import load
from linkjax_converters.reader.plain_values import Allowance, NotPlain, mapping, plain
from linkjax_converters.reader.records import Budget, Call
from linkjax_converters.reader.torch_storage import (
    MAGIC,
    Layout,
    Storage,
    UnknownNumbers,
    layout,
    read_arrays,
    read_storages,
)

PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
MAX_MODULES = 20_000
MAX_NAME = 500
SLACK = 1 << 24  # bytes that the arrays may be larger than the file, for repeated scalars and the like

_KEPT_PRIVATE = ("_init_args", "_init_kwargs")


@dataclasses.dataclass
class ModuleRecord:
    """One module of a network: the name of its class and its plain attributes."""

    class_name: str
    attributes: dict[str, Any]


@dataclasses.dataclass
class Snapshot:
    """One network of a snapshot file.

    Attributes:
      arrays: parameters and buffers by dotted name (`synthesis.L0_36_26.weight`), owned and in C order.
      modules: modules by dotted path, "" for the network itself.
      others: the other entries of the file.
    """

    arrays: dict[str, np.ndarray]
    modules: dict[str, ModuleRecord]
    others: tuple[str, ...] = ()


def read_snapshot(path: str | Path, network: str = "G_ema") -> Snapshot:
    """Read one network of a snapshot `.pkl` as arrays and plain attributes.

    The file is mapped, its pickle and the pickles inside all its tensors are walked as data, and the network's arrays
    are then read from the file one by one: memory is that of the arrays. Take arrays out of the result as they are
    converted (`arrays.pop(name)`), and memory stays there.

    Args:
      path: the `.pkl` file.
      network: its entry to read.
    Returns: a Snapshot.
    Errors: InputError if the file is missing, of another kind, damaged, or has no such network; UnsafeFileError if it
      asks for any call that does not just build data.
    Deviations: the original executes the source code stored in the file; here it is never looked at.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the .pkl file itself")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        with path.open("rb") as file:
            return _read(file, network)
    except LinkjaxError as error:
        raise type(error)(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # the border to bytes from outside: whatever they do inside, one sentence leaves
        raise InputError(
            f"{path}: damaged in a way that has no name ({type(error).__name__}); get the file again"
        ) from None


def _read(file: IO[bytes], network: str) -> Snapshot:
    size = file.seek(0, 2)
    file.seek(0)
    _check_kind(file.read(512))
    view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    budget, allowance = Budget(), Allowance()
    content, machine = load(view, 0, budget)
    storages = read_storages(machine.nested, budget)
    entries = mapping(content, allowance)
    if entries is None:
        raise InputError(_not_a_snapshot(content))
    names = tuple(k for k in entries if isinstance(k, str))
    if network not in entries:
        raise InputError(
            f"has no {network!r}, the network to convert; its entries are {shown(', '.join(names) or 'none', 200)}; "
            "give a StyleGAN-XL or StyleGAN3 snapshot"
        )
    modules, tensors = _walk(entries[network], storages, allowance)
    needed = sum({id(record): tensor.nbytes_read for record, tensor in tensors.values()}.values())
    if needed > size + SLACK:
        raise InputError(f"its tensors ask for {needed} bytes and the file has {size}; refused as a bomb")
    arrays = read_arrays(file, tensors)
    return Snapshot(arrays, modules, tuple(n for n in names if n != network))


def _check_kind(head: bytes) -> None:
    """Say what a file is when it is plainly no pickle."""
    if not head:
        raise InputError("is empty; get the file again")
    if head.startswith(b"PK\x03\x04"):
        raise InputError(
            "is a PyTorch state dict (a zip file), not a generator's snapshot; `linkjax convert classifier` or "
            "`linkjax convert segmenter` reads those"
        )
    kinds = {
        b"\x89PNG": "a PNG image",
        b"\xff\xd8\xff": "a JPEG image",
        b"\x1f\x8b": "a gzip archive: unpack it first",
        b"\x89HDF": "an HDF5 file",
        b"version https://git-lfs": "a Git LFS pointer: fetch the file it stands for",
    }
    for magic, kind in kinds.items():
        if head.startswith(magic):
            raise InputError(f"is {kind}; expected a StyleGAN-XL or StyleGAN3 snapshot (.pkl)")
    if head.lstrip()[:1] == b"<":
        raise InputError("is a web page, not a snapshot; the download went wrong, get the file again")
    if not (head[0] == 0x80 or head[:1] in b"(}]cdl"):
        raise InputError("is not a pickle; expected a StyleGAN-XL or StyleGAN3 snapshot (.pkl)")


def _not_a_snapshot(content: Any) -> str:
    if content == MAGIC:
        return (
            "is a PyTorch state dict (old format), not a generator's snapshot; `linkjax convert classifier` or "
            "`linkjax convert segmenter` reads those"
        )
    found = type(content).__name__ if not isinstance(content, Call) else shown(content.function.path)
    return f"holds a {found}, expected a dict with G_ema; give a StyleGAN-XL or StyleGAN3 snapshot (.pkl)"


def _module(value: Any, allowance: Allowance) -> tuple[str, dict[Any, Any]] | None:
    """Class name and `__dict__` of the module a record stands for, or None."""
    if not isinstance(value, Call):
        return None
    if value.function.path == PERSISTENT:
        meta = mapping(value.args[0], allowance) if len(value.args) == 1 else None
        state = mapping(meta.get("state"), allowance) if meta else None
        name = meta.get("class_name") if meta else None
        if state is None or not isinstance(name, str):
            raise InputError("damaged: a persistent object has no class name or no state; get the file again")
    else:
        name, state = value.function.name, value.state
        state = state[0] if isinstance(state, tuple) and len(state) == 2 else state
    if not isinstance(state, dict) or "_modules" not in state:
        return None
    return name, state


def _walk(
    root: Any, storages: dict[int, Storage | UnknownNumbers], allowance: Allowance
) -> tuple[dict[str, ModuleRecord], dict[str, tuple[Any, Layout]]]:
    """All modules and tensors of a network, by dotted name; breadth is bounded, depth costs no stack."""
    modules: dict[str, ModuleRecord] = {}
    tensors: dict[str, tuple[Any, Layout]] = {}
    waiting = [("", root)]
    while waiting:
        path, record = waiting.pop()
        found = _module(record, allowance)
        if found is None:
            raise InputError(f"{shown(path) or 'the network'} is no module; give a StyleGAN-XL or StyleGAN3 snapshot")
        if len(modules) >= MAX_MODULES or len(path) > MAX_NAME:
            raise InputError("has more modules, or longer names, than any network; refused as a pickle bomb")
        class_name, state = found
        prefix = f"{path}." if path else ""
        modules[path] = ModuleRecord(class_name, _attributes(state, allowance))
        for kind in ("_parameters", "_buffers"):
            for name, value in _children(state, kind, allowance):
                tensor = layout(value, storages)
                if tensor is None or prefix + name in tensors:
                    raise InputError(f"{shown(prefix + name)} is no tensor, or is there twice; get the file again")
                tensors[prefix + name] = (value, tensor)
        waiting.extend((prefix + name, value) for name, value in reversed(_children(state, "_modules", allowance)))
    return modules, tensors


def _children(state: dict[Any, Any], kind: str, allowance: Allowance) -> list[tuple[str, Any]]:
    """Name and record of each parameter, buffer or module; entries that are None are none."""
    found = mapping(state.get(kind, {}), allowance)
    if found is None or not all(isinstance(name, str) and name and "." not in name for name in found):
        raise InputError(f"damaged: a module's {kind} is no dict of names; get the file again")
    return [(name, value) for name, value in found.items() if value is not None]


def _attributes(state: dict[Any, Any], allowance: Allowance) -> dict[str, Any]:
    """The plain attributes of a module; hooks and other objects are left out."""
    attributes = {}
    for name, value in state.items():
        if isinstance(name, str) and (not name.startswith("_") or name in _KEPT_PRIVATE):
            with contextlib.suppress(NotPlain):
                attributes[name] = plain(value, allowance)
    return attributes
