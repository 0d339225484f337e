"""Data as script files, because browsers let a page from disk load scripts and images but read no other files."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.storage import manifest as manifests

_KINDS = {"f4": "<f4", "f2": "<f2", "i4": "<i4", "i2": "<i2", "u1": "|u1"}
_LARGEST_HALF = 65504.0


def pack(values: Any, kind: str) -> dict[str, Any]:
    """An array as the page unpacks it: type, shape, and its little-endian bytes in base 64.

    Args:
      values: array-like.
      kind: "f4", "f2" (three digits, clipped to ± 65504), "i4", "i2" or "u1".
    """
    array = np.asarray(values)
    if kind == "f2":
        array = np.clip(array.astype(np.float64), -_LARGEST_HALF, _LARGEST_HALF)
    content = np.ascontiguousarray(array.astype(_KINDS[kind]))
    return {"t": kind, "s": list(content.shape), "d": base64.b64encode(content.tobytes()).decode("ascii")}


def number(value: Any) -> float | None:
    """Four digits are enough for a page; what is not finite is none."""
    return float(f"{float(value):.4g}") if np.isfinite(value) else None


def text(name: str, payload: Mapping[str, Any]) -> str:
    """The script that hands `payload` to the page; plain ASCII, whatever the names in it."""
    content = json.dumps(manifests.plain(payload), allow_nan=False, separators=(",", ":"))
    return f"__shard({json.dumps(name)},{content});\n"


def write(folder: Path, name: str, payload: Mapping[str, Any]) -> None:
    """Write a shard as `folder/NAME.js`: whole or not at all.

    Args:
      folder: of the page's data.
      name: with / between folders.
      payload: what JSON knows; arrays by `pack`.
    """
    path = folder / f"{name}.js"
    path.parent.mkdir(parents=True, exist_ok=True)
    manifests.write_whole(path, text(name, payload))
