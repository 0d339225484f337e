"""Findings, the first section of a page: a picture and a sentence for each unit."""

from typing import Any

import numpy as np

from linkjax.report import figures
from linkjax.report.content import Plot, Row, Section, Table, Term, Text
from linkjax.report.numbers import number, percent
from linkjax.report.source import Context, Source
from linkjax.report.words import effects_in_words, sentence

COMPARISONS = ("comparison", "planted_comparison")
_THIRD = (figures.HALF - 0.3) * 2 / 3  # inches: three in a row
_SHOWN = 9  # units in pictures
_SAMPLES = 2  # of a sweep, in a picture
_NAMED = 12  # units that are told in words alone


def section(context: Context) -> Section | None:
    """Units in pictures with what they do; none where no result of the page tells any."""
    sources = context.sources
    told = [sources[role] for role in COMPARISONS if role in sources]
    blocks: list[Any] = []
    if "selection" in sources:
        blocks.append(Text(_opening(sources["selection"], sources.get("sweep"))))
    for source in told:
        blocks += _compared(source)
    if not told and "selection" in sources:
        blocks += _swept(sources["selection"], sources.get("sweep"), context)
    if not blocks:
        return None
    terms = [
        Term(
            "Raised along the kernel, along steering directions",
            "The link's kernel predicts w from all units; a step along its row moves a unit by less than was asked, "
            "and others with it. A steering direction is fitted to raise the unit by what is asked. Side effects: root "
            "mean square change of all other units, each in its standard deviation, per own change.",
        )
    ]
    return Section("findings", "What was found", blocks, terms=terms if told else ())


def _opening(selection: Source, sweep: Source | None) -> str:
    summary = selection.summary
    text = (
        f"{number(summary['significant_units'])} of {number(summary['live_units'])} units have an effect on the "
        f"picture that is more than chance, at {percent(summary['fdr'])} false discoveries"
    )
    if sweep is None or sweep.summary.get("median_fidelity") is None:
        return text + "."
    fidelity = number(sweep.summary["median_fidelity"])
    return f"{text}; half of all units follow {fidelity} or more of the change that is asked of them."


def _compared(source: Source) -> list[Any]:
    """Units raised along both kinds of directions, with the renderer's truth where there is one."""
    summary = source.summary
    parts, metrics = source.names("part"), source.names("metric")
    directions = source.names("direction")
    units = source.array("unit", "unit")
    pictures = source.array("picture", "unit", "direction", "level", "y", "x", "rgb")
    truth = source.array("truth", "unit", "level", "y", "x", "rgb") if source.has("truth") else None
    effect, significant = (source.array(name, "unit", "part", "metric") for name in ("effect_sd", "significant"))
    fidelity = source.array("fidelity", "unit", "direction")[:, directions.index("steer")]
    names = [{"steer": "steering"}.get(name, name) for name in directions] + ["renderer"] * (truth is not None)
    sigma = float(summary["sigma"])
    plots = []
    for row, unit in enumerate(units.tolist()):
        shown = pictures[row] if truth is None else np.concatenate([pictures[row], truth[row][None]])
        words = effects_in_words(effect[row], significant[row] > 0, parts, metrics)
        told = sentence(unit, words, fidelity[row])
        figure = figures.sweep_strip(
            shown, [-sigma, 0.0, sigma], title=f"{summary['classifier']}, unit {unit}", rows=names,
            xlabel="standard deviations asked", width=_THIRD,
        )  # fmt: skip
        alt = f"One picture as the unit is lowered and raised along {', '.join(names)}. {told}"
        own = unit if source.role == COMPARISONS[0] else None
        plots.append(Plot(f"found_{summary['classifier']}_{unit}", figure, told, alt, own))
    rows = [
        [
            {"steer": "steering directions"}.get(each["directions"], each["directions"]),
            number(each["median_fidelity"]),
            percent(each["fidelity_within_20_percent"]),
            number(each["median_side_effect_per_own_change"]),
            f"{number(each['significant_units'])} of {number(each['units'])}",
            number(each["anchors"]),
        ]
        for each in summary["directions"]
    ]
    title = f"{summary['classifier']}: the same units raised along the kernel and along steering directions"
    columns = ("along", "fidelity, median", "within 0.8 … 1.2", "side effects, median", "units found", "anchors")
    return [Row(plots), Table(title, columns, rows)]


def _swept(selection: Source, sweep: Source | None, context: Context) -> list[Any]:
    """The units selected: those with pictures in the sweep shown, others told."""
    dims = ("unit", "part", "metric")
    spread = selection.array("spread", "part", "metric")
    effect = selection.array("effect", *dims) / np.where(spread > 0, spread, np.nan)
    significant = np.nan_to_num(selection.array("q", *dims), nan=1.0) <= selection.summary["fdr"]
    parts, metrics = selection.names("part"), selection.names("metric")
    fidelity = selection.array("fidelity", "unit")
    place = {int(unit): row for row, unit in enumerate(selection.array("unit", "unit"))}

    def told(unit: int) -> str:
        row = place[unit]
        return sentence(
            selection.called(unit), effects_in_words(effect[row], significant[row], parts, metrics), fidelity[row]
        )

    chosen = [int(unit) for unit in selection.summary["selected"] if int(unit) in place]
    drawn: dict[int, int] = {}
    if sweep is not None and sweep.has("picture"):
        drawn = {int(unit): row for row, unit in enumerate(sweep.array("picture_unit", "picture_unit"))}
    shown = [unit for unit in chosen if unit in drawn][:_SHOWN]
    plots = []
    for unit in shown:
        assert sweep is not None
        dims = ("picture_unit", "picture_sample", "step", "y", "x", "rgb")
        [pictures] = sweep.array("picture", *dims, rows=slice(drawn[unit], drawn[unit] + 1))
        samples = sweep.array("picture_sample", "picture_sample")[:_SAMPLES]
        rows = [context.anchor_name(sweep, label) for label in sweep.array("label", "sample")[samples]]
        [at] = np.flatnonzero(sweep.array("unit", "unit") == unit)
        value = sweep.asked()[samples, at].mean(axis=0)
        figure = figures.sweep_strip(pictures[:_SAMPLES], value, title=sweep.called(unit), rows=rows, width=_THIRD)
        alt = f"Samples as the unit rises. {told(unit)}"
        plots.append(Plot(f"found_{unit}", figure, told(unit), alt, sweep.own_unit(unit)))
    rest = [unit for unit in chosen if unit not in shown][:_NAMED]
    blocks: list[Any] = [Row(plots)] if plots else []
    if rest:
        blocks.append(Text("; ".join(told(unit).replace("; ", ", ") for unit in rest) + "."))
    return blocks or [Text("No unit was selected.")]
