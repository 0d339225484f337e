"""Figures of results in memory, for notebooks: pictures, a unit raised, effects, and fidelity."""

import numpy as np
import xarray as xr

from linkjax.analysis.metrics import measurements
from linkjax.analysis.units import asked, candidates
from linkjax.errors import InputError
from linkjax.outside.masks.overlay import tint
from linkjax.report import figures
from linkjax.report.figures import Figure

_MOST_COLUMNS = 30  # of a heat map


def pictures(images: np.ndarray, labels: np.ndarray | None = None, columns: int = 10) -> Figure:
    """Pictures side by side; with labels, their parts in colours below them.

    Args:
      images, labels: of `linkjax.draw`.
      columns: pictures in a row.
    """
    across = max(1, min(columns, len(images)))
    enlarged = max(1, min(256, 1280 // across) // images.shape[1])  # a row of ten fills a page
    large = images.repeat(enlarged, 1).repeat(enlarged, 2)
    rows = []
    for start in range(0, len(large), columns):
        own = slice(start, start + columns)
        rows.append(np.concatenate(list(large[own]), axis=1))
        if labels is not None:
            coloured = [tint(*each, enlarged) for each in zip(images[own], labels[own].astype(int), strict=True)]
            rows.append(np.concatenate(coloured, axis=1))
    return figures.stack(rows)


def fidelity(swept: xr.Dataset) -> Figure:
    """Obtained per requested change of every unit, with two standard errors over anchors; 1 is as requested."""
    swept = swept.isel(unit=np.flatnonzero(swept["flag"].values == 0))
    value, error = swept["fidelity"].values, swept["fidelity_se"].values
    names = [str(name) for name in swept["unit_name"].values] if "unit_name" in swept.coords else None
    names = names or [f"unit {unit}" for unit in swept["unit"].values]
    return figures.bars(
        value, names, xlabel="change obtained per change asked", low=value - 2 * error, high=value + 2 * error,
        reference=1.0, reference_name="as asked",
    )  # fmt: skip


def agreement(screened: xr.Dataset, swept: xr.Dataset) -> Figure:
    """Effects by screening against those by a sweep of the same units, each in spreads of its metric among anchors."""
    parts, metrics = ([str(name) for name in swept[dim].values] for dim in ("part", "metric"))
    names = tuple([str(name) for name in screened[dim].values] for dim in ("part", "metric"))
    units = swept["unit"].values
    predicted = candidates.matched(screened["effect"].values[units], (names[0], names[1]), (parts, metrics))
    spread = measurements.spread(swept["baseline"].values, metrics)
    both = [each / spread for each in (predicted, swept["effect"].values)]
    known = np.isfinite(both).all(axis=0)
    x, y = (each[known] for each in both)
    return figures.scatter(x, y, xlabel="screened, spreads per σ", ylabel="swept, spreads per σ", equal=True)


def strip(swept: xr.Dataset, unit: int | str) -> Figure:
    """The pictures of one unit's sweep: a row an anchor, a column a value asked (the mean of the anchors').

    Args:
      swept: of `linkjax.sweep`, or a stored sweep opened with `linkjax.open`.
      unit: one whose pictures were kept (`picture_units` of a sweep says how many are); a readout's name.
    Raises: InputError if they were not.
    """
    title = f"unit {unit}"
    if "unit_name" in swept.coords:
        known = dict(zip(map(str, swept["unit_name"].values), swept["unit"].values.tolist(), strict=True))
        unit = known.get(str(unit), unit)
        title = next((name for name, place in known.items() if place == unit), str(unit))
    kept = swept["picture_unit"].values.tolist() if "picture_unit" in swept else []
    if unit not in kept:
        raise InputError(f"unit: expected one of the {len(kept)} whose pictures were kept, {kept[:20]}, found {unit}")
    of_unit = swept.isel(picture_unit=kept.index(unit))
    samples = of_unit["picture_sample"].values
    place = swept["unit"].values.tolist().index(unit)
    names = swept["class_of"] if "class_of" in swept.coords else swept["label"]
    return figures.sweep_strip(
        of_unit["picture"].values,
        asked.by_sample(swept["value"].values, swept.sizes["sample"])[samples, place].mean(axis=0),
        title=title,
        rows=[str(name) for name in names.values[samples]],
    )


def effects(selected: xr.Dataset) -> Figure:
    """What units change, red up and blue down: a heat map of a table that `linkjax.select` gave.

    Args:
      selected: rows of units, parts, metrics and `effect_sd`.
    Raises: InputError if nothing was found.
    """
    if not selected.sizes.get("row"):
        raise InputError("effects: expected units that were found, found none; ask another question")
    of = selected["unit_name" if "unit_name" in selected else "unit"].values.tolist()
    units = list(dict.fromkeys(of))
    names = [
        f"{part} {metric}" for part, metric in zip(selected["part"].values, selected["metric"].values, strict=True)
    ]
    columns = list(dict.fromkeys(names))[:_MOST_COLUMNS]
    values = np.full((len(units), len(columns)), np.nan)
    for unit, name, size in zip(of, names, selected["effect_sd"].values, strict=True):
        if name in columns:
            values[units.index(unit), columns.index(name)] = size
    return figures.heat_map(
        values, rows=[str(unit) for unit in units], columns=columns, xlabel="part and metric", ylabel="unit",
        colour_label="effect, sd of metric / sd of unit",
    )  # fmt: skip
