"""The demo's planted units: measured against true effects."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from linkjax.report import figures
from linkjax.report.content import Cell, Plot, Row, Section, Table, Term, Text
from linkjax.report.numbers import NONE, number, percent
from linkjax.report.source import Context, Source

#: Number, what it is, how it is shown, and the target it was held against.
_SCORES = (
    ("auc", "selective against noise units, area under the ROC curve", number, "≥ 0.99"),
    ("auc_of_truth", "… by the strongest effects in truth: noise units have some within breeds", number, ""),
    ("sign_right", "units whose strongest true effect has the right sign", percent, "all"),
    ("true_part_first", "units whose strongest effect is found in the right part", percent, ""),
    ("true_effect_first", "units whose strongest true effect is ranked first of all parts and metrics", percent, ""),
    ("oracle_true_effect_first", "… along the directions of one who knows the factors", percent, ""),
    (
        "true_effect_first_or_tied",
        "units whose strongest true effect, or one within 5 % of it in truth, is ranked first",
        percent,
        "80 %",
    ),
    ("oracle_true_effect_first_or_tied", "… along those of one who knows", percent, ""),
    ("ties_in_truth", "units whose two strongest effects are so close in truth", percent, ""),
    ("nearly_strongest_first", "… or one that is at least three quarters as strong in truth", percent, ""),
    ("true_effect_in_first_three", "the strongest true effect is among the first three", percent, ""),
    ("fidelity_within_20_percent_of_all", "selective units with a fidelity from 0.8 to 1.2", percent, "≥ 95 %"),
    ("fidelity_within_20_percent", "… of those without a double", percent, ""),
    ("median_fidelity", "median fidelity of units without a double", number, "1"),
    ("median_fidelity_of_doubles", "median fidelity of units with a double", number, "1; along the kernel 0.5"),
    ("median_largest_side_effect", "largest side effect on a unit with other factors, median", number, ""),
    ("significant_selective_units", "selective units with a significant effect", number, "≥ 19 of 20"),
    ("significant_noise_units", "noise units with one", number, ""),
    ("false_noise_units", "noise units with effects of which none is true within breeds", number, "none"),
    ("significant_effects_that_are_real", "share of the significant effects that are real", percent, ""),
    ("false_effects_of_selective_units", "effects called of selective units that are not real", number, ""),
    ("false_effects_that_one_who_knows_shows", "… that the directions of one who knows show as well", number, ""),
    ("real_effects_found", "share of the real effects that are significant", percent, ""),
    ("doubles_named", "units named as doubles of the one they repeat", number, "all"),
    ("others_named_doubles", "pairs of other units named doubles", number, "none"),
    ("rank_correlation", "rank correlation with the renderer's effects, where these are real", number, ""),
    ("rank_correlation_of_all", "… of all effects, most of which are nothing in truth", number, ""),
    ("correlation", "correlation of all effects with the renderer's", number, ""),
    ("median_effect_where_there_is_none", "median effect where the renderer has none, sd / sd", number, ""),
    ("area_slope", "areas of parts: slope of measured on true change", number, "1"),
    ("area_within_25_percent", "areas of parts within 25 % of the renderer's", percent, ""),
    ("oracle_area_within_25_percent", "… along the directions of one who knows the factors", percent, ""),
    (
        "area_within_25_percent_per_obtained_change",
        "areas of parts within 25 % of the renderer's, per change of the unit obtained, not asked",
        percent,
        "≥ 85 %",
    ),
    ("oracle_area_within_25_percent_per_obtained_change", "… along those of one who knows", percent, ""),
    ("predicted_fidelity_correlation", "correlation of fidelity with what the pairs predict", number, ""),
)


def section(source: Source, context: Context) -> Section:
    """Scores against their targets, every unit, and effects against the truth."""
    del context
    summary = source.summary
    units = list(summary["units"])
    parts, metrics = source.names("part"), source.names("metric")
    truth, found = (source.array(name, "unit", "part", "metric").astype(float) for name in ("truth", "found"))
    spread = source.array("spread", "part", "metric").astype(float)
    blocks: list[Any] = [
        Text(
            f"A second classifier's units were trained to carry known factors of the world: "
            f"{number(summary['selective_units'])} carry one or two, {number(summary['noise_units'])} are noise that "
            "no straight line in the factors follows. The same pipeline, pairs to sweep, was run on it without being "
            "told; the renderer draws what raising each unit should have done, with exact parts."
        ),
        _scores(
            "Recovery of what is known, where there is a target",
            summary,
            [each for each in _SCORES if each[3]],
            note="Ranked are area, colour, place and axes of every part, each in its standard deviation among "
            "untouched samples. An effect is real from 0.1 sd per sd of the unit, with the truth's sign. One who knows "
            "the factors moves w by its regression on them: what is missing then lies with generator and labels. Areas "
            "are judged where the truth moves them by 5 % of the part or more per standard deviation: "
            f"{number(summary['areas_judged'])} pairs of unit and part.",
        ),
        Row([_effects(truth, found, spread, units), _areas(truth, found, units, parts, metrics)]),
    ]
    return Section(
        key="recovery",
        title="Recovery of planted units",
        blocks=blocks,
        more=[_scores("All scores", summary, _SCORES), _table(units, parts, metrics)],
        terms=[
            Term(
                "Predicted fidelity",
                "What the pairs say the step obtains, if r follows w in a line. Along the kernel it is below 1: where "
                "w does not determine a unit, a regression of w on r is too flat. Along steering directions it is 1.",
                "diag(D · A), D the steps, A the least-squares line w → r within classes",
            ),
            Term(
                "True effect of a planted unit",
                "What the renderer draws when the factors change as the steering formula says, with the link's λ, the "
                "factors in the place of w and what the units were trained to be in the place of r, within breeds: λ "
                "says what else may move. A noise unit has no line in the factors over all animals, but one within "
                "breeds. Along the kernel: the least change that raises this unit, and of the others only those that "
                "carry the same. Of units' own remainders: that change without what lies along the directions that the "
                "link finds shared.",
                "Δfactors_u = D_u / (A_uᵀ D_u), D = Σ A (AᵀΣA + λS)⁻¹ of the factors",
            ),
        ],
        limits=[
            "The demo's generator was taught with a weak penalty that keeps w nearly linear in the factors. A "
            "generator trained without it is harder to link.",
        ],
    )


def _scores(title: str, summary: Mapping[str, Any], scores: Sequence[Any], note: str = "") -> Table:
    rows = [[name, show(summary.get(key)), target or NONE] for key, name, show, target in scores]
    return Table(title, ("score", "found", "target"), rows, note=note)


def _effects(truth: np.ndarray, found: np.ndarray, spread: np.ndarray, units: list[dict[str, Any]]) -> Plot:
    kinds = np.asarray([unit["kind"] for unit in units])
    chosen = kinds != "noise"
    x, y = (values[chosen] / np.where(spread > 0, spread, np.nan) for values in (truth, found))
    groups = np.broadcast_to(kinds[chosen][:, None, None], x.shape)
    return Plot(
        "recovery_effects",
        figures.scatter(
            x.ravel(), y.ravel(), xlabel="true effect, sd of metric / sd of unit", ylabel="measured effect",
            groups=groups.ravel().tolist(), equal=True,
        ),
        "Every part and metric of every selective unit.",
        "Scatter plot of measured against true effects.",
    )  # fmt: skip


def _areas(
    truth: np.ndarray, found: np.ndarray, units: list[dict[str, Any]], parts: list[str], metrics: list[str]
) -> Plot:
    chosen = np.asarray([unit["kind"] != "noise" for unit in units])
    column = metrics.index("area")
    x, y = (values[chosen][:, 1:, column] for values in (truth, found))
    strongest = np.argsort(-np.abs(x).max(axis=0))[:7]
    groups = np.broadcast_to(np.asarray(parts[1:])[strongest][None], (len(x), len(strongest)))
    return Plot(
        "recovery_areas",
        figures.scatter(
            x[:, strongest].ravel(), y[:, strongest].ravel(), xlabel="true change of area, pixels / sd of unit",
            ylabel="measured change, pixels", groups=groups.ravel().tolist(), equal=True,
        ),
        "Areas of the parts that change most.",
        "Scatter plot of measured against true changes of parts' areas.",
    )  # fmt: skip


def _table(units: list[dict[str, Any]], parts: list[str], metrics: list[str]) -> Table:
    def name(place: Any) -> str:
        return NONE if place is None else f"{parts[place[0]]}: {metrics[place[1]].replace('_', ' ')}"

    rows = []
    for unit in units:
        carries = ", ".join(unit["factors"]).replace("_", " ") if unit["kind"] != "noise" else NONE
        rank = NONE if unit["place"] is None else f"place {unit['place']}"
        sign = {True: "right sign", False: "wrong sign", None: ""}[unit["sign_right"]]
        rows.append(
            [
                Cell(f"unit {unit['unit']}", remark=unit["kind"]),
                carries,
                Cell(number(unit["fidelity"]), remark=f"predicted {number(unit['predicted_fidelity'])}"),
                number(unit["side_effect"]),
                name(unit["found"]),
                Cell(name(unit["true"]), remark=", ".join(filter(None, (rank, sign))) if unit["true"] else ""),
                number(unit["agreement"]),
            ]
        )
    columns = ("unit", "carries", "fidelity", "side effect", "strongest found", "strongest true", "correlation")
    return Table("Every planted unit", columns, rows, numeric=(2, 3, 6))
