"""Any PyTorch image classifier, by `torch.export`: the user's program runs once, here, and never again."""

import dataclasses
from pathlib import Path
from typing import Any

from linkjax.errors import InputError
from linkjax.models.classifier_spec import Pool, Preprocessing
from linkjax.models.graph import reference
from linkjax.storage import checkpoint, manifest
from linkjax.storage.claim import Claim
from linkjax_converters.class_names import read_class_names
from linkjax_converters.preprocessing import read_preprocessing, resolve
from linkjax_converters.state_dict import read_weights

LICENCE = "The weights stay under the licence of whoever published them."


def convert_module(
    src: str,
    out: Path | None,
    *,
    weights: Path | None = None,
    key: str | None = None,
    layer: str | None = None,
    pool: Pool | None = None,
    headless: bool = False,
    list_layers: bool = False,
    input_size: int | None = None,
    class_names: Path | None = None,
    preprocessing: Path | None = None,
    **flags: Any,
) -> list[str]:
    """Convert a PyTorch network into a folder that `linkjax.load` reads without PyTorch.

    Args:
      src: PACKAGE.MODULE:FUNCTION, timm:NAME, torchvision:NAME or hf:FOLDER.
      out: folder to make; None with `list_layers`.
      weights: a state dict's file, read as data; key: which of its networks.
      layer, pool: what r is; none: the input of the last layer.
      headless: without class scores.
      list_layers: only say which layers there are.
      input_size: side of what the network sees, where the preprocessing leaves it open.
      class_names, preprocessing, flags: as for `convert_classifier`; they come before the network's own record.
    Returns: what was taken and assumed, in sentences.
    Raises: InputError or ConversionError, each with one message, before anything is written.
    """
    from linkjax_converters.graph import imported, sources
    from linkjax_converters.graph.build import build
    from linkjax_converters.graph.export import export

    if out is None and not list_layers:
        raise InputError("expected a folder to make, found none; or --list-layers")
    read = None if weights is None else read_weights(weights, key)
    found = sources.network_of(src, None if read is None else read.arrays, headless)
    stated = found.stated if preprocessing is None else read_preprocessing(preprocessing)
    how, notes = resolve(flags, stated, {})
    side = side_of(how, input_size)
    if list_layers:
        program = build(export(found.network, (side, side)), (side, side)).program
        return [f"layers for images of {side}×{side}, with the shape of what they give:", *imported.layers(program)]
    assert out is not None
    names = None if class_names is None else read_class_names(class_names)
    with Claim(Path(out), resumable=False) as claim:
        made = imported.import_module(
            found.network, (side, side), layer=layer, pool=pool, headless=headless, arch=src, preprocessing=how
        )
        spec = made.model.spec
        if names is None and stated is not None and len(stated.class_names) == spec.num_classes:
            names = stated.class_names
        made.model.spec = _named(spec, names)
        worst = max(made.errors.values())
        taken = "all of it" if spec.pool == "none" else spec.pool
        notes = [
            f"{len(spec.program.nodes)} operations; within {worst:.1e} of PyTorch's largest value",
            f"r: {spec.num_units} values, {taken} of {layer or 'the input of the last layer'}; "
            f"{spec.num_classes or 'no'} class scores",
            *notes,
        ]
        source = {
            "network": src,
            "made_by": found.package,
            "file": None if weights is None else weights.name,
            "sha256": None if weights is None else manifest.file_sha256(weights),
            "layer": layer,
            "notes": notes,
            "licence": LICENCE,
        }
        checkpoint.save_model(
            Path(out),
            made.model,
            source=source,
            claim=claim,
            files=lambda folder: reference.write(folder, made.reference),
        )
    return notes


def side_of(preprocessing: Preprocessing, given: int | None) -> int:
    """Side of the images that the network sees.

    Raises: InputError where nothing says, or two say different things.
    """
    own = preprocessing.crop or (preprocessing.resize if preprocessing.squash else None)
    if given is not None and own is not None and given != own:
        raise InputError(f"--input-size {given}: the preprocessing gives images of {own}; expected the same")
    if (side := own or given) is None:
        raise InputError("expected the side of the images that the network sees: --crop, or --input-size with --crop 0")
    return side


def _named(spec: Any, names: tuple[str, ...] | None) -> Any:
    return spec if names is None else dataclasses.replace(spec, class_names=names)
