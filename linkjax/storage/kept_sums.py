"""Sums of an unfinished run: arrays and a note in one file, written whole or not at all, every array with a CRC-32."""

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from linkjax.errors import InputError

T = TypeVar("T")


def save(path: Path, arrays: Mapping[str, np.ndarray], note: Mapping[str, Any]) -> None:
    """Write arrays, and what they are of."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    with open(new, "wb") as file:
        np.savez(file, note=np.array(json.dumps(note)), **dict[str, Any](arrays))
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)


def load(path: Path, built: Callable[[dict[str, Any]], T]) -> tuple[T, dict[str, Any]] | None:
    """What `built` makes of the arrays that `save` wrote, and the note; None if nothing is there.

    Raises: InputError if the file is damaged, or `built` misses something in it.
    """
    if not path.exists():
        return None
    try:
        with np.load(path) as data:
            arrays: dict[str, Any] = {name: data[name] for name in data.files}
        note = json.loads(str(arrays.pop("note")))
        return built(arrays), note
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: these sums of an unfinished run are damaged ({error}); remove the file") from None
