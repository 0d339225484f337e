"""Photographs: what the classifier sees, what the link makes of it, and how far they lie from what it was fitted on."""

from collections.abc import Mapping
from typing import Any

from linkjax.report import figures
from linkjax.report.content import Cell, Fact, Notice, Plot, Row, Section, Table, Term, Text, clipped
from linkjax.report.numbers import NONE, number, percent
from linkjax.report.source import Context, Source

_PICTURES = 6
_GROUPS = 200
_LISTED = 5  # unreadable files named

#: Row of the table → its title and what it says.
_LINES = {
    "kept": ("same class (top 1)", "the linked image's class is the photograph's; higher is better"),
    "recognised": ("own class (top 1)", "the photograph's class is the one its group or label names"),
    "centred_cosine": ("centred cosine in r", "median; higher is better"),
    "cosine": ("cosine in r", "median"),
    "distance": ("distance from the training pairs", "median; 1 in the root mean square of the training pairs"),
    "distance_percentile": ("farther than … of the test pairs", "median; about 50 % for what the link was fitted on"),
    "cosine_percentile": ("comes back better than … of the test pairs", "median, by centred cosine"),
}
_SHARES = ("kept", "recognised")
_PERCENTILES = ("distance_percentile", "cosine_percentile")


def section(source: Source, context: Context) -> Section:
    """Photographs against test pairs, by group, and pictures."""
    summary = source.summary
    rows = {row["name"]: row for row in summary["rows"]}
    photographs = rows["photographs"]
    framing = summary.get("framing") or {}
    blocks: list[Any] = [
        Text(
            f"{number(summary['readable'])} photographs, resized to {number(framing.get('shorter'))} pixels on the "
            f"shorter side and cropped to the central {number(framing.get('crop'))}. The classifier looks at each (r), "
            "the link gives ŵ, the image of ŵ is drawn, and the classifier looks at it again (r̂). The generator has "
            "never seen these photographs, and the link was fitted on the generator's images alone."
        ),
        *_missing(summary),
        _comparison(rows),
    ]
    plots = [
        plot
        for plot in (
            _histogram(source, "distance", "distance from the training pairs"),
            _histogram(source, "centred_cosine", "centred cosine of r and r̂"),
        )
        if plot is not None
    ]
    more: list[Any] = [Row(plots)] if plots else []
    if summary.get("groups"):
        more.append(_groups(summary["groups"]))
    if source.has("image_photograph"):
        blocks.append(Row([_pictures(source, context)]))
    return Section(
        key="encoding",
        title="Photographs",
        blocks=blocks,
        more=more,
        facts=[
            Fact(
                "photographs: class kept",
                percent(photographs.get("kept")),
                f"{number(photographs['samples'])} photographs; test pairs {percent(rows['test pairs'].get('kept'))}",
            )
        ],
        terms=_terms(summary),
        limits=[
            "A photograph lies outside the generator's images, and there the link extrapolates. What it draws for a "
            "photograph shows what the link makes of it, which is less than what the classifier saw: trust it as far "
            "as cosine and distance resemble those of the test pairs.",
        ],
    )


def _missing(summary: Mapping[str, Any]) -> list[Notice]:
    count = summary["samples"] - summary["readable"]
    notices = []
    if count:
        named = list(summary.get("unreadable", ()))[:_LISTED]
        more = f"; and {number(count - len(named))} more" if count > len(named) else ""
        notices.append(Notice(f"Left out because they could not be read: {number(count)}. {'; '.join(named)}{more}."))
    if summary.get("nonfinite"):
        notices.append(Notice(f"Photographs with numbers that are not finite: {number(summary['nonfinite'])}."))
    return notices


def _comparison(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    lines = []
    for key, (title, meaning) in _LINES.items():
        values = [row.get(key) for row in rows.values()]
        if any(value is not None for value in values):
            lines.append([Cell(title, remark=meaning), *(_shown(key, value) for value in values)])
    return Table("Photographs and test pairs", ("metric", *rows), lines)


def _shown(key: str, value: Any) -> str:
    if value is None:
        return NONE
    return percent(value if key in _SHARES else value / 100) if key in _SHARES + _PERCENTILES else number(value)


def _histogram(source: Source, name: str, xlabel: str) -> Plot | None:
    if not source.has(name):
        return None
    beside = source.array(f"test_{name}", "test_sample") if source.has(f"test_{name}") else None
    figure = figures.histogram(
        source.array(name, "sample"), xlabel=xlabel, ylabel="photographs", beside=beside, beside_name="test pairs"
    )
    caption = "Filled: photographs." + (" Outline: test pairs, scaled to as many." if beside is not None else "")
    return Plot(f"photographs_{name}", figure, caption, f"Histogram over photographs: {xlabel}.")


def _groups(groups: list[Mapping[str, Any]]) -> Table:
    keys = [key for key in _LINES if key != "cosine" and any(group.get(key) is not None for group in groups)]
    shown, note = clipped(groups, _GROUPS, "groups")
    lines = [
        [str(group["name"]), number(group["samples"]), *(_shown(key, group.get(key)) for key in keys)]
        for group in shown
    ]
    columns = ("group", "photographs", *(_LINES[key][0] for key in keys))
    return Table("By group", columns, lines, note=note)


def _pictures(source: Source, context: Context) -> Plot:
    count = min(_PICTURES, len(source.array("picture_row", "picture")))
    first, second = (
        source.array(name, "picture", "y", "x", "rgb", rows=slice(count))
        for name in ("image_photograph", "image_linked")
    )
    rows = source.array("picture_row", "picture", rows=slice(count))
    labels, notes, agree = source.names("picture_name")[:count], (), ()
    if source.has("prediction"):
        before = source.array("prediction", "sample", "rank", rows=rows)[:, 0].tolist()
        after = source.array("prediction_linked", "sample", rows=rows).tolist()
        labels = [context.seen_name(label) for label in before]
        notes = [context.seen_name(label) for label in after]
        agree = [a == b for a, b in zip(before, after, strict=True)]
    return Plot(
        "photographs",
        figures.image_pairs(first, second, labels=labels, notes=notes, agree=agree, names=("photograph", "linked")),
        "Photographs (above) and what the link makes of their activations (below). Above each pair the class the "
        "classifier sees in the photograph, below it the class it sees in the linked image, ✓ if they are the same.",
        "Grid of photographs over linked images, with their classes.",
    )


def _terms(summary: Mapping[str, Any]) -> list[Term]:
    return [
        Term(
            "Distance from the training pairs",
            "Mahalanobis distance of a photograph's r from the mean of the training activations: every direction is "
            "measured in its own spread, with a small floor under the spread "
            f"({percent(summary.get('shrinkage'))} of the mean variance), so that units which are nearly silent for "
            "generated images do not decide alone. The root mean square over the training pairs is 1.",
            "d² = Σᵢ (vᵢ·(r − r̄))² / (λᵢ + γ) / Σⱼ λⱼ / (λⱼ + γ)",
        ),
        Term(
            "Farther than, better than",
            "Where a photograph stands among the test pairs, which the link has not seen either, but which the "
            "generator drew.",
            spelled=("farther than", "better than"),
        ),
    ]
