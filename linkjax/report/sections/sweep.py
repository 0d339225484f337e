"""Sweeps: fidelity of units (obtained / requested change), their effects on the image, and their side effects."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from linkjax.analysis.metrics import measurements
from linkjax.report import figures, sweep_summary
from linkjax.report.content import Cell, InAtlas, Notice, Plot, Row, Section, Table, Term, Text
from linkjax.report.numbers import NONE, number, with_error
from linkjax.report.sections import motion
from linkjax.report.sections.findings import COMPARISONS
from linkjax.report.source import Context, Source, caution_words, raised_along

_TOP = 10  # units in a ranking
_HEAT = 16  # units in the heat map
_METRICS = 24  # metrics in it, at most
_STRIPS = 8  # units shown in pictures
_SAMPLES = 3  # samples in a strip
_ASKED = "value asked, mean of these samples"


class _Sweep(NamedTuple):
    """The arrays of a sweep that do not grow with its images."""

    source: Source
    unit: np.ndarray  # [K] ids
    value: np.ndarray  # [sample, K, step], as asked
    fidelity: np.ndarray  # [K]
    error: np.ndarray  # [K]
    dead: np.ndarray  # [K] bool
    caution: np.ndarray  # [K], bit 1: off range, bit 2: fidelity surely far from 1
    side_unit: np.ndarray  # [K, rank]
    side: np.ndarray  # [K, rank]
    effect: np.ndarray  # [K, column], a column for each part and metric
    effect_error: np.ndarray  # [K, column]
    scaled: np.ndarray  # [K, column], in standard deviations of the metric
    columns: list[str]
    units_of: list[str]  # [column], what the metric is measured in
    meanings: dict[str, str]  # metric → description


def section(source: Source, context: Context) -> Section:
    """Units by fidelity and by effect, their strips, side effects."""
    sweep = _read(source)
    summary = source.summary
    live = ~sweep.dead
    mode = {"residual": "residual mode: the image keeps all that the link does not explain"}.get(
        str(summary.get("mode")), f"{summary.get('mode')} mode: the image is made from the linked activations alone"
    )
    rows = f", which enter the rows {summary['layers']} of W+ alone" if summary.get("layers") else ""
    what = "readouts" if summary.get("readouts") else "units"
    blocks: list[Any] = [
        Text(
            f"Each of {number(len(sweep.unit))} {what} was set to {number(summary.get('steps'))} values "
            f"{_range(summary)} in {number(summary.get('samples'))} samples, along {raised_along(summary)}{rows} "
            f"({mode}). {number(summary.get('images'))} images were drawn and looked at again by the classifier."
        )
    ]
    if summary.get("readouts"):
        blocks.append(
            Text(
                "In the place of units stand readouts, each linear in the classifier's activations (and cut at zero if "
                f"it is a latent of an autoencoder): {number(summary['readouts'])} in all, whose steps share "
                f"{number(summary['readouts_rank'])} independent directions in W."
            )
        )
    if sweep.dead.any():
        dead = ", ".join(map(source.short, sweep.unit[sweep.dead][:20])) + (" …" if sweep.dead.sum() > 20 else "")
        blocks.append(Notice(f"{number(int(sweep.dead.sum()))} units hardly vary at all and are left out: {dead}."))
    for name, beware in sweep_summary.CAUTIONS.items():
        if summary.get(name):
            blocks.append(Notice(f"Beware: {number(summary[name])} of {number(int(live.sum()))} live units {beware}."))
    if summary.get("nonfinite"):
        blocks.append(Notice(f"Images left out for numbers that are not finite: {number(summary['nonfinite'])}."))
    by_fidelity = _ranked(np.where(live, sweep.fidelity, np.nan))
    strongest = _strongest(sweep)
    by_effect = _ranked(np.where(live, strongest, np.nan))
    blocks.append(Row([_histogram(sweep, live), _side_effects(sweep, live)]))
    # where effects were tested, what was found has been told before
    told = {"selection", *COMPARISONS} & set(context.sources)
    more: list[Any] = []
    first = more if told else blocks
    first += [_table("Units by effect", sweep, by_effect[:_TOP]), *_strips(source, sweep, by_effect, context)]
    shown = by_effect[:_HEAT]
    if len(shown) and np.isfinite(sweep.scaled[shown]).any():
        more.append(Row([_heat_map(sweep, shown)]))
    more += motion.blocks(source, context, sweep.unit[by_effect])
    if source.has("obtained") and len(by_fidelity):
        more.append(Row([_fidelity_plot(source, sweep, by_fidelity)]))
    blocks.append(InAtlas(f"All {what} with their pictures and numbers", "view=map"))
    return Section(
        key="sweep",
        title="Sweep",
        blocks=blocks,
        more=more,
        terms=[*_terms(sweep), *([motion.TERM] if source.has("picture_motion") else [])],
        limits=[
            *(
                ["Metrics here are of the whole image; they do not say which part of it changed."]
                if len(source.names("part")) == 1
                else ["Parts are those a segmenter sees: what it mistakes, these numbers mistake too."]
            ),
            "Effects carry no significance test: with few samples, or many units ranked, the first of a ranking are "
            "partly luck.",
        ],
    )


def _range(summary: Mapping[str, Any]) -> str:
    if summary.get("range") == "class":
        return "from low to high in the sample's own class, the untouched image in the middle,"
    return "from low to high over all classes"


def _read(source: Source) -> _Sweep:
    unit = source.array("unit", "unit")
    parts, metrics = source.names("part"), source.names("metric")
    units_of = list(source.attribute("metric", "units") or [""] * len(metrics))
    described = source.attribute("metric", "descriptions") or ()
    dims = ("unit", "part", "metric")
    effect = source.array("effect", *dims).astype(np.float64)
    error = source.array("effect_se", *dims) if source.has("effect_se") else np.full_like(effect, np.nan)
    baseline = source.array("baseline", "sample", "part", "metric").astype(np.float64)
    spread = measurements.spread(baseline, metrics)
    return _Sweep(
        source=source,
        unit=unit,
        value=source.asked(),
        fidelity=source.array("fidelity", "unit").astype(np.float64),
        error=source.array("fidelity_se", "unit").astype(np.float64),
        dead=source.array("flag", "unit") == 1,
        caution=source.array("caution", "unit") if source.has("caution") else np.zeros(len(unit), np.int8),
        side_unit=source.array("side_effect_unit", "unit", "rank"),
        side=source.array("side_effect", "unit", "rank").astype(np.float64),
        effect=effect.reshape(len(unit), -1),
        effect_error=error.reshape(len(unit), -1),
        scaled=(effect / spread).reshape(len(unit), -1),
        columns=[_column(part, metric, len(parts)) for part in parts for metric in metrics],
        units_of=units_of * len(parts),
        meanings=dict(zip(metrics, described, strict=False)),
    )


def _column(part: str, metric: str, parts: int) -> str:
    metric = metric.replace("_", " ")
    return metric if parts == 1 and part in ("image", "whole", "whole image") else f"{part}: {metric}"


def _median(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else None


def _strongest(sweep: _Sweep) -> np.ndarray:
    """Largest effect of each unit in standard deviations of the metric; NaN if it has none."""
    sizes = np.where(np.isfinite(sweep.scaled), np.abs(sweep.scaled), -1.0)
    return np.where((sizes >= 0).any(1), sizes.max(1, initial=-1.0), np.nan)


def _ranked(values: np.ndarray) -> np.ndarray:
    """Places of the finite values, largest first."""
    order = np.argsort(-np.nan_to_num(values, nan=-np.inf), kind="stable")
    return order[np.isfinite(values[order])]


def _table(title: str, sweep: _Sweep, places: np.ndarray) -> Table:
    rows = []
    for place in places:
        other = NONE
        if sweep.side.shape[1] and np.isfinite(sweep.side[place, 0]):
            other = f"{number(float(sweep.side[place, 0]))} on {sweep.source.called(sweep.side_unit[place, 0])}"
        name, remark = _effect(sweep, place)
        rows.append(
            [
                sweep.source.cell(sweep.unit[place], caution_words(int(sweep.caution[place]))),
                with_error(sweep.fidelity[place], sweep.error[place]),
                Cell(name, remark=remark),
                other,
                f"{number(float(sweep.value[:, place].min()))} … {number(float(sweep.value[:, place].max()))}",
            ]
        )
    return Table(
        title,
        ("unit", "fidelity", "strongest effect", "largest side effect", "values asked"),
        rows,
        note="Effects are per standard deviation of the unit, in standard deviations (sd) of the "
        "metric among untouched samples, and below that in the metric's own unit; ± is a standard error over samples.",
        numeric=(1, 2, 3, 4),
    )


def _effect(sweep: _Sweep, place: int) -> tuple[str, str]:
    sizes = np.abs(sweep.scaled[place])
    if not np.isfinite(sizes).any():
        return NONE, ""
    column = int(np.nanargmax(sizes))
    value = with_error(sweep.effect[place, column], sweep.effect_error[place, column], sweep.units_of[column])
    return f"{sweep.columns[column]} {_signed(sweep.scaled[place, column])} sd", value


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + number(float(value))


def _histogram(sweep: _Sweep, live: np.ndarray) -> Plot:
    return Plot(
        "fidelity",
        figures.histogram(
            sweep.fidelity[live], xlabel="fidelity: obtained / asked change", reference=1.0, reference_name="as asked"
        ),
        "Fidelity of the live units: at 1 a unit takes the value asked of it, at 0 it does not move.",
        "Histogram of unit fidelities with their median and a line at 1.",
    )


def _side_effects(sweep: _Sweep, live: np.ndarray) -> Plot:
    largest = np.abs(sweep.side[live, 0]) if sweep.side.shape[1] else np.full(int(live.sum()), np.nan)
    return Plot(
        "side_effects",
        figures.histogram(largest, xlabel="largest side effect, sd of the other unit per sd asked"),
        "How much the most affected other unit moves along; above 1 it moves more than the unit that was asked.",
        "Histogram of the largest side effect of each unit.",
    )


def _heat_map(sweep: _Sweep, places: np.ndarray) -> Plot:
    sizes = np.nan_to_num(np.abs(sweep.scaled[places])).max(0)
    columns = np.sort(np.argsort(-sizes, kind="stable")[:_METRICS])
    columns = columns[np.isfinite(sweep.scaled[:, columns]).any(0)]
    return Plot(
        "effects",
        figures.heat_map(
            sweep.scaled[places][:, columns],
            rows=[sweep.source.short(unit) for unit in sweep.unit[places]],
            columns=[sweep.columns[column] for column in columns],
            xlabel="metric",
            ylabel="unit",
            colour_label="effect, sd of metric / sd of unit",
        ),
        f"What {len(places)} units change, strongest first: red raises a metric, blue lowers it.",
        "Heat map of effects by unit and metric.",
    )


def _strips(source: Source, sweep: _Sweep, by_effect: np.ndarray, context: Context) -> list[Any]:
    if not source.has("picture"):
        return []
    ids = source.array("picture_unit", "picture_unit")
    rank = {int(unit): place for place, unit in enumerate(sweep.unit[by_effect])}
    order = sorted(range(len(ids)), key=lambda index: rank.get(int(ids[index]), len(rank)))[:_STRIPS]
    rows: list[str] = []
    shown = np.arange(len(sweep.value))
    if source.has("picture_sample"):
        labels = source.array("label", "sample")
        shown = source.array("picture_sample", "picture_sample")[:_SAMPLES]
        rows = [context.anchor_name(source, labels[row]) for row in shown]
    plots = []
    for index in order:
        unit = int(ids[index])
        [pictures] = source.array(
            "picture", "picture_unit", "picture_sample", "step", "y", "x", "rgb", rows=slice(index, index + 1)
        )
        values = sweep.value[shown, np.flatnonzero(sweep.unit == unit)[0]].mean(axis=0)
        plots.append(
            Plot(
                f"unit_{unit}",
                figures.sweep_strip(pictures[:_SAMPLES], values, title=source.called(unit), rows=rows, xlabel=_ASKED),
                "",
                f"Samples as {source.called(unit)} goes from {values[0]:.3g} to {values[-1]:.3g}.",
                source.own_unit(unit),
            )
        )
    return [
        Text(
            "What it looks like, of the units that change the picture most, those of the strongest effects first: a "
            "row is a sample, and the unit's value grows rightwards."
        ),
        Row(plots),
    ]


def _fidelity_plot(source: Source, sweep: _Sweep, by_fidelity: np.ndarray) -> Plot:
    obtained = source.array("obtained", "sample", "unit", "step")
    # best, worst and what lies between
    spread = np.unique(np.linspace(0, len(by_fidelity) - 1, min(8, len(by_fidelity))).round().astype(int))
    places = by_fidelity[spread]
    titles = [f"{source.called(sweep.unit[p])}, fidelity {number(float(sweep.fidelity[p]))}" for p in places]
    return Plot(
        "asked_obtained",
        figures.asked_obtained(sweep.value[:, places], obtained[:, places], titles),
        "Value asked of a unit and value found after re-encoding, from the most to the least faithful unit: thin "
        "lines are samples, the thick one their mean, dotted is perfect.",
        "Small line plots of obtained against asked unit values.",
    )


def _terms(sweep: _Sweep) -> list[Term]:
    described = [f"{name.replace('_', ' ')}: {meaning}" for name, meaning in sweep.meanings.items()]
    return [
        Term("Fidelity", formula="obtained = α(sample) + fidelity · asked, by least squares"),
        Term("Side effect", formula="side effect of u on v = slope(v on asked u) · sd(u) / sd(v)"),
        Term(
            "Effect",
            "Slope of a measurement on the asked value, per σ, mean over anchors; where units are compared, divided by "
            "the measurement's standard deviation among untouched samples (sd).",
            "effect = slope(metric on asked u) · sd(u)",
        ),
        *([Term("Metrics", "; ".join(described) + ".")] if described else []),
    ]
