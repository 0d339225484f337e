"""Where a PyTorch network comes from: the user's own function, timm, torchvision, or a folder of Hugging Face."""

import contextlib
import dataclasses
import importlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.errors import ConversionError, InputError, shown
from linkjax_converters.preprocessing import Stated, read_preprocessing, stated_in

#: What is taken of the record that timm's networks carry.
_RECORD = ("mean", "std", "input_size", "test_input_size", "crop_pct", "test_crop_pct", "crop_mode", "interpolation")
_SHOWN = 6


@dataclasses.dataclass(frozen=True)
class Source:
    """A network, and what its own record says."""

    network: Any
    stated: Stated | None  # how it wants its images
    package: str  # what made it, with its version


def network_of(name: str, arrays: Mapping[str, np.ndarray] | None, headless: bool) -> Source:
    """The network that a name on the command line stands for, with its weights.

    Args:
      name: PACKAGE.MODULE:FUNCTION, timm:NAME, torchvision:NAME or hf:FOLDER.
      arrays: name → weight, as the network's own state dict has them; None: as its function gives it.
      headless: without its last layer, where the library has a way to say so.
    Raises: InputError or ConversionError in one sentence.
    """
    kind, _, rest = name.partition(":")
    if not rest:
        raise InputError(
            f"expected PACKAGE.MODULE:FUNCTION, timm:NAME, torchvision:NAME or hf:FOLDER, found {name!r}; for a "
            "file of weights of a known architecture there is linkjax convert classifier"
        )
    if kind in ("timm", "torchvision") and arrays is None:
        raise InputError(f"{name}: expected --weights FILE with it; nothing is fetched, and random weights are no use")
    if kind == "hf" and arrays is not None:
        raise InputError(f"{name}: the folder has its own weights; expected no --weights")
    makers = {"timm": _timm, "torchvision": _torchvision, "hf": _hugging_face}
    with importing(name):
        made = makers[kind](rest, arrays, headless) if kind in makers else _own(kind, rest)
    if arrays is not None:
        load_state(made.network, arrays, name, spare_allowed=headless)
    return made


@contextlib.contextmanager
def importing(name: str) -> Iterator[None]:
    """Names of modules in the folder where the command was given count; what goes wrong is one sentence."""
    sys.path.insert(0, os.getcwd())
    try:
        yield
    except InputError:
        raise
    except ImportError as error:
        raise InputError(
            f"{name}: it cannot be imported here ({error}); install what it needs in this environment"
        ) from error
    except Exception as error:  # the user's own program, whatever it does
        raise InputError(f"{name}: it failed before there was a network ({type(error).__name__}: {error})") from error
    finally:
        sys.path.remove(os.getcwd())


def _own(module: str, function: str) -> Source:
    import torch

    made: Any = importlib.import_module(module)
    for part in function.split("."):
        if not hasattr(made, part):
            raise InputError(f"{module}:{function}: there is no {part!r} in {module}")
        made = getattr(made, part)
    network = made if isinstance(made, torch.nn.Module) else made()
    if not isinstance(network, torch.nn.Module):
        raise InputError(f"{module}:{function}: expected a torch.nn.Module from it, found {type(network).__name__}")
    return Source(network, _record(network), module.split(".")[0])


def _timm(name: str, arrays: Mapping[str, np.ndarray] | None, headless: bool) -> Source:
    import timm  # pyright: ignore[reportMissingImports]

    if ":" in name or "/" in name:
        raise InputError(f"timm:{name}: expected a name of timm.list_models(), for nothing is fetched")
    network: Any = timm.create_model(name, pretrained=False)
    head = network.default_cfg.get("classifier")
    head = head[0] if isinstance(head, tuple | list) else head
    classes = 0 if headless else _classes(arrays, head)
    if classes is not None and classes != network.num_classes:
        network = timm.create_model(name, pretrained=False, num_classes=classes)
    return Source(network, _record(network), f"timm {timm.__version__}")


def _torchvision(name: str, arrays: Mapping[str, np.ndarray] | None, headless: bool) -> Source:
    import torch
    import torchvision  # pyright: ignore[reportMissingImports]

    network = torchvision.models.get_model(name, weights=None)
    last = [path for path, module in network.named_modules() if isinstance(module, torch.nn.Linear)]
    classes = _classes(arrays, last[-1] if last else None)
    if classes is not None:
        network = torchvision.models.get_model(name, weights=None, num_classes=classes)
    return Source(network, None, f"torchvision {torchvision.__version__}")


def _classes(arrays: Mapping[str, np.ndarray] | None, head: str | None) -> int | None:
    """Classes of the head in a file of weights; None if it is not there."""
    weight = None if arrays is None else arrays.get(f"{head}.weight")
    return None if weight is None else len(weight)


def _hugging_face(folder: str, arrays: Mapping[str, np.ndarray] | None, headless: bool) -> Source:
    import torch
    import transformers  # pyright: ignore[reportMissingImports]

    path = Path(folder).expanduser()
    if not (path / "config.json").is_file():
        raise InputError(f"hf:{folder}: expected a folder with config.json and weights in it; nothing is fetched")
    family = transformers.AutoModel if headless else transformers.AutoModelForImageClassification
    model = family.from_pretrained(path, local_files_only=True, trust_remote_code=False)

    class Scores(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, pixel_values: Any) -> Any:
            found = self.model(pixel_values=pixel_values)
            if not headless:
                return found.logits
            pooled = getattr(found, "pooler_output", None)
            return (found.last_hidden_state[:, 0] if pooled is None else pooled).flatten(1)

    record = path / "preprocessor_config.json"
    stated = read_preprocessing(record) if record.is_file() else None
    names = model.config.id2label or {}
    if stated is not None and not headless and len(names) > 1:
        labels = stated_in({"mean": None, "id2label": {str(place): label for place, label in names.items()}})
        stated = Stated(stated.fields, labels.class_names)
    return Source(Scores(), stated, f"transformers {transformers.__version__}")


def _record(network: Any) -> Stated | None:
    """What the record that timm's networks carry says about images."""
    record = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None)
    if not isinstance(record, Mapping):
        return None
    known = {name: record[name] for name in _RECORD if name in record}
    known = {name: list(value) if isinstance(value, tuple) else value for name, value in known.items()}
    return stated_in(known) if known else None


def load_state(network: Any, arrays: Mapping[str, np.ndarray], name: str, spare_allowed: bool) -> None:
    """Fill the network's own state dict, in full.

    Raises: ConversionError that counts what is missing, unexpected and mis-shaped, and names the first.
    """
    import torch

    state = network.state_dict()
    missing = [key for key in state if key not in arrays and not key.endswith("num_batches_tracked")]
    spare = (
        [] if spare_allowed else [key for key in arrays if key not in state and not key.endswith("num_batches_tracked")]
    )
    shapes = [
        f"{key} {tuple(arrays[key].shape)} for {tuple(tensor.shape)}"
        for key, tensor in state.items()
        if key in arrays and tuple(arrays[key].shape) != tuple(tensor.shape)
    ]
    if missing or spare or shapes:
        first = [
            *shapes[:_SHOWN],
            *(f"missing {key}" for key in missing[:_SHOWN]),
            *(f"unexpected {key}" for key in spare[:_SHOWN]),
        ]
        raise ConversionError(
            f"the weights do not fit {name}: {len(missing)} missing, {len(spare)} unexpected, "
            f"{len(shapes)} mis-shaped: {shown(', '.join(first), 600)}"
        )
    own = {key: torch.from_numpy(np.array(arrays[key])) for key in state if key in arrays}
    network.load_state_dict(own, strict=False)
