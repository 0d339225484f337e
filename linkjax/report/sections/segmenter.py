"""Parts: how well the segmenter finds them in pictures it was not trained on."""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from linkjax.errors import InputError
from linkjax.report import figures
from linkjax.report.content import Fact, Notice, Plot, Row, Section, Table, Term, Text
from linkjax.report.numbers import number, percent
from linkjax.report.source import Context, Source

_OVERLAYS = "overlays"
_SHOWN = 3
_LARGEST = 4096  # pixels a side of a stored overlay
_WEAK = 0.5  # overlap below which a part's measures say little


def section(source: Source, context: Context) -> Section:
    """Overlap with held-out masks by part, and pictures with masks and predictions."""
    del context
    spec, found = source.manifest.get("spec") or {}, source.origin.get("overlap") or {}
    names = list(spec.get("part_names") or [f"part {label}" for label in range(int(spec.get("num_parts", 0)))])
    labelled = source.origin.get("labelled") or []
    linear = source.kind == "linear_segmenter"
    what = "one 1×1 projection per layer of the generator" if linear else f"few-shot network {spec.get('size')}"
    blocks: list[Any] = [
        Text(
            f"{number(len(names))} parts; {what}"
            + (f"; trained from masks of {number(len(labelled))} generated images." if labelled else ".")
        )
    ]
    measured, more = bool(found.get("folds")), []
    if measured:
        iou = np.array([math.nan if value is None else value for value in found["iou"]], np.float64)
        weak = [name for name, value in zip(names, iou, strict=True) if not value >= _WEAK]
        if weak:
            blocks.append(Notice(f"Found badly or never: {', '.join(weak)}. What is measured of them says little."))
        blocks.append(Row([_bars(names, iou, found)]))
        more.append(_table(names, iou, found))
    else:
        blocks.append(Text("Its overlap with held-out masks was not measured."))
    if plots := _overlays(source.path / _OVERLAYS):
        blocks.append(Row(plots))
    return Section(
        key="segmenter",
        title="Parts",
        blocks=blocks,
        more=more,
        facts=[Fact("overlap of parts, held out", number(found["mean"]), f"mean IoU of {len(names)} parts")]
        if measured
        else [],
        terms=[
            Term(
                "Overlap (IoU)",
                "Pixels that mask and prediction share, of those that either has: 1 is perfect. Every mask is "
                "compared with the prediction of a segmenter that has not seen it.",
                "IoU = |A ∩ B| / |A ∪ B|, over all folds together",
                ("overlap", "IoU"),
            )
        ],
        limits=[
            "Part measures are those of predicted parts: a change of an area can be a change of the picture, or of "
            "where the segmenter draws the border."
        ],
    )


def _bars(names: list[str], iou: np.ndarray, found: Any) -> Plot:
    size, folds = found.get("size"), found["folds"]
    return Plot(
        "part_overlap",
        figures.bars(
            iou, names, xlabel="IoU with held-out masks", ylabel="part", limits=(0.0, 1.0), reference=found.get("mean"),
            reference_name="mean", width=figures.HALF,
        ),
        f"Overlap by part, {number(folds)} folds, at {number(size)} × {number(size)} pixels.",
        "Bars: intersection over union of every part with masks that were held out, and their mean.",
    )  # fmt: skip


def _table(names: list[str], iou: np.ndarray, found: Any) -> Table:
    pixels = np.array(found["pixels"], np.float64)
    share = pixels / max(pixels.sum(), 1.0)
    rows = [
        [name, number(value), percent(part), number(count)]
        for name, value, part, count in zip(names, iou, share, found["images"], strict=True)
    ]
    folds = [value for value in found.get("mean_of_folds") or () if value is not None]
    note = f"Mean of each fold: {', '.join(number(value) for value in folds)}." if folds else ""
    return Table("Held-out overlap", ("part", "IoU", "share of the pixels", "masks with it"), rows, note=note)


def _overlays(folder: Path) -> list[Plot]:
    """The first stored overlays, one below the other."""
    files = sorted(folder.glob("labelled_*.png"))[:_SHOWN] if folder.is_dir() else []
    if not files:
        return []
    return [
        Plot(
            "part_overlays",
            figures.stack([_picture(file) for file in files]),
            "Picture, mask, and the prediction of a segmenter that has not seen the mask.",
            "Rows of three pictures: a generated image, its mask, and the predicted parts, with a legend of the parts.",
        )
    ]


def _picture(file: Path) -> np.ndarray:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=("PNG",)) as image:
                if max(image.size) > _LARGEST:
                    raise ValueError(f"{image.width}×{image.height} pixels")
                return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{file}: this overlay is damaged ({str(error)[:80]}); make the segmenter again") from None
