"""Sweep, screen, select, counterfactual and draw: each runs what its stage runs, in memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr

from linkjax import numerics
from linkjax.analysis import finite
from linkjax.analysis.counterfactuals.counterfactual import floor_of
from linkjax.analysis.units import selection
from linkjax.analysis.units.sweep_table import of_sweep
from linkjax.devices import parallel
from linkjax.errors import InputError
from linkjax.models.link import Directions, SweepDirections
from linkjax.stages import inputs
from linkjax.stages import readouts as reading
from linkjax.stages import screen as screening
from linkjax.stages.counterfactual import searches
from linkjax.stages.counterfactual.settings import Config as SearchConfig
from linkjax.stages.counterfactual.settings import Method
from linkjax.stages.sweep import programs, schedule
from linkjax.stages.sweep.settings import Config as SweepConfig
from linkjax.storage import coordinates, opening
from linkjax.storage.in_memory import InMemory
from linkjax.study.models import Study
from linkjax.study.starts import map_study, start_arrays

_HERE = "(in memory)"  # what a stage's settings name where they ask for a folder


@numerics.float32_default()
def sweep(
    study: Study,
    anchors: xr.Dataset,
    units: Sequence[int] | None = None,
    steps: int = 5,
    directions: SweepDirections = "steer",
    motion: Literal["none", "pictures", "all"] = "none",
    readouts: Sequence[str] | Mapping[str, Any] | None = None,
    **settings: Any,
) -> xr.Dataset:
    """Set units to values, draw, re-encode, and measure what changed: what `linkjax sweep` stores.

    Args:
      anchors: of `linkjax.anchors` or `linkjax.sample`.
      units: numbers; None: all.
      steps: values of each unit.
      directions: "steer"; "own", without what many units share; "local", of each anchor its own; the paper's "kernel".
      motion: of the parts, from the first step to the last: its program takes as long to compile as all others.
      readouts: raised in the place of units, `units` being their places: what `--readouts` takes ("logits", "0:1", a
        file, …), or a table of name → weights of r [units].
      settings: any other of `linkjax sweep` (`linkjax.stages.sweep.Config`): range, random_directions, ….
    Returns: `measured` [sample, unit, step, part, metric], `obtained`, `fidelity`, `effect` [unit, part, metric], ….
    Raises: InputError for units the classifier does not have, or a link without the directions asked for.
    """
    own, trained = start_arrays(anchors)
    given = {"steps": steps, "directions": directions, "motion": motion, "readouts": tuple(readouts or ()), **settings}
    segmenter = None if study.segmenter is None else _HERE
    config = SweepConfig(_HERE, _HERE, _HERE, _HERE, _HERE, segmenter=segmenter, samples=_each(own["label"]), **given)
    seen, raising = study.classifier, inputs.raised(study.link, directions)
    instead, width = None, study.classifier.spec.num_units
    steered = _steered(study, directions)
    if readouts:
        instead = _reading(study, anchors, readouts, steered, trained)
        own, trained, seen, raising = instead.of(own), instead.of(trained), instead.seen_by(seen), instead.steps
        width = len(instead.named.names)
    swept = inputs.units("all" if units is None else tuple(units), width)
    writer, models = InMemory("sweep", config, _names(anchors)), (study.generator, seen, raising, study.segmenter)
    schedule.Sweep(config, writer, (trained, trained), own, None, models, swept, steered, instead).run()
    return opening.dataset_of(writer.result())


@numerics.float32_default()
def screen(
    study: Study,
    anchors: xr.Dataset,
    directions: Directions = "steer",
    readouts: Sequence[str] | Mapping[str, Any] | None = None,
    **settings: Any,
) -> xr.Dataset:
    """First-order effects of all units on all parts, from derivatives of a few images: what `linkjax screen` stores.

    Args:
      anchors: of `linkjax.anchors` or `linkjax.sample`, as many of each class.
      directions: "steer"; "own", without what many units share; the paper's "kernel".
      readouts: raised in the place of units, as `sweep` takes them.
      settings: any other of `linkjax screen` (`linkjax.stages.screen.Config`): places, temperature, path_units, ….
    Returns: `effect`, `effect_se` [unit, part, metric], and by class.
    Raises: InputError for a study without segmenter, or a link without the directions asked for.
    """
    if study.segmenter is None:
        raise InputError("screen: expected a study with a segmenter, whose parts are measured, found none")
    own, trained = start_arrays(anchors)
    order = np.argsort(own["label"], kind="stable")
    own = {name: values[order] for name, values in own.items()}
    each = _each(own["label"])
    if (np.unique(own["label"], return_counts=True)[1] != each).any():
        raise InputError("screen: expected as many anchors of each class, found more of some than of others")
    config = screening.Config(_HERE, _HERE, _HERE, _HERE, _HERE, segmenter=_HERE, samples=each, directions=directions,
                              readouts=tuple(readouts or ()), **settings)  # fmt: skip
    writer = InMemory("screening", config, _names(anchors))
    link, instead = inputs.raised(study.link, directions), None
    if readouts:
        instead = _reading(study, anchors, readouts, _steered(study, directions), trained)
        own, trained, link = instead.of(own), instead.of(trained), instead.steps
    models = (study.generator, study.segmenter, link)
    screening.Screening(config, writer, trained["r"], own, *models, instead).run()
    return opening.dataset_of(writer.result())


def select(result: xr.Dataset | str | Path, query: str | None = None, fdr: float = 0.05, **settings: Any) -> xr.Dataset:
    """Units for which a query holds, strongest first, with the effects it asks about.

    Args:
      result: a sweep (of `linkjax.sweep`, or opened), a stored selection, a table of `selection.measure_effects`, or
        the folder of one of these.
      query: such as "ear.area > 0 and fidelity > 0.5"; None: every significant effect.
      fdr: expected share of false discoveries, in (0, 1).
      settings: where a sweep is given: of the tests, as `selection.measure_effects`.
    Returns: see `linkjax.analysis.units.selection.select`.
    Raises: InputError for words of the query that are not understood.
    """
    if isinstance(result, str | Path):
        result = opening.open(result)
    table = of_sweep(result, **settings) if "measured" in result else result
    return selection.select(table, query, fdr)


@numerics.float32_default()
def counterfactual(
    study: Study, anchors: xr.Dataset, target: int, method: Method = "original", **settings: Any
) -> xr.Dataset:
    """Shift r until the drawn image is classified as a target: what `linkjax counterfactual` stores of each search.

    Args:
      anchors: of `linkjax.anchors` or `linkjax.sample`; those of the target class are left out.
      target: number of the classifier's class.
      method: the paper's recipe, or one of the least changes.
      settings: any other of `linkjax counterfactual` (`linkjax.stages.counterfactual.Config`): max_steps, rounds, ….
    Returns: by `sample`: `shift` and `w` of the end, `outcome`, `distance_w`, `steps`, ….
    Raises: InputError for a classifier without a head, or a target it does not know.
    """
    classes = study.classifier.spec.num_classes
    if not 0 <= target < classes:
        raise InputError(f"target: expected a class from 0 to {classes - 1}, found {target}")
    own, trained = start_arrays(anchors)
    own["label"] = anchors["seen"].values if "seen" in anchors else own["label"]
    keep = own["label"] != target
    if not keep.any():
        raise InputError(f"anchors: expected some that are not of class {target} already, found none")
    items = {name: values[keep] for name, values in own.items()}
    items["origin"] = items.pop("label").astype(np.int32)
    items["target"] = np.full(len(items["origin"]), target, np.int32)
    config = SearchConfig(_HERE, _HERE, _HERE, _HERE, _HERE, methods=(method,), **settings)
    writer, mesh = InMemory("counterfactual", config, _names(anchors)), parallel.mesh()
    models = parallel.replicate(
        (study.generator, study.classifier, study.link, *searches.roots_of(trained["r"], config)), mesh
    )
    tally = finite.Tally(config.nonfinite, "searches", ("class", "sample", "to class"))
    floor = floor_of(trained["r"])
    searches.search_all(config, writer, items, models, floor, mesh, tally)
    writer.put("origin", ("sample",), items["origin"])
    writer.put("target", ("sample",), items["target"])
    writer.finish({"method": method, **tally.summary()})
    return opening.dataset_of(writer.result())


@numerics.float32_default()
def draw(study: Study, w: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """The images of latents, and their parts.

    Args:
      w: [N, w_dim], an array or a variable of a result.
    Returns: bytes [N, H, W, 3], and the number of each pixel's part [N, H, W], None without a segmenter.
    """
    latents = np.asarray(w, np.float32)
    width = study.generator.spec.w_dim
    if latents.ndim != 2 or latents.shape[1] != width:
        raise InputError(f"w: expected latents [N, {width}], found {latents.shape}")
    drawn = map_study(programs.draw_labelled, (study.generator, study.segmenter), {"w": latents})
    return drawn["image"], drawn.get("labels")


def _steered(study: Study, directions: SweepDirections) -> Any:
    """What the steering directions of the study's link came from."""
    return None if directions == "kernel" else inputs.steered_by(study.link)


def _reading(
    study: Study, anchors: xr.Dataset, words: Sequence[str] | Mapping[str, Any], steered: Any, trained: dict[str, Any]
) -> reading.Reading:
    """Readouts in the place of units."""
    known = coordinates.known_names(anchors.attrs, "seen")
    named = reading.resolve(words, study.classifier, study.link, known)
    return reading.reading(named, steered, trained["r"], trained["label"])


def _each(labels: np.ndarray) -> int:
    return int(np.unique(labels, return_counts=True)[1].max())


def _names(anchors: xr.Dataset) -> dict[str, Any]:
    return {name: list(anchors.attrs[name]) for name in ("classes", "class_names") if name in anchors.attrs}
