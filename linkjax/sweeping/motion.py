"""How far a unit moves the parts of a picture, between the first and the last value it is set to."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from linkjax import artifacts, numerics, parallel
from linkjax.analysis import motion, sweep

FIELD = 16  # arrows along each side of the stored field, at most
_TEXT = "displacement from the first to the last step, its affine part removed"


def moved(
    models: tuple[Any, Any, Any, Any, Any, dict[str, Any]], items: dict[str, jax.Array], mode: sweep.Mode, field: bool
) -> dict[str, jax.Array]:
    """(anchor, unit, first value, last value) → the mean displacement of every part, and with `field` the arrows."""
    generator, _, link, segmenter, _, anchors = models
    w, r = (anchors[name][items["anchor"]] for name in ("w", "r"))
    ends = [sweep.swept_w(link, w, r, items["unit"], items[name], mode) for name in ("low", "high")]
    drawn, labels = sweep.draw_labelled(generator, segmenter, jnp.concatenate(ends))
    first, last = jnp.split(numerics.to_uint8(drawn).astype(jnp.float32) / 255.0, 2)
    num_parts = 0 if segmenter is None else segmenter.spec.num_parts
    found = motion.measure_motion(first, last, None if labels is None else labels[: len(first)], num_parts)
    values = {"parts": found.parts, "seen": found.seen, "affine": found.affine}
    if field:
        values["field"] = motion.arrows(found, FIELD)
    fine = jnp.isfinite(drawn).all((1, 2, 3)).reshape(2, -1).all(0)
    return {name: jnp.where(fine.reshape(-1, *[1] * (v.ndim - 1)), v, jnp.nan) for name, v in values.items()}


def over(
    models: Any, rows: np.ndarray, samples: np.ndarray, units: np.ndarray, values: np.ndarray, *,
    mode: sweep.Mode, batch_size: int, on: Mesh, field: bool = False,
) -> dict[str, np.ndarray]:  # fmt: skip
    """`moved` for every pair of row and sample: name → [rows, samples, ...].

    Args:
      models: as `programs.draw_items` takes them, replicated on the mesh.
      rows, samples: of the units swept and of the anchors.
      units, values: swept, and what each is set to [units, steps].
      batch_size: pairs at once, a multiple of the device count; each is two images.
    """
    row, sample = (index.ravel() for index in np.meshgrid(rows, samples, indexing="ij"))
    ends = {"low": values[row, 0], "high": values[row, -1]}
    items = {"unit": units[row], "anchor": sample.astype(np.int32), **ends}
    function = functools.partial(moved, mode=mode, field=field)
    joined = parallel.map_items(function, models, items, batch_size, on)
    return {name: each.reshape(len(rows), len(samples), *each.shape[1:]) for name, each in joined.items()}


def store_pictures(writer: artifacts.Writer, found: dict[str, np.ndarray]) -> None:
    """What `over` found for the units and samples whose pictures are stored, with arrows."""
    for name, stored, of, text in (
        ("parts", "picture_motion", ("part", "axis"), f"mean {_TEXT}, pixels"),
        ("seen", "picture_motion_seen", ("part",), "share of the part's pixels found again in both directions"),
        ("affine", "picture_motion_affine", ("axis", "coefficient"), "per pixel of y and of x, and at the middle"),
        ("field", "picture_motion_field", ("axis", "field_y", "field_x"), f"{_TEXT}, pixels"),
    ):
        writer.put(stored, ("picture_unit", "picture_sample", *of), found[name], long_name=text)


def store_means(writer: artifacts.Writer) -> None:
    """Of a measured `motion`: its mean over samples by unit and part, and the standard error."""
    each: Any = writer.group["motion"]
    mean, error = motion.over_samples(np.asarray(each[...], np.float64))
    dims = ("unit", "part", "axis")
    writer.put("motion_mean", dims, mean.astype(np.float32), long_name=f"mean {_TEXT}, over samples, pixels")
    writer.put("motion_se", dims, error.astype(np.float32), long_name="its standard error")
