"""Screening: what each unit changes in each part to first order, strongest first."""

import dataclasses
from typing import Any

import numpy as np

from linkjax.analysis.metrics import measurements
from linkjax.analysis.units import candidates
from linkjax.report import figures
from linkjax.report.content import Cell, Notice, Plot, Row, Section, Table, Term, Text
from linkjax.report.numbers import NONE, number, with_error
from linkjax.report.source import Context, Source, raised_along

_TOP = 20
_HEAT = 20  # units of the heat map at most
_COLUMNS = 24  # columns of it
_LEAST = 2.0  # standard errors an effect must be away from 0 to be ranked


@dataclasses.dataclass(frozen=True)
class _Screening:
    source: Source
    unit: np.ndarray  # [units]
    effect: np.ndarray  # [units, columns], per σ of the unit, in the metric's unit
    error: np.ndarray  # [units, columns]
    strength: np.ndarray  # [units, columns], the size of effects that is sure, in the unit of `scaled`
    scaled: np.ndarray  # [units, columns], in standard deviations of the metric among anchors; NaN for dead units
    columns: list[str]  # part and metric
    units_of: list[str]


def section(source: Source, context: Context) -> Section:
    """Units by strongest effect, and a heat map."""
    summary, found = source.summary, _read(source)
    sure = np.abs(found.effect) >= _LEAST * np.nan_to_num(found.error, nan=np.inf)
    sizes = np.where(sure & np.isfinite(found.scaled), found.strength, -1.0)
    whole = np.square(found.strength).sum(axis=1)
    order = [int(place) for place in np.argsort(-whole, kind="stable") if (sizes[place] >= 0).any()]
    blocks: list[Any] = [
        Text(
            f"{number(summary['units'])} units on {number(summary['samples'])} anchor images, all at once: "
            f"{number(summary['products_per_anchor'])} derivatives an anchor, each about the work of two or three "
            f"images, times {raised_along(summary)}. Effects are to first order, so for small changes of a unit."
        )
    ]
    more: list[Any] = [_table(found, sizes, order[:_TOP])]
    if summary.get("nonfinite"):
        blocks.append(Notice(f"Anchors left out for numbers that are not finite: {number(summary['nonfinite'])}."))
    shown = np.array(order[:_HEAT], int)
    if len(shown):  # what was swept as well is told better there
        (more if "sweep" in context.sources else blocks).append(Row([_heat_map(found, sizes, shown)]))
    return Section(
        key="screening",
        title="Screening",
        blocks=blocks,
        more=more,
        terms=_terms(),
        limits=[
            "Screening sees first order and soft parts only: what a unit does over its whole range must be swept. An "
            "effect two standard errors from 0 may still be luck among so many.",
        ],
    )


def _read(source: Source) -> _Screening:
    dims = ("unit", "part", "metric")
    effect = source.array("effect", *dims).astype(np.float64)
    baseline = source.array("baseline", "sample", "part", "metric").astype(np.float64)
    parts, metrics = source.names("part"), source.names("metric")
    dead = source.array("flag", "unit") == 1
    spread = measurements.spread(baseline, metrics)
    scaled = np.where(dead[:, None, None], np.nan, effect / spread)
    error = source.array("effect_se", *dims).astype(np.float64)
    units_of = list(source.attribute("metric", "units") or [""] * len(metrics))
    flat = (len(effect), -1)
    return _Screening(
        source=source,
        unit=source.array("unit", "unit"),
        effect=effect.reshape(flat),
        error=error.reshape(flat),
        strength=candidates.strength(effect, spread, error).reshape(flat),
        scaled=scaled.reshape(flat),
        columns=[f"{part}: {metric.replace('_', ' ')}" for part in parts for metric in metrics],
        units_of=units_of * len(parts),
    )


def _table(screening: _Screening, sizes: np.ndarray, places: list[int]) -> Table:
    rows = []
    for place in places:
        column, second = np.argsort(-sizes[place], kind="stable")[:2]
        other = NONE
        if sizes[place, second] >= 0:
            other = f"{screening.columns[second]} {_signed(screening.scaled[place, second])} sd"
        value = with_error(screening.effect[place, column], screening.error[place, column], screening.units_of[column])
        effect = Cell(f"{screening.columns[column]} {_signed(screening.scaled[place, column])} sd", remark=value)
        rows.append([screening.source.cell(screening.unit[place]), effect, other])
    return Table(
        "Units by first-order effect",
        ("unit", "strongest effect", "next"),
        rows,
        note="Units by the root mean square of all their effects, each by its sure part. Per standard deviation of the "
        "unit, in standard deviations (sd) of the metric among anchors, and below that in the metric's own unit; ± is "
        f"a standard error over anchors. Only effects {number(_LEAST)} of them away from 0.",
        numeric=(1, 2),
    )


def _heat_map(screening: _Screening, sizes: np.ndarray, places: np.ndarray) -> Plot:
    largest = sizes[places].max(axis=0)
    columns = np.sort(np.argsort(-largest, kind="stable")[:_COLUMNS])
    columns = columns[np.isfinite(screening.scaled[places][:, columns]).any(axis=0)]
    return Plot(
        "screened_effects",
        figures.heat_map(
            screening.scaled[places][:, columns],
            rows=[screening.source.short(unit) for unit in screening.unit[places]],
            columns=[screening.columns[column] for column in columns],
            xlabel="part and metric",
            ylabel="unit",
            colour_label="effect, sd of metric / sd of unit",
        ),
        f"What {len(places)} units change, in the order of the table: red raises a metric, blue lowers it.",
        "Heat map of first-order effects by unit, part and metric.",
    )


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + number(float(value))


def _terms() -> list[Term]:
    return [
        Term(
            "First-order effect",
            "Derivative of a metric of a part with respect to w, times the step in w that raises the unit by 1, times "
            "the unit's standard deviation. A pixel belongs to a part by the trimmed softmax of its scores, so that "
            "areas have derivatives.",
            "effect = ∂ metric / ∂w · step[unit] · sd(unit)",
        )
    ]
