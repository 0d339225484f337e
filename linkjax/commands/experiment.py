"""`linkjax run`: all stages of an experiment, one after the other, in one folder; what is there already is kept."""

import dataclasses
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from rich.console import Console

from linkjax import config as configs
from linkjax.atlas import run as atlas
from linkjax.config import PathName
from linkjax.devices import cluster, progress
from linkjax.errors import InputError
from linkjax.report.source import LINKS, SEGMENTERS, Source
from linkjax.stages import PIPELINE, settings_of_stages
from linkjax.storage import manifest as manifests

# Stage → the folder that it makes in the run's, by the name that other stages' settings have for it.
_FOLDERS = {
    "pairs": "pairs",
    "link": "link",
    "evaluate": "evaluation",
    "congruence": "congruence",
    "encode": "encoding",
    "segment": "segmenter",
    "screen": "screening",
    "sweep": "sweep",
    "select": "selection",
    "name": "names",
    "counterfactual": "counterfactual",
    "report": "report",
}
_KINDS = {"link": LINKS, "segment": SEGMENTERS}  # others: what their folder is called
# Settings that move no result of a finished stage.
_FREE = frozenset({"out", "batch_size", "nonfinite", "max_attempts", "rows", "moments_gib"})


@dataclasses.dataclass(frozen=True)
class Config:
    """Run every stage of an experiment, from pairs, link and evaluate to counterfactuals, atlas and report.

    With a segmenter or masks also segment and screen, with photographs encode, with an embedder name. What is finished
    is kept, so that the same command goes on where it was.
    """

    out: PathName
    """Folder of the run; each stage makes one in it."""
    experiment: PathName
    """The experiment's TOML file; `linkjax run --config FILE` gives it too."""
    skip: tuple[
        Literal["congruence", "encode", "screen", "sweep", "select", "name", "counterfactual", "atlas"], ...
    ] = ()
    """Stages to leave out."""


def run(config: Config) -> None:
    """Run what is not there yet, and print where the page lies.

    Raises: InputError before any work if a stage's settings are unusable, or if a finished stage in the folder was made
      with other settings, weights or inputs than these.
    """
    planned, begin = plan(config), time.perf_counter()
    console = Console(highlight=False, quiet=not cluster.first())
    with progress.view(len(planned)) as at:
        for name, settings in planned.items():
            at(name)
            if name == "report":
                if _of_units(planned) and "atlas" not in config.skip:
                    _make_atlas(Path(config.out), console)
                cluster.on_first(lambda out=settings.out: _remove_page(Path(out)))
            elif cluster.on_first(lambda name=name, settings=settings: _finished(name, settings)):
                console.print(f"[bold]{name}[/bold]: there already", style="dim")
                continue
            start = time.perf_counter()
            console.print(f"[bold]{name}[/bold]")
            _module(name).run(settings)
            console.print(f"  {time.perf_counter() - start:.1f} s", style="dim")
    page = Path(planned["report"].out) / "index.html"
    console.print(f"done in {time.perf_counter() - begin:.0f} s; look at {page}", soft_wrap=True)


def plan(config: Config) -> dict[str, Any]:
    """Stage → its settings, in the order in which they are run.

    Raises: InputError if the experiment's file or a stage's settings are unusable.
    """
    file, folder, stages = Path(config.experiment), Path(config.out), settings_of_stages()
    told = {name: configs.read_toml(file, name, stages, alone=False) for name in _FOLDERS}
    for role in ("generator", "classifier"):
        if role not in told["pairs"]:
            raise InputError(f'{file}: expected the folder of a {role}, found none; add {role} = "…" under [shared]')
    chosen = [name for name in _order() if name not in config.skip and _asked_for(name, told)]
    if "sweep" not in chosen:
        chosen = [name for name in chosen if name not in ("select", "name")]
    made = {_FOLDERS[name]: str(folder / _FOLDERS[name]) for name in chosen}
    planned: dict[str, Any] = {}
    for name in chosen:
        fields = {field.name for field in dataclasses.fields(stages[name])}
        given = {role: path for role, path in made.items() if role in fields and role != _FOLDERS[name]}
        if name != "report":
            given.pop("encoding", None)  # to start from photographs is asked for, not a matter of course
        if name == "select":  # by default that of the sweep's settings, as seen from where the sweep was run
            given["classifier"] = told["pairs"]["classifier"]
        settings = {**told[name], **given, "out": made[_FOLDERS[name]]}
        planned[name] = configs.from_command_line(stages[name], [], settings, prog=f"linkjax run, {name}")
    if planned["link"].groups is not None:
        raise InputError(f"{file}: a run has one link, found groups under [link]; fit those with linkjax link")
    return planned


def _order() -> list[str]:
    """The stages as data flows, the photographs' after what they are compared with."""
    return [stage.name for stage in PIPELINE if stage.name in _FOLDERS]


def _asked_for(name: str, tables: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether an experiment has what a stage needs that not every experiment has."""
    masks = "masks" in tables["segment"]
    needs = {
        "segment": masks,
        "screen": masks or "segmenter" in tables["screen"],
        "name": "embedder" in tables["name"],
        "encode": bool({"photographs", "dataset"} & tables["encode"].keys()),
        "counterfactual": _has_head(tables["pairs"]["classifier"]),
    }
    return needs.get(name, True)


def _of_units(planned: Mapping[str, Any]) -> bool:
    """Whether there is a sweep of units: an atlas shows no readouts."""
    return "sweep" in planned and not planned["sweep"].readouts


def _has_head(classifier: str) -> bool:
    return manifests.read(Path(classifier), ("classifier",))["spec"].get("num_classes") != 0


def _module(name: str) -> Any:
    return next(stage for stage in PIPELINE if stage.name == name).module


def _finished(name: str, settings: Any) -> bool:
    """Whether the stage's result is there, as these settings ask for.

    Raises: InputError if it was made with others, or of other models or results.
    """
    out = Path(settings.out)
    if not out.exists():
        return False
    kinds = _KINDS.get(name, (_FOLDERS[name],))
    differ = differences(Source(_FOLDERS[name], out, kinds), settings)
    if differ:
        raise InputError(
            f"{out}: holds a {_FOLDERS[name]} made otherwise ({'; '.join(differ)}); remove it to have it made again, "
            "with what was made from it, or give another --out"
        )
    return True


def differences(stored: Source, settings: Any) -> list[str]:
    """How a finished result differs from what settings ask for: settings, weights, inputs.

    Models and results are compared by what they hold, other folders by where they lie.
    """
    told, now = stored.settings, manifests.plain(settings)
    paths, identities = configs.path_settings(type(settings)), {**stored.inputs, **stored.weights}
    differ = []
    for name in sorted(now.keys() - _FREE):
        if name in paths and name in identities:
            if now[name] is not None and _identity(Path(now[name])) != identities[name]:
                differ.append(f"of another {name}")
        elif name in paths and None not in (now[name], told.get(name)):
            if Path(now[name]).resolve() != Path(told[name]).resolve():
                differ.append(f"{name}: {told[name]} there, {now[name]} now")
        elif name in told and told[name] != now[name]:
            differ.append(f"{name.replace('_', '-')}: {told[name]} there, {now[name]} now")
    return differ


def _identity(folder: Path) -> str:
    manifest = manifests.read(folder)
    return manifest.get("id") or manifest["sha256"]


def _remove_page(out: Path) -> None:
    """A page is made anew of what is there now; nothing is lost with it."""
    if out.exists():
        manifests.read(out, ("report",))
        shutil.rmtree(out)


def _make_atlas(folder: Path, console: Console) -> None:
    """All units of the run to browse, with what there is now; the page leads to it."""
    if cluster.count() > 1:
        console.print(f"atlas: one process draws it; run linkjax atlas {folder} --out {folder / 'atlas'}")
        return
    start = time.perf_counter()
    console.print("[bold]atlas[/bold]")
    if atlas.refresh(atlas.Config(str(folder), str(folder / "atlas"))):
        console.print(f"  {time.perf_counter() - start:.1f} s", style="dim")
    else:
        console.print("  there already", style="dim")
