"""PyTorch `.pth` state dicts as NumPy arrays, both serialisations, with nothing in the file run."""

import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.errors import InputError, UnsafeFileError

#: Keys under which training programs nest a state dict.
_NESTS = ("state_dict", "model", "model_state_dict", "net")
#: No honest file has tensors that share storage to more than this times its size.
_SHARING = 4


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Name → array of a `.pth` file: a plain state dict, or one nested under `state_dict` or `model`.

    Prefixes that a parallel wrapper puts before every key (`module.`) are dropped. bfloat16 becomes float32.

    Raises: UnsafeFileError if the file asks to call or build anything but tensors; InputError if it is truncated, of
      another kind, or if PyTorch is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"{path}: expected a PyTorch .pth file, found {'a folder' if path.is_dir() else 'nothing'} there"
        )
    _check_kind(path)
    return _arrays(path, _state_dict(path, _load(path)))


def _load(path: Path) -> Any:
    """What torch's restricted reader makes of the file; whatever goes wrong in it becomes one sentence."""
    try:
        import torch
    except ImportError:
        raise InputError('reading .pth files needs PyTorch: pip install "linkjax[convert]"') from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old pickle protocols and storage types; nothing a user can act on
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from None
    except RecursionError:
        raise UnsafeFileError(
            f"{path}: its contents are nested too deeply for a state dict; nothing was read"
        ) from None
    except Exception as error:  # a damaged file can fail anywhere in torch's reader
        raise _damage(path, error) from None


def _refusal(path: Path, message: str) -> InputError:
    """The sentence for what torch's restricted reader will not read; torch's own tells how to run the file anyway."""
    if named := re.search(r"GLOBAL\s+([\w.]+)", message):
        return UnsafeFileError(
            f"{path}: it asks for {named[1]}, which weights have no need of; nothing was run. "
            "Save the model's state_dict() alone, and use files from sources you trust"
        )
    if "Unsupported" in message or "Trying to" in message:
        return UnsafeFileError(f"{path}: it holds pickle instructions that no state dict has; nothing was run")
    return InputError(f"{path}: expected a whole PyTorch state dict, found a damaged one; fetch it again")


def _damage(path: Path, error: Exception) -> InputError:
    """The sentence for a failure inside torch's reader."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if "allocate" in lines[0] or isinstance(error, MemoryError):
        return InputError(f"{path}: it declares more data than fits in memory; the file is damaged or hostile")
    return InputError(
        f"{path}: expected a whole PyTorch state dict, found a damaged one ({lines[0][:160].rstrip('. ')})"
    )


def _check_kind(path: Path) -> None:
    """Tell other kinds of file by their first bytes, before torch guesses."""
    with open(path, "rb") as file:
        head = file.read(1 << 16)
    if not head:
        raise InputError(f"{path}: expected a PyTorch state dict, found an empty file")
    if head.startswith(b"PK\x03\x04"):
        try:
            if not zipfile.is_zipfile(path):
                raise InputError(f"{path}: expected a whole PyTorch state dict, found a truncated one; fetch it again")
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError):
            raise InputError(f"{path}: expected a whole PyTorch state dict, found a damaged one") from None
        if not any(entry.filename.endswith("data.pkl") for entry in entries):
            raise InputError(f"{path}: expected a PyTorch state dict, found a zip file of another kind")
        # torch stores without compression, so the parts of a whole file cannot add up to more than the file.
        if sum(entry.file_size for entry in entries) > path.stat().st_size:
            raise UnsafeFileError(
                f"{path}: it unpacks to more than its own size, as no state dict does; nothing was read"
            )
    elif head[:1] != b"\x80":
        raise InputError(f"{path}: expected a PyTorch state dict (.pth), found a file of another kind")
    elif b"torch_utils.persistence" in head:
        raise InputError(
            f"{path}: expected a PyTorch state dict, found a pickled StyleGAN network; use `linkjax convert generator`"
        )


def _state_dict(path: Path, loaded: Any) -> Mapping[str, Any]:
    """The mapping of names to tensors in what was loaded."""
    for _ in range(3):
        if not isinstance(loaded, Mapping):
            break
        nest = next((key for key in _NESTS if isinstance(loaded.get(key), Mapping)), None)
        if nest is None:
            break
        loaded = loaded[nest]
    if not isinstance(loaded, Mapping) or not loaded:
        raise InputError(f"{path}: expected a dictionary of named tensors, found {type(loaded).__name__}")
    return loaded


def _arrays(path: Path, tensors: Mapping[str, Any]) -> dict[str, np.ndarray]:
    import torch

    strangers = [key for key, value in tensors.items() if not isinstance(value, torch.Tensor)]
    if strangers:
        raise InputError(
            f"{path}: expected named tensors only, found {', '.join(map(repr, strangers[:5]))} beside them; "
            "save the model's state_dict() alone"
        )
    arrays = {}
    wrapped = all(str(key).startswith("module.") for key in tensors)
    total = 0
    for key, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
            raise InputError(f"{path}: expected dense tensors with their numbers, found {key!r} without")
        # A stride of 0 lets a tensor claim any size over a few bytes.
        size = tensor.numel() * tensor.element_size()
        total += size
        if size > tensor.untyped_storage().nbytes() or total > _SHARING * path.stat().st_size:
            raise UnsafeFileError(
                f"{path}: {key!r} claims {size} bytes, more than the file holds; nothing was converted"
            )
        tensor = tensor.detach()
        try:
            tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
            arrays[str(key).removeprefix("module.") if wrapped else str(key)] = tensor.numpy()
        except (TypeError, RuntimeError):
            raise InputError(f"{path}: expected ordinary numbers, found {key!r} of type {tensor.dtype}") from None
    return arrays
