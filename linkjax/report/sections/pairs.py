"""Pairs (w, r): how many were kept, and how often the classifier recognised what was drawn."""

from collections import defaultdict
from typing import Any

import numpy as np

from linkjax.report import figures
from linkjax.report.content import Cell, Fact, Plot, Row, Section, Table, Term, Text, clipped
from linkjax.report.numbers import NONE, number, percent, wilson
from linkjax.report.source import Context, Source

_ROWS = 200
_SPLITS = ("train", "val", "test")


def section(source: Source, context: Context) -> Section:
    """How many pairs there are of each class, and the acceptance rate."""
    summary = source.summary
    groups = summary.get("groups", ())
    by_class: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for group in groups:
        by_class[group["label"]].append(group)
    tried, accepted = (sum(group[key] for group in groups) for key in ("tried", "accepted"))
    again = "latents" in source.inputs
    kept_all = again or source.settings.get("keep") == "all"
    rate = summary.get("acceptance")
    text = (
        f"{number(accepted)} pairs of {number(len(by_class))} {'class' if len(by_class) == 1 else 'classes'}: "
        f"a latent w ({number(summary.get('w_dim'))} values) and "
        f"the classifier's activations r ({number(summary.get('units'))} units) of the image drawn from it. "
    )
    if again:
        text += "The samples are those of other pairs, all of them, drawn again and shown to this classifier"
        seen = summary.get("recognised")
        text += "." if seen is None else f", which recognises {percent(seen)} of them as their class."
    elif kept_all:
        text += "Every sample was kept, recognised or not."
    else:
        text += f"Of {number(tried)} candidates, {percent(rate)} were recognised as their class and kept."
    blocks: list[Any] = [Text(text)]
    more: list[Any] = [_table(by_class, context, kept_all)]
    if not kept_all and by_class:
        more.insert(0, Row([_bars(by_class, context, rate)]))
    nonfinite = sum(group.get("nonfinite", 0) for group in groups)
    if again and summary.get("nonfinite"):
        blocks.append(Text(f"Kept, but not finite: {number(summary['nonfinite'])} of the samples."))
    if nonfinite and not again:
        blocks.append(Text(f"Left out for numbers that are not finite: {number(nonfinite)} of the candidates."))
    return Section(
        key="pairs",
        title="Pairs",
        blocks=blocks,
        more=more,
        facts=[
            Fact("pairs", number(accepted), "all kept" if kept_all else f"{percent(rate)} of candidates recognised")
        ],
        terms=[
            Term(
                "Acceptance",
                "Share of drawn images whose top class, for the classifier, is the class they were drawn for. A low "
                "rate means that the two models mean different things by a class; what is kept is then not typical. "
                "Intervals are Wilson's, 95 %.",
                "acceptance = recognised / tried",
                ("recognised",),
            )
        ],
        limits=[
            "Which samples there are was decided by other pairs, and so by what their classifier recognised, if they "
            "kept no others."
        ]
        if again
        else [
            "Only recognised images are kept: every later number describes images on which generator and classifier "
            "agree, not all that the generator draws."
        ]
        if not kept_all
        else [],
    )


def _table(by_class: dict[int, list[dict[str, Any]]], context: Context, kept_all: bool) -> Table:
    rows = []
    for label, groups in by_class.items():
        split = {group["split"]: group for group in groups}
        cells = [number(split[name]["accepted"]) if name in split else NONE for name in _SPLITS]
        tried, accepted = (sum(group[key] for group in groups) for key in ("tried", "accepted"))
        rows.append(
            [
                Cell(context.class_name(label), remark=f"id {label}" if label >= 0 else ""),
                *cells,
                *(() if kept_all else (number(tried), percent(accepted / tried) if tried else NONE)),
            ]
        )
    rows, note = clipped(rows, _ROWS, "classes")
    columns = ("class", "training", "validation", "test", *(() if kept_all else ("tried", "acceptance")))
    return Table("Pairs by class", columns, rows, note=note)


def _bars(by_class: dict[int, list[dict[str, Any]]], context: Context, overall: Any) -> Plot:
    rates = []
    for label, groups in by_class.items():
        tried, accepted = (sum(group[key] for group in groups) for key in ("tried", "accepted"))
        if tried:
            rates.append((accepted / tried, *wilson(accepted, tried), context.class_name(label)))
    rates.sort(key=lambda rate: rate[0])
    shown = rates if len(rates) <= 24 else rates[:24]
    values, low, high = (np.array([rate[index] for rate in shown]) for index in range(3))
    lowest = f"the {len(shown)} lowest of {len(rates)} classes" if len(rates) > len(shown) else "by class"
    return Plot(
        "acceptance",
        figures.bars(
            100 * values,
            [rate[3] for rate in shown],
            low=100 * low,
            high=100 * high,
            xlabel="recognised, % of candidates",
            ylabel="class",
            reference=None if overall is None else 100 * overall,
            reference_name="all classes",
            limits=(0.0, 100.0),
        ),
        f"Acceptance, {lowest}, lowest first, with 95 % intervals.",
        "Horizontal bars: share of candidates the classifier recognised, for each class.",
    )
