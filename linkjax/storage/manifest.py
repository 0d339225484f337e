"""What every output says about itself: settings, weights, inputs, versions, device, precision (`manifest.json`)."""

import dataclasses
import errno
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.devices import surroundings
from linkjax.errors import InputError

FILE = "manifest.json"
FORMAT_VERSION = 1  # raised when an older linkjax could misread what a newer one writes
_PACKAGES = ("linkjax", "jax", "jaxlib", "flax", "orbax-checkpoint", "numpy", "zarr")


def versions() -> dict[str, str]:
    """Installed versions of the packages that can move a number."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def build(kind: str, *, computed: bool = True, precision: str | None = None, **content: Any) -> dict[str, Any]:
    """A manifest of `kind` with the given content, versions, and the devices and precision in force.

    Args:
      computed: False leaves out devices and precision, and starts no device: nothing was computed.
      precision: of the images behind it, as the manifest of what it was made from tells; none: float32.
    """
    manifest = {"format": "linkjax", "format_version": FORMAT_VERSION, "kind": kind, **content, "versions": versions()}
    if computed:
        import jax

        from linkjax import numerics

        manifest["device"] = {
            "kind": jax.devices()[0].device_kind,
            "platform": jax.default_backend(),
            "count": jax.device_count(),
        }
        if jax.default_backend() == "cpu":
            manifest["device"]["threads"] = surroundings.threads()
        manifest["precision"] = precision or numerics.POLICIES["float32"].description
    return manifest


def plain(value: Any) -> Any:
    """Dataclasses, tuples, paths and NumPy scalars as what JSON knows."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value


def write(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Write `manifest.json` into `folder`: whole or not at all."""
    write_whole(folder / FILE, json.dumps(plain(manifest), indent=1) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader, whenever it comes, finds the old one or the new one."""
    temporary = path.with_name(path.name + ".new")
    with open(temporary, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def append(path: Path, line: bytes) -> None:
    """Add a line to a file, to the disk; if there is no room for it the file is as before.

    Raises: OSError.
    """
    with open(path, "ab", buffering=0) as file:
        size = file.tell()
        try:
            if file.write(line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def read(folder: Path, kinds: Iterable[str] | None = None) -> dict[str, Any]:
    """Read a folder's manifest and check that linkjax wrote it and that it is of one of `kinds`.

    Raises: InputError if the folder is missing, unfinished, damaged, from a newer linkjax, or of another kind.
    """
    path = folder / FILE
    wanted = " or ".join(kinds) if kinds is not None else "linkjax output"
    if not path.is_file():
        if not folder.exists() and partial(folder).exists():
            raise InputError(
                f"{folder}: expected a finished {wanted}, found only the unfinished {partial(folder).name}; "
                "run its stage again with the same settings to resume it"
            )
        raise InputError(f"{folder}: expected a folder with {wanted} in it, found {_found(folder)}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, found a damaged file ({error}); make {folder} again") from None
    if not isinstance(manifest, dict) or manifest.get("format") != "linkjax":
        raise InputError(f"{path}: expected a manifest written by linkjax, found another file of that name")
    if manifest.get("format_version", 0) > FORMAT_VERSION:
        raise InputError(
            f"{folder}: its format {manifest['format_version']} is newer than this linkjax reads "
            f"({FORMAT_VERSION}); upgrade linkjax"
        )
    if not isinstance(manifest.get("kind"), str):
        raise InputError(
            f"{path}: expected a manifest that says what it is of, found a damaged one; make {folder} again"
        )
    if kinds is not None and manifest["kind"] not in kinds:
        raise InputError(f"{folder}: expected {wanted}, found {manifest['kind']}{made_by_other(manifest)}")
    return manifest


def made_by_other(manifest: Mapping[str, Any]) -> str:
    """Where another version of linkjax wrote a folder, the end of a sentence that says so."""
    there, here = (manifest.get("versions") or {}).get("linkjax"), versions()["linkjax"]
    return "" if there in (None, here) else f" (made by linkjax {there}, this is {here})"


def partial(folder: Path) -> Path:
    """Where an unfinished output lies until it is whole."""
    return folder.with_name(folder.name + ".partial")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """SHA-256 of a JSON-able value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(plain(value), sort_keys=True).encode()).hexdigest()


def _found(folder: Path) -> str:
    if not folder.exists():
        return "nothing there"
    return "a file" if folder.is_file() else "a folder without manifest.json"


def differences(earlier: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What two manifests say differently, in words; the first five."""
    old, new = _flat(earlier), _flat(now)
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    return ", ".join(f"{key.removeprefix('config.')}: {old.get(key)} there, {new.get(key)} now" for key in changed[:5])


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict):
        return {prefix.rstrip("."): tree}
    return {name: leaf for key, item in tree.items() for name, leaf in _flat(item, f"{prefix}{key}.").items()}
