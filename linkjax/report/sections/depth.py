"""How deep a link reaches: one figure and one table over the layers of a classifier."""

from typing import Any

import numpy as np

from linkjax.report import figures
from linkjax.report.content import Cell, Fact, Notice, Plot, Row, Section, Table, Term, Text
from linkjax.report.numbers import NONE, number
from linkjax.report.source import Context, Source

_COLUMNS = {
    "r2": "R² in W",
    "fidelity": "predicted fidelity",
    "distances": "order, all",
    "within": "order, within classes",
    "neighbours": "nearest shared",
}


def section(source: Source, context: Context) -> Section:
    """One figure and one table."""
    del context
    summary = source.summary
    layers = source.names("layer")
    rows = summary["rows"]
    blocks: list[Any] = [
        Text(
            f"{number(len(layers))} layers of one classifier, each linked to W from the same images and measured on "
            f"{number(summary['samples'])} held-out samples, {number(summary['samples_per_class'])} of each of "
            f"{number(summary['classes_compared'])} classes. The last line, r, is what all other stages link."
        )
    ]
    if summary["nonfinite"]:
        blocks.append(Notice(f"Left out as not finite: {number(summary['nonfinite'])} samples."))
    blocks.append(Row([_plot(source, layers)]))
    best = max(rows, key=lambda row: row["r2"] if row["r2"] is not None else -np.inf)
    facts = [Fact("layer of best link", str(best["layer"]), f"R² {number(best['r2'])} in W on held-out samples")]
    limits = [
        "The fidelity is predicted by held-out samples to first order; no image was drawn for it, and a sweep may find "
        "less. A pooled layer has lost place: what it says of w is what its pooled units say.",
    ]
    return Section("depth", "How deep the link reaches", blocks, [_table(rows)], facts, _TERMS, limits)


def _plot(source: Source, layers: list[str]) -> Plot:
    def line(name: str) -> np.ndarray:
        return np.stack([source.array(name + after, "layer") for after in ("", "_low", "_high", "_chance")], axis=1)

    panels = {
        "R² in W": {"R²": line("r2")},
        "predicted fidelity": {"fidelity": line("fidelity")},
        "order in r as in W": {"all": line("distances"), "within": line("within")},
    }
    figure = figures.by_layer(
        layers, panels, source.array("effective_rank", "layer"), source.array("units", "layer").astype(np.float64)
    )
    caption = (
        "Layers in the order of the network, r last; bars are 95 % intervals, dotted lines what 97.5 % of the shuffles "
        "stay below. Right: effective rank, beside the number of units."
    )
    return Plot("depth", figure, caption, "R², predicted fidelity, order and effective rank of each layer.")


def _table(rows: list[dict[str, Any]]) -> Table:
    lines = []
    for row in rows:
        cells: list[str | Cell] = [Cell(str(row["layer"]), remark=f"{number(row['units'])} units")]
        for name in _COLUMNS:
            low, high = row[f"{name}_low"], row[f"{name}_high"]
            interval = "" if low is None or high is None else f"{number(low)} … {number(high)}"
            cells.append(Cell(NONE) if row[name] is None else Cell(number(row[name]), remark=interval))
        cells.append(NONE if row["effective_rank"] is None else number(row["effective_rank"]))
        lines.append(cells)
    note = "Below a number: its 95 % interval, from resampled classes and samples."
    return Table("Layer by layer", ("layer", *_COLUMNS.values(), "effective rank"), lines, note=note)


_TERMS = (
    Term(
        "Predicted fidelity",
        "A unit's step in W is made from training pairs so that the unit rises by 1; held-out pairs say how much it "
        "would rise, to first order. The median over a layer's units.",
        "dᵤᵀ Σ⁻¹ C′ᵤ, Σ = Cov(w) within classes, C′ᵤ = Cov(w, rᵤ) of held-out samples",
    ),
    Term(
        "Effective rank",
        "In how many directions a layer's activations vary, unequal ones counted for less.",
        "exp(−Σ p log p), p = λ / Σλ, λ the eigenvalues of Cov(r)",
    ),
)
