"""The searches of `counterfactual`, method by method: a row for each sample and target."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linkjax.analysis import finite
from linkjax.analysis.counterfactuals import counterfactual as analysis
from linkjax.analysis.counterfactuals import minimal
from linkjax.analysis.links import covariance
from linkjax.devices import parallel
from linkjax.devices.progress import progress
from linkjax.errors import InputError
from linkjax.ops.chunked import share_of
from linkjax.stages import inputs
from linkjax.stages.counterfactual.settings import COVARIANCE_UNITS, MINIMAL, Config, Method
from linkjax.storage import artifacts

_COVARIANCE_ROWS = 8192  # training samples the covariance is read from, evenly spread


def search(
    models: tuple[Any, ...], items: dict[str, jax.Array], recipe: analysis.Recipe, start: str, seed: int
) -> dict[str, jax.Array]:
    """One search by the paper's recipe an item; each stops by itself."""
    generator, classifier, link, _, inverse_root, floor = models
    r = items["r"]
    shift = jnp.zeros_like(r)
    if start == "uniform":
        names = (items["sample_id"], items["origin"], items["target"])  # a search is the same in any batch
        shift = analysis.uniform_start(jax.random.key(seed), names, r.shape[1])
    found = analysis.search(
        classifier,
        link,
        r,
        items["origin"],
        items["target"],
        shift,
        (generator, classifier),
        recipe=recipe,
        floor=floor,
    )
    return _outputs(classifier, link, r, found, inverse_root)


def search_minimal(
    models: tuple[Any, ...], items: dict[str, jax.Array], recipe: minimal.Minimal
) -> dict[str, jax.Array]:
    """One search for the least change an item."""
    generator, classifier, link, root, inverse_root, floor = models
    own = minimal.SearchModels(generator, classifier, link, root if recipe.penalty == "whitened" else None, floor)
    found, first = minimal.search(own, items["r"], items["origin"], items["target"], recipe)
    return {**_outputs(classifier, link, items["r"], found, inverse_root), "flipped_first": first}


def _outputs(
    classifier: Any, link: Any, r: jax.Array, found: analysis.Counterfactuals, inverse_root: Any
) -> dict[str, jax.Array]:
    outputs = {**found._asdict(), "start_w": link(r)}
    outputs |= minimal.lengths(found.r - r, inverse_root)
    outputs["head_prediction"] = jnp.argmax(classifier.head(found.r), axis=1)
    outputs["prediction"] = jnp.argmax(found.logits, axis=1)
    return {**outputs, "probability_target": outputs.pop("probability"), "units_changed": outputs.pop("changed")}


def roots_of(r: np.ndarray, config: Config) -> tuple[Any, Any]:
    """Square root of the training activations' covariance and its inverse; None of both where there are too many units.

    Args:
      r: training activations [samples, units].
    """
    return roots_from(covariance.ledoit_wolf(r, config.shrinkage) if r.shape[1] <= COVARIANCE_UNITS else None)


def floor_of(pairs: artifacts.Artifact) -> np.ndarray:
    """What no unit is set below, as the training activations say [units]."""
    return analysis.floor_of(inputs.spread_rows(pairs, "r", "train", _COVARIANCE_ROWS))


def roots_from(shrunk: covariance.Shrunk | None) -> tuple[Any, Any]:
    """Square root of a covariance and its inverse, in float32; None of both of None."""
    if shrunk is None:
        return None, None
    return jnp.asarray(shrunk.root, jnp.float32), jnp.asarray(shrunk.inverse_root, jnp.float32)


def covariance_of(config: Config, pairs: artifacts.Artifact) -> covariance.Shrunk | None:
    """The training activations' covariance, which measures every change; None if there are too many units for it."""
    if pairs.summary["units"] > COVARIANCE_UNITS:
        if wanted := [method for method in config.methods if method.endswith("whitened")]:
            raise InputError(
                f"methods: {', '.join(wanted)} needs a covariance of at most {COVARIANCE_UNITS} units, found "
                f"{pairs.summary['units']}; take another, or a classifier with the features 'penultimate'"
            )
        return None
    return covariance.ledoit_wolf(inputs.spread_rows(pairs, "r", "train", _COVARIANCE_ROWS), config.shrinkage)


def searches_of(
    config: Config, link: inputs.Model, pairs: artifacts.Artifact, encoding: artifacts.Artifact | None, num_classes: int
) -> dict[str, np.ndarray]:
    """One row a search: sample × target, origins first."""
    known = tuple(pairs.summary["classes"])
    if known == (-1,):
        raise InputError("these pairs have no classes (unconditional generator); counterfactuals start from a class")
    fitted = inputs.fitted_classes(link, config.link, pairs) or known
    named: dict[Any, Any] = {"all": known, "link": fitted}
    origins = named.get(config.origins, config.origins)
    called = inputs.as_seen(pairs, named.get(config.targets, ()))
    targets = (
        config.targets if isinstance(config.targets, tuple) else tuple(dict.fromkeys(called[called >= 0].tolist()))
    )
    if not origins or not targets:
        raise InputError("origins, targets: expected one class or more of each, found none")
    if unknown := [label for label in origins if label not in known]:
        raise InputError(f"origins: expected classes of the pairs, {list(known)[:10]}, found {unknown}")
    if unknown := [label for label in targets if not 0 <= label < num_classes]:
        raise InputError(f"targets: expected classes from 0 to {num_classes - 1}, found {unknown}")
    anchors = inputs.anchors(pairs, encoding, config.samples, tuple(origins))
    if encoding is None:  # a sample of a class that the classifier does not have begins as what it is seen as
        called = inputs.as_seen(pairs, anchors["label"])
        anchors["label"] = np.where(called >= 0, called, anchors["prediction"])
    rows = [(row, target) for row, label in enumerate(anchors["label"]) for target in targets if target != label]
    if not rows:
        raise InputError("targets: expected a class that differs from an origin, found none; name some with --targets")
    sample, target = (np.array(column) for column in zip(*rows, strict=True))
    items = {name: array[sample] for name, array in anchors.items() if name != "prediction"}
    return {**items, "origin": items.pop("label").astype(np.int32), "target": target.astype(np.int32)}


def _function(config: Config, method: Method) -> functools.partial[dict[str, jax.Array]]:
    if method == "original":
        recipe = analysis.Recipe(
            step_size=config.step_size,
            origin_weight=config.origin_weight,
            similarity_weight=config.similarity_weight,
            max_steps=config.max_steps,
            check_every=config.check_every,
        )
        return functools.partial(search, recipe=recipe, start=config.start, seed=config.seed)
    penalty, through = MINIMAL[method]
    iterations = config.image_iterations if through == "image" else config.iterations
    recipe = minimal.Minimal(penalty, through, config.rounds, iterations)
    return functools.partial(search_minimal, recipe=recipe)


def search_all(
    config: Config,
    writer: artifacts.Writer,
    items: dict[str, np.ndarray],
    models: Any,
    floor: np.ndarray,
    mesh: Any,
    tally: finite.Tally,
) -> None:
    """All searches of the first method, then of the next: a row a search.

    Args:
      models: generator, classifier, link, and the roots of `roots_of`, replicated on the mesh.
      floor: of the training activations, see `analysis.floor_of`.
    """
    models = (*models, parallel.replicate(jnp.asarray(floor)[None], mesh))
    writer.put("floor", ("unit",), floor, long_name="below which no search sets a unit")
    size, share = parallel.round_up(config.batch_size, mesh), share_of(models[0].spec.resolution)
    chunk = writer.done("searches per chunk") or size
    writer.mark("searches per chunk", chunk)
    each, units = items["r"].shape
    count = each * len(config.methods)
    for name, width in (("shift", units), ("w", items["w"].shape[1])):
        writer.array(name, ("sample", name), (count, width), np.float32, (chunk, width))
    floats = ("probability_target", "loss", "cosine", "distance_r", "distance_w", "distance_l1", "distance_whitened")
    for name in floats:  # the last stays NaN where there are too many units for a covariance
        writer.array(name, ("sample",), (count,), np.float32)
    whole = ("steps", "images", "units_changed", "units_most", "prediction", "head_prediction")
    for name in whole:
        writer.array(name, ("sample",), (count,), np.int32)
    writer.array("flipped_first", ("sample",), (count,), np.int8)
    meanings = {str(int(code)): code.name.lower() for code in analysis.Outcome}
    writer.array("outcome", ("sample",), (count,), np.int8, meanings=meanings)
    # Searches of all methods start from the same rows: row i of a method from `start[i]`.
    writer.array("start", ("item", "unit"), (each, units), np.float32, (chunk, units))[...] = items["r"]
    shape, kept = (each, items["w"].shape[1]), (chunk, items["w"].shape[1])
    writer.array("start_w", ("item", "w"), shape, np.float32, kept, long_name="link of the start")
    group = writer.group
    with progress("searches", count) as advance:
        for place, method in enumerate(config.methods):
            function = _function(config, method)
            for start in range(0, each, chunk):
                stop = min(start + chunk, each)
                note = writer.done(f"{method} {start}")
                if note is None:
                    parts = ({name: array[i : min(i + size, stop)] for name, array in items.items()}
                             for i in range(start, stop, size))  # fmt: skip
                    outputs = [out for _, out in parallel.map_batches(function, models, parts, size, mesh, share)]
                    for name in ("shift", "w", "outcome", "flipped_first", *floats, *whole):
                        if name in outputs[0]:
                            found = np.concatenate([out[name] for out in outputs])
                            group[name][place * each + start : place * each + stop] = found
                    if place == 0:
                        group["start_w"][start:stop] = np.concatenate([out["start_w"] for out in outputs])
                    ended = np.concatenate([out["outcome"] for out in outputs])
                    names = (items[name][start:stop] for name in ("origin", "sample_id", "target"))
                    note = finite.note(ended != int(analysis.Outcome.NONFINITE), *names)
                    writer.mark(f"{method} {start}", note)
                tally.add(note)
                advance(stop - start)
