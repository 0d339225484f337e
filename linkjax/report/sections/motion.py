"""The part of a sweep's section that tells what moves: arrows over pictures, and a table by part."""

from typing import Any

import numpy as np

from linkjax.analysis.metrics.motion import over_samples
from linkjax.report import figures
from linkjax.report.content import Cell, Plot, Row, Table, Term, Text
from linkjax.report.numbers import NONE
from linkjax.report.source import Context, Source

_UNITS = 8  # in the figure
_SAMPLES = 2  # of each
_PARTS = 9  # columns of the table
_LEAST = 0.25  # pixels that count as moved
#: What the words mean, for the end of the page.
TERM = Term(
    "Motion",
    "Where each pixel of the picture at the unit's first value is found at its last value, by optical flow of the "
    "brightness. What the whole picture does together (a shift, a turn, a change of size) is taken away, and pixels "
    "that cannot be found again on the way back are left out. A change of shading alone can look like motion.",
    "motion(part) = mean over its pixels of (displacement − A · (y, x, 1))",
)


def blocks(source: Source, context: Context, order: np.ndarray) -> list[Any]:
    """Arrows and a table of the units whose pictures are stored; empty if motion is not.

    Args:
      order: ids of units, those to be shown first.
    """
    if not source.has("picture_motion"):
        return []
    ids = source.array("picture_unit", "picture_unit")
    rank = {int(unit): place for place, unit in enumerate(order)}
    shown = sorted(range(len(ids)), key=lambda index: rank.get(int(ids[index]), len(rank)))
    return [
        Text(
            "What moves from a unit's first value to its last: arrows start where a pixel was, and what the whole "
            "picture does together is taken away."
        ),
        Row([_arrows(source, context, ids, shown[:_UNITS])]),
        _table(source, ids, shown),
    ]


def _arrows(source: Source, context: Context, ids: np.ndarray, shown: list[int]) -> Plot:
    dims = ("picture_unit", "picture_sample")
    fields = source.array("picture_motion_field", *dims, "axis", "field_y", "field_x")[shown][:, :_SAMPLES]
    first = [
        source.array("picture", *dims, "step", "y", "x", "rgb", rows=slice(index, index + 1))[0, :_SAMPLES, 0]
        for index in shown
    ]
    labels = source.array("label", "sample")
    rows = [
        context.anchor_name(source, labels[row]) for row in source.array("picture_sample", "picture_sample")[:_SAMPLES]
    ]
    titles = [source.called(ids[index]) for index in shown]
    return Plot(
        "motion",
        figures.motion_arrows(np.stack(first), fields, titles=titles, rows=rows),
        "Motion from a unit's first value to its last, over the picture at the first; a row is a sample. "
        "Arrows shorter than 0.15 pixels are not drawn.",
        f"Pictures of {len(shown)} units with arrows where their pixels move.",
    )


def _table(source: Source, ids: np.ndarray, shown: list[int]) -> Table:
    parts = source.names("part")
    if source.has("motion_mean"):
        place = {int(unit): row for row, unit in enumerate(source.array("unit", "unit"))}
        rows = [place[int(unit)] for unit in ids]
        mean, error = (source.array(name, "unit", "part", "axis")[rows] for name in ("motion_mean", "motion_se"))
        over = "all samples"
    else:
        each = source.array("picture_motion", "picture_unit", "picture_sample", "part", "axis").astype(np.float64)
        mean, error = over_samples(each.swapaxes(0, 1))
        over = f"the {each.shape[1]} samples whose pictures are stored"
    length = np.nan_to_num(np.hypot(mean[..., 0], mean[..., 1]))
    columns = np.sort(np.argsort(-length.max(0, initial=0.0), kind="stable")[:_PARTS])
    return Table(
        "Motion by part, pixels",
        ("unit", *(parts[column] for column in columns)),
        [
            [source.called(ids[index]), *(_cell(mean[index, column], error[index, column]) for column in columns)]
            for index in shown
        ],
        note=f"Mean over {over}: how far down (−: up), then how far to the right (−: left); ± is the larger of the two "
        f"standard errors. In bold: longer than {_LEAST:g} pixels and than twice that error.",
    )


def _cell(mean: np.ndarray, error: np.ndarray) -> Cell:
    if not np.isfinite(mean).all():
        return Cell(NONE)
    sure = float(np.max(error)) if np.isfinite(error).all() else np.nan
    length = float(np.hypot(*mean))
    return Cell(
        f"{mean[0]:+.2f}, {mean[1]:+.2f}".replace("-", "−"),
        remark=f"± {sure:.2f}" if np.isfinite(sure) else "",
        strong=bool(length > _LEAST and length > 2 * sure),
    )
