"""Selection: effects of units with intervals, near-duplicates, and what the classifier does without the units."""

import dataclasses
from typing import Any

import numpy as np

from linkjax.analysis.units import per_obtained
from linkjax.report import figures
from linkjax.report.content import Cell, InAtlas, Notice, Plot, Row, Section, Table, Term, Text, clipped
from linkjax.report.numbers import NONE, number, percent
from linkjax.report.source import Context, Source, caution_words

_TOP = 12  # effects in the table
_INTERVALS = 20  # in the figure of intervals
_COSINES = 48  # units in the map of cosines
_ABLATED = 16  # units in the map of ablations
_CLASSES = 24  # classes in it


@dataclasses.dataclass(frozen=True)
class _Selection:
    source: Source
    unit: np.ndarray  # [units]
    chosen: np.ndarray  # [units] whether the query, or any significant effect, chose it
    effect: np.ndarray  # [units, columns], in standard deviations of the metric among anchors, per σ of the unit
    low: np.ndarray
    high: np.ndarray
    raw: np.ndarray  # in the metric's own unit
    obtained: tuple[np.ndarray, ...]  # per σ of the unit obtained: effect, low, high; NaN: untold
    first_stage: np.ndarray  # [units], F of asked values for obtained ones
    q: np.ndarray
    consistency: np.ndarray
    columns: list[str]
    units_of: list[str]


def section(source: Source, context: Context) -> Section:
    """Significant effects with intervals, random directions, doubles, ablations."""
    summary, found = source.summary, _read(source)
    rule = {"sign": "the sign-flip test", "r": "random directions as long in r", "w": "random directions as long in W"}
    against = ", ".join(rule[name] for name in summary["against"])
    one = summary.get("significant_units_against_one") or {}
    alone = ", ".join(f"{rule[name]}: {number(count)}" for name, count in one.items())
    asked = f"The query: {summary['query']}. " if summary["query"] else ""
    sure = np.where(found.chosen[:, None], found.q, np.nan) <= summary["fdr"]
    # Where no two anchors differ there is no standard deviation to tell an effect in: such come last.
    sizes = np.where(sure, np.nan_to_num(np.abs(found.effect)), -1.0)
    flat = np.argsort(-sizes, axis=None, kind="stable")[: int(sure.sum())]
    places = [divmod(int(place), sizes.shape[1]) for place in flat]
    more: list[Any] = []
    blocks: list[Any] = [
        Text(
            f"{asked}{number(summary['selected_units'])} of {number(summary['live_units'])} live units, on "
            f"{number(summary['anchors'])} anchor images. An effect counts if it is more than chance would give "
            f"against {against}; of the units found for a measurement at most {percent(summary['fdr'])} are expected "
            "to be false discoveries. "
            + (f"Units with an effect that is significant against one of them alone: {alone}." if alone else "")
        )
    ]
    if places:
        blocks.append(_table(source, found, places))
        more.append(Row([_intervals(found, places[:_INTERVALS]), *_null(source, found)]))
    else:
        least = number(summary["smallest_p_sign"])
        blocks.append(Text(f"No effect is significant. With these anchors no p-value can be below {least}."))
    if summary.get("weak_units"):
        weak = summary["weak_units"]
        named = ", ".join(map(source.short, weak[:20])) + (" …" if len(weak) > 20 else "")
        count = number(len(weak))
        blocks.append(
            Notice(f"{count} units hardly move, and nothing is reported of them per change obtained: {named}.")
        )
    doubles, *their_map = _doubles(source, found)
    blocks += [doubles, InAtlas("All units and all their effects")]
    more += [*their_map, *_ablations(source, found, context)]
    return Section(
        key="selection",
        title="Selection",
        blocks=blocks,
        more=more,
        terms=_terms(),
        limits=[
            "An interval is over classes and anchors of this sweep: it says nothing about other generators or links. "
            f"With {number(summary['anchors'])} anchors no p-value of the sign-flip test can be below "
            f"{number(summary['smallest_p_sign'])}."
        ],
    )


def _read(source: Source) -> _Selection:
    dims = ("unit", "part", "metric")
    arrays = {
        name: source.array(name, *dims).astype(np.float64) for name in ("effect", "low", "high", "q", "consistency")
    }
    spread = source.array("spread", "part", "metric").astype(np.float64)
    scale = np.where(spread > 0, spread, np.nan)
    unit = source.array("unit", "unit")
    parts, metrics = source.names("part"), source.names("metric")
    units_of = list(source.attribute("metric", "units") or [""] * len(metrics))
    flat = (len(unit), -1)
    ratios = [
        source.array(name, *dims).astype(np.float64) if source.has(name) else np.full_like(arrays["effect"], np.nan)
        for name in per_obtained.STORED
    ]
    first = source.array("first_stage", "unit") if source.has("first_stage") else np.full(len(unit), np.nan)
    return _Selection(
        source=source,
        unit=unit,
        chosen=np.isin(unit, source.summary["selected"]),
        **{name: (arrays[name] / scale).reshape(flat) for name in ("effect", "low", "high")},
        **{name: arrays[name].reshape(flat) for name in ("q", "consistency")},
        obtained=tuple((each / scale).reshape(flat) for each in ratios),
        first_stage=first,
        raw=arrays["effect"].reshape(flat),
        columns=[f"{part}: {metric.replace('_', ' ')}" for part in parts for metric in metrics],
        units_of=["" if name == "1" else name for name in units_of] * len(parts),
    )


def _table(source: Source, selection: _Selection, places: list[tuple[int, int]]) -> Table:
    shown, note = clipped(places, _TOP, "effects")
    fidelity, cluster = (source.array(name, "unit") for name in ("fidelity", "cluster"))
    caution = source.array("caution", "unit") if source.has("caution") else np.zeros(len(selection.unit), np.int8)
    rows = []
    for row, column in shown:
        doubles = [
            source.short(unit)
            for unit in selection.unit[(cluster == cluster[row]) & (selection.unit != selection.unit[row])]
        ]
        own = f"{number(selection.raw[row, column])} {selection.units_of[column]}".strip()
        rows.append([
            source.cell(selection.unit[row], caution_words(int(caution[row]))), selection.columns[column],
            Cell(f"{_signed(selection.effect[row, column])} sd", remark=own),
            f"{_signed(selection.low[row, column])} … {_signed(selection.high[row, column])}",
            _obtained(selection, row, column), number(selection.q[row, column]),
            percent(selection.consistency[row, column]),
            number(fidelity[row]),
            ", ".join(doubles[:6]) + (" …" if len(doubles) > 6 else "") if doubles else NONE,
        ])  # fmt: skip
    columns = (
        "unit",
        "changes",
        "effect",
        "interval",
        "per change obtained",
        "q",
        "classes that agree",
        "fidelity",
        "doubles",
    )
    return Table(
        "Significant effects, largest first",
        columns,
        rows,
        note="Per standard deviation of the unit, in standard deviations (sd) of the metric among anchors, and below "
        f"that in the metric's own unit. Per change obtained: the same where the unit really rises by one, with the "
        f"interval below. {note}",
        numeric=(2, 3, 4, 5, 6, 7),
    )


def _obtained(selection: _Selection, row: int, column: int) -> Cell:
    """An effect per change obtained, with its interval; what obtains too little is named."""
    if not per_obtained.strong(selection.first_stage)[row]:
        return Cell(NONE, remark="moves too little" if np.isfinite(selection.first_stage[row]) else "")
    value, low, high = (each[row, column] for each in selection.obtained)
    ends = ("−∞" if np.isneginf(low) else _signed(low), "∞" if np.isposinf(high) else _signed(high))
    return Cell(f"{_signed(value)} sd", remark=" … ".join(ends))


def _intervals(selection: _Selection, places: list[tuple[int, int]]) -> Plot:
    row, column = (np.array(index) for index in zip(*places, strict=True))
    return Plot(
        "selected_effects",
        figures.bars(
            selection.effect[row, column],
            [f"{selection.source.short(selection.unit[r])}  {selection.columns[c]}" for r, c in places],
            xlabel="effect, sd of metric / sd of unit",
            ylabel="unit and what it changes",
            low=selection.low[row, column],
            high=selection.high[row, column],
            reference=0.0,
        ),
        "The largest significant effects, with bootstrap intervals over classes and anchors.",
        "Bars of effects by unit, part and metric, with intervals.",
    )


def _null(source: Source, selection: _Selection) -> list[Plot]:
    """The strongest measurement's effects of all units against those of random directions as long in W."""
    if not source.has("random_effect_w"):
        return []
    random = source.array("random_effect_w", "direction", "part", "metric").astype(np.float64)
    random = random.reshape(len(random), -1)
    step = source.array("step_w", "unit").astype(np.float64)
    best = int(np.nanargmin(np.where(np.isfinite(selection.q), selection.q, np.inf).min(axis=0)))
    per_length = np.abs(selection.raw[:, best] / np.where(step > 0, step, np.nan))
    unit = selection.units_of[best] or "change"
    return [
        Plot(
            "random_directions",
            figures.histogram(
                per_length,
                xlabel=f"|effect| on {selection.columns[best]}, {unit} per unit of length in W",
                beside=np.abs(random[:, best]),
                beside_name=f"{len(random)} random directions",
            ),
            "All units against random directions in W, each divided by its length: what any change of w does.",
            "Histogram of units' effects with the outline of those of random directions.",
        )
    ]


def _doubles(source: Source, selection: _Selection) -> list[Any]:
    summary = source.summary
    cosine = number(source.settings.get("cosine"))
    steered = source.has("own_share")
    told = Text(
        f"Doubles: {number(summary['units_with_doubles'])} units lie in clusters of units "
        f"{'of which w says the same' if steered else 'with near-parallel directions in W'} "
        f"({number(summary['clusters'])} clusters, |cosine| ≥ {cosine}); the steps of "
        f"all units have an effective rank of {number(summary['effective_rank'])}."
    )
    if not source.has("cosine"):
        return [told]
    order = source.array("order", "unit")
    live = source.array("cluster", "unit")[order] >= 0
    places = order[live][:_COSINES]
    names = [source.short(unit) for unit in selection.unit[places]]
    shown_cosines = source.array("cosine", "unit", "unit_other")[np.ix_(places, places)]
    figure = figures.heat_map(
        shown_cosines, rows=names, columns=names, xlabel="unit", ylabel="unit",
        colour_label="cosine of what w says" if steered else "cosine of directions in W",
    )  # fmt: skip
    shown = f"{len(places)} of {int(live.sum())} units" if len(places) < live.sum() else "All live units"
    caption = f"{shown}, units alike side by side: red blocks are doubles, blue ones opposites."
    return [told, Row([Plot("unit_cosines", figure, caption, "Heat map of cosines between units.")])]


def _ablations(source: Source, selection: _Selection, context: Context) -> list[Any]:
    """What the classifier loses without the selected units."""
    if not source.has("ablation_accuracy"):
        return []
    logit = source.array("ablation_logit", "unit", "ablation", "ablated_class")[:, 0]
    accuracy = source.array("ablation_accuracy", "unit", "ablation", "ablated_class")[:, 0]
    rows = np.flatnonzero(selection.chosen)
    if not len(rows):
        rows = np.arange(len(selection.unit))
    size = np.abs(np.nan_to_num(logit))  # dead units have none
    rows = rows[np.argsort(-size[rows].max(axis=1), kind="stable")][:_ABLATED]
    classes = source.array("ablated_class_id", "ablated_class")
    columns = np.sort(np.argsort(-size[rows].max(axis=0), kind="stable")[:_CLASSES])
    figure = figures.heat_map(
        logit[np.ix_(rows, columns)],
        rows=[str(int(unit)) for unit in selection.unit[rows]],
        columns=[context.seen_name(label) for label in classes[columns]],
        xlabel="class of the samples",
        ylabel="unit set to 0",
        colour_label="mean change of the class's logit",
    )
    worst = np.nan_to_num(accuracy[rows]).min()
    shown = f"; the {len(columns)} of {len(classes)} classes with the largest changes" * (len(columns) < len(classes))
    caption = (
        f"What the classifier itself loses without a unit, no images involved{shown}. The share recognised falls by "
        f"{percent(max(0.0, -float(worst)))} of a class's samples at most."
    )
    return [Row([Plot("ablations", figure, caption, "Heat map of logit changes by ablated unit and class.")])]


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + number(float(value))


def _terms() -> list[Term]:
    return [
        Term(
            "q",
            "The largest of an effect's p-values (of the sign-flip test, and against random directions as long in r "
            "and in W), adjusted over units so that among all units called significant for one measurement the "
            "expected share of false ones is at most the chosen one (Benjamini and Hochberg).",
            "q₍ᵢ₎ = min over j ≥ i of (m / j) · p₍ⱼ₎",
        ),
        Term(
            "Per σ obtained",
            "What changes when the unit, as the classifier sees it in the drawn image, rises by one standard "
            "deviation, however much of the change asked it obtains: the value asked is the instrument, the one "
            "obtained the treatment (Wald). It speaks of a change along this direction, on which other units move too, "
            "and is not reported where asked values move obtained ones too little (F of the first stage below 10). An "
            "interval may have no end.",
            "Σ cov(asked, metric) / Σ cov(asked, obtained) · sd(u), sums over samples",
        ),
        Term(
            "Double",
            "Units that the picture cannot tell apart: clusters of |cosine| by complete linkage. Along steering "
            "directions it is that of what w says of two units, the correlation of their predictions from w within "
            "classes; along the kernel that of their directions in W.",
        ),
    ]
