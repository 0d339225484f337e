"""counterfactual: shift r until the drawn image flips its class."""

import dataclasses
import functools
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from linkjax import artifacts, drawing, parallel
from linkjax.analysis import counterfactual as analysis
from linkjax.config import positive
from linkjax.errors import InputError
from linkjax.progress import progress
from linkjax.stages import Facts, Workload, inputs


@dataclasses.dataclass(frozen=True)
class Config:
    """Search the shift s of r for which the image of link(relu(r − s)) is classified as a target (paper's recipe)."""

    out: str
    """Folder to make."""
    generator: str
    """Folder of `linkjax convert generator`."""
    classifier: str
    """Folder of `linkjax convert classifier`; it must have a class head."""
    pairs: str
    """Folder of `linkjax pairs`."""
    link: str
    """Folder of `linkjax link`."""
    encoding: str | None = None
    """Folder of `linkjax encode`: start from its photographs, of each class seen in them, instead of the test split."""
    samples: int = 4
    """Samples per origin class, from the test split."""
    origins: tuple[int, ...] | Literal["all"] = "all"
    """Classes to start from, of those in the pairs."""
    targets: tuple[int, ...] | Literal["all"] = "all"
    """Classes to reach, each from every sample of another class."""
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
    pictures: int = 12
    """Start and end images stored."""
    batch_size: int = 16
    """Searches side by side, over all devices; results do not depend on it."""

    def __post_init__(self) -> None:
        positive(samples=self.samples, batch_size=self.batch_size, step_size=self.step_size, max_steps=self.max_steps,
                 check_every=self.check_every)  # fmt: skip
        if self.pictures < 0:
            raise InputError(f"pictures: expected 0 or more, found {self.pictures}")


def workload(config: Config, facts: Facts) -> Workload:
    """Images and bytes: one image a search at least; at most, if no search ends early."""
    origins, targets = (facts.classes if given == "all" else len(given) for given in (config.origins, config.targets))
    searches = config.samples * origins * max(targets - 1, 1)
    most = searches * (config.max_steps // config.check_every + 1)
    drawn = 3 * config.pictures
    row = 4 * (facts.classifier.num_units + facts.generator.w_dim)
    return Workload(searches + drawn, most + drawn, searches * row, 0, 1 + (config.pictures > 0))


def search(
    models: tuple[Any, Any, Any], items: dict[str, jax.Array], recipe: analysis.Recipe, start: str, seed: int
) -> dict[str, jax.Array]:
    """One search an item; each stops by itself."""
    generator, classifier, link = models
    r = items["r"]
    shift = jnp.zeros_like(r)
    if start == "uniform":
        names = (items["sample_id"], items["origin"], items["target"])  # a search is the same in any batch
        shift = analysis.uniform_start(jax.random.key(seed), names, r.shape[1])
    found = analysis.search(
        classifier, link, r, items["origin"], items["target"], shift, (generator, classifier), recipe=recipe
    )
    outputs = found._asdict()
    return {**outputs, "probability_target": outputs.pop("probability"), "units_changed": outputs.pop("changed")}


def run(config: Config) -> None:
    """Write the counterfactuals: shift, outcome, distances by search, and pictures."""
    generator = inputs.model(config.generator, "generator")
    classifier = inputs.model(config.classifier, "classifier")
    link = inputs.model(config.link, "link")
    if not classifier.model.spec.num_classes:
        raise InputError(f"the classifier in {config.classifier} has no class head, so no class to flip")
    pairs = inputs.pairs(config.pairs, generator, classifier)
    inputs.check_link(link, config.link, pairs)
    weights = {"generator": generator.sha256, "classifier": classifier.sha256, "link": link.sha256}
    encoding = inputs.encoding(config.encoding, weights, pairs) if config.encoding else None
    items = _searches(config, pairs, encoding, classifier.model.spec.num_classes)
    made_from = {"pairs": pairs.id, **({} if encoding is None else {"encoding": encoding.id})}
    with artifacts.Writer(
        Path(config.out), "counterfactual", config, weights, made_from, free=("batch_size",)
    ) as writer:
        on = parallel.mesh()
        models = parallel.replicate((generator.model, classifier.model, link.model), on)
        _search_all(config, writer, items, models, on)
        _store_pictures(config, writer, items, models, on)
        writer.finish(_summary(config, writer, items, pairs))


def _searches(
    config: Config, pairs: artifacts.Artifact, encoding: artifacts.Artifact | None, num_classes: int
) -> dict[str, np.ndarray]:
    """One row a search: sample × target, origins first."""
    known = tuple(pairs.summary["classes"])
    if known == (-1,):
        raise InputError("these pairs have no classes (unconditional generator); counterfactuals start from a class")
    origins, targets = (known if given == "all" else given for given in (config.origins, config.targets))
    if unknown := [label for label in origins if label not in known]:
        raise InputError(f"origins: expected classes of the pairs, {list(known)[:10]}, found {unknown}")
    if unknown := [label for label in targets if not 0 <= label < num_classes]:
        raise InputError(f"targets: expected classes from 0 to {num_classes - 1}, found {unknown}")
    if encoding is None:
        anchors = inputs.first_of_each_class(pairs, "test", config.samples, tuple(origins))
    else:
        anchors = inputs.first_photographs(encoding, config.samples, tuple(origins))
    rows = [(row, target) for row, label in enumerate(anchors["label"]) for target in targets if target != label]
    if not rows:
        raise InputError("targets: expected at least one class that differs from an origin, found none")
    sample, target = (np.array(column) for column in zip(*rows, strict=True))
    items = {name: array[sample] for name, array in anchors.items() if name != "prediction"}
    return {**items, "origin": items.pop("label").astype(np.int32), "target": target.astype(np.int32)}


def _search_all(config: Config, writer: artifacts.Writer, items: dict[str, np.ndarray], models: Any, on: Any) -> None:
    size = parallel.round_up(config.batch_size, on)
    chunk = writer.done("searches per chunk") or size
    writer.mark("searches per chunk", chunk)
    count, units = items["r"].shape
    floats = {"shift": units, "w": items["w"].shape[1]}
    for name, width in floats.items():
        writer.array(name, ("sample", name), (count, width), np.float32, (chunk, width))
    for name in ("probability_target", "loss", "cosine", "distance_r", "distance_w"):
        writer.array(name, ("sample",), (count,), np.float32)
    for name in ("steps", "units_changed", "prediction"):
        writer.array(name, ("sample",), (count,), np.int32)
    meanings = {int(code): code.name.lower() for code in analysis.Outcome}
    writer.array("outcome", ("sample",), (count,), np.int8, meanings={str(k): v for k, v in meanings.items()})
    recipe = analysis.Recipe(
        step_size=config.step_size,
        origin_weight=config.origin_weight,
        similarity_weight=config.similarity_weight,
        max_steps=config.max_steps,
        check_every=config.check_every,
    )
    function = functools.partial(search, recipe=recipe, start=config.start, seed=config.seed)
    with progress("searches", count) as advance:
        for start in range(0, count, chunk):
            rows = slice(start, min(start + chunk, count))
            if writer.done(f"{start}") is None:
                parts = ({name: array[i : min(i + size, rows.stop)] for name, array in items.items()}
                         for i in range(start, rows.stop, size))  # fmt: skip
                outputs = [out for _, out in parallel.map_batches(function, models, parts, size, on)]
                found = {name: np.concatenate([out[name] for out in outputs]) for name in outputs[0]}
                found["prediction"] = found["logits"].argmax(axis=1)
                for name, array in writer.group.arrays():
                    array[rows] = found[name]  # pyright: ignore[reportArgumentType]
                writer.mark(f"{start}")
            advance(rows.stop - rows.start)


def _store_pictures(
    config: Config, writer: artifacts.Writer, items: dict[str, np.ndarray], models: Any, on: Any
) -> None:
    count = len(items["origin"])
    rows = np.unique(np.linspace(0, count - 1, min(config.pictures, count)).round().astype(int))
    if not len(rows):
        return
    group: Any = writer.group
    generator, _, link = models
    size = parallel.round_up(config.batch_size, on)
    linked = drawing.linked(link, items["r"][rows], size, on)
    # the sample itself, its linked w, the counterfactual
    for name, w in (("original", items["w"][rows]), ("start", linked), ("end", group["w"][...][rows])):
        writer.put(f"image_{name}", ("picture", "y", "x", "rgb"), drawing.pictures(generator, w, size, on))
    writer.put("picture_row", ("picture",), rows.astype(np.int32))


def _summary(
    config: Config, writer: artifacts.Writer, items: dict[str, np.ndarray], pairs: artifacts.Artifact
) -> dict[str, Any]:
    for name in ("sample_id", "origin", "target"):
        writer.put("label" if name == "origin" else name, ("sample",), items[name])
    group: Any = writer.group
    outcome, steps = group["outcome"][...], group["steps"][...]
    counts = Counter(analysis.Outcome(int(code)).name.lower() for code in outcome)
    reached = outcome == int(analysis.Outcome.REACHED)
    summary = {
        "samples": len(outcome),
        "outcomes": dict(counts),
        "median_steps": float(np.median(steps[reached])) if reached.any() else None,
        "median_distance_r": float(np.median(group["distance_r"][...][reached])) if reached.any() else None,
        "median_distance_w": float(np.median(group["distance_w"][...][reached])) if reached.any() else None,
        "classes": pairs.summary["classes"],
        "class_names": pairs.summary["class_names"],
        "start": config.start,
    }
    print(", ".join(f"{name.replace('_', ' ')}: {count}" for name, count in counts.items()))
    return summary
