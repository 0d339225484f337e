"""Files of readouts, `.npz` or `.safetensors`, read as data: nothing in them is run, everything in them is checked.

    readouts      [K, units]  a row for each readout, and optionally
    bias          [K]
    names         [K] text (.npz alone)

or of a sparse autoencoder with a ReLU:

    encoder       [K, units]  what each latent reads: max(0, encoder · (r − decoder_bias) + encoder_bias)
    decoder       [K, units]  what each latent adds to r: what it is raised by
    encoder_bias  [K], decoder_bias [units], names [K]: optional
"""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from linkjax.errors import InputError
from linkjax.storage.array_files import npy, safetensors

SUFFIXES = (".npz", ".safetensors")
_MOST_BYTES = 1 << 34  # of one file's arrays
_KNOWN = {
    "readouts": ("bias", "names"),
    "encoder": ("decoder", "encoder_bias", "decoder_bias", "names"),
}


class File(NamedTuple):
    """K readouts of a file, float32."""

    names: list[str]
    weights: np.ndarray  # [units, K]
    bias: np.ndarray  # [K]
    wanted: np.ndarray | None  # [units, K] change of r that raises each; None: as a unit is raised
    floor: float  # least value


def is_one(word: str) -> bool:
    """Whether a word names a file of readouts."""
    return word.lower().endswith(SUFFIXES)


def read(path: str, units: int) -> File:
    """Readouts of a classifier of so many units.

    Raises: InputError in one sentence that names the file, for whatever is wrong with it.
    """
    arrays = _arrays(Path(path))
    kind = next((name for name in _KNOWN if name in arrays), None)
    if kind is None:
        raise InputError(f"{path}: expected readouts, or encoder and decoder, found {', '.join(arrays) or 'nothing'}")
    unknown = set(arrays) - {kind, *_KNOWN[kind]}
    if unknown:
        raise InputError(
            f"{path}: expected {kind} and {', '.join(_KNOWN[kind])} alone, found {', '.join(sorted(unknown))} too"
        )
    rows = _matrix(path, kind, arrays[kind], units)
    names = _names(path, arrays.get("names"), len(rows))
    if kind == "readouts":
        return File(names, rows.T, _vector(path, "bias", arrays, len(rows)), None, -np.inf)
    if "decoder" not in arrays:
        raise InputError(f"{path}: expected a decoder [latents, units] beside the encoder, found none")
    decoder = _matrix(path, "decoder", arrays["decoder"], units)
    if len(decoder) != len(rows):
        raise InputError(f"{path}: expected as many rows of decoder as of encoder, {len(rows)}, found {len(decoder)}")
    bias, subtracted = (
        _vector(path, name, arrays, size) for name, size in (("encoder_bias", len(rows)), ("decoder_bias", units))
    )
    return File(names, rows.T, (bias - rows.astype(np.float64) @ subtracted).astype(np.float32), decoder.T, 0.0)


def of_rows(rows: Mapping[str, Any], units: int) -> File:
    """Readouts in memory: name → weights of r [units].

    Raises: InputError as `read`.
    """
    stacked = [np.asarray(row) for row in rows.values()]
    wrong = [name for name, row in zip(rows, stacked, strict=True) if row.shape != (units,)]
    if wrong or not stacked:
        shape = list(np.shape(rows[wrong[0]])) if wrong else []
        raise InputError(f"readouts: expected {units} weights for each name, found {shape} for {wrong[:1] or 'none'}")
    found = _matrix("readouts", "rows", np.stack(stacked), units)
    return File([str(name) for name in rows], found.T, np.zeros(len(found), np.float32), None, -np.inf)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if path.suffix.lower() == ".safetensors":
        try:
            with open(path, "rb") as file:
                return safetensors.read_arrays(file)
        except OSError as error:
            raise InputError(f"{path}: cannot read these readouts ({error.strerror})") from None
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    try:
        with zipfile.ZipFile(path) as archive:
            return {info.filename.removesuffix(".npy"): _member(archive, info) for info in archive.infolist()}
    except OSError as error:
        raise InputError(f"{path}: cannot read these readouts ({error.strerror or error})") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # a damaged archive makes zipfile and NumPy raise many kinds; to a user they are one
        raise InputError(f"{path}: expected arrays saved by np.savez ({str(error)[:80]}); save it again") from None


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """One array of a `.npz`, whose header is held against its size before there is memory for it."""
    if info.file_size > _MOST_BYTES:
        raise InputError(f"{info.filename[:40]!r} is said to have {info.file_size} bytes, more than any readouts need")
    with archive.open(info) as file:
        shape, dtype = npy.read_header(file)
        if dtype.kind not in "fiubU":
            raise InputError(f"{info.filename[:40]!r}: expected numbers or text, found {dtype}")
        if int(np.prod(shape, dtype=object)) * dtype.itemsize > info.file_size:
            raise InputError(f"{info.filename[:40]!r} is shorter than its shape {shape} says; save it again")
    with archive.open(info) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _matrix(path: str, name: str, array: np.ndarray, units: int) -> np.ndarray:
    if array.ndim != 2 or array.shape[1] != units or not len(array) or array.dtype.kind not in "fiuV":
        turned = "; transpose it" if array.ndim == 2 and array.shape[0] == units else ""
        raise InputError(
            f"{path}: expected {name} as numbers [rows, {units}], the classifier's units, found "
            f"{list(array.shape)} of {array.dtype}{turned}"
        )
    rows = array.astype(np.float32)
    if not np.isfinite(rows).all():
        raise InputError(f"{path}: {name} holds numbers that are not finite in row {_first(~np.isfinite(rows))}")
    empty = ~rows.any(axis=1)
    if empty.any():
        raise InputError(f"{path}: row {int(np.argmax(empty))} of {name} is zero everywhere; leave it out")
    return rows


def _first(wrong: np.ndarray) -> int:
    return int(np.argmax(wrong.any(axis=1)))


def _vector(path: str, name: str, arrays: dict[str, np.ndarray], size: int) -> np.ndarray:
    array = arrays.get(name, np.zeros(size, np.float32))
    if array.shape != (size,) or array.dtype.kind not in "fiuV":
        raise InputError(f"{path}: expected {name} as {size} numbers, found {list(array.shape)} of {array.dtype}")
    values = array.astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{path}: {name} holds numbers that are not finite")
    return values


def _names(path: str, array: np.ndarray | None, size: int) -> list[str]:
    if array is None:
        return [f"{Path(path).stem} {row}" for row in range(size)]
    if array.shape != (size,) or array.dtype.kind != "U":
        raise InputError(f"{path}: expected {size} names as text, found {list(array.shape)} of {array.dtype}")
    return [str(name).strip() or f"{Path(path).stem} {row}" for row, name in enumerate(array)]
