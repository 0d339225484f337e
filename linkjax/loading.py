"""`linkjax.load`: whatever linkjax wrote, back as a model."""

from pathlib import Path
from typing import Any

from linkjax import checkpoint
from linkjax.errors import InputError

_RAW = {
    ".pkl": "linkjax convert generator {path} OUT",
    ".pth": "linkjax convert classifier {path} OUT --arch ARCH",
    ".pt": "linkjax convert classifier {path} OUT --arch ARCH",
    ".ckpt": "linkjax convert classifier {path} OUT --arch ARCH",
    ".safetensors": "linkjax convert classifier {path} OUT --arch ARCH",
}


def load(path: str | Path) -> Any:
    """The model in a folder that `linkjax convert`, `link` or `segment` wrote.

    Args:
      path: the folder; relative or absolute.
    Returns: a Generator, Classifier, Segmenter or Link on the default device; its `spec` says what it is.
    Raises: InputError if there is no such model, if it is damaged, or if the file has yet to be converted.
    """
    return load_with_manifest(path)[0]


def load_with_manifest(path: str | Path, kinds: tuple[str, ...] | None = None) -> tuple[Any, dict[str, Any]]:
    """As `load`, restricted to some kinds of model, and with its manifest."""
    path = Path(path).expanduser()
    if path.suffix in _RAW and not path.is_dir():
        raise InputError(f"{path} is a file of another program; convert it once: {_RAW[path.suffix].format(path=path)}")
    return checkpoint.load_model(path, kinds)
