"""What the original program made of a few images, kept beside an imported classifier: parity without that program."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from linkjax.errors import InputError

FILE = "reference.npz"
_NAMES = ("images", "r", "logits")
#: Of the largest value. Float32 in another order of sums stays below 1e-5 on every network tried; another operation,
#: or products in TF32, do not.
TOLERANCE = 1e-4


def write(folder: Path, reference: Mapping[str, np.ndarray]) -> None:
    """Keep preprocessed images [n, h, w, 3] and the original's r, and logits where it has some."""
    np.savez(folder / FILE, **{name: reference[name] for name in _NAMES if name in reference})  # pyright: ignore[reportArgumentType]


def read(folder: Path) -> dict[str, np.ndarray]:
    """What `write` kept.

    Raises: InputError if it is missing or damaged.
    """
    path = folder / FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise InputError(f"{path}: expected the original's numbers, found none; convert the classifier again") from None
    except Exception as error:  # zip files fail in many ways
        raise InputError(f"{path}: expected the original's numbers, found a damaged file ({error})") from None
    if not {"images", "r"} <= set(found) <= set(_NAMES) or any(each.dtype != np.float32 for each in found.values()):
        raise InputError(f"{path}: expected images, r and logits in float32, found {sorted(found)[:5]}")
    return found


def deviations(model: Any, reference: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Name → largest difference of the classifier's numbers from the original's, relative to the largest of those.

    Raises: InputError where they have other shapes.
    """
    found = model(jnp.asarray(reference["images"]))
    own = {"r": found.penultimate, "logits": found.logits}
    errors = {}
    for name, expected in reference.items():
        if name == "images":
            continue
        value = own[name]
        if value is None or value.shape != expected.shape:
            raise InputError(f"expected {name} of {expected.shape}, found {None if value is None else value.shape}")
        largest = max(float(np.abs(expected).max()), np.finfo(np.float32).tiny)
        difference = float(np.abs(np.asarray(value) - expected).max()) / largest
        errors[name] = difference if np.isfinite(difference) else float("inf")
    return errors
