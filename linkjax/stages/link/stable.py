"""Choose a ridge penalty by the steps of single units, and report these for every penalty tried."""

import dataclasses
from typing import NamedTuple

import numpy as np

from linkjax.analysis.links import fit, linear, stability
from linkjax.analysis.links.problem import Fit, Settings
from linkjax.stages.link.stored import StoredPairs

_READ_ROWS = 16384  # training pairs from which the steps of single units are predicted, evenly spread


def measured(problem: StoredPairs, settings: Settings, fitted: Fit) -> Fit:
    """A ridge link with the steps of every penalty in its diagnostics; with `--choose stable` that of their choice."""
    config, diagnostics = problem.config, fitted.diagnostics
    steps = _steps(problem, diagnostics["validation_curve"])
    diagnostics |= {"chosen_by": config.choose, "steps": [row._asdict() for row in steps]}
    if config.choose != "stable":
        return fitted
    alphas, r2, _, _, directness = zip(*steps, strict=True)
    chosen = steps[stability.straightest(r2, directness, alphas, config.r2_loss)]
    again = fit.fit(problem, dataclasses.replace(settings, alpha=chosen.alpha, alphas=()))
    own = {name: value for name, value in again.diagnostics.items() if name not in ("validation", "validation_curve")}
    if not settings.rank:
        own["val_r2"] = chosen.r2
    return Fit(again.link, diagnostics | own)


class _Step(NamedTuple):
    """What a penalty does to single units' steps: medians over units, and the R² they are paid with."""

    alpha: float
    r2: float
    fidelity: float
    length: float
    directness: float


def _steps(problem: StoredPairs, curve: list[tuple[float, float, float]]) -> list[_Step]:
    """A row for each penalty tried, from one decomposition and some thousands of the training pairs."""
    total = problem.moments("train")
    among = np.concatenate([np.arange(*each) for each in problem.ranges["train"]])
    some = among[np.unique(np.linspace(0, len(among) - 1, min(_READ_ROWS, len(among))).round().astype(int))]
    w, r, label = (problem.pairs.read(name, some) for name in ("w", "r", "label"))
    inverse_fit, spectrum = stability.fit_inverse(w, r, label), linear.decompose(total)
    found = []
    for alpha, _, r2 in curve:
        measured = stability.measure(np.asarray(linear.solve_ridge(total, alpha, spectrum).kernel), inverse_fit)
        found.append(_Step(alpha, r2, *(float(np.nanmedian(values)) for values in measured)))
    return found
