"""Congruence: whether r and W hold samples in the same order, and whether straight lines stay straight."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from linkjax.report import figures
from linkjax.report.content import Cell, Fact, Notice, Plot, Row, Section, Table, Term, Text
from linkjax.report.numbers import NONE, number
from linkjax.report.source import Context, Source

_GEOMETRY = ("distances", "neighbours")
_SCOPES = {
    "all": "all pairs",
    "within": "within classes",
    "across": "across classes",
    "centroids": "class means",
}
_NAMES = {
    "distances": "rank correlation of distances",
    "neighbours": "nearest neighbours shared",
    "chord": "path: chord / length",
    "r2": "path: R² of a steady straight move",
    "direction": "path: cosine with the move asked",
    "reach": "path: reach along the move asked",
    "fit": "R² in W",
    "gain": "gain in R²",
}
_ROUTES = {"link": "by the link", "W": "straight in W", "other link": "by the other link"}
_COUNTED = {"distances": "pairs", "neighbours": "samples", "fit": "samples", "gain": "samples"}


def section(source: Source, context: Context) -> Section:
    """One table and one figure."""
    del context
    summary = source.summary
    rows = summary["rows"]
    found = {(row["question"], row["scope"]): row for row in rows}
    blocks: list[Any] = [
        Text(
            f"{number(summary['samples'])} held-out samples, {number(summary['samples_per_class'])} of each of "
            f"{number(summary['classes_compared'])} classes: are samples that are near in r near in W? And "
            f"{number(summary['paths'])} pairs of samples: does what the classifier sees move evenly along a line "
            "while the link follows a line in r?"
        )
    ]
    if summary["nonfinite"]:
        blocks.append(Notice(f"Left out as not finite: {number(summary['nonfinite'])} samples, links or paths."))
    if summary.get("left_out_for_balance"):
        more = number(summary["left_out_for_balance"])
        blocks.append(Notice(f"Left out beside them, so that classes keep equal numbers: {more} samples."))
    blocks.append(Row([_plot(source, found)]))
    everything = found["distances", "all"]
    facts = [
        Fact(
            "order in W as in r",
            number(everything["value"]),
            f"rank correlation of distances, {_interval(everything['low'], everything['high'])}",
        )
    ]
    limits = [
        "Distances weigh every unit and every value of w alike: directions that hardly show in an image count too.",
    ]
    if ("r2", "link") in found:
        limits.append(
            "A path by a linear link is a straight line in W, so its straightness is that of generator and classifier "
            "along the link's directions; compare it with the line between the samples' own latents."
        )
    return Section(
        key="congruence",
        title="Congruence",
        blocks=blocks,
        more=[_table(rows, summary)],
        facts=facts,
        terms=_terms(summary),
        limits=limits,
    )


def _table(rows: list[Mapping[str, Any]], summary: Mapping[str, Any]) -> Table:
    lines = []
    for row in rows:
        question, scope = str(row["question"]), str(row["scope"])
        where: str = (_SCOPES | _ROUTES).get(scope, scope)
        if question == "neighbours":
            where += f", {number(summary['neighbours'][scope])} nearest"
        if question == "fit":
            where = "the link" if scope == "link" else "the other link"
        chance = Cell(NONE)
        if row["null"] is not None:
            remark = f"{_interval(row['null_low'], row['null_high'])}, p {_probability(row['p'])}"
            chance = Cell(number(row["null"]), remark=remark)
        lines.append(
            [
                Cell(_NAMES[question], remark=where),
                Cell(number(row["value"]), remark=_interval(row["low"], row["high"])),
                chance,
                f"{number(row['count'])} {_counted(question, scope)}",
            ]
        )
    return Table(
        "Is the order the same?",
        ("", "found", "shuffled pairs", "over"),
        lines,
        note="Below a number: its 95 % interval, from resampled classes and samples (paths: resampled paths); for "
        "shuffled pairs the range of 95 % of the shuffles, and how often one reaches what was found. Chord and R² of "
        "a path are compared with the same points in random order, its direction and reach with the moves of others.",
        numeric=(1, 2, 3),
    )


def _counted(question: str, scope: str) -> str:
    if scope == "centroids":
        return "pairs of classes" if question == "distances" else "classes"
    return _COUNTED.get(question, "paths")


def _probability(p: float) -> str:
    return f"= {number(p)}" if p > 0.01 else f"≤ {number(p)}"


def _interval(low: Any, high: Any) -> str:
    return "" if low is None or high is None else f"{number(low)} … {number(high)}"


def _plot(source: Source, estimates: Mapping[tuple[str, str], Mapping[str, Any]]) -> Plot:
    shown = [(question, scope) for question in _GEOMETRY for scope in _SCOPES if (question, scope) in estimates]
    values = [[estimates[key][name] for name in ("value", "low", "high")] for key in shown]
    chance = [[estimates[key][name] for name in ("null_low", "null_high")] for key in shown]
    progress = {}
    if source.has("progress"):
        moved = source.array("progress", "route", "path", "step").astype(np.float64)
        progress = {
            {"link": "link", "W": "line in W", "other link": "other link"}.get(route, route): moved[row]
            for row, route in enumerate(source.names("route"))
        }
    figure = figures.same_order(
        source.array("distance_r", "pair"),
        source.array("distance_w", "pair"),
        source.array("same_class", "pair").astype(bool),
        [f"{ {'distances': 'distances', 'neighbours': 'nearest'}[q] }, {_SCOPES[scope]}" for q, scope in shown],
        np.array(values, np.float64),
        np.array(chance, np.float64),
        progress,
    )
    caption = (
        "Left: distances of pairs of samples in both spaces. Middle: how far the orders agree, with 95 % intervals; "
        "grey is what shuffled pairs give."
    )
    if progress:
        caption += (
            " Right: how far along its chord a re-encoded path is while its image moves evenly on a straight line: "
            "median and the middle 80 % of the paths; dotted is even."
        )
    return Plot("congruence", figure, caption, "Distances in r and W, their agreement, and progress along paths.")


def _terms(summary: Mapping[str, Any]) -> list[Term]:
    how = "Euclidean" if summary["distance"] == "euclidean" else "cosine"
    return [
        Term(
            "Rank correlation of distances",
            f"Whether pairs that are far apart in r are far apart in W ({how} distances). Class means: the same for "
            "the classes, each at the mean of its samples.",
            "ρ = corr(rank d(rᵢ, rⱼ), rank d(wᵢ, wⱼ)) over pairs i < j",
        ),
        Term(
            "Nearest neighbours shared",
            "Of a sample's nearest in r, the share that is among its nearest in W.",
            "mean over i of |Nᵣ(i) ∩ N_w(i)| / k",
        ),
        Term(
            "Straightness of a path",
            "A straight line between two samples is drawn at even steps and looked at by the classifier. Chord / "
            "length is 1 for a straight path, at any pace; R² is 1 for one that is straight and even.",
            "R² = ‖Σ τₜ p̃ₜ‖² / (Σ τₜ² Σ ‖p̃ₜ‖²), τ and p̃ deviations of place and of r̂ from their means",
            ("path: chord", "straight line"),
        ),
    ]
