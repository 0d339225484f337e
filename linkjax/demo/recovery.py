"""Does the pipeline find what is known to be true? A sweep of planted units against the renderer (`truth`)."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from linkjax import artifacts, loading
from linkjax.analysis import measurements, stability
from linkjax.analysis.finite import finite_mean
from linkjax.analysis.pairs import named_latents
from linkjax.analysis.ranks import auc, rank_correlation
from linkjax.analysis.selectivity import anchor_slopes
from linkjax.config import PathName
from linkjax.demo import world
from linkjax.demo.factors import Z_DIM, factors_of
from linkjax.demo.truth import (
    SELECTIVE,
    factor_directions,
    has_double,
    measure_truth,
    truth_of_one,
    unit_weights,
)
from linkjax.stages import inputs

_SIZEABLE = 0.05  # an area's change per σ, as a share of the part's mean area, from which its error is judged
#: What is ranked: metrics of parts that do not say the same thing twice, as area and its share do.
RANKED = ("area", "lightness", "red_green", "yellow_blue", "centroid_y", "centroid_x", "axis_major", "axis_minor")
_REAL = 0.1  # a true effect, in standard deviations of the metric per σ, from which its rank means something


@dataclasses.dataclass(frozen=True)
class Config:
    """Score a sweep of the planted classifier."""

    out: PathName
    """Folder to make."""
    sweep: PathName
    """Folder of the sweep, made with a segmenter."""
    selection: PathName
    """Folder of `linkjax select` on that sweep: its effects are scored, and what it calls significant."""
    pairs: PathName
    """Folder of the pairs whose test split gave its anchors."""
    link: PathName
    """Folder of the link it was made with."""


def run(config: Config, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Write the score and the effects behind it; returns the summary.

    Args:
      config: where things are.
      rows: the truth about every planted unit, as the bundle tells it.
    """
    sweep = artifacts.Artifact(Path(config.sweep), "sweep")
    selection = artifacts.Artifact(Path(config.selection), "selection")
    pairs = artifacts.Artifact(Path(config.pairs), "pairs")
    # "planted", not "classifier": a page may show the score beside results of another classifier.
    called = {"classifier": "planted", "link": "planted link"}
    made_with: dict[str, str] = sweep.manifest["weights"]
    weights = {called.get(role, role): sha256 for role, sha256 in made_with.items()}
    with artifacts.Writer(
        Path(config.out),
        "recovery",
        config,
        weights,
        {"planted sweep": sweep.id},
        precision=sweep.manifest["precision"],
    ) as writer:
        found = recover(sweep, selection, pairs, loading.load(config.link), rows)
        units = found["units"]
        writer.put("predicted_fidelity", ("unit",), found.pop("predicted_fidelity").astype(np.float32))
        for name in ("truth", "found"):
            writer.put(name, ("unit", "part", "metric"), found.pop(name).astype(np.float32))
        writer.put("spread", ("part", "metric"), found.pop("spread").astype(np.float32))
        writer.put("unit", ("unit",), np.asarray([unit["unit"] for unit in units], np.int32))
        writer.put("part", ("part",), found.pop("parts"))
        writer.put("metric", ("metric",), found.pop("metrics"))
        writer.finish(found)
    return found


def score(
    rows: Sequence[dict[str, Any]],
    truth: np.ndarray,
    found: np.ndarray,
    spread: np.ndarray,
    area: np.ndarray,
    fidelity: np.ndarray,
    side_effect: np.ndarray,
    predicted: np.ndarray,
) -> dict[str, Any]:
    """How well measured effects agree with true ones.

    Args:
      rows: the truth about every swept unit: kind, factors.
      truth, found: effects per σ, [U, parts, metrics]; rows of noise units in `truth` are zero.
      spread: of every metric, by `measurements.spread`, [parts, metrics].
      area: mean area of the parts, [parts].
      fidelity, side_effect: of every unit; the largest on another unit that carries no factor of this one.
      predicted: fidelity by `stability.diluted_fidelity`.
    Returns: the summary, whose numbers the report explains; "units" has a row for each unit.
    """
    kind = np.asarray([row["kind"] for row in rows])
    selective, noise = np.isin(kind, SELECTIVE), kind == "noise"
    alone = np.isin(kind, ("single", "mixed")) & ~np.asarray([has_double(row, rows) for row in rows])
    ranked = np.zeros(spread.shape, bool)
    ranked[1:, [list(measurements.METRICS).index(name) for name in RANKED]] = True
    usable = ranked & np.isfinite(truth[selective]).all(axis=0) & np.isfinite(found).all(axis=0) & (spread > 0)
    columns = np.argwhere(usable)
    measured, true = (values[:, usable] / spread[usable] for values in (found, truth))
    strength = np.abs(measured).max(axis=1)
    first_true, first_found = np.abs(true).argmax(axis=1), np.abs(measured).argmax(axis=1)
    same_part = columns[first_true][:, 0] == columns[first_found][:, 0]
    real = selective[:, None] & (np.abs(true) >= _REAL)
    unreal = selective[:, None] & (np.abs(true) < 0.1 * _REAL)
    order = np.argsort(-np.abs(measured), axis=1)
    place = np.argmax(order == first_true[:, None], axis=1)
    sign = np.sign(np.take_along_axis(measured, first_true[:, None], 1)) == np.sign(
        np.take_along_axis(true, first_true[:, None], 1)
    )
    column = list(measurements.METRICS).index("area")
    true_area, found_area = truth[:, 1:, column], found[:, 1:, column]
    sizeable = selective[:, None] & (np.abs(true_area) >= _SIZEABLE * area[1:][None])
    off = np.abs(found_area - true_area)[sizeable] / np.abs(true_area[sizeable])
    # Per change obtained instead of asked: what a unit does, apart from how far it could be moved.
    share = np.where(np.abs(fidelity) > 0.05, fidelity, np.nan)[:, None]
    asked = np.stack([truth_of_one(rows, u) for u in range(len(rows))])[:, None]
    obtained_off = np.abs(found_area / share - true_area / asked)[sizeable] / np.abs((true_area / asked)[sizeable])
    square = float(np.sum(true_area[sizeable] ** 2))
    slope = float(np.sum(found_area[sizeable] * true_area[sizeable])) / square if square else None
    per_unit = [
        {
            **{name: rows[u][name] for name in ("unit", "kind", "factors")},
            "fidelity": float(fidelity[u]),
            "predicted_fidelity": float(predicted[u]),
            "side_effect": float(side_effect[u]),
            "strength": float(strength[u]),
            "found": columns[first_found[u]].tolist(),
            "true": columns[first_true[u]].tolist() if selective[u] else None,
            "place": int(place[u]) + 1 if selective[u] else None,
            "sign_right": bool(sign[u, 0]) if selective[u] else None,
            "agreement": float(np.corrcoef(measured[u], true[u])[0, 1]) if selective[u] else None,
        }
        for u in range(len(rows))
    ]
    obeyed = np.abs(fidelity - 1) <= 0.2
    return {
        "selective_units": int(selective.sum()),
        "noise_units": int(noise.sum()),
        "auc": auc(strength[selective], strength[noise]),
        "sign_right": float(sign[selective].mean()),
        "true_effect_first": float(np.mean(place[selective] == 0)),
        "true_part_first": float(same_part[selective].mean()),
        "true_effect_in_first_three": float(np.mean(place[selective] < 3)),
        "fidelity_within_20_percent": _share(obeyed[alone]),
        "fidelity_within_20_percent_of_all": _share(obeyed[selective]),
        "median_fidelity": _median(fidelity[alone]),
        "median_fidelity_of_doubles": _median(fidelity[selective & ~alone]),
        "median_largest_side_effect": _median(side_effect[alone]),
        "rank_correlation": rank_correlation(measured[real], true[real]),
        "rank_correlation_of_all": rank_correlation(measured[selective].ravel(), true[selective].ravel()),
        "correlation": float(np.corrcoef(measured[selective].ravel(), true[selective].ravel())[0, 1]),
        "median_effect_where_there_is_none": _median(np.abs(measured[unreal])),
        "area_slope": slope,
        "area_median_error": _median(off),
        "area_within_25_percent": _share(off <= 0.25),
        "area_within_25_percent_per_obtained_change": _share(obtained_off <= 0.25),
        "predicted_fidelity_correlation": float(np.corrcoef(predicted[selective], fidelity[selective])[0, 1]),
        "areas_judged": int(sizeable.sum()),
        "units": per_unit,
    }


def _share(holds: np.ndarray) -> float | None:
    return float(np.mean(holds)) if holds.size else None


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if values.size else None


def significance(
    rows: Sequence[dict[str, Any]], truth: np.ndarray, spread: np.ndarray, q: np.ndarray, fdr: float
) -> dict[str, Any]:
    """How much of what is called significant is true, and how much of what is true is found.

    Args:
      rows, truth, spread: as of `score`.
      q: adjusted p-values, [U, parts, metrics].
      fdr: q up to which an effect is significant.
    """
    kind = np.asarray([row["kind"] for row in rows])
    called = np.nan_to_num(q, nan=1.0) <= fdr
    true = np.abs(truth / np.where(spread > 0, spread, np.nan)) >= _REAL
    units: np.ndarray = np.asarray(called.any(axis=(1, 2)))
    return {
        "significant_selective_units": int(units[np.isin(kind, SELECTIVE)].sum()),
        "significant_noise_units": int(units[kind == "noise"].sum()),
        "significant_effects": int(called.sum()),
        "significant_effects_that_are_real": _share(true[called]),
        "real_effects_found": _share(called[true]),
    }


def recover(
    sweep: artifacts.Artifact,
    selection: artifacts.Artifact,
    pairs: artifacts.Artifact,
    link: Any,
    rows: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """`score` of a finished sweep with parts, with the effects it compared and the names of their columns."""
    data = sweep.open()
    read = {name: sweep.read(data, name) for name in (
        "unit", "value", "flag", "label", "sample_id", "baseline", "fidelity", "response", "unit_std"
    )}  # fmt: skip
    live = read["flag"] == 0
    units, values = read["unit"][live], read["value"][live]
    told = [rows[unit] for unit in units]
    z = named_latents(pairs.manifest["config"]["seed"], read["label"], read["sample_id"], Z_DIM)
    factors = np.asarray(factors_of(jnp.asarray(z), jnp.asarray(read["label"], jnp.int32)))
    classes = tuple(np.unique(read["label"]).tolist())
    r = inputs.first_of_each_class(pairs, "test", sweep.manifest["config"]["samples"], classes)["r"]
    step = values[None] - r[:, units][:, :, None]
    directions = factor_directions(unit_weights(rows))[units]
    std = jnp.asarray(read["unit_std"][units])

    def effect(measured: np.ndarray) -> np.ndarray:
        measured = measurements.unwrapped(measured, axis=2)
        slopes = np.asarray(anchor_slopes(jnp.asarray(values), jnp.asarray(measured), std))
        return finite_mean(slopes)

    chosen = selection.open()
    found, q = (selection.read(chosen, name)[live].astype(np.float64) for name in ("effect", "q"))
    truth = effect(measure_truth(directions, factors, step))
    baseline = read["baseline"]
    spread = measurements.spread(baseline, tuple(measurements.METRICS))
    area = np.nan_to_num(finite_mean(baseline[:, :, list(measurements.METRICS).index("area")]))
    side = _other_units(read["response"][live], units, rows)
    start, stop = pairs.summary["splits"]["train"]
    pair_data = pairs.open()
    w_train, r_train, labels = (pairs.read(pair_data, name, slice(start, stop)) for name in ("w", "r", "label"))
    reading = stability.read_pairs(w_train, r_train, labels)
    predicted = stability.diluted_fidelity(np.asarray(link.kernel[...]), reading)[units]
    summary = score(told, truth, found, spread, area, read["fidelity"][live], side, predicted)
    return {
        **summary,
        **significance(told, truth, spread, q, selection.summary["fdr"]),
        "predicted_fidelity": predicted,
        "parts": [measurements.WHOLE, *world.PARTS],
        "metrics": list(measurements.METRICS),
        "truth": truth,
        "found": found,
        "spread": spread,
        "dead_units": [int(unit) for unit in read["unit"][~live]],
    }


def _other_units(response: np.ndarray, units: np.ndarray, rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """Largest |response| of another unit that does not carry the same factor, by swept unit."""
    response = np.abs(response)
    for k, unit in enumerate(units):
        for other in rows:
            shares = set(rows[unit]["factors"]) & set(other["factors"]) and other["kind"] != "noise"
            if other["unit"] == unit or shares or other["kind"] == "noise":
                response[k, other["unit"]] = 0.0
    return np.nanmax(response, axis=1)
