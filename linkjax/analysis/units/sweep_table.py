"""The table of effects of a sweep in memory, as queries take it."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from linkjax.analysis.metrics import measurements
from linkjax.analysis.units import asked, random_directions, selection, selectivity

#: What is known of units in a sweep, and goes into the table.
_OF_UNITS = ("fidelity", "step_w", "off_range", "caution", selection.NAME)


def of_sweep(swept: xr.Dataset, **settings: Any) -> xr.Dataset:
    """Effects with intervals, p- and q-values of every unit of a sweep, as `linkjax select` stores them.

    Args:
      swept: of `linkjax.sweep`, or a stored sweep opened with `linkjax.open`.
      settings: of `selection.measure_effects`: seed, draws, flips, level, against.
    Returns: the table, without units that were not swept; see `linkjax.analysis.units.selection`.
    """
    swept = swept.isel(unit=np.flatnonzero(swept["flag"].values == 0))
    units = swept["unit"].values
    metrics = [str(name) for name in swept["metric"].values]
    measured = measurements.unwrapped(swept["measured"].values, axis=2)
    std = swept["unit_std"].values[units]
    values = asked.by_sample(swept["value"].values, swept.sizes["sample"])
    slopes = selectivity.anchor_slopes(jnp.asarray(values), jnp.asarray(measured), jnp.asarray(std))
    obtained = jnp.asarray(swept["obtained"].values)
    own = selectivity.anchor_slopes(jnp.asarray(values), obtained, jnp.ones(len(units), jnp.float32))
    named = {"unit": units, "part": [str(name) for name in swept["part"].values], "metric": metrics}
    along = swept.attrs.get("summary", {}).get("directions", "kernel")
    chosen = {"against": selection.against(along), **settings}
    lengths = (std, swept["step_w"].values)
    if "step_mahalanobis" in swept:
        lengths = (swept["step_mahalanobis"].values, swept["step_mahalanobis"].values)
    random = {}
    if "random_slope" in swept:
        random = random_directions.nulls(swept["random_slope"].values, swept["random_space"].values, lengths)
    columns: dict[str, Any] = {name: swept[name].values for name in _OF_UNITS if name in swept}
    if "side_effect" in swept:
        columns |= {name: swept[name].values[:, 0] for name in ("side_effect", "side_effect_unit")}
    return selection.measure_effects(
        xr.DataArray(np.asarray(slopes), dims=("sample", *selection.DIMS), coords=named),
        swept["label"].values,
        random=random,
        first_stage=(own, selectivity.deviations(jnp.asarray(values))[1]),
        spread=measurements.spread(swept["baseline"].values, metrics),
        **chosen,
        **columns,
    )
