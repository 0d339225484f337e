"""The whole job on the embedded world, offline: planted units held against the truth, then `breeds`."""

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from linkjax import numerics
from linkjax.atlas import run as atlas
from linkjax.config import PathName
from linkjax.demo import compare, names, oracle, recovery, steps
from linkjax.demo.bundle import EMBEDDED, UNITS, Bundle, open_bundle
from linkjax.errors import InputError
from linkjax.report.numbers import number, percent
from linkjax.stages import PIPELINE
from linkjax.storage import artifacts, opening
from linkjax.storage import manifest as manifests
from linkjax.storage.artifacts import Artifact

_NOTE = "demo.json"  # in the folder being made: which demo it is
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
    ("planted", "selective units with a significant effect", "significant_selective_units", number),
    ("planted", "noise units with one", "significant_noise_units", number),
    ("planted", "noise units with a false one", "false_noise_units", number),
    ("planted", "fidelity from 0.8 to 1.2", "fidelity_within_20_percent_of_all", percent),
    ("planted", "areas of parts within 25 % of the truth", "area_within_25_percent", percent),
    ("planted", "… per change obtained", "area_within_25_percent_per_obtained_change", percent),
    ("planted", "… by one who knows the factors", "oracle_area_within_25_percent_per_obtained_change", percent),
    ("planted", "units named as doubles of another", "doubles_named", number),
    ("names", "selective units with a name by a word", "named", number),
    ("names", "… that is of their factor and sign", "named_right", number),
    ("names", "noise units with a name", "noise_units_named", number),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Run the pipeline on the embedded world, score it against the known truth, and write a page to look at."""

    out: PathName = "linkjax-demo"
    """Folder to make; one that a stopped demo left is gone on with."""
    fast: bool = False
    """The planted classifier alone and fewer samples: for a first look, and for tests."""
    seed: int = 0
    """Random seed of the samples."""
    bundle: PathName | None = None
    """Folder of another bundle of scripts/train_demo.py; none: the embedded one."""


@numerics.float32_default()
def run(config: Config) -> None:
    """The steps that are not done yet, then the main numbers and where the page lies."""
    folder, console, begin = Path(config.out), Console(highlight=False), time.perf_counter()
    bundle = open_bundle(EMBEDDED if config.bundle is None else Path(config.bundle))
    _enter(folder, config, bundle)
    page = folder / "report" / "index.html"
    if page.exists():
        console.print(f"done before; look at {page}", soft_wrap=True)
        return
    for title, name, settings in steps.plan(folder, bundle, config.seed, config.fast):
        if Path(settings["out"]).exists():
            console.print(f"{title}: done before", style="dim")
            continue
        start, spent = time.perf_counter(), time.process_time()
        console.print(f"[bold]{title}[/bold]")
        take(name, settings, bundle)
        taken, cpu = time.perf_counter() - start, time.process_time() - spent
        console.print(f"  {taken:.1f} s, {cpu:.1f} CPU-seconds", style="dim")
        if name == "segment":
            console.print(f"  first pictures: {Path(settings['out']) / 'images'}", soft_wrap=True)
    console.print(_table(folder, bundle, config.fast))
    for name, what in (("atlas", "every unit"), ("atlas-planted", "every planted unit (try: long legs)")):
        if (atlas_page := folder / name / "index.html").exists():
            console.print(f"{what}: {atlas_page}", soft_wrap=True)
    console.print(f"done in {time.perf_counter() - begin:.0f} s; look at {page}", soft_wrap=True)


def take(name: str, settings: dict[str, Any], bundle: Bundle) -> None:
    """One step."""
    if name == "oracle":
        oracle.run(oracle.Config(**settings), bundle.units)
    elif name == "compare":
        compare.run(compare.Config(**settings), bundle.units)
    elif name == "atlas":
        atlas.run(atlas.Config(**settings))
    elif name == "recovery":
        recovery.run(recovery.Config(**settings), bundle.units)
    else:
        stage = next(stage for stage in PIPELINE if stage.name == name)
        stage.module.run(stage.module.Config(**settings))


def _enter(folder: Path, config: Config, bundle: Bundle) -> None:
    """Make the folder, or go on with that of the same demo.

    Raises: InputError if it is anything else, or cannot be written.
    """
    units = (bundle.folder / UNITS).read_bytes()
    weights = [manifests.read(Path(bundle.path(name)))["sha256"] for name in ("generator", "breeds", "planted")]
    mine = {"fast": config.fast, "seed": config.seed, "bundle": manifests.fingerprint([units.decode(), weights])}
    note = folder / _NOTE
    if folder.exists():
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise InputError(f"{folder} exists already; give another --out, or remove it first") from None
        differing = [name for name in mine if found.get(name) != mine[name]]
        if differing:
            raise InputError(
                f"{folder} exists already, of a demo with another {' and '.join(differing)}; repeat that one, or give "
                "another --out"
            )
        return
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise InputError(f"{folder}: cannot write in {above}; give another --out")
    with artifacts.whole_folder(folder) as partial:
        (partial / _NOTE).write_text(json.dumps(mine), encoding="utf-8")


def _table(folder: Path, bundle: Bundle, fast: bool) -> Table:
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
    if bundle.embedder is not None:
        found["names"] = names.score(opening.open(folder / ("names" if fast else "planted-names")), bundle.units)
    table = Table(title="linkjax demo", title_justify="left")
    for column in ("of", "number", ""):
        table.add_column(column, justify="right" if not column else "left")
    for group, name, key, show in _SHOWN:
        if group in found:
            table.add_row(group, name, show(found[group].get(key)))
    return table
