"""Which units' pictures are kept, and how they are drawn."""

import functools
from typing import Any, NamedTuple

import numpy as np
from jax.sharding import Mesh

from linkjax.analysis.units import sweep
from linkjax.devices import parallel
from linkjax.ops.chunked import share_of
from linkjax.stages.sweep import programs
from linkjax.storage import artifacts


class Shown(NamedTuple):
    """Units and samples whose pictures are kept."""

    rows: np.ndarray  # of the units swept
    samples: np.ndarray  # of the anchors


def choose(change: np.ndarray, dead: np.ndarray, samples: int, most_units: int, most_samples: int) -> Shown:
    """The live units that change the picture most over their range, and samples spread over all.

    Args:
      change: mean change of the picture between untouched and swept, by unit.
      dead: which units were not swept.
      samples: how many there are.
      most_units, most_samples: how many to keep of each, if there are so many.
    """
    score = np.where(dead, -np.inf, np.nan_to_num(change, nan=-np.inf))
    rows = np.argsort(-score, kind="stable")[: min(most_units, int((~dead).sum()))]
    return Shown(rows, np.linspace(0, samples - 1, min(most_samples, samples)).round().astype(int))


def store(
    writer: artifacts.Writer, models: tuple[Any, ...], shown: Shown, units: np.ndarray, values: np.ndarray, *,
    mode: sweep.Mode, batch_size: int, mesh: Mesh, along: np.ndarray | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Draw the pictures again and store them.

    Args:
      models: as `programs.draw_items` takes them, replicated on the mesh.
      units, values: swept, and what each is set to [anchors, units, steps].
      batch_size: images drawn at once, a multiple of the device count.
      along: steps by anchor and row of the units swept, in place of the link's; None: the link's.
    Returns: what `programs.draw_labelled` gives, [units, samples, steps, ...]; nothing if there are no pictures.
    """
    steps = values.shape[2]
    grid = np.meshgrid(shown.rows, shown.samples, np.arange(steps), indexing="ij")
    row, anchor, step = (index.ravel().astype(np.int32) for index in grid)
    if not len(row):
        return {}
    items = {"unit": units[row], "anchor": anchor, "value": values[anchor, row, step]}
    items |= {} if along is None else {"along": along[anchor, row]}
    function = functools.partial(programs.swept, mode=mode)
    share = share_of(models[0].spec.resolution)
    w = parallel.map_items(function, models, items, batch_size, mesh, share=share)
    found = parallel.map_items(programs.draw_labelled, (models[0], models[3]), {"w": w}, batch_size, mesh, share=share)
    drawn = {name: each.reshape(*grid[0].shape, *each.shape[1:]) for name, each in found.items()}
    writer.put("picture", ("picture_unit", "picture_sample", "step", "y", "x", "rgb"), drawn["image"])
    writer.put("picture_unit", ("picture_unit",), units[shown.rows])
    writer.put("picture_sample", ("picture_sample",), shown.samples.astype(np.int32))
    return drawn
