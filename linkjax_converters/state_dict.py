"""PyTorch `.pth` state dicts as NumPy arrays, both serialisations, with nothing in the file run."""

import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.errors import InputError, UnsafeFileError

#: Keys under which training programs nest a state dict.
_NESTS = ("state_dict", "model", "model_state_dict", "net")
#: The first pickled value of torch's old serialisation, just after the pickle's own two bytes and its opcode.
_OLD_MAGIC = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")


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
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _refusal(path, str(error)) from None
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except MemoryError:
        raise InputError(f"{path}: it declares more data than fits in memory; the file is damaged or hostile") from None
    except RecursionError:
        raise UnsafeFileError(
            f"{path}: its contents are nested too deeply for a state dict; nothing was read"
        ) from None
    except Exception as error:  # a damaged file can fail anywhere in torch's reader
        raise InputError(
            f"{path}: expected a whole PyTorch state dict, found a damaged one ({_brief(error)})"
        ) from None


def _refusal(path: Path, message: str) -> InputError:
    """The sentence for what torch's restricted reader will not read."""
    named = re.search(r"(?:GLOBAL|global|function|class)\s+`?([\w.]+)`?", message)
    if "Unsupported" in message or "not an allowed global" in message or "blocked" in message or "Trying to" in message:
        what = f"asks for {named.group(1)}" if named else "asks for more than tensors"
        return UnsafeFileError(
            f"{path}: it {what}, which a file of weights has no need of; nothing was run. "
            "Save the model's state_dict() alone, from a source you trust"
        )
    return InputError(f"{path}: expected a whole PyTorch state dict, found a damaged one ({_brief(message)})")


def _brief(error: Any) -> str:
    """The first line of an error, without torch's advice on how to run the file anyway."""
    text = str(error).strip() or type(error).__name__
    text = text.split("WeightsUnpickler error:")[-1].strip()
    return text.splitlines()[0][:160].rstrip(". ")


def _check_kind(path: Path) -> None:
    """Tell other kinds of file by their first bytes, before torch guesses."""
    with open(path, "rb") as file:
        head = file.read(256)
    if not head:
        raise InputError(f"{path}: expected a PyTorch state dict, found an empty file")
    if head.startswith(b"PK\x03\x04"):
        if not zipfile.is_zipfile(path):
            raise InputError(f"{path}: expected a whole PyTorch state dict, found a truncated one; fetch it again")
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if not any(name.endswith("data.pkl") for name in names):
            raise InputError(f"{path}: expected a PyTorch state dict, found a zip file of another kind")
        return
    if head[:1] == b"\x80" and _OLD_MAGIC in head:
        return
    if head[:1] == b"\x80":
        raise InputError(
            f"{path}: expected a PyTorch state dict, found another pickle; "
            "for a StyleGAN network use `linkjax convert generator`"
        )
    raise InputError(f"{path}: expected a PyTorch state dict (.pth), found a file of another kind")


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
            f"{path}: expected named tensors only, found {', '.join(map(str, strangers[:5]))} beside them; "
            "save the model's state_dict() alone"
        )
    arrays = {}
    wrapped = all(str(key).startswith("module.") for key in tensors)
    for key, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise InputError(f"{path}: expected dense tensors, found {key} in another layout")
        tensor = tensor.detach()
        tensor = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        arrays[str(key).removeprefix("module.") if wrapped else str(key)] = tensor.numpy()
    return arrays
