"""The link r → w: how it was fitted and how well determined it is."""

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


def section(source: Source, context: Context) -> Section:
    """Method, penalty, conditioning and fit of the link."""
    del context
    spec = source.manifest.get("spec") or {}
    found = source.origin.get("diagnostics") or {}
    method = str(spec.get("method", NONE))
    units = spec.get("units")
    rows = [
        ["method", _METHODS.get(method, method)],
        ["maps", f"{number(units)} units → {number(spec.get('w_dim'))} values of w"],
        ["penalty alpha", number(found.get("alpha", spec.get("alpha")))],
        ["share of the absolute penalty", number(spec.get("l1_ratio") if method == "elastic_net" else None)],
        ["condition number", number(found.get("condition_number"))],
        ["numerical rank", _of(found.get("numerical_rank"), units)],
        ["effective rank", _of(found.get("effective_rank"), units)],
        ["solver converged", plain(found.get("converged"))],
    ]
    fit = [
        [name, number(found.get(f"{split}_r2")), number(found.get(f"{split}_mse"))]
        for name, split in (("training", "train"), ("validation", "val"))
    ]
    blocks: list[Any] = [
        Table("How it was fitted", ("", ""), rows),
        Table("Fit in W", ("pairs", "R²", "mean squared error"), fit),
    ]
    if found.get("converged") is False:
        blocks.insert(
            0, Notice("The solver stopped before it converged; refit with more iterations or a larger alpha.")
        )
    curve = found.get("validation_curve")
    if curve and all(len(point) > 2 for point in curve):
        blocks.append(Row([_curve(np.array(curve, np.float64), found)]))
    r2 = found.get("val_r2") if found.get("val_r2") is not None else found.get("train_r2")
    which = "validation" if found.get("val_r2") is not None else "training"
    return Section(
        key="link",
        title="Link",
        blocks=blocks,
        facts=[Fact("link R² in W", number(r2), f"{which} pairs, {method.replace('_', ' ')}")],
        terms=[
            Term(
                "R² in W",
                "Share of the latents' variance that the link explains: 1 is perfect, 0 no better than their mean.",
                "R² = 1 − Σᵢ‖wᵢ − ŵᵢ‖² / Σᵢ‖wᵢ − w̄‖²",
            ),
            Term(
                "Mean squared error",
                "Mean over pairs and over the values of w.",
                "MSE = mean((w − ŵ)²)",
            ),
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
            ),
        ],
        limits=[
            "A link of limited R² moves w only along what r determines: whatever the classifier ignores (background, "
            "pose) stays at its average in linked images."
        ],
    )


def _of(rank: Any, units: Any) -> str:
    return f"{number(rank)} of {number(units)}" if rank is not None and units is not None else number(rank)


def _curve(curve: np.ndarray, found: Any) -> Plot:
    return Plot(
        "validation_curve",
        figures.validation_curve(curve[:, 0], curve[:, 2], chosen=found.get("alpha")),
        "R² on the validation pairs for each penalty tried.",
        "Line: R² in W on validation pairs against the penalty alpha, with the chosen penalty marked.",
    )
