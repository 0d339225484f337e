"""The whole job on the embedded world, offline: every stage on `breeds`, and the score on `planted`."""

import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from linkjax import numerics
from linkjax.artifacts import Artifact
from linkjax.config import PathName
from linkjax.demo import labels, recovery
from linkjax.demo.bundle import EMBEDDED, Bundle, open_bundle
from linkjax.demo.factors import BREEDS
from linkjax.errors import InputError
from linkjax.report.numbers import number, percent
from linkjax.stages import PIPELINE

_LABELLED = 20  # pictures the segmentation head is trained from
_SHOWN = (
    ("link", "R² in W on held-out pairs", "r2", number),
    ("link", "same class after re-encoding", "top1", percent),
    ("link", "unit correlation after re-encoding, median", "unit_correlation", number),
    ("sweep", "fidelity of units, median", "median_fidelity", number),
    ("sweep", "largest side effect, median", "median_largest_side_effect", number),
    ("selection", "units with a significant effect", "significant_units", number),
    ("counterfactual", "searches that flip the class", "flipped", percent),
    ("planted", "selective against noise units (AUC)", "auc", number),
    ("planted", "units with the right sign", "sign_right", percent),
    ("planted", "noise units with a significant effect", "significant_noise_units", number),
    ("planted", "selective units with one", "significant_selective_units", number),
    ("planted", "fidelity from 0.8 to 1.2", "fidelity_within_20_percent_of_all", percent),
    ("planted", "… of units without a double", "fidelity_within_20_percent", percent),
    ("planted", "areas of parts within 25 % of the truth", "area_within_25_percent", percent),
    ("planted", "effects against the truth, rank correlation", "rank_correlation", number),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Run every stage on the embedded world, score it against the known truth, and write a page to look at."""

    out: PathName = "linkjax-demo"
    """Folder to make."""
    fast: bool = False
    """The planted classifier alone and fewer samples: for a first look, and for tests."""
    seed: int = 0
    """Random seed of the samples."""
    bundle: PathName | None = None
    """Folder of another bundle of scripts/train_demo.py; none: the embedded one."""


@numerics.float32_default()
def run(config: Config) -> None:
    """All stages on `breeds`, then pairs, link, sweep and score on `planted`, then the report."""
    folder, console, begin = Path(config.out), Console(highlight=False), time.perf_counter()
    if folder.exists():
        raise InputError(f"{folder} exists already; give another --out, or remove it first")
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise InputError(f"{folder}: cannot write in {above}; give another --out")
    bundle = open_bundle(EMBEDDED if config.bundle is None else Path(config.bundle))
    for title, name, settings in _steps(config, folder, bundle):
        start = time.perf_counter()
        console.print(f"[bold]{title}[/bold]")
        if name == "masks":
            labels.write_masks(**settings)
        elif name == "recovery":
            recovery.run(recovery.Config(**settings), bundle.units)
        else:
            stage = next(stage for stage in PIPELINE if stage.name == name)
            stage.module.run(stage.module.Config(**settings))
        console.print(f"  {time.perf_counter() - start:.1f} s", style="dim")
    console.print(_table(folder))
    page = folder / "report" / "index.html"
    console.print(f"done in {time.perf_counter() - begin:.0f} s; look at {page}", soft_wrap=True)


def _steps(config: Config, folder: Path, bundle: Bundle) -> list[tuple[str, str, dict[str, Any]]]:
    """What is run, in order: title, stage, settings."""

    def out(name: str) -> str:
        return str(folder / name)

    def many(full: int, fast: int) -> int:
        return fast if config.fast else full

    alphas = tuple(float(alpha) for alpha in np.logspace(-3, 3, 13))
    steps: list[tuple[str, str, dict[str, Any]]] = []

    def chain(classifier: str, prefix: str, samples: tuple[int, int, int]) -> dict[str, Any]:
        models = {"generator": bundle.path("generator"), "classifier": bundle.path(classifier)}
        pairs = {
            **models, "class_names": BREEDS, "classes": tuple(range(len(BREEDS))), "truncation": 1.0,
            "batch_size": 50, "seed": config.seed, "out": out(f"{prefix}pairs"),
            **dict(zip(("n_train", "n_val", "n_test"), samples, strict=True)),
        }  # fmt: skip
        link = {"out": out(f"{prefix}link"), "pairs": pairs["out"], "method": "ridge", "alphas": alphas}
        steps.append((f"{classifier}: pairs", "pairs", pairs))
        steps.append((f"{classifier}: link", "link", link))
        return {**models, "pairs": pairs["out"], "link": link["out"], "batch_size": 50}

    swept = {"steps": 3, "low": 2.5, "high": 97.5, "samples": 1, "random_directions": many(16, 8)}
    planted_pairs = (many(150, 30), many(20, 5), many(15, 5))
    main = "planted" if config.fast else "breeds"
    linked = chain(main, "", planted_pairs if config.fast else (150, 20, 15))
    evaluation = {"shuffled_samples": 50, "pictures": 10, "out": out("evaluation")}
    steps.append((f"{main}: evaluate", "evaluate", {**linked, **evaluation}))
    if not config.fast:
        network = {"out": out("mlp-link"), "pairs": out("pairs"), "method": "mlp", "hidden": (64,), "epochs": 30}
        steps.append((f"{main}: a small network as link", "link", {**network, "seed": config.seed}))
        walked = {"other_link": out("mlp-link"), "paths": 24, "steps": 7, "out": out("congruence")}
        steps.append((f"{main}: congruence", "congruence", {**linked, **walked}))
    parts = {"segmenter": bundle.path("segmenter") if config.fast else out("segmenter")}
    if not config.fast:
        drawing = {"generator": bundle.path("generator"), "truncation": 1.0, "seed": config.seed, "batch_size": 50}
        steps.append(("pictures to label", "segment", {**drawing, "draw": 30, "out": out("pictures")}))
        told = {"pictures": folder / "pictures", "out": folder / "masks", "count": _LABELLED}
        steps.append((f"masks of {_LABELLED} pictures, from the renderer", "masks", told))
        learnt = {"images": out("pictures"), "masks": out("masks"), "suggest": 3, "overlays": 8, "batch_size": 50}
        made = {"generator": bundle.path("generator"), "out": out("segmenter")}
        steps.append(("segment", "segment", {**made, **learnt}))
        screened = {"samples": 1, "batch_size": 10, "out": out("screening")}
        steps.append((f"{main}: screen", "screen", {**linked, **parts, **screened}))
    steps.append((f"{main}: sweep", "sweep", {**linked, **parts, **swept, "picture_units": 8, "out": out("sweep")}))
    steps.append((f"{main}: select", "select", {"sweep": out("sweep"), "out": out("selection")}))
    some = (0, 1, 2, 3)  # every pair of a few breeds, with samples enough to speak of the boundary between them
    flips = {
        "origins": some,
        "targets": some,
        "samples": many(6, 2),
        "path_points": 5,
        "path_beyond": 2,
        "max_steps": many(200, 60),
        "check_every": 5,
        "step_size": 0.1,
        "start": "zero",
        "pictures": 9,
        "methods": ("original",) if config.fast else ("original", "closed_form_whitened", "head_l2"),
    }
    found = {"out": out("counterfactual")}
    steps.append((f"{main}: counterfactual", "counterfactual", {**linked, **parts, **flips, **found}))
    scored = {"sweep": out("sweep"), "selection": out("selection"), "pairs": out("pairs"), "link": out("link")}
    if not config.fast:
        planted = chain("planted", "planted-", planted_pairs)
        scored = {"sweep": out("planted-sweep"), "selection": out("planted-selection")}
        scored |= {name: planted[name] for name in ("pairs", "link")}
        aside = {**swept, "picture_units": 0, "out": scored["sweep"]}
        steps.append(("planted: sweep", "sweep", {**planted, **parts, **aside}))
        tested = {"sweep": scored["sweep"], "out": scored["selection"], "ablation": False}
        steps.append(("planted: select", "select", tested))
    steps.append(("planted: recovery", "recovery", {**scored, "out": out("recovery")}))
    results = {
        name: out(name) for name in ("pairs", "link", "evaluation", "sweep", "selection", "counterfactual", "recovery")
    }
    if not config.fast:
        results |= {name: out(name) for name in ("congruence", "segmenter", "screening")}
    steps.append(("report", "report", {**results, "out": out("report"), "title": "linkjax demo"}))
    return steps


def _table(folder: Path) -> Table:
    """The main numbers."""
    evaluation = Artifact(folder / "evaluation", "evaluation").summary
    searches = Artifact(folder / "counterfactual", "counterfactual").summary
    first = searches["methods"][0]["outcomes"]
    flipped = first.get("reached", 0) / sum(first.values())
    found = {
        "link": next(row for row in evaluation["rows"] if row["name"] == "link"),
        "sweep": Artifact(folder / "sweep", "sweep").summary,
        "selection": Artifact(folder / "selection", "selection").summary,
        "counterfactual": {"flipped": flipped},
        "planted": Artifact(folder / "recovery", "recovery").summary,
    }
    table = Table(title="linkjax demo", title_justify="left")
    for column in ("of", "number", ""):
        table.add_column(column, justify="right" if not column else "left")
    for group, name, key, show in _SHOWN:
        table.add_row(group, name, show(found[group].get(key)))
    return table
