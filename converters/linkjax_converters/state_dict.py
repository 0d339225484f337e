"""Weights by name out of `.pth` and `.safetensors` files, read as data: nothing in a file is run, PyTorch not needed.

A file may hold several networks (raw weights beside their moving average, an optimiser's state): one is taken, the
others are named.
"""

import dataclasses
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from linkjax.errors import InputError, LinkjaxError, UnsafeFileError, shown
from linkjax.storage.array_files import safetensors
from linkjax_converters.reader.plain_values import Allowance, mapping
from linkjax_converters.reader.records import Call
from linkjax_converters.reader.torch_file import Storages, read_torch_file
from linkjax_converters.reader.torch_storage import layout, read_arrays

#: Keys under which training programs nest the weights as trained, in the order in which they are looked for.
NESTS = ("state_dict", "model", "model_state_dict", "net", "network", "weights", "params")
#: Words in a key that tell of weights other than those as trained: averages, teachers, copies.
SECONDARY = ("ema", "average", "swa", "momentum", "teacher", "target", "encoder_k", "key_encoder", "attacker", "best")
_DEPTH = 4
#: No honest file has tensors that share storage to more than this times its size.
_SHARING = 4


@dataclasses.dataclass(frozen=True)
class Weights:
    """One network of a file."""

    arrays: dict[str, np.ndarray]
    key: str = ""  # where in the file it lay; "" for a file that is one network
    others: tuple[str, ...] = ()  # where other networks lie in it


def read_state_dict(path: Path, key: str | None = None) -> dict[str, np.ndarray]:
    """Name → array of a `.pth` or `.safetensors` file: `read_weights` without what else the file holds."""
    return read_weights(path, key).arrays


def read_weights(path: Path, key: str | None = None) -> Weights:
    """The weights in a file of `torch.save` (a state dict, or a dictionary with one in it) or of safetensors.

    Prefixes that a parallel wrapper puts before every key (`module.`) are dropped. bfloat16 becomes float32.

    Args:
      key: which of a file's networks, as `Weights.key` and `others` name them; None: the one as trained.
    Raises: UnsafeFileError if the file asks to call or build anything but data, or claims more than it holds;
      InputError if it is truncated, of another kind, or holds several networks of which none is the one as trained.
    """
    path = Path(path)
    if not path.is_file():
        there = "a folder" if path.is_dir() else "nothing"
        raise InputError(f"{path}: expected a PyTorch .pth or .safetensors file, found {there} there")
    try:
        with path.open("rb") as file:
            return _read(file, key)
    except LinkjaxError as error:
        raise type(error)(f"{path}: {error}") from None
    except MemoryError:
        raise InputError(f"{path}: it declares more data than fits in memory; the file is damaged or hostile") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except Exception as error:  # the border to bytes from outside: whatever they do inside, one sentence leaves
        raise InputError(
            f"{path}: expected a whole PyTorch state dict, found a damaged one ({type(error).__name__}); get it again"
        ) from None


def _read(file: IO[bytes], key: str | None) -> Weights:
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(512)
    if safetensors.looks_like_one(head):
        if key:
            raise InputError(f"is a safetensors file, which holds one network; found the key {key!r}")
        return Weights(_float32(_unwrapped(safetensors.read_arrays(file))))
    _check_kind(head)
    content, storages = read_torch_file(file, size)
    chosen, where, others = _chosen(content, key)
    return Weights(_float32(_unwrapped(_arrays(file, size, chosen, storages))), where, others)


def _check_kind(head: bytes) -> None:
    """Tell other kinds of file by their first bytes."""
    if not head:
        raise InputError("expected a PyTorch state dict, found an empty file")
    if b"torch_utils.persistence" in head:
        raise InputError(
            "expected a PyTorch state dict, found a pickled StyleGAN network; use `linkjax convert generator`"
        )
    if head.startswith(b"version https://git-lfs"):
        raise InputError("is a Git LFS pointer: fetch the file it stands for (git lfs pull)")
    if head.lstrip()[:1] == b"<":
        raise InputError("is a web page, not weights; the download went wrong, get the file again")
    if not head.startswith(b"PK\x03\x04") and head[:1] != b"\x80":
        raise InputError("expected a PyTorch state dict (.pth) or a .safetensors file, found a file of another kind")


def _chosen(content: Any, key: str | None) -> tuple[Mapping[str, Any], str, tuple[str, ...]]:
    """Records by name of the network to take, where it lies, and where others lie."""
    if mapping(content, Allowance()) is None:
        raise _no_dictionary(content)
    found = dict(_networks(content, "", Allowance(), 0))
    names = tuple(found)
    if not found:
        raise InputError(
            "expected a dictionary of named tensors, found none in its entries "
            f"{shown(', '.join(map(str, mapping(content, Allowance()) or ())) or '(it is empty)', 200)}"
        )
    if key is not None:
        if key not in found:
            near = difflib.get_close_matches(key, names, n=1)
            raise InputError(
                f"has no network under the key {shown(key)!r}{f' (did you mean {near[0]}?)' if near else ''}; it has "
                f"{shown(', '.join(name or '(the file itself)' for name in names), 300)}"
            )
        where = key
    else:
        where = _as_trained(names)
    return found[where], where, tuple(name for name in names if name != where)


def _networks(value: Any, path: str, allowance: Allowance, depth: int) -> list[tuple[str, Mapping[str, Any]]]:
    """Path and records of every dictionary in which most entries are tensors, outermost first."""
    entries = mapping(value, allowance)
    if not entries or depth > _DEPTH:
        return []
    tensors = sum(map(_is_tensor, entries.values()))
    names = {name: entry for name, entry in entries.items() if isinstance(name, str)}
    if 2 * tensors >= len(entries) and (tensors or depth == 0) and names:
        return [(path, entries)]
    return [
        each
        for name, entry in names.items()
        for each in _networks(entry, f"{path}.{name}" if path else name, allowance, depth + 1)
    ]


def _is_tensor(record: Any) -> bool:
    return isinstance(record, Call) and (
        record.function.path.startswith("torch._utils._rebuild_") or record.function.path.startswith("torch._tensor.")
    )


def _as_trained(names: tuple[str, ...]) -> str:
    """Which of several networks are the weights as trained.

    Raises: InputError naming all where that cannot be told.
    """
    if len(names) == 1:
        return names[0]
    for nest in NESTS:
        under = [name for name in names if name.split(".")[0] == nest]
        if under:
            return under[0] if len(under) == 1 else _as_trained_inside(under, nest)
    raw = [name for name in names if not is_secondary(name)]
    if len(raw) == 1:
        return raw[0]
    raise InputError(
        f"holds {len(names)} networks: {shown(', '.join(names), 300)}; say which with --key, such as --key {names[0]}"
    )


def _as_trained_inside(names: list[str], nest: str) -> str:
    inner = tuple(name.removeprefix(f"{nest}.") for name in names)
    return f"{nest}.{_as_trained(inner)}"


def is_secondary(name: str) -> bool:
    """Whether a key tells of weights other than those as trained."""
    words = name.lower().replace(".", "_").split("_")
    return any(word in words or ("_" in word and word in name.lower()) for word in SECONDARY)


def _no_dictionary(content: Any) -> LinkjaxError:
    if isinstance(content, Call):
        path = content.function.path
        if _is_tensor(content):
            return InputError("expected a dictionary of named tensors, found a single Tensor")
        return UnsafeFileError(
            f"holds a whole pickled network ({shown(path)}), which only its own program can rebuild; nothing was run. "
            "There, save the model's state_dict() alone: torch.save(model.state_dict(), FILE)"
        )
    return InputError(f"expected a dictionary of named tensors, found {type(content).__name__}")


def _arrays(file: IO[bytes], size: int, records: Mapping[Any, Any], storages: Storages) -> dict[str, np.ndarray]:
    strangers = [key for key, value in records.items() if not isinstance(key, str) or not _is_tensor(value)]
    if strangers:
        raise InputError(
            f"expected named tensors only, found {', '.join(repr(shown(each)) for each in strangers[:5])} beside them; "
            "save the model's state_dict() alone"
        )
    tensors, total = {}, 0
    for key, record in records.items():
        found = layout(record, storages)
        if found is None:
            raise InputError(
                f"expected dense tensors with their numbers, found {shown(key)!r} without ({record.function.name}); "
                "save it as an ordinary tensor"
            )
        available = found.storage.size * found.storage.dtype.itemsize
        total += found.count * found.dtype.itemsize
        # A stride of 0 lets a tensor claim any size over a few bytes.
        if found.count * found.dtype.itemsize > available or total > _SHARING * size:
            raise UnsafeFileError(
                f"{shown(key)!r} claims {found.count * found.dtype.itemsize} bytes, more than the file holds; "
                "nothing was converted"
            )
        tensors[key] = record, found
    return read_arrays(file, tensors)


def _unwrapped(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if arrays and all(name.startswith("module.") for name in arrays):
        return {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays


def _float32(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {
        name: array.astype(np.float32) if array.dtype.name == "bfloat16" else array for name, array in arrays.items()
    }
