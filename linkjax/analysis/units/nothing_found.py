"""Why a query of a table of units found none: effects of the right sign, the test each fails, the nearest miss."""

import ast
import math
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import ndtri

from linkjax.analysis.units import query as queries
from linkjax.analysis.units import selection

_MOST_ANCHORS = 10_000  # beyond this, more anchors are no advice


class Miss(NamedTuple):
    """The effect asked about that comes nearest to being significant."""

    unit: int | str  # a readout by its name
    part: str
    metric: str
    effect: float  # per σ of the unit
    q: float
    test: str  # the p-value that is largest: "sign", "r" or "w"
    p: float
    anchors: int  # it was seen in
    enough: int | None  # anchors that would be enough if the effect and its spread stay; None: more do not help


class NothingFound(NamedTuple):
    """Counts over units, and the nearest miss."""

    units: int  # that were tested
    fitting: int  # for which the query would hold if every effect were significant
    failing: dict[str, int]  # test → fitting units whose own p-value in it is above the level, of every effect asked
    nearest: Miss | None

    def describe(self) -> str:
        """The explanation in words."""
        if not self.units:
            return "no unit could be tested"
        if not self.fitting:
            return f"none of {self.units} units would fit if every effect were significant"
        text = f"{self.fitting} of {self.units} units would fit if their effects were significant"
        if self.failing:
            text += "; of these fail " + ", ".join(f"{count} {_TESTS[name]}" for name, count in self.failing.items())
        if self.nearest is None:
            return text
        miss = self.nearest
        which = f"unit {miss.unit}" if isinstance(miss.unit, int) else miss.unit
        text += (
            f"; the nearest is {which} ({miss.part} {miss.metric} {miss.effect:+.3g} per σ, q {miss.q:.2g}, "
            f"by {_TESTS[miss.test]} p {miss.p:.2g} from {miss.anchors} anchors)"
        )
        if miss.enough is None:
            return text + "; more anchors would not make it significant"
        return text + f"; some {miss.enough} anchors would be enough if it stays as large"


_TESTS = {"sign": "the sign-flip test", "r": "mixtures of units", "w": "random directions in W"}


def explain(table: xr.Dataset, query: str | None, fdr: float, against: tuple[str, ...], flips: int) -> NothingFound:
    """Say why `selection.select` returned nothing.

    Args:
      table: of `selection.measure_effects`, or of a stored selection.
      query: what was asked; None: any significant effect.
      fdr: the level that q-values were held against.
      against: the tests that took part.
      flips: random flips of the sign-flip test.
    """
    parts, metrics = (selection.names_of(table, name) for name in ("part", "metric"))
    effect, q = table["effect"].values, table["q"].values
    tested = np.isfinite(q)
    every_one = False  # must all effects asked about be significant, or is one enough?
    if query is None:
        fits, places = np.any(tested, axis=(1, 2)), [(p, m) for p in range(len(parts)) for m in range(len(metrics))]
    else:
        asked = queries.parse(query, parts, metrics, selection.known_columns(table))
        places = list(asked.effects)
        every_one = not any(isinstance(node, ast.Or) for node in ast.walk(asked.tree))
        columns = selection.columns_of(table, asked, np.nan_to_num(np.abs(effect), nan=-1.0))
        fits = queries.answer(asked, effect, np.isfinite(effect), parts, metrics, columns)
    every = int(tested.any(axis=(1, 2)).sum())
    if not fits.any() or not places:
        return NothingFound(every, int(fits.sum()), {}, None)
    rows, columns_ = zip(*places, strict=True)
    inside = (fits[:, None], rows, columns_)
    p = {name: table[f"p_{name}"].values[:, rows, columns_] for name in against if f"p_{name}" in table}
    failing = {name: int((fits & ~np.any(values <= fdr, axis=1)).sum()) for name, values in p.items()}
    near = np.where(inside[0] & np.isfinite(q[:, rows, columns_]), q[:, rows, columns_], np.inf)
    worst = near.max(axis=1) if every_one else near.min(axis=1)
    if not np.isfinite(worst).any():
        return NothingFound(every, int(fits.sum()), failing, None)
    unit = int(worst.argmin())
    place = int(near[unit].argmax() if every_one else near[unit].argmin())
    nearest = _miss(table, unit, places[place], p, place, fdr, flips, (parts, metrics))
    return NothingFound(every, int(fits.sum()), failing, nearest)


def _miss(
    table: xr.Dataset, unit: int, at: tuple[int, int], p: dict[str, np.ndarray], place: int, fdr: float, flips: int,
    names: tuple[list[str], list[str]],
) -> Miss:  # fmt: skip
    values = {name: float(each[unit, place]) for name, each in p.items()}
    test = max(values, key=lambda name: values[name])
    q = table["q"].values
    anchors = int(table["anchors"].values[unit, at[0], at[1]]) if "anchors" in table else 0
    others = int(np.isfinite(q[:, at[0], at[1]]).sum())
    enough = None
    if test == "sign" and anchors > 1:
        enough = _anchors_enough(values["sign"], anchors, fdr / others, flips)
    number = int(table["unit"].values[unit]) if "unit" in table else unit
    if selection.NAME in table:
        number = str(table[selection.NAME].values[unit])
    effect = float(table["effect"].values[unit, at[0], at[1]])
    where = (number, names[0][at[0]], names[1][at[1]])
    return Miss(*where, effect, float(q[unit, at[0], at[1]]), test, values[test], anchors, enough)


def _anchors_enough(p: float, anchors: int, wanted: float, flips: int) -> int | None:
    """Anchors at which the sign-flip test would reach p ≤ wanted, if mean and spread of the slopes stay.

    The largest of: those with sign flips enough (2^(1−n) ≤ wanted), and n · (z(wanted) / z(p))². The smallest
    p that `flips` flips can give must be small enough too.
    """
    if 1.0 / (flips + 1.0) > wanted:
        return None
    patterns = 1 + math.ceil(math.log2(1.0 / wanted))
    needed, seen = (-float(ndtri(each / 2.0)) for each in (wanted, min(p, 0.999)))
    found = max(patterns, math.ceil(anchors * (needed / max(seen, 1e-6)) ** 2), anchors + 1)
    return found if found <= _MOST_ANCHORS else None
