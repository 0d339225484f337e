"""Counterfactuals: how the searches ended, how far they went, and what the images became."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from linkjax.report import figures
from linkjax.report.content import Cell, Fact, InAtlas, Plot, Row, Section, Table, Term, Text, clipped
from linkjax.report.numbers import NONE, number, percent, wilson
from linkjax.report.sections import counterfactual_paths as walked
from linkjax.report.source import Context, Source

_PICTURES = 6
_PAIRS = 100
_CLASSES = 24  # classes beyond which a matrix would be unreadable
_REACHED, _ALREADY = 0, 3  # codes of the search; their names are stored beside them
_WORDS = {
    "reached": "became the target",
    "max steps": "not within the steps allowed",
    "nonfinite": "left the finite numbers",
    "already": "was the target before any step",
    "padding": "not run",
}


def section(source: Source, context: Context) -> Section:
    """Outcomes, steps and distances by pair of classes, and the pictures."""
    summary = source.summary
    methods = list(summary.get("methods") or [])
    outcome = source.array("outcome", "sample").astype(int)
    # Searches of the first method come first; of the others the table by method tells.
    own = slice(0, len(outcome) // max(len(methods), 1))
    outcome = outcome[own]
    reached = outcome == _REACHED
    label, target = (source.array(name, "sample")[own].astype(int) for name in ("label", "target"))
    numbers = {
        name: source.array(name, "sample")[own].astype(np.float64)
        for name in ("steps", "distance_r", "distance_w", "probability_target", "units_changed")
    }
    tried = int((outcome != _ALREADY).sum())
    blocks: list[Any] = [
        Text(
            f"Each of {number(len(outcome))} searches shifts a sample's r until the image drawn from it is seen as a "
            f"target class; {number(int(reached.sum()))} of {number(tried)} that were not there from the start got "
            "there."
            + (f" What follows the table is of the first method, {_plain(methods[0])}." if len(methods) > 1 else "")
        ),
        *([_by_method(methods)] if len(methods) > 1 else []),
        Row([], [_outcomes(source, outcome), _distances(numbers, reached)]),
    ]
    if source.has("image_end"):
        plot = _pictures(source, label, target, outcome, numbers["probability_target"], context)
        blocks.append(Row([plot]))
    flips = _flips(label, target, outcome, context)
    more: list[Any] = [
        *([Row([flips])] if flips is not None else []),
        _by_pair(label, target, outcome, numbers, context),
        *([Row([_histogram(numbers, reached), _steps(numbers, reached)])] if reached.any() else []),
    ]
    along, further = walked.blocks(source, context, own)
    blocks += [*along, InAtlas("Every pair of classes, with a path in pictures", "view=pairs")]
    more += further
    return Section(
        key="counterfactual",
        title="Counterfactuals",
        blocks=blocks,
        more=more,
        facts=[
            Fact(
                "class flipped",
                percent(reached.sum() / tried) if tried else NONE,
                f"{number(int(reached.sum()))} of {number(tried)}, "
                f"median {number(_median(numbers['steps'][reached], summary.get('median_steps')))} steps",
            )
        ],
        terms=[*_terms(), *(walked.terms() if along else [])],
        limits=[
            "The search finds a change that flips the class, not the smallest one: it depends on where it starts "
            "and on its step size.",
            "A unit counts as changed however little it moves, so the number of units changed is an upper bound.",
            *(
                [
                    "Transition units are held against any live unit at random: one that changes in every flip, "
                    "whatever the classes, is among them; the overlap of pairs of classes tells these apart."
                ]
                if along
                else []
            ),
        ],
    )


def _plain(method: Mapping[str, Any]) -> str:
    return str(method["method"]).replace("_", " ")


def _by_method(methods: list[Mapping[str, Any]]) -> Table:
    """The same searches by every method."""
    shown = {
        "median_images": "images",
        "median_distance_l1": "‖Δr‖₁",
        "median_distance_r": "‖Δr‖₂",
        "median_distance_whitened": "Δr, whitened",
        "median_distance_w": "‖Δw‖₂",
        "median_units_most": "units for half of ‖Δr‖²",
        "median_probability_target": "probability of the target",
    }
    rows = []
    for method in methods:
        counts = method["outcomes"]
        tried = sum(counts.values()) - counts.get("already", 0)
        reached = counts.get("reached", 0)
        low, high = wilson(reached, tried)
        share = Cell(percent(reached / tried), remark=f"{percent(low)} to {percent(high)}") if tried else NONE
        rows.append([_plain(method), share, *(number(method.get(name)) for name in shown)])
    return Table(
        "The same searches by each method",
        ("method", "flipped", *shown.values()),
        rows,
        note="Flipped: the drawn image is seen as the target. Medians are over the searches the method flipped, so one "
        "that gives up on the hard ones looks nearer than it is.",
    )


def _names(source: Source) -> dict[int, str]:
    meanings = source.attribute("outcome", "meanings") or {}
    items = meanings.items() if isinstance(meanings, Mapping) else enumerate(meanings)
    return {int(code): str(name).replace("_", " ").lower() for code, name in items}


def _outcomes(source: Source, outcome: np.ndarray) -> Table:
    names = _names(source)
    codes, counts = np.unique(outcome, return_counts=True)
    rows = []
    for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
        name = names.get(code, f"code {code}")
        rows.append([Cell(name, remark=_WORDS.get(name, "")), number(count), percent(count / len(outcome))])
    return Table("How the searches ended", ("outcome", "searches", "share"), rows)


def _distances(numbers: Mapping[str, np.ndarray], reached: np.ndarray) -> Table:
    shown = {
        "steps": "steps",
        "distance_r": "distance in r",
        "distance_w": "distance in w",
        "units_changed": "units changed",
        "probability_target": "probability of the target",
    }
    rows = []
    for name, title in shown.items():
        values = numbers[name][reached]
        values = values[np.isfinite(values)]
        unit = "share" if name == "probability_target" else ""
        quartiles = np.percentile(values, (25, 50, 75)) if values.size else [None] * 3
        rows.append([title, *(number(_as_plain(value), unit) for value in quartiles)])
    return Table("What it took, where the class flipped", ("", "lower quartile", "median", "upper quartile"), rows)


def _as_plain(value: Any) -> Any:
    return None if value is None else float(value)


def _by_pair(
    label: np.ndarray, target: np.ndarray, outcome: np.ndarray, numbers: Mapping[str, np.ndarray], context: Context
) -> Table:
    shown, cut = clipped(sorted(set(zip(label.tolist(), target.tolist(), strict=True))), _PAIRS, "pairs of classes")
    rows = []
    for origin, goal in shown:
        here = (label == origin) & (target == goal)
        reached = here & (outcome == _REACHED)
        tried = int((here & (outcome != _ALREADY)).sum())
        low, high = wilson(int(reached.sum()), tried)
        rows.append(
            [
                f"{context.seen_name(origin)} → {context.seen_name(goal)}",
                number(tried),
                Cell(
                    percent(reached.sum() / tried) if tried else NONE,
                    remark=f"{percent(low)} to {percent(high)}" if tried else "",
                ),
                *(number(_median(numbers[name][reached])) for name in ("steps", "distance_r", "units_changed")),
            ]
        )
    return Table(
        "By pair of classes",
        ("from → to", "searches", "flipped", "median steps", "median distance in r", "median units changed"),
        rows,
        note=f"Medians are over the searches that flipped the class; ranges are 95 % intervals. {cut}".strip(),
    )


def _flips(label: np.ndarray, target: np.ndarray, outcome: np.ndarray, context: Context) -> Plot | None:
    """Share of flips by origin and target, if there are enough pairs for a matrix and not too many."""
    origins, goals = np.unique(label), np.unique(target)
    if min(len(origins), len(goals)) < 2 or max(len(origins), len(goals)) > _CLASSES:
        return None
    share = np.full((len(origins), len(goals)), np.nan)
    for row, origin in enumerate(origins):
        for column, goal in enumerate(goals):
            tried = (label == origin) & (target == goal) & (outcome != _ALREADY)
            if tried.any():
                share[row, column] = 100 * np.mean(outcome[tried] == _REACHED)
    return Plot(
        "flips",
        figures.heat_map(
            share,
            rows=[context.seen_name(each) for each in origins],
            columns=[context.seen_name(each) for each in goals],
            xlabel="target",
            ylabel="from",
            colour_label="flipped, %",
            limits=(0.0, 100.0),
        ),
        "Share of searches that reached their target, by the class they started from. Grey: none was tried.",
        "Matrix of flip rates, origin classes by target classes.",
    )


def _median(values: np.ndarray, otherwise: Any = None) -> Any:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else otherwise


def _histogram(numbers: Mapping[str, np.ndarray], reached: np.ndarray) -> Plot:
    return Plot(
        "counterfactual_distance",
        figures.histogram(numbers["distance_r"][reached], xlabel="distance in r, ‖r′ − r‖₂", ylabel="searches"),
        "How far r had to move, where the class flipped.",
        "Histogram of distances in r with their median.",
    )


def _steps(numbers: Mapping[str, np.ndarray], reached: np.ndarray) -> Plot:
    return Plot(
        "counterfactual_steps",
        figures.histogram(numbers["steps"][reached], xlabel="gradient steps", ylabel="searches"),
        "How many steps the search took, where the class flipped.",
        "Histogram of steps with their median.",
    )


def _pictures(
    source: Source,
    label: np.ndarray,
    target: np.ndarray,
    outcome: np.ndarray,
    probability: np.ndarray,
    context: Context,
) -> Plot:
    rows = source.array("picture_row", "picture")
    rows = rows[rows < len(label)][:_PICTURES]  # the first method's, which come first
    first, second = (
        source.array(name, "picture", "y", "x", "rgb", rows=slice(len(rows))) for name in ("image_start", "image_end")
    )
    notes = [f"{_two_places(float(probability[row]))} {context.seen_name(target[row])}" for row in rows]
    return Plot(
        "counterfactuals",
        figures.image_pairs(
            first,
            second,
            labels=[context.seen_name(label[row]) for row in rows],
            notes=notes,
            agree=[bool(outcome[row] in (_REACHED, _ALREADY)) for row in rows],
            names=("start", "end"),
        ),
        "Images before (above) and after the search (below). Above each pair the class it started from; below it the "
        "target and its probability, ✓ if the classifier sees it in the end.",
        "Grid of start images over end images, with their classes and targets.",
    )


def _two_places(probability: float) -> str:
    if not np.isfinite(probability):
        return NONE
    return "<0.01" if probability < 0.005 else f"{probability:.2f}"


def _terms() -> list[Term]:
    return [
        Term(
            "Flipped",
            "Share of searches after which the classifier, looking at the drawn image, sees the target class; samples "
            "that were seen as the target before any step do not count.",
            "flipped = reached / (searches − already)",
        ),
        Term(
            "Distance in r, in w",
            "Euclidean distance between start and end, in activations and in latents.",
            "‖r′ − r‖₂, ‖w′ − w‖₂, with w = link(r)",
            ("distance in r", "distance in w"),
        ),
        Term("Units changed", "How many activations differ between start and end."),
        Term(
            "Probability of the target",
            "The classifier's softmax output for the target class when it last looked at the image.",
            "p = exp(z_t) / Σⱼ exp(zⱼ)",
        ),
    ]
