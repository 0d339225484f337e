"""The nonlinear link, trained on pairs streamed from disk, on all devices, saved after every epoch."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.analysis.links import fit_checks, mlp
from linkjax.analysis.links.moments import Moments
from linkjax.devices import cluster, parallel
from linkjax.models.link import MLPLink
from linkjax.stages import rows
from linkjax.stages.link import epochs
from linkjax.storage import artifacts


def fit(
    config: Any,
    pairs: artifacts.Artifact,
    ranges: Mapping[str, Sequence[rows.Range]],
    sums: Mapping[str, Moments],
    work: Path,
) -> tuple[MLPLink, dict[str, Any]]:
    """A small network on pairs streamed from disk, every batch split over all devices; resumed after its last epoch."""
    for split, found in sums.items():
        fit_checks.moments(found, split)
    mesh = parallel.mesh()
    count = rows.count(ranges["train"])
    training = mlp.Training(hidden=config.hidden, epochs=config.epochs)
    training = dataclasses.replace(training, batch=min(training.batch, count))

    link, history = mlp.fit_mlp_stream(
        lambda epoch: rows.on_devices(rows.shuffled(pairs, ranges["train"], training.batch, config.seed, epoch)),
        lambda: rows.on_devices(rows.read(pairs, rows.blocks(ranges["val"], config.rows))),
        sums["train"],
        sums["val"],
        training,
        count // training.batch,
        config.seed,
        place=lambda tree: parallel.replicate(tree, mesh),
        agree=cluster.agreed,
        **epochs.kept(work / "mlp"),
    )
    variance = float(np.asarray(sums["val"].S_ww).mean() / float(sums["val"].count))
    best = history.validation[history.best]
    return link, {
        "method": "mlp",
        "count": count,
        "train_mse": history.train[history.best - 1] if history.best else None,
        "val_mse": best,
        "val_r2": 1 - best / variance,
        "linear_val_mse": history.validation[0],
        "epochs": len(history.train),
        "best_epoch": history.best,
        **({} if np.isfinite(history.train[-1:]).all() else {"diverged_in_epoch": len(history.train)}),
    }
