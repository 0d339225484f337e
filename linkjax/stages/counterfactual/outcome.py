"""Pictures and main numbers of finished searches."""

from collections import Counter
from typing import Any

import numpy as np

from linkjax.analysis.counterfactuals import counterfactual as analysis
from linkjax.devices import drawing, parallel
from linkjax.stages import inputs
from linkjax.stages.counterfactual.settings import Config
from linkjax.storage import artifacts


def store_pictures(
    config: Config, writer: artifacts.Writer, items: dict[str, np.ndarray], models: Any, mesh: Any
) -> None:
    """The same samples and targets for every method, so that their ends can be compared."""
    count = len(items["origin"])
    rows = np.unique(np.linspace(0, count - 1, min(config.pictures, count)).round().astype(int))
    if not len(rows):
        return
    group = writer.group
    generator, _, link, *_ = models
    size = parallel.round_up(config.batch_size, mesh)
    linked = drawing.linked(link, items["r"][rows], size, mesh)
    every = np.concatenate([rows + place * count for place in range(len(config.methods))])
    repeated = np.tile(np.arange(len(rows)), len(config.methods))
    # the sample itself, its linked w, the counterfactual
    for name, w, again in (
        ("original", items["w"][rows], repeated),
        ("start", linked, repeated),
        ("end", group["w"][...][every], slice(None)),
    ):
        drawn = drawing.pictures(generator, w, size, mesh)[again]
        writer.put(f"image_{name}", ("picture", "y", "x", "rgb"), drawn)
    writer.put("picture_row", ("picture",), every.astype(np.int32))


def summary_of(
    config: Config,
    writer: artifacts.Writer,
    items: dict[str, np.ndarray],
    pairs: artifacts.Artifact,
    shrinkage: float | None,
) -> dict[str, Any]:
    """The main numbers, of all and by method, which are printed too; stores which search is whose."""
    each, methods = len(items["origin"]), len(config.methods)
    for name in ("sample_id", "origin", "target"):
        writer.put("label" if name == "origin" else name, ("sample",), np.tile(items[name], methods))
    writer.put("method", ("method",), list(config.methods))
    writer.put("method_of", ("sample",), np.repeat(np.arange(methods, dtype=np.int32), each))
    group = writer.group
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
