"""The arrays of a sweep's result that are filled chunk by chunk."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from linkjax.analysis.metrics.image_metrics import ImageMetric
from linkjax.storage import artifacts


class Sizes(NamedTuple):
    """How much of everything a sweep has."""

    samples: int  # anchors
    units: int  # swept, dead ones included
    steps: int
    parts: int  # the whole image included
    metrics: int
    responding: int  # units of the classifier
    classes: int  # of the classifier's head; 0 without one
    ranks: int  # side effects kept
    directions: int  # random ones
    chunk: int  # units swept together
    together: int  # random directions swept together
    motion: bool  # measured for all of them
    features: int  # of an embedder; 0 without one


def make(writer: artifacts.Writer, sizes: Sizes) -> None:
    """Make them all, or open those that an earlier, killed run left."""
    units, chunk, parts, metrics = sizes.units, sizes.chunk, sizes.parts, sizes.metrics
    shape, dims = (sizes.samples, units, sizes.steps), ("sample", "unit", "step")
    one = (sizes.samples, chunk, sizes.steps)
    each = writer.array
    each("measured", (*dims, "part", "metric"), (*shape, parts, metrics), np.float32, (*one, parts, metrics))
    each("obtained", dims, shape, np.float32, one, long_name="the unit's own activation after re-encoding")
    text = "change of a unit, in its σ, per σ of the swept unit"
    shape, one = (units, sizes.responding), (chunk, sizes.responding)
    each("response", ("unit", "unit_out"), shape, np.float32, one, long_name=text)
    if sizes.classes:
        text = "change of a logit per σ of the swept unit"
        shape, one = (units, sizes.classes), (chunk, sizes.classes)
        each("logit_response", ("unit", "class"), shape, np.float32, one, long_name=text)
    for name in ("fidelity", "fidelity_se"):
        each(name, ("unit",), (units,), np.float32)
    for name in ("effect", "effect_se"):
        text = "slope of the metric per σ of the unit"
        each(name, ("unit", "part", "metric"), (units, parts, metrics), np.float32, long_name=text)
    each("side_effect", ("unit", "rank"), (units, sizes.ranks), np.float32)
    each("side_effect_unit", ("unit", "rank"), (units, sizes.ranks), np.int32)
    if sizes.directions:
        text = "slope of the metric along a random direction, per unit of its length"
        shape, one = ((sizes.samples, n, parts, metrics) for n in (sizes.directions, sizes.together))
        each("random_slope", ("sample", "direction", "part", "metric"), shape, np.float32, one, long_name=text)
    if sizes.features:
        text = "change of the unit-length embedding from the lowest to the highest value asked"
        for name, dim, n, at_once in (
            ("embedding_change", "unit", units, chunk),
            ("random_embedding_change", "direction", sizes.directions, sizes.together),
        ):
            shape = (n, sizes.samples, sizes.features)
            each(name, (dim, "sample", "feature"), shape, np.float32, (at_once, *shape[1:]), long_name=text)
    if sizes.motion:
        shape, one = ((sizes.samples, n, parts, 2) for n in (units, chunk))
        text = "mean displacement of a part from the first to the last step, its affine part removed, pixels"
        each("motion", ("sample", "unit", "part", "axis"), shape, np.float32, one, long_name=text)


def put_names(
    writer: artifacts.Writer,
    units: np.ndarray,
    values: np.ndarray,
    anchors: Mapping[str, np.ndarray],
    parts: Sequence[str],
    metrics: Mapping[str, ImageMetric],
) -> None:
    """What the dimensions stand for: units and their values, samples, parts, metrics, axes."""
    put = writer.put
    put("unit", ("unit",), units)
    text = "value asked; the anchor's own in all steps where its class hardly varies in the unit"
    put("value", ("sample", "unit", "step"), values.astype(np.float32), long_name=text)
    for name in ("label", "sample_id"):
        put(name, ("sample",), anchors[name])
    put("part", ("part",), parts)
    put("axis", ("axis",), ("y", "x"))
    how = {
        "units": [metric.unit for metric in metrics.values()],
        "descriptions": [metric.description for metric in metrics.values()],
    }
    put("metric", ("metric",), list(metrics), **how)
