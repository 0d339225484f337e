"""The link held against held-out pairs, beside two baselines that a good link must beat."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from linkjax.report import figures
from linkjax.report.content import Cell, Fact, Notice, Plot, Row, Section, Table, Term, Text
from linkjax.report.numbers import number, percent
from linkjax.report.source import Context, Source

_PICTURES = 6

#: Metrics with a name and a formula of their own; others are called by their key and described as they were stored.
_KNOWN = {
    "r2": ("R² in W", "1 − Σᵢ‖wᵢ − ŵᵢ‖² / Σᵢ‖wᵢ − w̄‖²"),
    "mse": ("mean squared error in W", "mean((w − ŵ)²)"),
    "cosine": ("cosine in W", "w·ŵ / (‖w‖ ‖ŵ‖)"),
    "centred_cosine": ("centred cosine in W", "the same of w − w̄ and ŵ − w̄, with w̄ the training mean"),
    "cosine_r": ("cosine in r", "r·r̂ / (‖r‖ ‖r̂‖)"),
    "centred_cosine_r": ("centred cosine in r", "the same of r − r̄ and r̂ − r̄, with r̄ the training mean"),
    "top1": ("same class (top 1)", ""),
    "top5": ("same class (top 5)", ""),
    "class_top1": ("intended class (top 1)", ""),
    "class_top5": ("intended class (top 5)", ""),
    "unit_correlation": ("unit correlation, median", ""),
}


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
    if summary.get("nonfinite"):
        blocks.append(Notice(f"Samples left out for numbers that are not finite: {number(summary['nonfinite'])}."))
    plots = _correlation(source) + _agreement(rows, metrics)
    if source.has("image_linked"):
        blocks.append(Row([_pictures(source, context)]))
    live = summary.get("live_units")
    return Section(
        key="evaluation",
        title="Evaluation",
        blocks=blocks,
        more=[Row(plots)] if plots else [],
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
        errors = [(row.get("standard_errors") or {}).get(name) for row in rows.values()]
        best = _best(values, about.get("better"))
        direction = {"higher": "higher is better", "lower": "lower is better"}.get(about.get("better"), "")
        table.append(
            [
                Cell(_title(name), remark="; ".join(filter(None, (about.get("description", ""), direction)))),
                *(
                    Cell(
                        _shown(name, about, value),
                        remark=f"± {_shown(name, about, error, 2)}" if error else "",
                        strong=index in best,
                    )
                    for index, (value, error) in enumerate(zip(values, errors, strict=True))
                ),
            ]
        )
    return Table(
        "Link and baselines",
        ("metric", *rows),
        table,
        note="The best of each row is bold; ± is a standard error over samples. Class mean: each class's mean w, "
        "whatever r. Shuffled: a link fitted after shuffling which w belongs to which r, so what chance gives.",
    )


def _shown(name: str, about: Mapping[str, Any], value: Any, digits: int = 3) -> str:
    """A value of a metric; agreements of classes are shares whatever they call themselves."""
    share = about.get("unit") in ("share", "fraction") or (name.split("_")[-1].startswith("top") and value is not None)
    return percent(value) if share else number(value, str(about.get("unit") or ""), digits)


def _best(values: list[Any], better: Any) -> set[int]:
    known = {i: v for i, v in enumerate(values) if isinstance(v, int | float) and math.isfinite(v)}
    if len(known) < 2 or better not in ("higher", "lower"):
        return set()
    top = max(known.values()) if better == "higher" else min(known.values())
    return {index for index, value in known.items() if value == top}


def _title(name: str) -> str:
    return _KNOWN[name][0] if name in _KNOWN else name.replace("_", " ")


def _fact(rows: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[Fact]:
    """Fit on the test pairs, and how often linking keeps the class, beside the best baseline."""
    facts = []
    for name, label in (("r2", "R² in W, test pairs"), ("top1", "class kept after linking")):
        if name in metrics and (rows.get("link") or {}).get(name) is not None:
            others = [row[name] for key, row in rows.items() if key != "link" and row.get(name) is not None]
            remark = f"best baseline {_shown(name, metrics[name], max(others))}" if others else ""
            facts.append(Fact(label, _shown(name, metrics[name], rows["link"][name]), remark))
    return facts


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


def _agreement(rows: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Any]) -> list[Plot]:
    """How often the linked image keeps the class, with 95 % intervals."""
    known = {name: row for name, row in rows.items() if row.get("top1") is not None}
    if "top1" not in metrics or not known:
        return []
    values = np.array([100 * row["top1"] for row in known.values()])
    errors = [(row.get("standard_errors") or {}).get("top1") for row in known.values()]
    reach = 196 * np.array([math.nan if error is None else error for error in errors])
    return [
        Plot(
            "class_agreement",
            figures.bars(
                values,
                list(known),
                low=np.maximum(values - reach, 0.0),
                high=np.minimum(values + reach, 100.0),
                xlabel="linked images seen as the original's class, %",
                limits=(0.0, 100.0),
                width=figures.HALF,
            ),
            "How often the classifier gives the linked image the class it gave the original, with 95 % intervals.",
            "Horizontal bars: class agreement of the link and of its baselines.",
        )
    ]


def _pictures(source: Source, context: Context) -> Plot:
    count = min(_PICTURES, len(source.array("picture_label", "picture")))
    first, second = (
        source.array(name, "picture", "y", "x", "rgb", rows=slice(count)) for name in ("image_original", "image_linked")
    )
    label, before, after = (
        source.array(name, "picture", rows=slice(count)).tolist()
        for name in ("picture_label", "picture_prediction_original", "picture_prediction_linked")
    )
    seen = [a >= 0 for a in after]  # −1: a classifier without classes
    return Plot(
        "linked",
        figures.image_pairs(
            first,
            second,
            labels=[context.class_name(each) for each in label],
            notes=[context.seen_name(each) for each in after] if any(seen) else (),
            agree=[a == b if known else None for a, b, known in zip(before, after, seen, strict=True)],
        ),
        "Test images (above) and what the link makes of their activations (below). Above each pair the class it was "
        "drawn for; below it the class the classifier sees in the linked image, ✓ if it sees the same in the original.",
        "Grid of original images over linked images, with their classes.",
    )


def _terms(metrics: Mapping[str, Any]) -> list[Term]:
    formulas = [f"{_KNOWN[name][0]} = {_KNOWN[name][1]}" for name in metrics if name in _KNOWN and _KNOWN[name][1]]
    return [
        *(
            [
                Term(
                    "Fit in W and in r",
                    "How near the linked latent ŵ is to w, and the activations r̂ of its image to r. Cosines run from "
                    "−1 to 1; uncentred ones are near 1 for almost any link, because all latents and all activations "
                    "share a large mean, so look at the centred ones.",
                    "\n".join(formulas),
                    ("cosine in W", "cosine in r", "centred cosine"),
                )
            ]
            if formulas
            else []
        ),
        Term(
            "Same class, intended class",
            "Share of test pairs whose linked image the classifier gives the class it gave the original (same) or the "
            "class it was drawn for (intended); top 5: that class is among its five likeliest.",
            spelled=("same class", "intended class", "class kept"),
        ),
        Term(
            "Unit correlation",
            "For one unit, Pearson's correlation over test pairs between its activation on the original image and on "
            "the linked one. Near 1, the linked image shows what the unit sees.",
            "ρ = cov(r, r̂) / (sd(r) · sd(r̂))",
        ),
        Term(
            "Baselines",
            "Class mean ignores everything about r but the class; the shuffled link has nothing to learn from. What "
            "the link has over the class mean is knowledge about the single image.",
        ),
    ]
