"""The link r → w: how it was fitted and how well determined it is."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from linkjax.report import figures
from linkjax.report.content import Fact, Notice, Plot, Row, Section, Table, Term
from linkjax.report.numbers import NONE, number, plain
from linkjax.report.source import Context, Source

_METHODS = {
    "ols": "ordinary least squares",
    "ridge": "ridge (squared penalty)",
    "elastic_net": "elastic net (absolute and squared penalty)",
    "mlp": "small neural network",
}

#: What is told of the steps of a λ, and what it is called: changes in σ of each unit, length in σ of w.
_OF_STEPS = {"own": "own change", "side": "change of others", "length": "length in W"}
_NAMED = 5  # classes that are named


def section(source: Source, context: Context) -> Section:
    """Method, penalty, conditioning and fit of the link."""
    spec = source.manifest.get("spec") or {}
    found = source.origin.get("diagnostics") or {}
    method = str(spec.get("method", NONE))
    blocks: list[Any] = []
    if found.get("converged") is False:
        blocks.append(Notice("The solver stopped before it converged; refit with a larger alpha."))
    tables = [Table("How it was fitted", ("", ""), [*_classes(source, context), *_fitted(method, spec, found)])]
    plots = [*_curve(found), *_steering(found)]
    more: list[Any] = [Row(plots, tables) if plots else tables[0]]
    blocks.append(Table("Fit in W", ("pairs", "R²", "mean squared error"), _fit(found)))
    if found.get("steps"):
        more.append(_steps(found))
    which = "val" if found.get("val_r2") is not None else "train"
    return Section(
        key="link",
        title="Link",
        blocks=blocks,
        more=more,
        facts=[]
        if "evaluation" in context.sources  # which knows it on test pairs
        else [
            Fact(
                f"R² in W, {'validation' if which == 'val' else 'training'} pairs",
                number(found.get(f"{which}_r2")),
                _METHODS.get(method, method),
            )
        ],
        terms=[
            *_terms(method),
            *(_STEP_TERMS if found.get("steps") else ()),
            *((_LAMBDA,) if found.get("steering") else ()),
        ],
        limits=[
            "A link of limited R² moves w only along what r determines: whatever the classifier ignores (background, "
            "pose) stays at its average in linked images."
        ],
    )


def _classes(source: Source, context: Context) -> list[list[str]]:
    """Names of the first classes it was fitted on, if it notes them."""
    known = source.origin.get("classes") or ()
    named = ", ".join(context.class_name(each) for each in known[:_NAMED])
    more = f", … ({len(known)} in all)" if len(known) > _NAMED else ""
    return [["classes", named + more]] if known else []


def _fitted(method: str, spec: Mapping[str, Any], diagnostics: Mapping[str, Any]) -> list[list[str]]:
    units = spec.get("units")
    rows = [
        ["method", _METHODS.get(method, method)],
        ["maps", f"{number(units)} units → {number(spec.get('w_dim'))} values of w"],
        ["training pairs", number(diagnostics.get("count"))],
    ]
    if method == "mlp":
        return [
            *rows,
            ["hidden units", plain(spec.get("hidden"))],
            ["passes over the pairs", number(diagnostics.get("epochs"))],
            ["best after", number(diagnostics.get("best_epoch"))],
            ["validation error of the linear start", number(diagnostics.get("linear_val_mse"))],
        ]
    if method == "elastic_net":
        rows.append(["share of the absolute penalty", number(spec.get("l1_ratio"))])
        rows.append(["solver converged", plain(diagnostics.get("converged"))])
    return [
        *rows,
        ["penalty alpha", number(diagnostics.get("alpha", spec.get("alpha")))],
        ["condition number", number(diagnostics.get("condition_number"))],
        ["numerical rank", _of(diagnostics.get("numerical_rank"), units)],
        ["effective rank", _of(diagnostics.get("effective_rank"), units)],
    ]


def _fit(diagnostics: Mapping[str, Any]) -> list[list[str]]:
    held_out = diagnostics.get("val_mse")
    if held_out is None:  # linear links note the error of every penalty tried
        held_out = next(
            (point[1] for point in diagnostics.get("validation") or () if point[0] == diagnostics.get("alpha")), None
        )
    return [
        ["training", number(diagnostics.get("train_r2")), number(diagnostics.get("train_mse"))],
        ["validation", number(diagnostics.get("val_r2")), number(held_out)],
    ]


def _of(rank: Any, units: Any) -> str:
    return f"{number(rank)} of {number(units)}" if rank is not None and units is not None else number(rank)


def _curve(diagnostics: Mapping[str, Any]) -> list[Plot]:
    """R² by penalty if it was stored, else the squared error by penalty."""
    points = diagnostics.get("validation_curve") or diagnostics.get("validation") or ()
    if len(points) < 2:
        return []
    curve = np.array(points, np.float64)
    what = "R² in W" if curve.shape[1] > 2 else "mean squared error in W"
    return [
        Plot(
            "validation_curve",
            figures.validation_curve(curve[:, 0], curve[:, -1], chosen=diagnostics.get("alpha"), ylabel=what),
            f"{what[0].upper()}{what[1:]} on the validation pairs for each penalty tried.",
            f"Line: {what} on validation pairs against the penalty alpha, with the chosen penalty marked.",
        )
    ]


def _steering(found: Mapping[str, Any]) -> list[Plot]:
    """Own change, side effects and length of the steps of every λ tried."""
    steering = found.get("steering") or {}
    rows = steering.get("curve") or ()
    if len(rows) < 2:
        return []
    lam, own, side, length = (np.array([row[name] for row in rows], float) for name in ("lambda", *_OF_STEPS))
    curves = dict(zip(_OF_STEPS.values(), (own, side, length), strict=True))
    which = number(steering.get("lambda"))
    return [
        Plot(
            "steering_curve",
            figures.steering_curve(lam, curves, chosen=steering.get("lambda")),
            f"What steps that raise units are predicted to do, for every λ tried; taken was {which}: "
            f"{steering.get('criterion')}.",
            "Lines: own change, side effects and length of steps against lambda, with the one chosen marked.",
        )
    ]


def _steps(diagnostics: Mapping[str, Any]) -> Table:
    """What every penalty tried would do to the steps of single units."""
    names = ("alpha", "r2", "fidelity", "length", "directness")
    rows = [[number(row[name]) for name in names] for row in diagnostics["steps"]]
    for row, step in zip(rows, diagnostics["steps"], strict=True):
        row.append("chosen" if step["alpha"] == diagnostics.get("alpha") else "")
    by = (
        "straightest steps among those that fit nearly as well as the best"
        if diagnostics["chosen_by"] == "stable"
        else "R²"
    )
    title = f"Penalties tried, and the steps of single units they would give (medians); chosen by {by}"
    heads = ("penalty alpha", "R², validation", "predicted fidelity", "length of a step", "directness", "")
    return Table(title, heads, rows)


def _terms(method: str) -> list[Term]:
    terms = [
        Term(
            "R² in W",
            "Share of the latents' variance that the link explains: 1 is perfect, 0 no better than their mean.",
            "R² = 1 − Σᵢ‖wᵢ − ŵᵢ‖² / Σᵢ‖wᵢ − w̄‖²",
            ("R²",),
        ),
        Term("Mean squared error", "Mean over pairs and over the values of w.", "MSE = mean((w − ŵ)²)"),
    ]
    if method == "mlp":
        return terms
    return [
        *terms,
        Term(
            "Penalty alpha",
            "How strongly large link weights are held down, in scikit-learn's convention. More of it fits the "
            "training pairs less closely and answers changes of single units more calmly.",
        ),
        Term(
            "Condition number",
            "How many times more the activations vary along their strongest direction than along their weakest. "
            "Above about 10⁴ single link weights are not to be trusted; what the link makes of whole "
            "activations still may be.",
            "κ = σ_max / σ_min, singular values of the centred activations",
        ),
        Term(
            "Numerical and effective rank",
            "How many directions the activations take at all, and how many carry weight: the effective rank "
            "counts directions by their share of the variance.",
            "effective rank = exp(−Σⱼ pⱼ ln pⱼ), with pⱼ the share of the variance along direction j",
            ("numerical rank", "effective rank"),
        ),
    ]


_LAMBDA = Term(
    "λ of the steps that raise units",
    "A small λ moves what is a unit's own and leaves others where they are, by long steps; a large one moves all that "
    "goes with the unit, by the shortest. Own change and change of others (root mean square, each unit in its σ within "
    "classes) are predicted for validation pairs where there are some; length is in standard deviations of w.",
    "D(λ) = Σ A (Aᵀ Σ A + λ S)⁻¹",
    ("λ",),
)
_STEP_TERMS = (
    Term(
        "Predicted fidelity",
        "The change of a unit that raising it will show, per change asked: predicted from pairs, before any picture is "
        "drawn. Below 1 where w does not determine the unit, or other units say the same.",
        "(K A)ᵤᵤ, with K the link and A the least-squares line w → r within classes",
    ),
    Term(
        "Length of a step",
        "How far one standard deviation of a unit moves w, in standard deviations of w along that way. Well above 1 "
        "the step leaves the region where samples lie.",
        "√(d C⁻¹ dᵀ), d = σᵤ Kᵤ, C the covariance of w",
    ),
    Term(
        "Directness",
        "The shortest step that would show the same change of the unit, over the step taken: 1 goes nowhere else.",
        "fidelity · σᵤ / (length · √(Aᵤ C Aᵤᵀ))",
    ),
)
