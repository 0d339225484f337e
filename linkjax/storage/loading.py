"""`linkjax.load`: whatever linkjax wrote, back as a model."""

import dataclasses
from pathlib import Path
from typing import Any

from linkjax.errors import InputError, LinkjaxError
from linkjax.storage import checkpoint

_RAW = {
    ".pkl": "linkjax convert generator {path} OUT",
    ".pth": "linkjax convert classifier {path} OUT --arch ARCH",
    ".pt": "linkjax convert classifier {path} OUT --arch ARCH",
    ".ckpt": "linkjax convert classifier {path} OUT --arch ARCH",
    ".safetensors": "linkjax convert classifier {path} OUT --arch ARCH",
}


def load(path: str | Path, check: bool = False) -> Any:
    """The model in a folder that `linkjax convert`, `link` or `segment` wrote.

    Args:
      path: the folder; relative or absolute.
      check: also compute what the original program made of a few images, of an imported classifier, and compare.
    Returns: a Generator, Classifier, Segmenter or Link on the default device; its `spec` says what it is.
    Raises: InputError if there is no such model, if it is damaged, or if the file has yet to be converted; LinkjaxError
      if `check` finds other numbers.
    """
    model, manifest = load_with_manifest(path)
    if check:
        check_numbers(Path(path).expanduser(), model, manifest)
    return model


def check_numbers(path: Path, model: Any, manifest: dict[str, Any]) -> dict[str, float]:
    """Name → largest error against the original program's stored numbers, of its largest; empty where none are stored.

    Raises: LinkjaxError if one is beyond `reference.TOLERANCE`; InputError if they are missing or damaged.
    """
    if manifest["kind"] != "graph_classifier":
        return {}
    from linkjax.models.graph import reference

    errors = reference.deviations(model, reference.read(path))
    worst = max(errors.values())
    if not worst <= reference.TOLERANCE:
        raise LinkjaxError(
            f"{path}: its numbers are {worst:.1e} of the largest value from those of the program it was exported from, "
            f"expected at most {reference.TOLERANCE:.0e}; convert it again, or see linkjax doctor"
        )
    return errors


def load_with_manifest(path: str | Path, kinds: tuple[str, ...] | None = None) -> tuple[Any, dict[str, Any]]:
    """As `load`, restricted to some kinds of model, and with its manifest."""
    path = Path(path).expanduser()
    if path.suffix in _RAW and not path.is_dir():
        raise InputError(f"{path} is a file of another program; convert it once: {_RAW[path.suffix].format(path=path)}")
    model, manifest = checkpoint.load_model(path, kinds)
    if getattr(model.spec, "steered", False) and model.spec.steer_lambda is None:  # made when diagnostics alone told it
        diagnostics = (manifest.get("source") or {}).get("diagnostics") or {}
        lam = (diagnostics.get("steering") or {}).get("lambda")
        model.spec = dataclasses.replace(model.spec, steer_lambda=lam)
    return model, manifest
