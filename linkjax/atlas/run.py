"""`linkjax atlas`: all units of a run as a folder that opens in a browser from disk."""

import dataclasses
import importlib.resources
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from linkjax import numerics
from linkjax.analysis.units import sweep as sweeping
from linkjax.atlas import build, compared, examples, flips, named, photographs, pictures
from linkjax.atlas.build import Shown
from linkjax.atlas.read import ROLES, Results, find, find_beside
from linkjax.config import PathName, positive
from linkjax.devices.progress import progress
from linkjax.errors import InputError
from linkjax.report.source import Source
from linkjax.stages import inputs, layers
from linkjax.stages.sweep import chunks
from linkjax.storage import artifacts
from linkjax.storage import claim as claims
from linkjax.storage import manifest as manifests

DATA = "data"


@dataclasses.dataclass(frozen=True)
class Config:
    """Make a folder that shows every unit of a run, with its pictures and numbers, in a browser and from disk."""

    run: PathName
    """Folder that holds the folders of `linkjax sweep`, `select`, `counterfactual`, … of one classifier; the flag
    may be left out."""
    out: PathName
    """Folder to make; open its index.html. The same command goes on where it was stopped."""
    sweep: PathName | None = None
    """Folder of `linkjax sweep`; none: the one in the run's folder."""
    selection: PathName | None = None
    """Folder of `linkjax select`; none: the one in the run's folder. Without it no effect is tested."""
    counterfactual: PathName | None = None
    """Folder of `linkjax counterfactual`; none: the one in the run's folder."""
    beside: PathName | None = None
    """Folder of a sweep of the same units along the other directions (kernel, steer), shown beside on a unit's card;
    none: the one in the run's folder, if there is one."""
    compared: PathName | None = None
    """Folder of `linkjax compare` that the pairs take part in; none: the one in the run's folder, if there is one."""
    photographs: PathName | None = None
    """Folder of `linkjax encode` beside the pairs, whose photographs a unit's card shows, those in which it is highest;
    none: the one in the run's folder, if there is one."""
    named: PathName | None = None
    """Folder of `linkjax name` on the sweep; none: the one in the run's folder, if there is one."""
    pairs: PathName | None = None
    """Folder of `linkjax pairs`; none: the one the sweep was made with."""
    generator: PathName | None = None
    """Folder of the generator that draws; none: the one the sweep was made with."""
    link: PathName | None = None
    """Folder of the link; none: the one the sweep was made with."""
    classifier: PathName | None = None
    """Folder of the classifier that a sweep of readouts was made with; none: the one it names."""
    encoding: PathName | None = None
    """Folder of `linkjax encode`, of a sweep of photographs; none: the one the sweep was made with."""
    pictures: bool = True
    """Draw every unit's pictures; without, the atlas has the numbers alone."""
    pictures_from: PathName | None = None
    """An earlier atlas: pictures it has of the same units, values and weights are taken from it, not drawn."""
    samples: int = 3
    """Anchors shown of every unit, spread over those of the sweep."""
    steps: int = 5
    """Steps shown of every unit, at most."""
    examples: int = 4
    """Samples of the pairs shown of every unit, those in which it is highest, drawn again, and as many photographs; 0:
    none."""
    tile: int = 96
    """Side of a picture in pixels, at most that of the generator's."""
    quality: int = 75
    """Of the pictures' compression, 1 … 100."""
    title: str = "linkjax atlas"
    """Heading of the page."""
    batch_size: int | Literal["auto"] = "auto"
    """Images drawn at once, over all devices."""

    def __post_init__(self) -> None:
        positive(samples=self.samples, steps=self.steps, tile=self.tile)
        if self.examples < 0:
            raise InputError(f"examples: expected 0 or more, found {self.examples}")
        positive(batch_size=1 if self.batch_size == "auto" else self.batch_size)
        if not 1 <= self.quality <= 100:
            raise InputError(f"quality: expected 1 … 100, found {self.quality}")


@numerics.float32_default()
def run(config: Config) -> None:
    """Write the folder: pictures that are missing, data, the page."""
    results = Results(_paths(config))
    other = beside(config, results)
    against = compared.find(Path(config.run), results, config.compared)
    words = named.find(Path(config.run), results, config.named)
    encoded = photographs.find(Path(config.run), results, config.photographs)
    with claims.Claim(Path(config.out)) as claim:
        _check_own(claim.partial)
        data = claim.partial / DATA
        found = results.sources.get("counterfactual")
        # what recurs in searches are units, which are no readouts
        flipped = flips.Flips(found, results.context) if found is not None and results.names is None else None
        shown = _draw(config, results, other, flipped, encoded, claim.partial) if config.pictures else Shown()
        summary = build.write(data, config.title, results, shown, flipped, other, against, words)
        copy_page(claim.partial)
        made_from = _ids(results, other, {"compared": against, "named": words, "photographs": encoded})
        content = {"config": config, "weights": results.sweep.weights, "inputs": made_from, "summary": summary}
        identity = manifests.fingerprint({**made_from, "title": config.title, "pictures": config.pictures})
        manifests.write(claim.partial, manifests.build("atlas", computed=False, **content, id=identity))
        (claim.partial / claims.RUN).unlink()
        claim.publish()
    print(Path(config.out) / "index.html")


def _paths(config: Config) -> dict[str, Path]:
    """Role → folder of its result; the pairs, where none lie in the run's folder, are the sweep's."""
    paths = find(Path(config.run), {role: getattr(config, role) for role in ROLES})
    if "pairs" not in paths:
        made_with = manifests.read(paths["sweep"], ("sweep",))["config"].get("pairs")
        if made_with and Path(made_with).is_dir():
            paths["pairs"] = Path(made_with)
    return paths


def beside(config: Config, results: Results) -> Results | None:
    """A sweep along the other directions, if there is one."""
    found = find_beside(Path(config.run), results, config.beside)
    pairs = results.sources.get("pairs")
    return Results({**found, **({"pairs": pairs.path} if pairs is not None else {})}) if found else None


def _ids(results: Results, other: Results | None, more: Mapping[str, Source | None]) -> dict[str, str]:
    """What an atlas is made from: role → id."""
    ids = {role: source.id for role, source in results.sources.items()}
    ids |= {role: each.id for role, each in more.items() if each is not None}
    others = {} if other is None else {f"beside_{role}": source.id for role, source in other.sources.items()}
    return ids | {role: each for role, each in others.items() if role != "beside_pairs"}


def refresh(config: Config) -> bool:
    """The atlas of a run's folder, made if none is there, and made anew if it is of other results.

    Pictures that an earlier one has are not drawn again. Returns: whether there was anything to do.
    """
    out = Path(config.out)
    earlier = out.with_name(f"{out.name}.earlier")
    if out.exists():
        results = Results(_paths(config))
        folder = Path(config.run)
        more = {
            "compared": compared.find(folder, results, config.compared),
            "named": named.find(folder, results, config.named),
            "photographs": photographs.find(folder, results, config.photographs),
        }
        now = _ids(results, beside(config, results), more)
        if manifests.read(out, ("atlas",))["inputs"] == now:
            return False
        if earlier.exists():
            manifests.read(earlier, ("atlas",))
            shutil.rmtree(earlier)
        out.rename(earlier)
    run(dataclasses.replace(config, pictures_from=str(earlier)) if earlier.exists() else config)
    shutil.rmtree(earlier, ignore_errors=True)
    return True


def copy_page(folder: Path) -> None:
    """The page itself: HTML, style and scripts, the same for every atlas."""
    page = importlib.resources.files("linkjax.atlas") / "page"
    for file in sorted(page.iterdir(), key=lambda each: each.name):
        if file.name.endswith((".html", ".css", ".js")):
            (folder / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")


def _check_own(partial: Path) -> None:
    """An unfinished folder is gone on with if it is an atlas's; its pictures are each known by what they show."""
    path = partial / claims.RUN
    if path.exists():
        try:
            kind = json.loads(path.read_text(encoding="utf-8")).get("kind")
        except (ValueError, AttributeError):
            kind = None
        if kind != "atlas":
            raise InputError(f"{partial}: another unfinished run lies here; remove the folder, or give another --out")
    manifests.write_whole(path, json.dumps({"kind": "atlas"}))


def _draw(
    config: Config, results: Results, other: Results | None, flipped: flips.Flips | None, encoded: Source | None,
    folder: Path,
) -> Shown:  # fmt: skip
    """Draw what is missing, and say what there is; no model is loaded where nothing is."""
    settings, data = results.sweep.settings, folder / DATA
    earlier = None if config.pictures_from is None else Path(config.pictures_from)
    if earlier is not None:
        manifests.read(earlier, ("atlas",))
        earlier = earlier / DATA
    both = [(results, ""), *([(other, "beside/")] if other is not None else [])]
    plans = [(each, plan(config, each, name)) for each, name in both]
    strips = [(each, planned, pictures.missing(data, planned, earlier)) for each, planned in plans]
    tile, quality = plans[0][1].tile, config.quality
    films = flips.missing(data, flipped, tile, quality, earlier) if flipped else []
    found, small = examples.highest(results, config.examples), min(tile, examples.TILE)
    keys = [] if found is None else examples.keys(results, found, small, quality)
    places = np.zeros(0, int) if found is None else examples.missing(data, results, found, keys, earlier)
    if films or len(places) or any(len(rows) for _, _, rows in strips):
        generator = inputs.model(_folder(config, settings, "generator"), "generator", settings["precision"])
        link_path = _folder(config, settings, "link")
        link = inputs.model(link_path, "link")
        for role, model in (("generator", generator), ("link", link)):
            artifacts.check_weights(results.sweep.manifest, role, model.sha256, f"the sweep in {results.sweep.path}")
        most = chunks.batch_on_cpu(generator.model.spec.resolution)
        size = most if config.batch_size == "auto" else config.batch_size
        if flipped and films:
            flips.draw(data, flipped, films, generator.model, link.model, tile, quality)
        if found is not None and len(places):
            with progress("examples of units", len(places)) as advance:
                how = {"tile": small, "quality": quality, "batch_size": size, "advance": advance}
                examples.draw(data, results, found, keys, places, generator.model, **how)
        for each, planned, rows in strips:
            if len(rows):
                along, anchors = _raised(config, each, generator, link, link_path)
                with progress("pictures", len(rows) * len(planned.samples) * len(planned.steps)) as advance:
                    pictures.draw(
                        data, planned, rows, generator.model, along, anchors,
                        mode=each.sweep.settings["mode"], batch_size=size, advance=advance,
                    )  # fmt: skip
    taken = photographs.highest(encoded, results, config.examples) if encoded is not None else None
    if taken is not None:
        keys = photographs.keys(taken, small, quality)
        places = photographs.missing(data, results, taken, keys, earlier)
        with progress("photographs of units", len(places)) as advance:
            photographs.draw(data, results, taken, keys, places, tile=small, quality=quality, advance=advance)
    shutil.rmtree(folder / "small", ignore_errors=True)
    shown = pictures.write_small(folder, data, plans[0][1])
    return Shown(shown, plans[1][1].summary() if other is not None else None, found, taken, small)


def plan(config: Config, results: Results, folder: str = "") -> pictures.Plan:
    """What is to be drawn of these results, and in which folder of the page's data."""
    settings = results.sweep.settings
    samples = pictures.chosen_samples(results.labels.tolist(), config.samples)
    steps = pictures.plan_steps(results.asked.shape[2], config.steps)
    made_with = {
        "weights": {role: results.sweep.weights.get(role) for role in ("generator", "link")},
        "inputs": {role: results.sweep.inputs.get(role) for role in ("pairs", "encoding")},
        **{name: settings.get(name) for name in ("mode", "directions", "precision")},
        "anchors": [results.sample_ids[samples], results.labels[samples]],
        **({"layers": settings["layers"]} if settings.get("layers") else {}),
        **({"readouts": results.sweep.inputs.get("readouts")} if results.names is not None else {}),
    }
    return pictures.Plan(
        results.units, results.flag == 0, results.asked, samples, steps, _tile(config, settings), config.quality,
        made_with, folder,
    )  # fmt: skip


def _tile(config: Config, settings: Any) -> int:
    """Side of a stored picture: what was asked for, or the generator's where that is smaller."""
    generator = Path(config.generator or settings["generator"])
    if not (generator / manifests.FILE).is_file():
        return config.tile
    return min(config.tile, int(manifests.read(generator, ("generator",))["spec"]["resolution"]))


def _raised(
    config: Config, results: Results, generator: inputs.Model, link: inputs.Model, link_path: str
) -> tuple[Any, dict[str, np.ndarray]]:
    """What units, or readouts, are raised along, and the anchors they are raised in, as the sweep had them.

    Raises: InputError if the readouts are others than the sweep's.
    """
    if results.directions == "local":
        raise InputError(
            f"{results.sweep.path}: expected a sweep along one step of a unit for all samples, found one along local "
            "directions; give a sweep along steer, own or kernel, or --no-pictures"
        )
    anchors, settings = _anchors(config, results), results.sweep.settings
    if settings.get("layers"):
        anchors["layers"] = layers.mask(settings["layers"], generator.model.spec)
    if results.names is None:
        return inputs.raising(link, link_path, results.directions), anchors
    classifier = inputs.model(_folder(config, settings, "classifier"), "classifier")
    pairs = inputs.pairs(_folder(config, settings, "pairs"))
    named = inputs.readouts(tuple(settings["readouts"]), classifier, link, pairs)
    if named.sha256 != results.sweep.inputs.get("readouts"):
        words = ", ".join(settings["readouts"])
        raise InputError(f"{words}: other readouts than those of the sweep in {results.sweep.path}; sweep these anew")
    steps = results.sweep.array("steer", "unit_out", "w")
    return sweeping.Steps(jnp.asarray(steps)), anchors | {"r": named.values(anchors["r"])}


def _anchors(config: Config, results: Results) -> dict[str, np.ndarray]:
    """The sweep's anchors, found again in its pairs or photographs: `w` and `r`.

    Raises: InputError if they are not the same.
    """
    settings = results.sweep.settings
    pairs = inputs.pairs(_folder(config, settings, "pairs"))
    encoding = None
    if settings.get("encoding") or config.encoding:
        encoding = artifacts.Artifact(Path(_folder(config, settings, "encoding")), "encoding")
    labels = tuple(dict.fromkeys(results.labels.tolist()))
    found = inputs.anchors(pairs, encoding, settings["samples"], labels, settings.get("split", "test"))
    if not (np.array_equal(found["label"], results.labels) and np.array_equal(found["sample_id"], results.sample_ids)):
        raise InputError(f"{pairs.path}: these are not the pairs that the sweep in {results.sweep.path} started from")
    return found


def _folder(config: Config, settings: Any, role: str) -> str:
    """A folder from the settings, or from those of the sweep."""
    path = getattr(config, role) or settings.get(role)
    if not path or not Path(path).exists():
        raise InputError(
            f"{role}: the sweep was made with {path}, which is not there now; give --{role}, or --no-pictures"
        )
    return path
