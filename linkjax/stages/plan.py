"""plan: count images, measure memory and time of the stages before running them."""

import dataclasses
import functools
import json
import os
import time
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

from linkjax import config as configs
from linkjax import numerics
from linkjax.analysis import pairs
from linkjax.config import PathName
from linkjax.devices import cluster, parallel
from linkjax.errors import InputError
from linkjax.models import build, classifier_spec, generator_spec
from linkjax.models.classifier import Classifier
from linkjax.models.stylegan_xl import Generator
from linkjax.ops.chunked import share_of
from linkjax.stages import PIPELINE, Facts, Stage, Workload, inputs, settings_of_stages
from linkjax.storage import manifest

#: Published generators by name, with their resolution.
GENERATORS = {f"imagenet{resolution}": resolution for resolution in (16, 32, 64, 128, 256, 512, 1024)}
_PLACEHOLDER = "(not needed to plan)"


@dataclasses.dataclass(frozen=True)
class Config:
    """Count the images of every stage of an experiment, and measure memory and time of one batch on this machine."""

    stage: ClassVar[str] = "plan"  # the table of its settings in a TOML

    experiment: PathName | None = None
    """The experiment's TOML file; `linkjax plan --config FILE` gives it too."""
    generator: PathName | None = None
    """Folder of `linkjax convert generator`, if not the experiment's, or an architecture: imagenet16 … imagenet1024."""
    classifier: PathName | None = None
    """Folder of `linkjax convert classifier`, if not the experiment's, or an architecture: resnet50, vgg16, …"""
    precision: numerics.Precision = "float32"
    """What images are drawn in."""
    measure: bool = True
    """Compile and run one batch; otherwise only count."""
    out: PathName | None = None
    """Folder to write plan.json into, beside the table on the screen."""


@numerics.float32_default()
def run(config: Config) -> dict[str, Any]:
    """Print the plan; returns what it printed, in images, bytes and seconds."""
    settings = {stage.name: _settings(config.experiment, stage.name) for stage in PIPELINE if stage.name != "plan"}
    roles = ("generator", "classifier")
    paths = {role: str(getattr(config, role) or settings["pairs"].get(role) or "") for role in roles}
    missing = [role for role, path in paths.items() if not path]
    if missing:
        raise InputError(f"{missing[0]}: expected its folder, found none; give --{missing[0]} or name it in --config")
    generator, classifier = (_model(role, paths[role], config) for role in roles)
    made = {
        stage.name: _config_of(stage, {**settings[stage.name], **paths})
        for stage in PIPELINE
        if hasattr(stage.module, "workload") and _asked_for(stage.name, config.experiment)
    }
    pairs_stage = next(stage for stage in PIPELINE if stage.name == "pairs").module
    classes = len(pairs_stage.labels(made["pairs"], generator.spec, classifier.spec))
    tested, fitted = (classes * count for count in (made["pairs"].n_test, made["pairs"].n_train + made["pairs"].n_val))
    facts = Facts(generator.spec, classifier.spec, classes, tested, fitted)
    loads = {stage.name: stage.module.workload(made[stage.name], facts) for stage in PIPELINE if stage.name in made}
    measured = _measure(generator, classifier, made["pairs"].batch_size) if config.measure else None
    plan = _plan(loads, measured)
    _print(plan)
    if config.out and cluster.first():
        folder = Path(config.out)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plan.json").write_text(json.dumps(manifest.plain(plan), indent=1) + "\n", encoding="utf-8")
    return plan


def _asked_for(stage: str, experiment: str | None) -> bool:
    """Depth is no part of a run: it is planned for experiments that have a table for it."""
    return stage != "depth" or (
        experiment is not None and stage in configs.stages_of(Path(experiment), settings_of_stages())
    )


def _model(role: str, path: str, config: Config) -> Any:
    """A model from its folder; where there is none, one of random weights, of the architecture that the name says.

    Raises: InputError if there is neither.
    """
    name, folder = Path(path).name, Path(path)
    known = GENERATORS if role == "generator" else classifier_spec.ARCHITECTURES
    if folder.exists() or manifest.partial(folder).exists():
        return inputs.model(path, role, config.precision).model
    if name not in known:
        raise InputError(
            f"{path}: expected the folder of a {role} or the name of an architecture, found neither"
            f"{configs.nearest(name, known)}; architectures are {', '.join(known)}"
        )
    told = "" if name == path else f"no weights in {path} yet: "
    print(f"{told}planned for the architecture {name}, with random weights")
    make = build.random if config.measure else build.abstract
    if role == "classifier":
        return make(Classifier, classifier_spec.classifier_spec(name))
    return make(Generator, generator_spec.imagenet_spec(GENERATORS[name])).with_precision(config.precision)


def _settings(experiment: str | None, stage: str) -> dict[str, Any]:
    if experiment is None:
        return {}
    return configs.read_toml(Path(experiment), stage, settings_of_stages(), alone=False)


def _config_of(stage: Stage, settings: dict[str, Any]) -> Any:
    """A stage's settings, without the folders that it would read."""
    fields = dataclasses.fields(stage.module.Config)
    given = {field.name: _PLACEHOLDER for field in fields if field.default is dataclasses.MISSING}
    given |= {key: value for key, value in settings.items() if key in {field.name for field in fields}}
    return configs.from_command_line(stage.module.Config, [], given, prog=f"linkjax {stage.name}")


def _measure(generator: Any, classifier: Any, batch_size: int) -> dict[str, float]:
    """One compiled batch of z → w → image → r: seconds to compile, seconds an image, bytes on each device."""
    mesh = parallel.mesh()
    size = parallel.round_up(batch_size, mesh)
    models = parallel.replicate((generator, classifier), mesh)
    label = np.zeros(size, np.int32)
    items = {"z": pairs.named_latents(0, label, np.arange(size), generator.spec.z_dim), "label": label}
    share = share_of(generator.spec.resolution)
    step = parallel.sharded(functools.partial(pairs.draw, truncation=0.7), models, mesh, share)
    placed = parallel.place(items, mesh)
    start = time.perf_counter()
    compiled = step.compiled(placed)
    compile_s = time.perf_counter() - start
    start = time.perf_counter()
    jax.block_until_ready(compiled(*step.arguments(placed)))
    warm_s = cluster.agreed(time.perf_counter() - start)  # all have to run it again, or none
    if warm_s < 20:  # the first run also pays for memory; a long one need not be repeated
        start = time.perf_counter()
        jax.block_until_ready(compiled(*step.arguments(placed)))
        warm_s = time.perf_counter() - start
    memory = compiled.memory_analysis()
    weights = sum(leaf.nbytes for leaf in jax.tree.leaves((generator, classifier)))
    return {
        "batch_size": size,
        "devices": mesh.size,
        "compile_seconds": compile_s,
        "seconds_per_image": warm_s / size,
        "weight_bytes": weights,
        "device_bytes": weights + getattr(memory, "temp_size_in_bytes", 0) + getattr(memory, "output_size_in_bytes", 0),
    }


def _plan(loads: dict[str, Workload], measured: dict[str, float] | None) -> dict[str, Any]:
    stages = {}
    for name, load in loads.items():
        stages[name] = load._asdict()
        if measured is not None:
            compiling = load.programs * measured["compile_seconds"]
            stages[name]["seconds"] = load.images * measured["seconds_per_image"] + compiling
            stages[name]["most_seconds"] = load.most_images * measured["seconds_per_image"] + compiling
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return {"stages": stages, "measured": measured, "host_memory_bytes": pages * page}


def _print(plan: dict[str, Any]) -> None:
    table = Table(title="plan", title_justify="left")
    for column in ("stage", "images", "at most", "time", "at most", "on disk", "in memory beside the models"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    for name, stage in plan["stages"].items():
        table.add_row(
            name,
            f"{stage['images']:,}",
            f"{stage['most_images']:,}",
            duration(stage["seconds"]) if "seconds" in stage else "–",
            duration(stage["most_seconds"]) if "seconds" in stage else "–",
            size(stage["bytes_on_disk"]),
            size(stage["bytes_on_host"]),
        )
    console = Console()
    console.print(table)
    measured = plan["measured"]
    if measured:
        console.print(
            f"measured: a batch of {measured['batch_size']:.0f} on {measured['devices']:.0f} device(s) compiles in "
            f"{measured['compile_seconds']:.1f} s and takes {measured['seconds_per_image']:.3g} s an image; models "
            f"{size(measured['weight_bytes'])}, in all {size(measured['device_bytes'])} of device memory "
            f"(this machine has {size(plan['host_memory_bytes'])})",
            highlight=False,
        )


def size(count: float) -> str:
    """Bytes for a reader: 1.5 GiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.3g} {unit}" if count < 1000 else f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.3g} TiB"


def duration(seconds: float) -> str:
    """Seconds for a reader: 3 h 20 min."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172800:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
