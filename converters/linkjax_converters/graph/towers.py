"""Where an image-text model comes from: OpenCLIP, a folder of Hugging Face, or the user's own function."""

import dataclasses
import importlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.errors import InputError
from linkjax_converters.graph.sources import importing, load_state
from linkjax_converters.preprocessing import Stated, read_preprocessing

_AT_ONCE = 64  # texts
_OPEN_CLIP = ("open_clip_config.json", "open_clip_model.safetensors")


@dataclasses.dataclass(frozen=True)
class Towers:
    """An image-text model."""

    image: Any  # torch.nn.Module: images [B, 3, H, W] → [B, e]
    text: Callable[[list[str]], Any]  # texts → [n, e]
    stated: Stated | None  # how it wants its images
    package: str  # what made it, with its version

    def embedded(self, texts: Sequence[str]) -> np.ndarray:
        """Unit vectors [n, e] of texts, by the text tower.

        Raises: InputError in one sentence.
        """
        import torch

        made = []
        for start in range(0, len(texts), _AT_ONCE):
            some = list(texts[start : start + _AT_ONCE])
            try:
                with torch.no_grad():
                    found = self.text(some)
            except Exception as error:  # the user's own program, whatever it does
                raise InputError(f"the text tower failed ({type(error).__name__}: {error})") from error
            rows = np.asarray(found.detach().float().cpu().numpy() if hasattr(found, "detach") else found, np.float32)
            if rows.ndim != 2 or len(rows) != len(some) or not np.isfinite(rows).all():
                raise InputError(
                    f"expected a finite vector for each of {len(some)} texts from the text tower, found {rows.shape}"
                )
            made.append(rows)
        rows = np.concatenate(made)
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def towers_of(name: str, arrays: Mapping[str, np.ndarray] | None) -> Towers:
    """The model that a name on the command line stands for, with its weights.

    Args:
      name: hf:FOLDER, open_clip:FOLDER, open_clip:NAME or PACKAGE.MODULE:FUNCTION.
      arrays: name → weight, of open_clip:NAME and of a user's own; None: as they come.
    Raises: InputError or ConversionError in one sentence.
    """
    kind, _, rest = name.partition(":")
    if not rest:
        raise InputError(
            f"expected hf:FOLDER, open_clip:FOLDER, open_clip:NAME with --weights, or PACKAGE.MODULE:FUNCTION, found "
            f"{name!r}"
        )
    before = {each: os.environ.get(each) for each in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    os.environ |= dict.fromkeys(before, "1")  # nothing is fetched
    try:
        with importing(name):
            if kind == "hf":
                return _hugging_face(rest, arrays)
            return _open_clip(rest, arrays) if kind == "open_clip" else _own(kind, rest, arrays)
    finally:
        for each, value in before.items():
            os.environ.pop(each) if value is None else os.environ.update({each: value})


def _hugging_face(folder: str, arrays: Mapping[str, np.ndarray] | None) -> Towers:
    import torch
    import transformers  # pyright: ignore[reportMissingImports]

    path = Path(folder).expanduser()
    if arrays is not None:
        raise InputError(f"hf:{folder}: the folder has its own weights; expected no --weights")
    if not (path / "config.json").is_file() or not any(path.glob("*.safetensors")):
        raise InputError(f"hf:{folder}: expected a folder with config.json and .safetensors in it; nothing is fetched")
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    model: Any = transformers.AutoModel.from_pretrained(path, use_safetensors=True, **local).eval().float()
    if not (hasattr(model, "get_image_features") and hasattr(model, "get_text_features")):
        raise InputError(
            f"hf:{folder}: expected a model of images and texts (CLIPModel, SiglipModel), found {type(model).__name__}"
        )
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path, **local)
    longest = model.config.text_config.max_position_embeddings

    def vectors(found: Any) -> Any:
        return found if isinstance(found, torch.Tensor) else found.pooler_output

    class Image(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Any) -> Any:
            return vectors(self.model.get_image_features(pixel_values=pixel_values))

    def text(texts: list[str]) -> Any:
        # SigLIP was trained on texts of one length; to CLIP, which looks at the end of a text, padding says nothing
        tokens = tokenizer(texts, padding="max_length", truncation=True, max_length=longest, return_tensors="pt")
        return vectors(model.get_text_features(**tokens))

    record = path / "preprocessor_config.json"
    stated = read_preprocessing(record) if record.is_file() else None
    return Towers(Image(), text, stated, f"transformers {transformers.__version__}")


def _open_clip(name: str, arrays: Mapping[str, np.ndarray] | None) -> Towers:
    import open_clip  # pyright: ignore[reportMissingImports]
    import torch

    path = Path(name).expanduser()
    local = path.is_dir()
    if local:
        missing = [each for each in _OPEN_CLIP if not (path / each).is_file()]
        if missing:
            raise InputError(f"open_clip:{name}: expected {' and '.join(_OPEN_CLIP)} there, found no {missing[0]}")
        if arrays is not None:
            raise InputError(f"open_clip:{name}: the folder has its own weights; expected no --weights")
    elif name not in open_clip.list_models():
        raise InputError(f"open_clip:{name}: expected a folder, or a name of open_clip.list_models()")
    elif arrays is None:
        raise InputError(f"open_clip:{name}: expected --weights FILE with it; nothing is fetched")
    where = f"local-dir:{path}" if local else name
    # without weights there is nothing of another network's to begin from either: those would be fetched
    model: Any = open_clip.create_model(where, load_weights=local, pretrained_text=False).eval().float()
    if arrays is not None:
        load_state(model, arrays, f"open_clip:{name}", spare_allowed=False)
    tokenizer = open_clip.get_tokenizer(where)

    class Image(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, image: Any) -> Any:
            return self.model.encode_image(image)

    stated = _open_clip_record(dict(getattr(model.visual, "preprocess_cfg", None) or {}), name)
    return Towers(
        Image(), lambda texts: model.encode_text(tokenizer(texts)), stated, f"open_clip {_version(open_clip)}"
    )


def _open_clip_record(record: Mapping[str, Any], name: str) -> Stated | None:
    """What OpenCLIP's own record says of images."""
    if "size" not in record:
        return None
    size, mode = record["size"], record.get("resize_mode", "shortest")
    height, width = (size, size) if isinstance(size, int) else size
    if height != width or mode not in ("shortest", "squash"):
        raise InputError(
            f"open_clip:{name}: expected square images, resized by their shortest side or squashed, found "
            f"{height}×{width} and {mode!r}"
        )
    fields = {"resize": height, "crop": height, "squash": mode == "squash"}
    fields |= {key: tuple(map(float, record[key])) for key in ("mean", "std") if key in record}
    return Stated(fields | ({"interpolation": record["interpolation"]} if record.get("interpolation") else {}))


def _own(module: str, function: str, arrays: Mapping[str, np.ndarray] | None) -> Towers:
    import torch

    made: Any = importlib.import_module(module)
    for part in function.split("."):
        if not hasattr(made, part):
            raise InputError(f"{module}:{function}: there is no {part!r} in {module}")
        made = getattr(made, part)
    made = made() if inspect.isroutine(made) or inspect.isclass(made) else made
    if not (isinstance(made, tuple | list) and len(made) == 2):
        raise InputError(
            f"{module}:{function}: expected (image tower, function of a list of texts) from it, found "
            f"{type(made).__name__}"
        )
    image, text = made
    if not isinstance(image, torch.nn.Module) or not callable(text):
        raise InputError(
            f"{module}:{function}: expected a torch.nn.Module and a function of a list of texts, found "
            f"{type(image).__name__} and {type(text).__name__}"
        )
    if arrays is not None:
        load_state(image, arrays, f"{module}:{function}", spare_allowed=True)
    return Towers(image, text, None, module.split(".")[0])


def _version(module: Any) -> str:
    return str(getattr(module, "__version__", ""))
