"""link: fit r → w from streamed moments."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import xarray as xr

from linkjax import artifacts, checkpoint
from linkjax.analysis import fit, linear, mlp, moments, stability
from linkjax.analysis.moments import Moments, Products
from linkjax.claim import Claim
from linkjax.config import positive
from linkjax.errors import InputError
from linkjax.progress import progress
from linkjax.stages import Facts, Workload, inputs

_READ_ROWS = 16384  # training pairs from which the steps of single units are told, evenly spread


@dataclasses.dataclass(frozen=True)
class Config:
    """Fit the link r → w on the training split of pairs; memory does not grow with their number (but for mlp)."""

    out: str
    """Folder to make."""
    pairs: str
    """Folder of `linkjax pairs`."""
    method: Literal["ols", "ridge", "elastic_net", "mlp"] = "ols"
    """Least squares; with a squared penalty; with a squared and an absolute one; or a small network."""
    alpha: float = 1.0
    """Penalty of ridge and elastic net, in scikit-learn's convention."""
    alphas: tuple[float, ...] = ()
    """Penalties to choose from on the validation split; overrides alpha."""
    choose: Literal["r2", "stable"] = "r2"
    """By the error on the validation split; or (ridge) of those nearly as good the one of straightest steps in W."""
    r2_loss: float = 0.01
    """How much less R² than the best is nearly as good."""
    l1_ratio: float = 0.5
    """Elastic net: share of the absolute-value penalty, 0 … 1."""
    products: Products = "float64"
    """Precision of the products within a block; sums are always float64. float32 is for ridge: see the docs."""
    hidden: tuple[int, ...] = (512,)
    """mlp: units of its hidden layers."""
    epochs: int = 100
    """mlp: passes over the training pairs, at most."""
    seed: int = 0
    """mlp: random seed."""
    rows: int = 4096
    """Pairs per block read from disk; the result does not depend on it but for rounding."""

    def __post_init__(self) -> None:
        positive(rows=self.rows, epochs=self.epochs)
        if self.choose == "stable" and (self.method != "ridge" or len(self.alphas) < 2):
            raise InputError("choose stable: expected ridge and two alphas or more to choose from; add --alphas")
        if not self.r2_loss >= 0:
            raise InputError(f"r2-loss: expected 0 or more, found {self.r2_loss}")


def workload(config: Config, facts: Facts) -> Workload:
    """No images; moments of two splits in memory."""
    del config
    units, w_dim = facts.classifier.num_units, facts.generator.w_dim
    return Workload(0, 0, 4 * (units + 1) * w_dim, 2 * moments.nbytes(units, w_dim), programs=0)


def run(config: Config) -> None:
    """Write the link as a model, its diagnostics in the manifest."""
    with Claim(Path(config.out), resumable=False) as claim:
        _fit(config, claim)


def _fit(config: Config, claim: Claim) -> None:
    pairs = inputs.pairs(config.pairs)
    data, splits = pairs.open(), pairs.summary["splits"]
    if config.alphas and "val" not in splits:
        raise InputError(
            f"alphas: choosing one needs a validation split, but {config.pairs} has none; make pairs with "
            "--n-val above 0, or give one --alpha"
        )
    used = [split for split in ("train", "val") if split in splits]
    with progress("pairs read", sum(splits[split][1] - splits[split][0] for split in used)) as advance:
        sums = {split: accumulate(pairs, data, splits[split], config.rows, config.products, advance) for split in used}
    if config.method == "mlp":
        link, diagnostics = _fit_mlp(config, pairs, data, sums)
    else:
        link, found = fit.fit_from_moments(
            sums["train"], config.method, config.alpha, config.l1_ratio, held_out=sums.get("val"), alphas=config.alphas
        )
        diagnostics = {**dataclasses.asdict(found), **_held_out(found, sums.get("val"))}
        if config.method == "ridge" and len(config.alphas) > 1:
            steps = _steps(pairs, sums["train"], diagnostics["validation_curve"])
            diagnostics |= {"chosen_by": config.choose, "steps": [row._asdict() for row in steps]}
            if config.choose == "stable":
                alphas, r2, _, _, directness = zip(*steps, strict=True)
                chosen = steps[stability.straightest(r2, directness, alphas, config.r2_loss)]
                link, found = fit.fit_from_moments(
                    sums["train"], config.method, chosen.alpha, config.l1_ratio, held_out=sums["val"]
                )
                fitted = {name: value for name, value in dataclasses.asdict(found).items() if name != "validation"}
                diagnostics |= {**fitted, "val_mse": found.validation[0][1], "val_r2": chosen.r2}
        if not found.converged:
            print(f"linkjax: the elastic net stopped early, KKT residual {found.kkt_residual:.2g}; raise --alpha")
    source = {
        "config": dataclasses.asdict(config),
        "pairs": pairs.id,
        **pairs.manifest["weights"],
        "diagnostics": _plain(diagnostics),
        "classes": pairs.summary["classes"],
    }
    checkpoint.save_model(claim.path, link, source=source, claim=claim, precision=pairs.manifest["precision"])
    _print(diagnostics)


def accumulate(
    pairs: artifacts.Artifact,
    data: xr.Dataset,
    rows: list[int],
    block: int,
    products: Products,
    advance: Callable[[int], None],
) -> Moments:
    """Moments of a range of rows, block by block; the last one padded, so that one program does all."""
    total = moments.empty(pairs.summary["units"], pairs.summary["w_dim"])
    block = min(block, rows[1] - rows[0])
    for start in range(rows[0], rows[1], block):
        part = slice(start, min(start + block, rows[1]))
        r, w = pairs.read(data, "r", part), pairs.read(data, "w", part)
        mask = np.arange(block) < len(r)
        padding = ((0, block - len(r)), (0, 0))
        total = moments.update(total, np.pad(r, padding), np.pad(w, padding), mask, products=products)
        advance(len(r))
    return total


def _fit_mlp(
    config: Config, pairs: artifacts.Artifact, data: xr.Dataset, sums: dict[str, Moments]
) -> tuple[Any, dict[str, Any]]:
    """A small network on pairs held in memory."""
    if "val" not in sums:
        raise InputError(
            f"method mlp stops early on a validation split, but {config.pairs} has none; make pairs with "
            "--n-val above 0"
        )
    train, held = (
        tuple(pairs.read(data, name, slice(*pairs.summary["splits"][split])) for name in ("r", "w"))
        for split in ("train", "val")
    )
    training = mlp.Training(hidden=config.hidden, epochs=config.epochs)
    link, history = mlp.fit_mlp(train, held, sums["train"], sums["val"], training, config.seed)  # pyright: ignore
    variance = float(np.asarray(sums["val"].S_ww).mean() / float(sums["val"].count))
    best = history.validation[history.best]
    return link, {
        "method": "mlp",
        "count": len(train[0]),
        "train_mse": history.train[history.best - 1] if history.best else None,
        "val_mse": best,
        "val_r2": 1 - best / variance,
        "linear_val_mse": history.validation[0],
        "epochs": len(history.train),
        "best_epoch": history.best,
    }


def _held_out(found: fit.Diagnostics, held_out: Moments | None) -> dict[str, Any]:
    """Squared error and R² of the chosen link on the validation split, and of every alpha tried."""
    if held_out is None:
        return {}
    variance = float(np.asarray(held_out.S_ww).mean() / float(held_out.count))
    curve = [(alpha, error, 1 - error / variance) for alpha, error in found.validation]
    chosen = next(point for point in curve if point[0] == found.alpha)
    return {"val_mse": chosen[1], "val_r2": chosen[2], "validation_curve": curve if len(curve) > 1 else None}


class _Step(NamedTuple):
    """What a penalty does to single units' steps: medians over units, and the R² they are paid with."""

    alpha: float
    r2: float
    fidelity: float
    length: float
    directness: float


def _steps(pairs: artifacts.Artifact, total: Moments, curve: list[tuple[float, float, float]]) -> list[_Step]:
    """A row for each penalty tried, from one decomposition and some thousands of training pairs."""
    w, r, label = (inputs.spread_rows(pairs, name, "train", _READ_ROWS) for name in ("w", "r", "label"))
    reading, spectrum = stability.read_pairs(w, r, label), linear.decompose(total)
    rows = []
    for alpha, _, r2 in curve:
        found = stability.measure(np.asarray(linear.solve_ridge(total, alpha, spectrum).kernel), reading)
        rows.append(_Step(alpha, r2, *(float(np.nanmedian(values)) for values in found)))
    return rows


def _plain(diagnostics: dict[str, Any]) -> dict[str, Any]:
    """For a manifest: NaN as None."""
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value for key, value in diagnostics.items()
    }


def _print(diagnostics: dict[str, Any]) -> None:
    for name in ("method", "alpha", "train_r2", "val_r2", "condition_number", "numerical_rank", "effective_rank"):
        value = diagnostics.get(name)
        if value is not None:
            print(f"{name.replace('_', ' ')}: {value:.4g}" if isinstance(value, float) else f"{name}: {value}")
