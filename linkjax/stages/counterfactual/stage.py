"""counterfactual: shift r until the drawn image flips its class, by the paper's recipe or as little as possible."""

import dataclasses
import functools
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from linkjax import numerics
from linkjax.analysis import finite
from linkjax.analysis.counterfactuals import counterfactual as analysis
from linkjax.analysis.counterfactuals import minimal
from linkjax.analysis.links import covariance
from linkjax.config import PathName, positive
from linkjax.devices import drawing, parallel
from linkjax.devices.progress import progress
from linkjax.errors import InputError
from linkjax.ops.chunked import share_of
from linkjax.stages import Facts, Workload, inputs
from linkjax.stages.counterfactual import walks
from linkjax.storage import artifacts

_COVARIANCE_ROWS = 8192  # training samples the covariance is read from, evenly spread
_COVARIANCE_UNITS = 8192  # units beyond which a covariance would not fit: 0.5 GB in float64
#: What `--methods` names, as the recipe of `analysis.counterfactuals.minimal`; the original's is not of that kind.
MINIMAL: dict[str, tuple[minimal.Penalty, minimal.Through]] = {
    "closed_form": ("l2", "plane"),
    "closed_form_whitened": ("whitened", "plane"),
    "head_l1": ("l1", "head"),
    "head_l2": ("l2", "head"),
    "head_whitened": ("whitened", "head"),
    "image_l1": ("l1", "image"),
    "image_l2": ("l2", "image"),
    "image_whitened": ("whitened", "image"),
}
Method = Literal[
    "original", "closed_form", "closed_form_whitened", "head_l1", "head_l2", "head_whitened",
    "image_l1", "image_l2", "image_whitened",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    """Search the shift s of r for which the image of link(relu(r − s)) is classified as a target (paper's recipe)."""

    stage: ClassVar[str] = "counterfactual"  # the table of its settings in a TOML

    out: PathName
    """Folder to make."""
    generator: PathName
    """Folder of `linkjax convert generator`."""
    classifier: PathName
    """Folder of `linkjax convert classifier`; it must have a class head."""
    pairs: PathName
    """Folder of `linkjax pairs`."""
    link: PathName
    """Folder of `linkjax link`."""
    encoding: PathName | None = None
    """Folder of `linkjax encode`: start from its photographs, of each class seen in them, instead of the test split."""
    samples: int = 4
    """Samples per origin class, from the test split."""
    origins: inputs.Classes = "link"
    """Classes to start from: some of the pairs', those the link was fitted on, or all that the pairs hold."""
    targets: inputs.Classes = "link"
    """Classes to reach, each from every sample of another class, as the classifier numbers them: any that its head
    knows, or what it calls those of the link or of the pairs."""
    methods: tuple[Method, ...] = ("original",)
    """One or more: the paper's recipe; the least change that flips the drawn image, small in absolute values (l1), in
    length (l2) or in standard deviations of the training activations (whitened), through the head or through the
    image, which draws and differentiates many more; or the closed form for the plane between two classes."""
    step_size: float = 0.5
    """Of plain gradient descent on the shift (paper: 0.5)."""
    origin_weight: float = 0.6
    """Of the origin's logit in the loss (paper: 0.6)."""
    similarity_weight: float = 10.0
    """Of the cosine in W in the loss (paper: 10)."""
    max_steps: int = 2000
    """Gradient steps at most (paper: 2000)."""
    check_every: int = 1
    """Steps between classifications of the image (paper: 1)."""
    start: Literal["uniform", "zero"] = "uniform"
    """First shift: uniform in [0, 1) per unit (paper), or none, which finds nearer counterfactuals."""
    seed: int = 0
    """Random seed of the uniform start."""
    rounds: int = 12
    """Least changes: margins tried, each with one image classified; the last ones bisect."""
    iterations: int = 40
    """Least changes through the head: proximal steps a round."""
    image_iterations: int = 6
    """Least changes through the image: proximal steps a round, each about the work of three images."""
    shrinkage: float | None = None
    """Of the training activations' covariance towards a sphere, above 0 and at most 1; none: Ledoit and Wolf's."""
    nonfinite: finite.Policy = "exclude"
    """Searches with numbers that are not finite: left out, counted and named, or the end of the run."""
    segmenter: PathName | None = None
    """Folder of `linkjax segment` or `convert segmenter`: which parts changed; none: the whole image alone."""
    path_points: int = 9
    """Points from a sample (t = 0) to its counterfactual (t = 1), drawn and classified again; 0: no paths."""
    path_beyond: int = 4
    """Points beyond the counterfactual, as far from each other: the far side of the boundary."""
    top_units: int = 10
    """Units that change most, named for each search; those that recur in a pair of classes are its transition units."""
    fdr: float = 0.05
    """Rate of false discoveries among the transition units of a pair, at most."""
    pictures: int = 12
    """Start and end images stored."""
    precision: numerics.Precision = "float32"
    """What images are drawn in; float32 is the reference. All that is used together must be of one precision."""
    batch_size: int = 16
    """Searches side by side, over all devices; results do not depend on it."""

    def __post_init__(self) -> None:
        positive(samples=self.samples, batch_size=self.batch_size, step_size=self.step_size, max_steps=self.max_steps,
                 check_every=self.check_every, rounds=self.rounds, iterations=self.iterations,
                 image_iterations=self.image_iterations, top_units=self.top_units)  # fmt: skip
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise InputError(f"methods: expected one or more, each once, found {list(self.methods)}")
        if self.shrinkage is not None and not 0 < self.shrinkage <= 1:
            raise InputError(f"shrinkage: expected a number above 0 and at most 1, found {self.shrinkage}")
        if self.segmenter is not None and not self.path_points:
            raise InputError("segmenter: parts are measured at the ends of paths, found none; raise --path-points")
        if not 0 < self.fdr < 1:
            raise InputError(f"fdr: expected a number between 0 and 1, found {self.fdr}")
        if min(self.pictures, self.path_points, self.path_beyond) < 0 or self.path_points == 1:
            raise InputError(
                "pictures, path-points, path-beyond: expected 0 or more, and no path of 1 point, found "
                f"{self.pictures}, {self.path_points} and {self.path_beyond}"
            )


def workload(config: Config, facts: Facts) -> Workload:
    """Images and bytes: one image a search of the paper's recipe at least; at most, if no search ends early."""
    origins = inputs.count_classes(config.origins, facts.classes)
    targets = len(config.targets) if isinstance(config.targets, tuple) else facts.classes
    each = config.samples * origins * max(targets - 1, 1)
    least = most = 0
    for method in config.methods:
        if method == "original":
            least, most = least + 1, most + config.max_steps // config.check_every + 1
        else:  # a gradient through the image is about the work of three images
            derived = 3 * (config.image_iterations + 1) if method.startswith("image") else 0
            images = 1 + config.rounds * (1 + derived)
            least, most = least + images, most + images
    points = config.path_points and config.path_points + config.path_beyond
    least, most = (images + points * len(config.methods) for images in (least, most))
    drawn = (2 + len(config.methods)) * config.pictures
    row = 4 * (2 * facts.classifier.num_units + facts.generator.w_dim + 14 * points)
    on_host = 3 * 8 * facts.classifier.num_units**2 if facts.classifier.num_units <= _COVARIANCE_UNITS else 0
    searches = each * len(config.methods)
    programs = len(config.methods) + (config.pictures > 0) + (points > 0)
    return Workload(each * least + drawn, each * most + drawn, searches * row, on_host, programs)


def search(
    models: tuple[Any, ...], items: dict[str, jax.Array], recipe: analysis.Recipe, start: str, seed: int
) -> dict[str, jax.Array]:
    """One search by the paper's recipe an item; each stops by itself."""
    generator, classifier, link, _, inverse_root = models
    r = items["r"]
    shift = jnp.zeros_like(r)
    if start == "uniform":
        names = (items["sample_id"], items["origin"], items["target"])  # a search is the same in any batch
        shift = analysis.uniform_start(jax.random.key(seed), names, r.shape[1])
    found = analysis.search(
        classifier, link, r, items["origin"], items["target"], shift, (generator, classifier), recipe=recipe
    )
    return _outputs(classifier, r, found, inverse_root)


def search_minimal(
    models: tuple[Any, ...], items: dict[str, jax.Array], recipe: minimal.Minimal
) -> dict[str, jax.Array]:
    """One search for the least change an item."""
    generator, classifier, link, root, inverse_root = models
    own = minimal.Models(generator, classifier, link, root if recipe.penalty == "whitened" else None)
    found, first = minimal.search(own, items["r"], items["origin"], items["target"], recipe)
    return {**_outputs(classifier, items["r"], found, inverse_root), "flipped_first": first}


def _outputs(classifier: Any, r: jax.Array, found: analysis.Counterfactuals, inverse_root: Any) -> dict[str, jax.Array]:
    outputs = found._asdict()
    outputs |= minimal.lengths(found.r - r, inverse_root)
    outputs["head_prediction"] = jnp.argmax(classifier.head(found.r), axis=1)
    outputs["prediction"] = jnp.argmax(found.logits, axis=1)
    return {**outputs, "probability_target": outputs.pop("probability"), "units_changed": outputs.pop("changed")}


@numerics.float32_default()
def run(config: Config) -> None:
    """Write the counterfactuals: shift, outcome, distances and path by search, boundaries by pair, and pictures."""
    generator = inputs.model(config.generator, "generator", config.precision)
    classifier = inputs.model(config.classifier, "classifier")
    link = inputs.model(config.link, "link")
    if not classifier.model.spec.num_classes:
        raise InputError(f"the classifier in {config.classifier} has no class head, so no class to flip")
    pairs = inputs.pairs(config.pairs, generator, classifier)
    inputs.check_link(link, config.link, pairs)
    weights = {"generator": generator.sha256, "classifier": classifier.sha256, "link": link.sha256}
    segmenter = None if config.segmenter is None else inputs.segmenter(config.segmenter, generator)
    if segmenter is not None:
        weights["segmenter"] = segmenter.sha256
    encoding = inputs.encoding(config.encoding, weights, pairs) if config.encoding else None
    items = _searches(config, link, pairs, encoding, classifier.model.spec.num_classes)
    made_from = {"pairs": pairs.id, **({} if encoding is None else {"encoding": encoding.id})}
    shrunk = _covariance(config, pairs)
    with artifacts.Writer(
        Path(config.out), "counterfactual", config, weights, made_from, free=("batch_size", "nonfinite")
    ) as writer:
        on = parallel.mesh()
        roots = _roots(shrunk)
        models = parallel.replicate((generator.model, classifier.model, link.model, *roots), on)
        tally = finite.Tally(config.nonfinite, "searches", ("class", "sample", "to class"))
        search_all(config, writer, items, models, on, tally)
        _store_pictures(config, writer, items, models, on)
        summary = _summary(config, writer, items, pairs, None if shrunk is None else shrunk.shrinkage)
        if config.path_points:
            parts = None if segmenter is None else segmenter.model
            summary["paths"] = walks.walk_all(config, writer, items, pairs, (*models[:3], parts), on)
        writer.finish({**summary, **tally.summary()})
    tally.tell()


def roots_of(r: np.ndarray, config: Config) -> tuple[Any, Any]:
    """Square root of the training activations' covariance and its inverse; None of both where there are too many units.

    Args:
      r: training activations [samples, units].
    """
    return _roots(covariance.ledoit_wolf(r, config.shrinkage) if r.shape[1] <= _COVARIANCE_UNITS else None)


def _roots(shrunk: covariance.Shrunk | None) -> tuple[Any, Any]:
    if shrunk is None:
        return None, None
    return jnp.asarray(shrunk.root, jnp.float32), jnp.asarray(shrunk.inverse_root, jnp.float32)


def _covariance(config: Config, pairs: artifacts.Artifact) -> covariance.Shrunk | None:
    """The training activations' covariance, which measures every change; None if there are too many units for it."""
    if pairs.summary["units"] > _COVARIANCE_UNITS:
        if wanted := [method for method in config.methods if method.endswith("whitened")]:
            raise InputError(
                f"methods: {', '.join(wanted)} needs a covariance of at most {_COVARIANCE_UNITS} units, found "
                f"{pairs.summary['units']}; take another, or a classifier with the features 'penultimate'"
            )
        return None
    return covariance.ledoit_wolf(inputs.spread_rows(pairs, "r", "train", _COVARIANCE_ROWS), config.shrinkage)


def _searches(
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
    on: Any,
    tally: finite.Tally,
) -> None:
    """All searches of the first method, then of the next: a row a search."""
    size, share = parallel.round_up(config.batch_size, on), share_of(models[0].spec.resolution)
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
    group: Any = writer.group
    with progress("searches", count) as advance:
        for place, method in enumerate(config.methods):
            function = _function(config, method)
            for start in range(0, each, chunk):
                stop = min(start + chunk, each)
                note = writer.done(f"{method} {start}")
                if note is None:
                    parts = ({name: array[i : min(i + size, stop)] for name, array in items.items()}
                             for i in range(start, stop, size))  # fmt: skip
                    outputs = [out for _, out in parallel.map_batches(function, models, parts, size, on, share)]
                    for name in ("shift", "w", "outcome", "flipped_first", *floats, *whole):
                        if name in outputs[0]:
                            found = np.concatenate([out[name] for out in outputs])
                            group[name][place * each + start : place * each + stop] = found
                    ended = np.concatenate([out["outcome"] for out in outputs])
                    names = (items[name][start:stop] for name in ("origin", "sample_id", "target"))
                    note = finite.note(ended != int(analysis.Outcome.NONFINITE), *names)
                    writer.mark(f"{method} {start}", note)
                tally.add(note)
                advance(stop - start)


def _store_pictures(
    config: Config, writer: artifacts.Writer, items: dict[str, np.ndarray], models: Any, on: Any
) -> None:
    """The same samples and targets for every method, so that their ends can be compared."""
    count = len(items["origin"])
    rows = np.unique(np.linspace(0, count - 1, min(config.pictures, count)).round().astype(int))
    if not len(rows):
        return
    group: Any = writer.group
    generator, _, link, *_ = models
    size = parallel.round_up(config.batch_size, on)
    linked = drawing.linked(link, items["r"][rows], size, on)
    every = np.concatenate([rows + place * count for place in range(len(config.methods))])
    repeated = np.tile(np.arange(len(rows)), len(config.methods))
    # the sample itself, its linked w, the counterfactual
    for name, w, again in (
        ("original", items["w"][rows], repeated),
        ("start", linked, repeated),
        ("end", group["w"][...][every], slice(None)),
    ):
        drawn = drawing.pictures(generator, w, size, on)[again]
        writer.put(f"image_{name}", ("picture", "y", "x", "rgb"), drawn)
    writer.put("picture_row", ("picture",), every.astype(np.int32))


def _summary(
    config: Config,
    writer: artifacts.Writer,
    items: dict[str, np.ndarray],
    pairs: artifacts.Artifact,
    shrinkage: float | None,
) -> dict[str, Any]:
    each, methods = len(items["origin"]), len(config.methods)
    for name in ("sample_id", "origin", "target"):
        writer.put("label" if name == "origin" else name, ("sample",), np.tile(items[name], methods))
    writer.put("method", ("method",), list(config.methods))
    writer.put("method_of", ("sample",), np.repeat(np.arange(methods, dtype=np.int32), each))
    group: Any = writer.group
    found = {name: group[name][...] for name in (
        "outcome", "steps", "images", "distance_r", "distance_w", "distance_l1", "distance_whitened", "units_changed",
        "units_most", "probability_target", "flipped_first",
    )}  # fmt: skip
    rows = []
    for place, method in enumerate(config.methods):
        mine = slice(place * each, (place + 1) * each)
        rows.append({"method": method, **_numbers({name: array[mine] for name, array in found.items()})})
        numbers = (f"{name.replace('_', ' ')}: {count}" for name, count in rows[-1]["outcomes"].items())
        print(f"{method}: {', '.join(numbers)}" if methods > 1 else ", ".join(numbers))
    return {
        "samples": len(found["outcome"]),
        "outcomes": dict(Counter(_names(found["outcome"]))),
        **{name: rows[0][name] for name in ("median_steps", "median_distance_r", "median_distance_w")},
        "methods": rows,
        "shrinkage": shrinkage,
        **inputs.class_names(pairs, None),
        "start": config.start,
    }


def _names(outcome: np.ndarray) -> list[str]:
    return [analysis.Outcome(int(code)).name.lower() for code in outcome]


def _numbers(found: dict[str, np.ndarray]) -> dict[str, Any]:
    """Of one method: how searches ended, and medians of what it took where the class flipped."""
    reached = found["outcome"] == int(analysis.Outcome.REACHED)
    tried = found["outcome"] != int(analysis.Outcome.ALREADY)
    medians = {
        f"median_{name}": float(np.median(values[reached])) if reached.any() else None
        for name, values in found.items()
        if name not in ("outcome", "flipped_first")
    }
    return {
        "outcomes": dict(Counter(_names(found["outcome"]))),
        "tried": int(tried.sum()),
        "flipped": float(reached.sum() / tried.sum()) if tried.any() else None,
        "flipped_first": float(found["flipped_first"][tried].mean()) if tried.any() else None,
        **medians,
    }
