"""The link held against held-out pairs, beside two baselines that a good link must beat."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from linkjax.report import figures
from linkjax.report.content import Cell, Fact, Plot, Row, Section, Table, Term, Text
from linkjax.report.numbers import number
from linkjax.report.source import Context, Source

_PICTURES = 24


def section(source: Source, context: Context) -> Section:
    """Link and baselines by metric, correlation by unit, and pictures."""
    summary = source.summary
    metrics = summary.get("metrics") or {}
    rows = {row["name"]: row for row in summary.get("rows", ())}
    blocks: list[Any] = [
        Text(
            f"On {number(summary.get('samples'))} test pairs that the link has never seen. Each activation r is linked "
            "to ŵ, the image of ŵ is drawn, and the classifier looks at it again: r̂."
        ),
        _table(rows, metrics),
    ]
    plots = _correlation(source)
    if plots:
        blocks.append(Row(plots))
    if source.has("image_linked"):
        blocks.append(Row([_pictures(source, context)]))
    live = summary.get("live_units")
    return Section(
        key="evaluation",
        title="Evaluation",
        blocks=blocks,
        facts=[
            *_fact(rows, metrics),
            Fact("unit correlation", number(summary.get("median_unit_correlation")), f"median of {number(live)} units"),
        ],
        terms=_terms(metrics),
        limits=[
            "Evaluation is on images of the generator. How the link does on photographs is another question.",
        ],
    )


def _table(rows: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Any]) -> Table:
    table = []
    for name, about in metrics.items():
        values = [row.get(name) for row in rows.values()]
        best = _best(values, about.get("better"))
        direction = {"higher": "higher is better", "lower": "lower is better"}.get(about.get("better"), "")
        table.append(
            [
                Cell(_title(name), remark=", ".join(filter(None, (about.get("description", ""), direction)))),
                *(
                    Cell(number(value, about.get("unit", "")), strong=index in best)
                    for index, value in enumerate(values)
                ),
            ]
        )
    return Table(
        "Link and baselines",
        ("metric", *rows),
        table,
        note="The best of each row is bold. Class mean: each class's mean w, whatever r. Shuffled: the linked w of "
        "another test pair.",
    )


def _best(values: list[Any], better: Any) -> set[int]:
    known = {i: v for i, v in enumerate(values) if isinstance(v, int | float) and math.isfinite(v)}
    if len(known) < 2 or better not in ("higher", "lower"):
        return set()
    top = max(known.values()) if better == "higher" else min(known.values())
    return {index for index, value in known.items() if value == top}


def _title(name: str) -> str:
    return name.replace("_", " ")


def _fact(rows: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[Fact]:
    """Top-1 agreement if it was measured, beside the best baseline."""
    name = next((each for each in metrics if "top" in each and "1" in each), None)
    if name is None or "link" not in rows:
        return []
    unit = metrics[name].get("unit", "")
    others = [row[name] for key, row in rows.items() if key != "link" and row.get(name) is not None]
    remark = f"best baseline {number(max(others), unit)}" if others else ""
    return [Fact("class kept after linking", number(rows["link"].get(name), unit), remark)]


def _correlation(source: Source) -> list[Plot]:
    if not source.has("unit_correlation"):
        return []
    return [
        Plot(
            "unit_correlation",
            figures.histogram(
                source.array("unit_correlation", "unit"), xlabel="correlation of a unit's r and r̂ over test pairs"
            ),
            "How well each unit survives linking and re-encoding; units that never vary have no value.",
            "Histogram of per-unit correlations with their median.",
        )
    ]


def _pictures(source: Source, context: Context) -> Plot:
    count = min(_PICTURES, len(source.array("picture_label", "picture")))
    first, second = (
        source.array(name, "picture", "y", "x", "rgb", rows=slice(count)) for name in ("image_original", "image_linked")
    )
    label, before, after = (
        source.array(name, "picture", rows=slice(count))
        for name in ("picture_label", "picture_prediction_original", "picture_prediction_linked")
    )
    return Plot(
        "linked",
        figures.image_pairs(
            first,
            second,
            labels=[context.class_name(each) for each in label],
            notes=[context.class_name(each) for each in after],
            agree=[bool(each) for each in np.equal(before, after)],
        ),
        "Test images (above) and what the link makes of their activations (below). Above each pair the class it was "
        "drawn for; below it the class the classifier sees in the linked image, ✓ if it sees the same in the original.",
        "Grid of original images over linked images, with their classes.",
    )


def _terms(metrics: Mapping[str, Any]) -> list[Term]:
    formulas = {
        "cosine": "cos(a, b) = a·b / (‖a‖ ‖b‖)",
    }
    found = [
        Term(
            _title(name),
            str(about.get("description") or "–").rstrip(".") + ".",
            next((formula for key, formula in formulas.items() if key in name), ""),
        )
        for name, about in metrics.items()
    ]
    return [
        *found,
        Term(
            "Unit correlation",
            "For one unit, Pearson's correlation over test pairs between its activation on the original image and on "
            "the linked one. Near 1, the linked image shows what the unit sees.",
            "ρ = cov(r, r̂) / (sd(r) · sd(r̂))",
        ),
        Term(
            "Baselines",
            "Class mean ignores everything about r but the class; shuffled pairs r with the w of another image. What a "
            "link has over the class mean is knowledge about the single image.",
        ),
    ]
