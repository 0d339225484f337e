"""Figures of results in memory, for notebooks: a unit raised, and what units change."""

import numpy as np
import xarray as xr

from linkjax.errors import InputError
from linkjax.report import figures
from linkjax.report.figures import Figure

_MOST_COLUMNS = 30  # of a heat map


def strip(swept: xr.Dataset, unit: int) -> Figure:
    """The pictures of one unit's sweep: a row an anchor, a column a value asked.

    Args:
      swept: of `linkjax.sweep`, or a stored sweep opened with `linkjax.open`.
      unit: one whose pictures were kept (`picture_units` of a sweep says how many are).
    Raises: InputError if they were not.
    """
    kept = swept["picture_unit"].values.tolist() if "picture_unit" in swept else []
    if unit not in kept:
        raise InputError(f"unit: expected one of the {len(kept)} whose pictures were kept, {kept[:20]}, found {unit}")
    of_unit = swept.isel(picture_unit=kept.index(unit))
    samples = of_unit["picture_sample"].values
    place = swept["unit"].values.tolist().index(unit)
    names = swept["class_of"] if "class_of" in swept.coords else swept["label"]
    return figures.sweep_strip(
        of_unit["picture"].values,
        swept["value"].values[place],
        title=f"unit {unit}",
        rows=[str(name) for name in names.values[samples]],
    )


def effects(found: xr.Dataset) -> Figure:
    """What units change, red up and blue down: a heat map of a table that `linkjax.select` gave.

    Args:
      found: rows of units, parts, metrics and `effect_sd`.
    Raises: InputError if nothing was found.
    """
    if not found.sizes.get("row"):
        raise InputError("effects: expected units that were found, found none; ask another question")
    units = list(dict.fromkeys(found["unit"].values.tolist()))
    names = [f"{part} {metric}" for part, metric in zip(found["part"].values, found["metric"].values, strict=True)]
    columns = list(dict.fromkeys(names))[:_MOST_COLUMNS]
    values = np.full((len(units), len(columns)), np.nan)
    for unit, name, size in zip(found["unit"].values.tolist(), names, found["effect_sd"].values, strict=True):
        if name in columns:
            values[units.index(unit), columns.index(name)] = size
    return figures.heat_map(
        values, rows=[str(unit) for unit in units], columns=columns, xlabel="part and metric", ylabel="unit",
        colour_label="effect, sd of metric / sd of unit",
    )  # fmt: skip
