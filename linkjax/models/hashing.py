"""SHA-256 of weights: of their names, types, shapes and values."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np


def arrays_sha256(arrays: Mapping[str, Any]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name])
        digest.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
