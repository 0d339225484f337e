"""Comparison of classifiers: shared and private units, and similarity as a whole."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from linkjax.analysis.comparisons.matching import KINDS, PRIVATE, SHARED
from linkjax.report import figures
from linkjax.report.content import Cell, Fact, Plot, Row, Section, Table, Term, Text
from linkjax.report.numbers import NONE, number
from linkjax.report.sections import side_by_side_flips as flips
from linkjax.report.source import Context, Source

_SHOWN = 12  # units of a table


def section(source: Source, context: Context) -> Section:
    """Figures of the matches of every two networks, and tables of their units."""
    summary = source.summary
    names = [str(name) for name in summary["networks"]]
    table = {name: source.array(name, "match") for name in ("unit", "partner", "agreement", "low", "high", "shuffled")}
    table |= {"kind": source.array("kind", "match"), "network": np.array(source.names("network"), object)}
    table |= {"other": np.array(source.names("other"), object)}
    if source.has("effect_cosine"):
        table["effect_cosine"] = source.array("effect_cosine", "match")
    between = [row for row in summary["rows"] if row["network"] != row["other"]]
    blocks: list[Any] = [
        Text(
            f"{', '.join(names)}: the same {number(summary['samples'])} samples of "
            f"{number(summary['classes_compared'])} classes, seen by each. A unit's partner is the unit of the other "
            "that moves with it most, within classes, on one half of the samples; what is reported is from the other "
            f"half. Shared: the partner surely agrees by {number(summary['least'])} or more, and above chance."
        ),
        _matches(between),
        _similarities(summary["similarity"]),
    ]
    known = [row for row in between if np.isfinite(table["agreement"][_mine(table, row)]).any()]
    plots = [_plot(table, row, place) for place, row in enumerate(known)]
    blocks += [Row(plots[place : place + 2]) for place in range(0, len(plots), 2)]
    more = [_units(table, row, kind) for row in between for kind in (SHARED, PRIVATE)]
    more += [_within(table, row) for row in summary["rows"] if row["network"] == row["other"]]
    blocks += flips.blocks(source, context)
    first, alike = between[0], summary["similarity"][0]
    facts = [
        Fact(
            "units shared",
            f"{number(first['shared'])} of {number(sum(first[kind] for kind in KINDS))}",
            f"of {first['network']} with {first['other']}; {number(first['private'])} private",
        ),
        Fact(
            "linear CKA",
            number(alike["value"]),
            f"{alike['scope']}, {_interval(alike['low'], alike['high'])}".removesuffix(", "),
        ),
    ]
    limits = [
        "A private unit has no single partner; what it says may still be said by several units of the other together.",
        "Samples are those that the first classifier's pairs hold: where only recognised ones were kept, the others' "
        "mistakes on the rest are not seen.",
    ]
    terms = [*_terms(summary), *(flips.terms() if "flips" in summary else [])]
    return Section("side_by_side", "Side by side", blocks, more, facts, terms, limits)


def _mine(table: Mapping[str, np.ndarray], row: Mapping[str, Any]) -> np.ndarray:
    return np.flatnonzero((table["network"] == row["network"]) & (table["other"] == row["other"]))


def _matches(rows: list[Mapping[str, Any]]) -> Table:
    lines = []
    for row in rows:
        total = sum(row[kind] for kind in KINDS)
        line: list[str | Cell] = [Cell(row["network"], remark=f"beside {row['other']}")]
        line += [number(row[kind]) for kind in ("shared", "private", "undecided")]
        line += [number(row["mutual"]), Cell(number(row["median"]), remark=f"chance {number(row['chance'])}")]
        if row.get("effect_mean") is not None:
            chance = _interval(row["effect_chance_low"], row["effect_chance_high"])
            line.append(Cell(number(row["effect_mean"]), remark=f"at random {chance}"))
        elif "effects" in row:
            line.append(NONE)
        line[0] = Cell(row["network"], remark=f"beside {row['other']}, {number(total)} units")
        lines.append(line)
    columns = ["", "shared", "private", "undecided", "shared, each the other's", "median correlation"]
    if any("effects" in row for row in rows):
        columns.append("cosine of effects")
    note = "Chance: what 95 % of pairs stay below with samples in random order."
    return Table("Units matched", columns, lines, note=note)


def _similarities(rows: list[Mapping[str, Any]]) -> Table:
    lines = [
        [
            Cell(f"{row['network']} and {row['other']}", remark=row["scope"]),
            Cell(number(row["value"]), remark=_interval(row["low"], row["high"])),
            _interval(row["shuffled_low"], row["shuffled_high"]) or NONE,
        ]
        for row in rows
    ]
    return Table("Linear CKA", ("", "found", "shuffled samples"), lines)


def _plot(table: Mapping[str, np.ndarray], row: Mapping[str, Any], place: int) -> Plot:
    mine = _mine(table, row)
    figure = figures.histogram(
        table["agreement"][mine],
        xlabel=f"correlation with the partner in {row['other']}",
        ylabel=f"units of {row['network']}",
        reference=row["chance"],
        reference_name="95 % of shuffled",
        beside=table["shuffled"][mine],
        beside_name="samples shuffled",
    )
    return Plot(
        f"side_by_side_{place}",
        figure,
        f"How far units of {row['network']} agree with their partners in {row['other']}, on samples that had no part "
        "in the choice; the outline is of samples in random order within their classes.",
        "Histogram of correlations of matched units, beside those of shuffled samples.",
    )


def _units(table: Mapping[str, np.ndarray], row: Mapping[str, Any], kind: int) -> Table:
    mine = _mine(table, row)
    mine = mine[table["kind"][mine] == kind]
    mine = mine[np.argsort(-table["agreement"][mine] if kind == SHARED else table["high"][mine], kind="stable")]
    columns = [f"unit of {row['network']}", f"nearest in {row['other']}", "correlation"]
    columns += ["cosine of effects"] if "effect_cosine" in table else []
    lines = []
    for at in mine[:_SHOWN]:
        line: list[str | Cell] = [
            str(table["unit"][at]),
            str(table["partner"][at]),
            Cell(number(table["agreement"][at]), remark=_interval(table["low"][at], table["high"][at])),
        ]
        lines.append([*line, number(table["effect_cosine"][at])] if "effect_cosine" in table else line)
    note = f"The first {_SHOWN} of {len(mine)} units; the rest is in the stored result." if len(mine) > _SHOWN else ""
    title = f"{row['network']}: units {'shared with' if kind == SHARED else 'that are not in'} {row['other']}"
    return Table(title, columns, lines, note=note)


def _within(table: Mapping[str, np.ndarray], row: Mapping[str, Any]) -> Table:
    same = _units(table, row, SHARED)
    columns = ("unit", "its like", *same.columns[2:])
    return Table(f"{row['network']}: units that are alike within it", columns, same.rows, note=same.note)


def _interval(low: Any, high: Any) -> str:
    return "" if low is None or high is None else f"{number(low)} … {number(high)}"


def _terms(summary: Mapping[str, Any]) -> list[Term]:
    share = f"{100 * summary['level']:.0f} %"
    return [
        Term(
            "Correlation within classes",
            "Of two units over the samples of a class, averaged over classes: that both know the class does not count. "
            f"Intervals of {share} are from resampled classes and samples.",
            "r = Σ_c Σ (x − x̄)(y − ȳ) / √(Σ_c Σ (x − x̄)² · Σ_c Σ (y − ȳ)²), over blocks of samples of class c",
        ),
        Term(
            "Linear CKA",
            "How alike two networks arrange the same samples, whatever their units: 1 for equal up to rotation and "
            "scale, 0 for independent. Estimated without bias over blocks of samples, so that many units alone do not "
            "make networks alike; it may leave 0 … 1 a little.",
            "CKA = Σ HSIC₁(K, L) / √(Σ HSIC₁(K, K) · Σ HSIC₁(L, L)), K and L Gram matrices of a block",
        ),
        Term(
            "Cosine of effects",
            "Whether two units change the same when they are raised: the cosine of their effects on all parts and "
            "metrics, in standard deviations of each among samples; signs as the units are matched.",
        ),
    ]
