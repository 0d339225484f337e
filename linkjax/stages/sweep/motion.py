"""How far a unit moves the parts of a picture, between the first and the last value it is set to."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from linkjax import numerics
from linkjax.analysis.metrics import motion
from linkjax.analysis.units import sweep
from linkjax.devices import parallel
from linkjax.ops.chunked import share_of
from linkjax.stages.sweep import programs
from linkjax.storage import artifacts

FIELD = 16  # arrows along each side of the stored field, at most
_TEXT = "displacement from the first to the last step, its affine part removed"


def moved(
    models: tuple[Any, Any, Any, Any, Any, dict[str, Any]], items: dict[str, jax.Array], mode: sweep.Mode
) -> jax.Array:
    """(anchor, unit, first value, last value) → the mean displacement of every part."""
    generator, _, link, segmenter, _, anchors = models
    w, r = (anchors[name][items["anchor"]] for name in ("w", "r"))
    where = {"layers": anchors.get("layers"), "along": items.get("along")}
    ends = [sweep.swept_w(link, w, r, items["unit"], items[name], mode, **where) for name in ("low", "high")]
    drawn = programs.draw_labelled((generator, segmenter), {"w": jnp.concatenate(ends)})
    first, last = ({name: jnp.split(each, 2)[end] for name, each in drawn.items()} for end in (0, 1))
    num_parts = 0 if segmenter is None else segmenter.spec.num_parts
    found, fine = _between(first, last, num_parts)
    return _where(fine, found.parts)


def of_drawn(models: tuple[()], items: dict[str, jax.Array], num_parts: int) -> dict[str, jax.Array]:
    """Both ends as `programs.draw_labelled` made them → the mean displacement of every part, and the arrows.

    Args:
      items: "first …" and "last …" of what it gives.
    """
    del models
    ends = ("first ", "last ")
    first, last = ({n.removeprefix(end): each for n, each in items.items() if n.startswith(end)} for end in ends)
    found, fine = _between(first, last, num_parts)
    values = {"parts": found.parts, "seen": found.seen, "affine": found.affine, "field": motion.arrows(found, FIELD)}
    return {name: _where(fine, value) for name, value in values.items()}


def _between(
    first: dict[str, jax.Array], last: dict[str, jax.Array], num_parts: int
) -> tuple[motion.Motion, jax.Array]:
    """The motion, and whether both images are finite, which their bytes do not show."""
    images = (numerics.unit_interval(each["image"]) for each in (first, last))
    labels = first["labels"].astype(jnp.int32) if num_parts else None
    return motion.measure_motion(*images, labels, num_parts), first["finite"] & last["finite"]


def _where(fine: jax.Array, values: jax.Array) -> jax.Array:
    return jnp.where(fine.reshape(-1, *[1] * (values.ndim - 1)), values, jnp.nan)


def over(
    models: Any, rows: np.ndarray, units: np.ndarray, values: np.ndarray, count: int, *, mode: sweep.Mode,
    batch_size: int, mesh: Mesh, along: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """`moved` for every pair of row and anchor: [rows, count, parts, 2].

    Args:
      models: as `programs.draw_items` takes them, replicated on the mesh.
      rows: of the units swept.
      units, values: swept, and what each is set to [anchors, units, steps].
      count: of anchors.
      batch_size: pairs at once, a multiple of the device count; each is two images.
      along: steps by anchor and row of the units swept, in place of the link's; None: the link's.
    """
    row, sample = (index.ravel() for index in np.meshgrid(rows, np.arange(count), indexing="ij"))
    ends = {"low": values[sample, row, 0], "high": values[sample, row, -1]}
    items = {"unit": units[row], "anchor": sample.astype(np.int32), **ends}
    items |= {} if along is None else {"along": along[sample, row]}
    function, share = functools.partial(moved, mode=mode), share_of(models[0].spec.resolution)
    found = parallel.map_items(function, models, items, batch_size, mesh, share=share)
    return found.reshape(len(rows), count, *found.shape[1:])


def store_pictures(
    writer: artifacts.Writer, drawn: dict[str, np.ndarray], num_parts: int, batch_size: int, mesh: Mesh
) -> None:
    """How far the parts of stored pictures move from the first to the last step, with arrows.

    Args:
      drawn: what `pictures.store` drew, [units, samples, steps, ...] each.
      num_parts: of the segmenter; 0 without one.
      batch_size: pairs at once, a multiple of the device count.
    """
    shape = drawn["finite"].shape[:2]
    ends = {
        f"{end} {name}": array[:, :, step].reshape(-1, *array.shape[3:])
        for end, step in (("first", 0), ("last", -1))
        for name, array in drawn.items()
    }
    function, share = functools.partial(of_drawn, num_parts=num_parts), share_of(drawn["image"].shape[-2])
    each = parallel.map_items(function, (), ends, batch_size, mesh, share=share)
    found = {name: array.reshape(*shape, *array.shape[1:]) for name, array in each.items()}
    for name, stored, of, text in (
        ("parts", "picture_motion", ("part", "axis"), f"mean {_TEXT}, pixels"),
        ("seen", "picture_motion_seen", ("part",), "share of the part's pixels found again in both directions"),
        ("affine", "picture_motion_affine", ("axis", "coefficient"), "per pixel of y and of x, and at the middle"),
        ("field", "picture_motion_field", ("axis", "field_y", "field_x"), f"{_TEXT}, pixels"),
    ):
        writer.put(stored, ("picture_unit", "picture_sample", *of), found[name], long_name=text)


def store_means(writer: artifacts.Writer) -> None:
    """Of a measured `motion`: its mean over samples by unit and part, and the standard error."""
    each = writer.group["motion"]
    mean, error = motion.over_samples(np.asarray(each[...], np.float64))
    dims = ("unit", "part", "axis")
    writer.put("motion_mean", dims, mean.astype(np.float32), long_name=f"mean {_TEXT}, over samples, pixels")
    writer.put("motion_se", dims, error.astype(np.float32), long_name="its standard error")
