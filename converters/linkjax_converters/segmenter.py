"""The few-shot segmentation network from its PyTorch state dict."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from linkjax.errors import InputError
from linkjax.models import build
from linkjax.models.segmenter import DILATIONS, WIDTHS, Segmenter, SegmenterSpec
from linkjax.storage import checkpoint, manifest
from linkjax.storage.claim import Claim
from linkjax_converters.bijection import Rule, convert, oihw_to_hwio
from linkjax_converters.state_dict import read_state_dict

# The file counts the activations between the convolutions too.
_EVEN = r"layers\.(\d*[02468])"
RULES = (
    Rule(rf"{_EVEN}\.weight", lambda match: f"layers.{int(match[1]) // 2}.kernel", oihw_to_hwio),
    Rule(rf"{_EVEN}\.bias", lambda match: f"layers.{int(match[1]) // 2}.bias"),
)


def convert_segmenter(src: Path, out: Path, size: str) -> list[str]:
    """Convert a `.pth` state dict of size S, M or L into a folder that `linkjax.load` reads.

    Raises: InputError, UnsafeFileError or ConversionError, each with one message, before anything is written.
    """
    src, out = Path(src), Path(out)
    _check_size(size)
    with Claim(out, resumable=False) as claim:
        model = segmenter_from_state_dict(read_state_dict(src), size)
        source = {
            "file": src.name,
            "sha256": manifest.file_sha256(src),
            "architecture": f"few-shot segmenter {size}",
            "licence": "The weights stay under the licence of whoever trained them.",
        }
        checkpoint.save_model(out, model, source=source, claim=claim)
    return []


def segmenter_from_state_dict(arrays: Mapping[str, np.ndarray], size: str) -> Segmenter:
    """The segmenter that a state dict's arrays describe; channels and parts are read from their shapes.

    Raises: ConversionError that lists all missing, unexpected and mis-shaped keys.
    """
    _check_size(size)
    first = arrays.get("layers.0.weight")
    widths = [_rows(arrays, 2 * layer, default) for layer, default in enumerate((*WIDTHS[size], 2))]
    spec = SegmenterSpec(
        size=size,
        in_channels=int(first.shape[1]) if first is not None and first.ndim == 4 else 1,
        num_parts=widths[-1],
        widths=tuple(widths[:-1]),
    )
    targets = build.shapes(Segmenter, spec)
    return build.fill(Segmenter, spec, convert(arrays, targets, RULES, what=f"segmenter {size}").arrays)


def _rows(arrays: Mapping[str, np.ndarray], index: int, default: int) -> int:
    array = arrays.get(f"layers.{index}.weight")
    return int(array.shape[0]) if array is not None and array.ndim and array.shape[0] else default


def _check_size(size: str) -> None:
    if size not in DILATIONS:
        raise InputError(f"expected a segmenter size of {', '.join(DILATIONS)}, found {size!r}")
