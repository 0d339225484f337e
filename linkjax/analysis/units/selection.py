"""Effects of units with intervals, p-values and q-values in one table, and queries of it.

A selection is an `xarray.Dataset` by unit, part and metric, stored by `linkjax select` or made by `measure_effects`:
`effect` with its interval `low`, `high`; p-values `p_sign`, `p_r`, `p_w`; `q` by Benjamini and Hochberg over units;
`consistency` over classes; and what is known of each unit: `fidelity`, `side_effect`, `cluster`, `representative`, ….
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from linkjax.analysis.units import per_obtained, selectivity
from linkjax.analysis.units import query as queries
from linkjax.errors import InputError

DIMS = ("unit", "part", "metric")
#: What an effect can be held against: its own sign, and random directions as long in r or in W.
AGAINST = ("sign", "r", "w")
#: What a query may ask about a unit; `consistency` is that of the effects it names.
COLUMNS = (
    "unit",
    "fidelity",
    "first_stage",
    "consistency",
    "side_effect",
    "step_w",
    "off_range",
    "caution",
    "cluster",
    "representative",
    "own_share",
)
NAME = "unit_name"  # what a readout is called, where readouts were raised in the place of units
_MEASURED = ("effect", "low", "high", "p_sign", "consistency", "anchors")
_EFFECT_COLUMNS = (
    "effect",
    "low",
    "high",
    "p_sign",
    "p_r",
    "p_w",
    "q",
    "consistency",
    "predicted",
    *per_obtained.STORED,
)


def against(directions: str) -> tuple[str, ...]:
    """The default null distributions of effects, of units raised along "kernel", or along other directions.

    Along these not against mixtures of units: they move what units share, and what a unit shares with others is true of
    it too. `p_r` still tells whether it does more than they.
    """
    return AGAINST if directions == "kernel" else ("sign", "w")


class Decision(NamedTuple):
    """By unit, part and metric."""

    p: dict[str, np.ndarray]  # "sign", "r", "w": those there are
    q: np.ndarray


def decide(
    effect: np.ndarray, p_sign: np.ndarray, random: dict[str, tuple[np.ndarray, np.ndarray]], against: Sequence[str]
) -> Decision:
    """p-values against random directions, and q-values of the largest p of all that are asked for.

    An effect counts if it is neither a coin toss of signs nor what any direction of the same length does: the largest
    of the p-values is one for "at least one of these holds" (intersection–union), and is adjusted over units.

    Args:
      effect, p_sign: [units, parts, metrics].
      random: "r" or "w" → (length of each unit's step, effects of random directions per unit of length).
      against: which of AGAINST to ask for; those there is nothing for are left out.
    Reference: Berger, "Multiparameter hypothesis testing and acceptance sampling", 1982 (intersection–union tests).
    """
    p = {"sign": p_sign}
    for space, (norm, null) in random.items():
        arrays = (jnp.asarray(values, jnp.float32) for values in (effect, norm, null))
        p[space] = np.asarray(selectivity.student_p_values(*arrays))
    asked = [p[name] for name in against if name in p]
    largest = np.max(np.stack(asked), axis=0)  # NaN if one is
    return Decision(p, np.asarray(selectivity.benjamini_hochberg(jnp.asarray(largest, jnp.float32))))


def measure_effects(
    slopes: xr.DataArray,
    labels: Any,
    *,
    random: dict[str, tuple[Any, Any]] | None = None,
    first_stage: tuple[Any, Any] | None = None,
    against: Sequence[str] = AGAINST,
    spread: Any = None,
    seed: int = 0,
    draws: int = 1000,
    flips: int = 10000,
    level: float = 0.95,
    **columns: Any,
) -> xr.Dataset:
    """The table of effects from slopes by anchor, in memory; `linkjax select` makes the same of a stored sweep.

    Args:
      slopes: dims sample, unit, part, metric, per σ of the unit, with names of parts and metrics as coordinates.
      labels: class of each sample.
      random: see `decide`; none: effects are held against their signs alone.
      first_stage: fidelity of each unit by sample and the spread of the values asked, [sample, unit] each, as
        `per_obtained.measure` takes them; none: no effects per change obtained.
      spread: standard deviation of every metric among untouched samples, [part, metric], to rank by.
      seed, draws, flips, level: of the resampling, as `selectivity.effects`.
      columns: what else is known of each unit, [unit] each: fidelity, cluster, ….
    """
    if slopes.dims != ("sample", *DIMS):
        raise InputError(f"expected slopes by sample, unit, part and metric, found {', '.join(map(str, slopes.dims))}")
    resamples = selectivity.draw_resamples(jnp.asarray(labels), jax.random.key(seed), draws, flips)
    by_unit = jnp.moveaxis(jnp.asarray(slopes.values, jnp.float32), 1, 0)
    found = selectivity.unit_effects(by_unit, resamples, level)
    arrays = {name: np.asarray(getattr(found, name)) for name in _MEASURED}
    decision = decide(arrays["effect"], arrays["p_sign"], random or {}, against)
    arrays |= {"q": decision.q, **{f"p_{name}": values for name, values in decision.p.items()}}
    table = xr.Dataset(
        {name: (DIMS, values) for name, values in arrays.items()},
        coords={name: slopes.coords[name] for name in DIMS if name in slopes.coords},
    )
    if first_stage is not None:
        own, asked = (jnp.asarray(values, jnp.float32).T for values in first_stage)
        ratio = per_obtained.measure(by_unit, own, asked, resamples.counts, level)
        table = table.assign({name: (DIMS, np.asarray(getattr(ratio, name))) for name in per_obtained.STORED})
        table["first_stage"] = ("unit", np.asarray(ratio.first_stage))
    if spread is not None:
        table["spread"] = (DIMS[1:], np.asarray(spread))
    return table.assign({name: ("unit", np.asarray(values)) for name, values in columns.items()})


def select(table: xr.Dataset, query: str | None = None, fdr: float = 0.05) -> xr.Dataset:
    """Units for which a query holds, strongest first, with the effects it asks about.

    A comparison of an effect holds only where the effect is significant, q ≤ fdr: of the units found by one such
    comparison at most that share is expected to be false.

    Args:
      table: of `measure_effects`, or what `linkjax select` stored, as `xarray.open_zarr` gives it.
      query: see `linkjax.analysis.units.query`; None: every significant effect.
      fdr: expected share of false discoveries, in (0, 1).
    Returns: a row for each unit and effect: rank of the unit, its number (and of a readout its name), part, metric, the
      effect, its interval, in standard deviations of the metric (`effect_sd`), p- and q-values, and what is known of
      the unit. Ranked by |effect_sd| of the first effect asked about, or the largest one. `.to_dataframe()` makes a
      pandas table of it.
    Raises: InputError for words of the query that are not understood.
    """
    if not 0 < fdr < 1:
        raise InputError(f"fdr: expected a share above 0 and below 1, found {fdr}")
    parts, metrics = (names_of(table, name) for name in ("part", "metric"))
    effect, q = (table[name].values for name in ("effect", "q"))
    significant = np.nan_to_num(q, nan=np.inf) <= fdr
    spread = table["spread"].values if "spread" in table else np.ones(effect.shape[1:])
    scaled = effect / np.where(spread > 0, spread, np.nan)[None]  # older selections have 0 where nothing differs
    size = np.nan_to_num(np.abs(scaled), nan=-1.0)
    if query is None:
        places = np.argwhere(significant.any(axis=0))
        score = np.where(significant, size, -1.0).reshape(len(effect), -1).max(axis=1)
        holds = significant.any(axis=(1, 2))
    else:
        asked = queries.parse(query, parts, metrics, known_columns(table))
        places = np.array(asked.effects or np.argwhere(significant.any(axis=0)), int).reshape(-1, 2)
        holds = queries.answer(asked, effect, significant, parts, metrics, columns_of(table, asked, size))
        first = asked.effects[0] if asked.effects else None
        score = size.reshape(len(effect), -1).max(axis=1) if first is None else size[:, first[0], first[1]]
    order = np.flatnonzero(holds)[np.argsort(-score[holds], kind="stable")]
    every = query is not None and bool(asked.effects)
    rows = [
        (rank, unit, part, metric)
        for rank, unit in enumerate(order, 1)
        for part, metric in sorted(places.tolist(), key=lambda place: 0 if every else -size[unit, place[0], place[1]])
        if every or significant[unit, part, metric]
    ]
    return _rows(table, rows, scaled, parts, metrics)


def check(query: str, parts: Sequence[str], metrics: Sequence[str]) -> None:
    """Check the words of a query before there is anything to ask it of.

    Raises: InputError for words that are not understood.
    """
    queries.parse(query, parts, metrics, COLUMNS)


def names_of(table: xr.Dataset, name: str) -> list[str]:
    """Names of parts or metrics: those stored beside a coordinate, or the coordinate itself."""
    if name not in table:
        raise InputError(f"expected names of every {name} as a coordinate, found none")
    stored = table[name].attrs.get("names")
    return [str(each) for each in (table[name].values if stored is None else stored)]


def columns_of(table: xr.Dataset, asked: queries.Query, size: np.ndarray) -> dict[str, np.ndarray]:
    """What a query may ask about units beside effects: name → a value for each, [K].

    Args:
      size: |effects| to take the strongest by, [K, parts, metrics].
    """
    columns = {name: _column(table, name) for name in known_columns(table) if name != "consistency"}
    if asked.obtained:
        if "per_obtained" not in table:
            raise InputError(
                "query: this selection has no effects per change obtained; make it again with linkjax select"
            )
        columns["per_obtained"] = table["per_obtained"].values
        columns["strong"] = per_obtained.strong(table["first_stage"].values)
    return columns | {"consistency": _consistency(table["consistency"].values, size, asked.effects)}


def known_columns(table: xr.Dataset) -> list[str]:
    """Which of `COLUMNS` a table holds: what a query may ask about units."""
    return [name for name in COLUMNS if name in table or name == "unit"]


def _column(table: xr.Dataset, name: str) -> np.ndarray:
    if name == "unit":
        return table["unit"].values if "unit" in table else np.arange(table.sizes["unit"])
    values = table[name].values
    return np.abs(values[:, 0]) if values.ndim == 2 else values  # of side effects the largest


def _consistency(values: np.ndarray, size: np.ndarray, asked: Sequence[tuple[int, int]]) -> np.ndarray:
    """The least consistency of the effects asked about, or that of the strongest effect."""
    if asked:
        return np.min([values[:, part, metric] for part, metric in asked], axis=0)
    flat = size.reshape(len(size), -1)
    return values.reshape(flat.shape)[np.arange(len(flat)), flat.argmax(axis=1)]


def _rows(
    table: xr.Dataset, rows: list[tuple[int, int, int, int]], scaled: np.ndarray, parts: list[str], metrics: list[str]
) -> xr.Dataset:
    rank, unit, part, metric = np.array(rows, np.int64).reshape(-1, 4).T
    made: dict[str, Any] = {
        "rank": rank,
        "unit": _column(table, "unit")[unit],
        **({NAME: table[NAME].values[unit].astype(object)} if NAME in table else {}),
        "part": np.array([parts[place] for place in part], object),
        "metric": np.array([metrics[place] for place in metric], object),
        "effect_sd": scaled[unit, part, metric],
    }
    made |= {name: table[name].values[unit, part, metric] for name in _EFFECT_COLUMNS if name in table}
    known = [name for name in COLUMNS if name in table and name not in made]
    made |= {name: _column(table, name)[unit] for name in known}
    return xr.Dataset({name: ("row", values) for name, values in made.items()})
