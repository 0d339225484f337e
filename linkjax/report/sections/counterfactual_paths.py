"""Paths to counterfactuals: what is seen on the way, the boundary they cross, the units and the parts that changed."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from linkjax.analysis.finite import finite_mean
from linkjax.analysis.metrics import measurements
from linkjax.report import figures
from linkjax.report.content import Cell, Plot, Row, Table, Term, Text, clipped
from linkjax.report.numbers import NONE, number, percent
from linkjax.report.source import Context, Source

_PAIRS = 100
_MATRIX = 24  # pairs of classes beyond which a matrix would be unreadable
_CHANGES = 12  # pairs of classes whose changes of parts are shown
_PROFILES = 4  # pairs of classes drawn beside the curve of all
_PATHS = 6  # paths drawn in a plane
_PLANES = 2  # pairs of classes drawn in planes
_EFFECTS = 12  # parts' metrics shown
_UNITS = 5  # units named for a pair
_REACHED = 0
_RELATIONS = {
    "reversed": "A → B and B → A",
    "same target": "A → B and C → B",
    "same origin": "A → B and A → C",
    "chained": "A → B and B → C",
    "apart": "no class in common",
}


def blocks(source: Source, context: Context, own: slice) -> tuple[list[Any], list[Any]]:
    """All methods in numbers and figures of the first method's paths; then what there is more of the latter.

    Args:
      own: the first method's searches.
    """
    rows = list(source.summary.get("paths") or [])
    if not rows:
        return [], []
    reached = source.array("outcome", "sample")[own] == _REACHED
    first = _plain(rows[0]["method"])
    found: list[Any] = [
        Text(
            "From the sample (t = 0) to the counterfactual (t = 1) and beyond, every point is linked, drawn and "
            "classified anew: where on the way does the class flip, how sharply, and which units and parts moved?"
        ),
        _methods(rows),
    ]
    if not reached.any():
        return found, []
    pairs = np.stack([source.array(f"pair_{name}", "pair") for name in ("origin", "target")], axis=1)
    names = [f"{context.seen_name(a)} → {context.seen_name(b)}" for a, b in pairs]
    found += [
        Text(f"What follows is of {first}.") if len(rows) > 1 else Text("By pair of classes:"),
        Row([_along(source, rows[0], own, reached, names)]),
        *_parts(source, own, reached, pairs, names),
    ]
    shared = _shared(rows[0], source)
    more = [
        _boundaries(source, names),
        *[Row([plot]) for plot in _planes(source, context, own, reached, pairs)],
        _units(source, names),
        *([shared] if shared is not None else []),
        *_overlap(source, names),
    ]
    return found, more


def terms() -> list[Term]:
    """The numbers explained."""
    return [
        Term(
            "Flip point",
            "Where on its path the drawn image first becomes the target: between two points, where a straight line "
            "between their margins is 0. No image is drawn for it.",
            "r(t) = relu(r − t s); t* = t₀ + (t₁ − t₀) · −m₀ / (m₁ − m₀), m = z_t − max_{c≠t} z_c",
        ),
        Term(
            "Boundary width",
            "Distance in r over which the target's probability goes from 1/4 to 3/4, if its log-odds M go on as they "
            "do around the flip.",
            "2 ln 3 · ‖Δr‖ / (dM/dt)",
        ),
        Term(
            "Head's gap at the flip",
            "How far the head alone already prefers the target to the origin, in logits, where the image flips: 0 if "
            "images showed exactly what is asked.",
            "z_t(r(t*)) − z_o(r(t*))",
        ),
        Term(
            "Transition unit",
            "Units among those that change most in more searches of a pair of classes than if they were any of the "
            "live units; false discoveries controlled over the units of a pair.",
            "P(Σᵢ Bernoulli(kᵢ / live) ≥ count)",
        ),
        Term(
            "Decision line",
            "Where the head gives both classes the same logit, in the plane of the first two components through the "
            "mean m of r. Points off the plane may lie on the other side. W has none: the head does not read w.",
            "z_a(m) − z_b(m) + Pᵀ(∇z_a − ∇z_b) · x = 0, r = m + P x",
            ("undecided",),
        ),
    ]


def _plain(method: Any) -> str:
    return str(method).replace("_", " ")


def _methods(rows: list[Mapping[str, Any]]) -> Table:
    lines = []
    for row in rows:
        reversed_pairs = next((each for each in row["shared"] if each["relation"] == "reversed"), None)
        lines.append(
            [
                _plain(row["method"]),
                number(row["median_flip"]),
                number(row["median_width"]),
                number(row["median_head_gap"]),
                percent(row["crossing_once"]),
                number(row["median_target"]),
                number(row["median_origin"]),
                number(row["transition_units_per_pair"]),
                number(reversed_pairs["jaccard"]) if reversed_pairs else NONE,
            ]
        )
    return Table(
        "Paths by method",
        (
            "method", "flip point t*", "width in r", "head's gap at the flip", "cross once", "target at the end",
            "origin at the end", "transition units a pair", "shared with the way back",
        ),
        lines,
        note="Medians over the searches that flipped; 'cross once' is a share of them, the last two columns are means "
        "over pairs of classes. Target and origin: their probabilities in the image at t = 1. "
        "Shared with the way back: of the transition units of A → B and B → A, the share in common. A closed form "
        "moves all samples of a pair along one line, and back along the same: its units recur by construction."
        + _compared(rows[0]),
    )  # fmt: skip


def _along(source: Source, row: Mapping[str, Any], own: slice, reached: np.ndarray, names: list[str]) -> Plot:
    t = source.array("path_t", "point")
    curves = {
        "origin": source.array("path_origin", "sample", "point")[own][reached],
        "target": source.array("path_target", "sample", "point")[own][reached],
    }
    flipped = source.array("pair_flipped", "method", "pair")[0]
    count = source.array("profile_count", "method", "pair", "place")[0]
    places = {name: source.array(f"profile_{name}", "method", "pair", "place")[0] for name in ("low", "median", "high")}
    weight = np.where(np.isfinite(places["median"]), count, 0)
    total = np.where(weight.sum(axis=0) > 0, weight.sum(axis=0), np.nan)
    known = weight.sum(axis=0) >= 0.5 * weight.sum(axis=0).max(initial=1)
    everything = tuple(
        np.where(known, (np.where(weight > 0, values, 0.0) * weight).sum(axis=0) / total, np.nan)
        for values in places.values()
    )
    profiles = {"all pairs": everything}
    for pair in np.argsort(-flipped, kind="stable")[:_PROFILES]:
        enough = count[pair] >= 0.5 * max(flipped[pair], 1)
        profiles[names[pair]] = tuple(np.where(enough, values[pair], np.nan) for values in places.values())
    return Plot(
        "counterfactual_paths",
        figures.along_and_across(
            t, curves, row["median_flip"], source.array("profile_distance", "method", "place")[0], profiles
        ),
        "Left: probability of the class started from and of the target along the path, median and the middle 80 % of "
        "the searches that flipped. Right: the target's probability with all paths aligned where they flip, by the "
        "distance from there: median by pair of classes; black the mean of the pairs' medians, by their searches, grey "
        "that of their middle 80 %. Drawn where at least half of the paths reach.",
        "Curves of class probabilities along paths and across the decision boundary.",
    )


def _boundaries(source: Source, names: list[str]) -> Table:
    flipped = source.array("pair_flipped", "method", "pair")[0]
    given = {
        name: source.array(f"pair_{name}", "method", "pair", "quartile")[0] for name in ("flip", "width", "head_gap")
    }
    shown, cut = clipped(np.flatnonzero(flipped).tolist(), _PAIRS, "pairs of classes")
    rows = [
        [
            names[pair],
            number(flipped[pair]),
            *(
                Cell(number(values[pair, 1]), remark=f"{number(values[pair, 0])} … {number(values[pair, 2])}")
                for values in given.values()
            ),
        ]
        for pair in shown
    ]
    return Table(
        "The boundary by pair of classes",
        ("from → to", "flipped", "flip point t*", "width in r", "head's gap at the flip"),
        rows,
        note=f"Medians, and the middle half below them. {cut}".strip(),
    )


def _planes(source: Source, context: Context, own: slice, reached: np.ndarray, pairs: np.ndarray) -> list[Plot]:
    label, target = (source.array(name, "sample")[own] for name in ("label", "target"))
    own_w = source.array("own_w", "item", "component")
    places = {
        name: source.array(name, "sample", "point", "component")[own]
        for name in ("place_r", "seen_r", "place_w", "seen_w")
    }
    logit, slope = source.array("plane_logit", "class"), source.array("plane_slope", "class", "component")
    cloud_label = source.array("cloud_label", "cloud")
    end = int(np.argmin(np.abs(source.array("path_t", "point") - 1.0)))
    flipped = source.array("pair_flipped", "method", "pair")[0]
    plots, seen = [], set()
    for pair in np.argsort(-flipped, kind="stable"):
        a, b = (int(each) for each in pairs[pair])
        if not flipped[pair] or seen & {a, b} or len(plots) == _PLANES:
            continue
        seen |= {a, b}
        rows = np.flatnonzero(reached & (label == a) & (target == b))[:_PATHS]
        panels = []
        for space, name in (("r", "activations r"), ("w", "latents W")):
            share = source.array(f"plane_share_{space}", "component")
            line = (float(logit[a] - logit[b]), (slope[a] - slope[b]).astype(float)) if space == "r" else None
            panels.append(
                figures.PlanePaths(
                    f"{name}: {percent(float(share.sum()))} of the variance",
                    source.array(f"cloud_{space}", "cloud", "component"),
                    cloud_label,
                    places[f"place_{space}"][rows],
                    places[f"seen_{space}"][rows],
                    None if space == "r" else own_w[rows],
                    line,
                )
            )
        names = (context.seen_name(a), context.seen_name(b))
        plots.append(
            Plot(
                f"counterfactual_plane_{len(plots)}",
                figures.plane_paths(panels, (a, b), names, end),
                f"{names[0]} → {names[1]}: {len(rows)} paths in the first two principal components of r (left) and of "
                "W (right). Solid: what was asked; dashed: what the classifier sees in the images, in W by way of the "
                "link. Dots are training samples, of other classes grey. The line is where the head alone is "
                "undecided, in the plane through the mean.",
                "Paths between two clouds of points, in r and in W.",
            )
        )
    return plots


def _units(source: Source, names: list[str]) -> Table:
    flipped = source.array("pair_flipped", "method", "pair")[0]
    count, q = (source.array(f"transition_{name}", "method", "pair", "unit", rows=0) for name in ("count", "q"))
    fdr = float(source.settings.get("fdr", 0.05))
    shown, cut = clipped(np.flatnonzero(flipped).tolist(), _PAIRS, "pairs of classes")
    rows = []
    for pair in shown:
        sure = q[pair] <= fdr
        order = np.argsort(-np.where(sure, count[pair], -1), kind="stable")[: min(_UNITS, int(sure.sum()))]
        best = ", ".join(f"{unit} ({count[pair, unit]})" for unit in order)
        rows.append([names[pair], number(flipped[pair]), number(int(sure.sum())), best or NONE])
    return Table(
        "Transition units by pair of classes",
        ("from → to", "flipped", "units", "units and searches they recur in"),
        rows,
        numeric=(1, 2),
        note=f"Of the {number(source.settings.get('top_units'))} units that change most in each search, those that "
        f"recur more often than live units at random would; false discoveries ≤ {percent(fdr)} in a pair. {cut}",
    )


def _shared(row: Mapping[str, Any], source: Source) -> Table | None:
    if not row["shared"]:
        return None
    lines = [
        [
            _RELATIONS.get(each["relation"], each["relation"]),
            number(each["count"]),
            number(each["jaccard"]),
            Cell(number(each["chance"]), remark=f"p {'≤' if each['p'] < 0.01 else '='} {number(each['p'])}"),
            number(each["significant"]),
        ]
        for each in row["shared"]
    ]
    return Table(
        "Do pairs of classes share their transition units?",
        ("", "compared", "shared", "random sets", "surely"),
        lines,
        note="Shared: units in both sets over units in either, mean. Random sets are of live units, as large; p is how "
        "often they share as much. Surely: pairs that share more than chance, false discoveries ≤ "
        f"{percent(float(source.settings.get('fdr', 0.05)))}.{_compared(row)}",
    )


def _compared(row: Mapping[str, Any]) -> str:
    """Says so where not all pairs of classes are compared with each other."""
    compared, count = row.get("compared_pairs"), row.get("pairs_of_classes")
    return f" Of the first {number(compared)} of {number(count)} pairs." if compared and compared < count else ""


def _overlap(source: Source, names: list[str]) -> list[Any]:
    jaccard = source.array("shared_jaccard", "method", "first", "second")[0]
    known = np.isfinite(jaccard).any(axis=1)
    if not known.any():
        return []
    chosen = np.flatnonzero(known)[:_MATRIX]
    shown = [names[pair] for pair in chosen]
    return [
        Row([
            Plot(
                "transition_overlap",
                figures.heat_map(
                    jaccard[np.ix_(chosen, chosen)], rows=shown, columns=shown, xlabel="pair of classes",
                    ylabel="pair of classes", colour_label="units in common", limits=(0.0, 1.0),
                ),
                "Transition units of two pairs of classes: those in both over those in either. Grey: the same pair."
                + (f" The first {_MATRIX} pairs." if known.sum() > _MATRIX else ""),
                "Matrix of overlaps of transition units.",
            )
        ])
    ]  # fmt: skip


def _parts(source: Source, own: slice, reached: np.ndarray, pairs: np.ndarray, names: list[str]) -> list[Any]:
    start, change = (
        source.array(f"metric_{name}", "sample", "part", "metric")[own].astype(float) for name in ("start", "change")
    )
    label, target = (source.array(name, "sample")[own] for name in ("label", "target"))
    parts, metrics = source.names("part"), source.names("metric")
    area = np.isin(metrics, ["area"])[None, None]
    # Areas change by a log ratio.
    spread = measurements.spread(np.where(area, np.log(np.maximum(start, 0.0) + 0.5), start), metrics)
    spread = np.where(np.isin(metrics, ["area_share"])[None], np.nan, spread)  # told by the area
    scaled = change / spread[None]
    table = np.full((len(pairs), *spread.shape), np.nan)
    for row, (a, b) in enumerate(pairs):
        table[row] = finite_mean(scaled[reached & (label == a) & (target == b)])
    strength = finite_mean(np.abs(table)).ravel()
    order = [i for i in np.argsort(-np.nan_to_num(strength, nan=-1.0), kind="stable") if np.isfinite(strength[i])]
    columns, rows = order[:_EFFECTS], np.flatnonzero(np.isfinite(table.reshape(len(pairs), -1)).any(axis=1))[:_CHANGES]
    if not len(columns) or not len(rows):
        return []
    called = [f"{parts[i // len(metrics)]} {metrics[i % len(metrics)].replace('_', ' ')}" for i in columns]
    return [
        Row([
            Plot(
                "counterfactual_parts",
                figures.heat_map(
                    table.reshape(len(pairs), -1)[np.ix_(rows, columns)], rows=[names[row] for row in rows],
                    columns=called, xlabel="part and metric", ylabel="from → to",
                    colour_label="mean change, standard deviations",
                ),
                "What changed in the image from start to end, where the class flipped: the metrics that change most "
                "over all pairs, in standard deviations among the start images that show the part (of an area: of its "
                "logarithm).",
                "Matrix of changes of parts by pair of classes.",
            )
        ])
    ]  # fmt: skip
