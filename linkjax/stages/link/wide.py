"""Links of so many units that their moments do not fit: by the samples' Gram matrix, or by streamed gradients."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.analysis.links import dual, streamed_elastic_net
from linkjax.analysis.links.linear import Solution
from linkjax.devices import cluster, parallel
from linkjax.errors import InputError
from linkjax.models.build import fill
from linkjax.models.link import Link, LinkSpec
from linkjax.stages import rows
from linkjax.stages.link import epochs
from linkjax.storage import artifacts

Ranges = Mapping[str, Sequence[rows.Range]]
Pairs = tuple[Any, Any]

#: Pairs of one step of the streamed elastic net.
BATCH = 256
#: Steps of an epoch, at least: with few pairs the batches are smaller instead.
STEPS = 16


def check(config: Any, pairs: artifacts.Artifact, ranges: Ranges) -> None:
    """Whether a link can be fitted without moments.

    Raises: InputError if not, with what to do.
    """
    units, count = pairs.summary["units"], rows.count(ranges["train"])
    advice = f"moments of {units} units need more than --moments-gib {config.moments_gib:g}"
    if config.method in ("ols", "ridge") and count > units:
        raise InputError(
            f"{advice}, and {count} pairs are more than the units, so their own Gram matrix is no smaller; fit on "
            "fewer --classes, raise --moments-gib, or use --method elastic_net (with --l1-ratio 0 it is ridge, of one "
            f"--alpha {count} times smaller)"
        )
    if config.choose == "stable":
        raise InputError(f"{advice}, which --choose stable measures steps on; raise --moments-gib, or use --choose r2")
    needed = dual.nbytes(count) / 2**30
    if config.method in ("ols", "ridge") and needed > config.moments_gib:
        raise InputError(
            f"{advice}, and so does the Gram matrix of {count} pairs with its decomposition ({needed:.3g} GiB); fit on "
            "fewer --classes, raise --moments-gib, or use --method elastic_net"
        )
    for split in ("train", "val"):
        if split in ranges and rows.count(ranges[split]) < 2:
            raise InputError(f"expected 2 or more pairs in the {split} split, found {rows.count(ranges[split])}")
    if config.method == "mlp" or config.rank:
        what = "method mlp" if config.method == "mlp" else "a reduced rank"
        raise InputError(f"{advice}, which {what} starts from; raise --moments-gib, or convert a narrower classifier")
    if config.method == "elastic_net" and (len(config.alphas) or "val" not in ranges):
        raise InputError(f"{advice}; without them an elastic net needs one --alpha and a validation split to stop by")


def fit(config: Any, pairs: artifacts.Artifact, ranges: Ranges, work: Path) -> tuple[Link, dict[str, Any]]:
    """The link and its diagnostics; settings that `check` let pass. An elastic net goes on after its last epoch.

    Raises: InputError for pairs that are not finite.
    """
    for split in ranges:
        rows.refuse_nonfinite(pairs, split, ranges[split], config.rows)
    found: dict[str, Any] = {"method": config.method, "alpha": config.alpha, "count": rows.count(ranges["train"])}
    if config.method == "elastic_net":
        solution = _streamed(config, pairs, ranges, found, work)
    else:
        solution = _dual(config, pairs, ranges, found)
    if "val" in ranges:
        found |= _held_out(solution, _blocks(config, pairs, ranges["val"]))
    net, (units, w_dim) = config.method == "elastic_net", solution.kernel.shape
    spec = LinkSpec(units, w_dim, config.method, found["alpha"], config.l1_ratio if net else 0.0)
    return fill(Link, spec, {"kernel": np.float32(solution.kernel), "bias": np.float32(solution.bias)}), found


def _blocks(config: Any, pairs: artifacts.Artifact, ranges: Sequence[rows.Range]) -> Iterator[Pairs]:
    return rows.read(pairs, rows.blocks(ranges, rows.fitting(pairs, config.rows)))


def _dual(config: Any, pairs: artifacts.Artifact, ranges: Ranges, found: dict[str, Any]) -> Solution:
    """Least squares or ridge; the pairs, fewer than their units, are held in memory."""

    def whole(split: str) -> tuple[np.ndarray, np.ndarray]:
        r, w = (np.empty((rows.count(ranges[split]), pairs.summary[width]), np.float32) for width in ("units", "w_dim"))
        at = 0
        for some_r, some_w in _blocks(config, pairs, ranges[split]):
            r[at : at + len(some_r)], w[at : at + len(some_r)] = some_r, some_w
            at += len(some_r)
        return r, w

    made = dual.decompose(*whole("train"))
    found["alpha"] = 0.0 if config.method == "ols" else config.alpha
    if config.alphas:
        found["alpha"] = dual.choose(made, *whole("val"), config.alphas)
    return dual.solve(made, found["alpha"])


def _streamed(config: Any, pairs: artifacts.Artifact, ranges: Ranges, found: dict[str, Any], work: Path) -> Solution:
    batch = max(min(BATCH, rows.count(ranges["train"]) // STEPS), 1)
    mesh = parallel.mesh()

    def blocks(split: str) -> Iterator[Pairs]:
        return _blocks(config, pairs, ranges[split])

    made = streamed_elastic_net.solve(
        lambda epoch: rows.on_devices(rows.shuffled(pairs, ranges["train"], batch, config.seed, epoch)),
        lambda: rows.on_devices(blocks("train")),
        lambda: rows.on_devices(blocks("val")),
        streamed_elastic_net.measure(blocks("train")),
        config.alpha,
        config.l1_ratio,
        place=lambda tree: parallel.replicate(tree, mesh),
        agree=cluster.agreed,
        **epochs.kept(work / "elastic_net"),
    )
    found |= {"epochs": len(made.validation) - 1, "best_epoch": made.best, "l1_ratio": config.l1_ratio}
    return made.solution


def _held_out(solution: Solution, blocks: Iterator[Pairs]) -> dict[str, float]:
    count, mean, squares, errors = 0, 0.0, 0.0, 0.0
    for r, w in blocks:
        errors += float(np.sum((w - r @ solution.kernel - solution.bias) ** 2))
        w = w.astype(np.float64)
        delta = w.mean(axis=0) - mean
        squares += float(np.sum(w.var(axis=0)) * len(w) + count * len(w) / (count + len(w)) * np.sum(delta**2))
        mean, count = mean + len(w) / (count + len(w)) * delta, count + len(w)
    return {
        "val_mse": errors / (count * solution.bias.size),
        "val_r2": 1 - errors / squares if squares > 0 else math.nan,
    }
