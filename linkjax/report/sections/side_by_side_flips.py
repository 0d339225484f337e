"""Counterfactuals of several classifiers from the same samples: how alike they move, and what one moves more."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from linkjax.analysis.comparisons.matching import KINDS
from linkjax.analysis.counterfactuals.counterfactual import Outcome
from linkjax.report import figures
from linkjax.report.content import Cell, Plot, Row, Table, Term, Text
from linkjax.report.numbers import NONE, number, percent
from linkjax.report.source import Context, Source

_SHOWN = 12  # features of a table
_PICTURES = 6  # searches whose pictures are shown


def blocks(source: Source, context: Context) -> list[Any]:
    """Tables of moves, of what is moved more, and of the units that move; pictures. None where none were compared."""
    flips = source.summary.get("flips")
    if not flips:
        return []
    names, rows = [str(name) for name in source.summary["networks"]], source.summary["rows"]
    made: list[Any] = [
        Text(
            f"Counterfactuals of the same samples: {number(flips[0]['searches'])} searches that every classifier made, "
            "from the same sample to the same class by the same method. What follows is of those that flipped the "
            "class in both."
        ),
        _moves(flips),
        _units([row for row in rows if row["network"] != row["other"]]),
    ]
    if source.has("use_difference"):
        made += [_more(source, names, row) for row in flips]
    if source.has("image_end"):
        made += [Row([_pictures(source, names, at, context)]) for at in range(1, len(names))]
    return made


def _moves(flips: list[Mapping[str, Any]]) -> Table:
    lines = []
    for row in flips:
        two = (row["network"], row["other"])
        line: list[str | Cell] = [Cell(" and ".join(two), remark=f"{number(row['both'])} searches")]
        line.append(" and ".join(percent(count / row["searches"]) for count in row["flipped"]))
        for kind in ("w", "image"):
            line.append(_cosine(row, kind))
            line.append(" and ".join(map(number, row[f"moved_{kind}"])) if f"moved_{kind}" in row else NONE)
        lines.append(line)
    columns = ("", "flipped", "cosine in w", "‖Δw‖₂, median", "cosine in the image", "move in the image, median")
    note = (
        "Cosine: mean over searches, with its interval by resampled samples; below it what searches in random order "
        "give. Move in the image: of all that is measured of its parts, in standard deviations among samples."
    )
    return Table("How the same samples change their class", columns, lines, note=note)


def _cosine(row: Mapping[str, Any], kind: str) -> str | Cell:
    if row.get(f"cosine_{kind}_mean") is None:
        return NONE
    mean, low, high, least, most = (
        number(row[f"cosine_{kind}_{name}"]) for name in ("mean", "low", "high", "chance_low", "chance_high")
    )
    return Cell(mean, remark=f"{low} … {high}; chance {least} … {most}")


def _units(rows: list[Mapping[str, Any]]) -> Table:
    lines = []
    for row in rows:
        total = sum(row[kind] for kind in KINDS)
        line: list[str | Cell] = [Cell(row["network"], remark=f"beside {row['other']}")]
        for kind in KINDS[:3]:
            used = row.get(f"used_{kind}")
            line.append(NONE if used is None else Cell(percent(used), remark=f"{percent(row[kind] / total)} of units"))
        lines.append(line)
    columns = ("", "by shared units", "by private units", "by undecided ones")
    note = "Shares of ‖Δr‖² of the searches that flipped the class. More than the units' own share: they are used more."
    return Table("Which units move", columns, lines, note=note)


def _more(source: Source, names: list[str], row: Mapping[str, Any]) -> Table:
    """What one of two classifiers moves more than the other, surely first."""
    a, b = (names.index(str(row[name])) for name in ("network", "other"))
    use = source.array("use", "classifier", "part", "metric")
    dims = ("classifier", "other_classifier", "part", "metric")
    apart, q = (source.array(name, *dims)[a, b] for name in ("use_difference", "use_q"))
    parts, metrics = source.names("part"), source.names("metric")
    sure = np.nan_to_num(q, nan=1.0) <= 1 - source.summary["level"]
    order = np.argsort(-np.where(sure, np.abs(apart), -1.0), axis=None, kind="stable")[: min(_SHOWN, int(sure.sum()))]
    lines = []
    for place in order:
        p, m = np.unravel_index(place, apart.shape)
        lines.append([
            f"{parts[p]}: {metrics[m].replace('_', ' ')}", percent(use[a, p, m]), percent(use[b, p, m]),
            str(row["network"] if apart[p, m] > 0 else row["other"]), number(q[p, m]),
        ])  # fmt: skip
    note = (
        f"{number(int(sure.sum()))} of {number(int(np.isfinite(q).sum()))} measurements surely differ in their share "
        "of the move's square, by tossed signs of the samples, adjusted over all."
    )
    title = f"What {row['network']} and {row['other']} do not change alike"
    columns = ("", f"share in {row['network']}", f"share in {row['other']}", "more in", "q")
    return Table(title, columns, lines, note=note)


def _pictures(source: Source, names: list[str], other: int, context: Context) -> Plot:
    search = source.array("picture_search", "picture")[:_PICTURES]
    end = source.array("image_end", "picture", "classifier", "y", "x", "rgb", rows=slice(0, len(search)))
    origin, target = (source.array(f"search_{name}", "search")[search] for name in ("origin", "target"))
    outcome = source.array("outcome", "search", "classifier")[search]
    agree = [bool((each[[0, other]] == int(Outcome.REACHED)).all()) for each in outcome]
    figure = figures.image_pairs(
        end[:, 0],
        end[:, other],
        labels=[context.seen_name(int(label)) for label in origin],
        notes=[f"→ {context.seen_name(int(label))}" for label in target],
        agree=agree,
        names=(names[0], names[other]),
    )
    caption = (
        f"The same samples as {names[0]} (above) and {names[other]} (below) have to see them to call them another "
        "class. Above each pair the class it started from, below it the target, ✓ if both see it."
    )
    return Plot(f"side_by_side_flips_{other}", figure, caption, "Grid of counterfactuals of two classifiers.")


def terms() -> list[Term]:
    """What the tables speak of."""
    return [
        Term(
            "Share of a move",
            "What part of the square of a move a measurement or a unit has, whatever the length of the move: what a "
            "classifier's decisions go by, as far as its counterfactuals show it.",
            "share of f = d_f² / Σ d², d in standard deviations among samples; of units Δr as it is",
        )
    ]
