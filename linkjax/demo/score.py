"""How well measured effects of planted units agree with true ones: pure functions of arrays."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from linkjax.analysis.metrics import measurements
from linkjax.analysis.ranks import auc, rank_correlation
from linkjax.demo.truth import SELECTIVE, has_double

#: What is ranked: metrics of parts that do not say the same thing twice, as area and its share do.
RANKED = ("area", "lightness", "red_green", "yellow_blue", "centroid_y", "centroid_x", "axis_major", "axis_minor")
_SIZEABLE = 0.05  # an area's change per σ, as a share of the part's mean area, from which its error is judged
_REAL = 0.1  # a true effect, in standard deviations of the metric per σ, from which its rank means something
_TIED = 0.95  # of the strongest true effect, from which an effect is as strong as that
_NEARLY = 0.75  # of the strongest true effect, from which an effect counts as nearly as strong
_WEAK = 0.05  # a fidelity below which nothing can be said per change obtained


def score(
    rows: Sequence[dict[str, Any]],
    truth: np.ndarray,
    effect: np.ndarray,
    spread: np.ndarray,
    area: np.ndarray,
    fidelity: np.ndarray,
    side_effect: np.ndarray,
    predicted: np.ndarray,
    true_fidelity: np.ndarray | float = 1.0,
) -> dict[str, Any]:
    """How well measured effects agree with true ones.

    Args:
      rows: the truth about every swept unit: kind, factors.
      truth, effect: effects per σ, [U, parts, metrics].
      spread: of every metric, by `measurements.spread`, [parts, metrics].
      area: mean area of the parts, [parts].
      fidelity, side_effect: of every unit; the largest on another unit that carries no factor of this one.
      predicted: fidelity by `stability.diluted_fidelity`.
      true_fidelity: share of the asked change that the truth obtains: less than 1 where factors come to their ends.
    Returns: the summary, whose numbers the report explains; "units" has a row for each unit.
    """
    kind = np.asarray([row["kind"] for row in rows])
    selective, noise = np.isin(kind, SELECTIVE), kind == "noise"
    alone = np.isin(kind, ("single", "mixed")) & ~np.asarray([has_double(row, rows) for row in rows])
    usable = _usable(selective, truth, effect, spread)
    columns = np.argwhere(usable)
    measured, true = (values[:, usable] / spread[usable] for values in (effect, truth))
    strength = np.abs(measured).max(axis=1)
    first_true, first_found = np.abs(true).argmax(axis=1), np.abs(measured).argmax(axis=1)
    same_part = columns[first_true][:, 0] == columns[first_found][:, 0]
    real = selective[:, None] & (np.abs(true) >= _REAL)
    unreal = selective[:, None] & (np.abs(true) < 0.1 * _REAL)
    order = np.argsort(-np.abs(measured), axis=1)
    place = np.argmax(order == first_true[:, None], axis=1)
    # Many units do two things about equally: how strong, in truth, is what was found to be the strongest?
    nearly = _nearly(true, first_found)
    sign = _signs_agree(measured, true)
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
            "truth_of_found": float(nearly[u]),
            "sign_right": bool(sign[u]) if selective[u] else None,
            "agreement": float(np.corrcoef(measured[u], true[u])[0, 1]) if selective[u] else None,
        }
        for u in range(len(rows))
    ]
    obeyed = np.abs(fidelity - 1) <= 0.2
    return {
        "selective_units": int(selective.sum()),
        "noise_units": int(noise.sum()),
        **told_apart(rows, truth, effect, spread),
        **strongest_effects(rows, truth, effect, spread),
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
        **areas(rows, truth, effect, area, fidelity, true_fidelity),
        "predicted_fidelity_correlation": float(np.corrcoef(predicted[selective], fidelity[selective])[0, 1]),
        "units": per_unit,
    }


def told_apart(
    rows: Sequence[dict[str, Any]], truth: np.ndarray, effect: np.ndarray, spread: np.ndarray
) -> dict[str, float]:
    """Selective against noise units by their strongest effects, and signs of the selective units' strongest true ones.

    Args: as `score`.
    """
    kind = np.asarray([row["kind"] for row in rows])
    selective, noise = np.isin(kind, SELECTIVE), kind == "noise"
    usable = _usable(selective, truth, effect, spread)
    measured, true = (values[:, usable] / spread[usable] for values in (effect, truth))
    strength = np.abs(measured).max(axis=1)
    sign = _signs_agree(measured, true)
    return {
        "auc": auc(strength[selective], strength[noise]),
        "sign_right": float(sign[selective].mean()),
        "auc_of_truth": auc(*(np.nan_to_num(np.abs(true[kinds])).max(axis=1) for kinds in (selective, noise))),
    }


def _signs_agree(measured: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Whether the strongest true column has the same sign as measured, by unit."""
    first = np.abs(true).argmax(axis=1)[:, None]
    return (np.sign(np.take_along_axis(measured, first, 1)) == np.sign(np.take_along_axis(true, first, 1)))[:, 0]


def strongest_effects(
    rows: Sequence[dict[str, Any]], truth: np.ndarray, effect: np.ndarray, spread: np.ndarray
) -> dict[str, float]:
    """Whether the effect measured as a selective unit's strongest is its strongest in truth, or nearly that.

    Many units do two things about equally: where the truth's second effect is within 5 % of the first, "which is
    strongest" has no one answer, and either counts as `true_effect_first_or_tied`.

    Args: as `score`.
    """
    selective = np.isin([row["kind"] for row in rows], SELECTIVE)
    usable = _usable(selective, truth, effect, spread)
    measured, true = (values[:, usable][selective] / spread[usable] for values in (effect, truth))
    nearly = _nearly(true, np.abs(measured).argmax(axis=1))
    ordered = np.sort(np.abs(true), axis=1)
    return {
        "true_effect_first": float(np.mean(np.abs(measured).argmax(axis=1) == np.abs(true).argmax(axis=1))),
        "true_effect_first_or_tied": float(np.mean(nearly >= _TIED)),
        "nearly_strongest_first": float(np.mean(nearly >= _NEARLY)),
        "ties_in_truth": float(np.mean(ordered[:, -2] >= _TIED * ordered[:, -1])),
    }


def _usable(selective: np.ndarray, truth: np.ndarray, effect: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """[parts, metrics]: which are ranked."""
    ranked = np.zeros(spread.shape, bool)
    ranked[1:, [list(measurements.METRICS).index(name) for name in RANKED]] = True
    return ranked & np.isfinite(truth[selective]).all(axis=0) & np.isfinite(effect).all(axis=0) & (spread > 0)


def _nearly(true: np.ndarray, column: np.ndarray) -> np.ndarray:
    """How strong in truth a column is, as a share of the strongest; by unit."""
    strongest = np.abs(true).max(axis=1)
    return np.abs(true[np.arange(len(true)), column]) / np.where(strongest > 0, strongest, 1.0)


def areas(
    rows: Sequence[dict[str, Any]],
    truth: np.ndarray,
    effect: np.ndarray,
    area: np.ndarray,
    fidelity: np.ndarray,
    true_fidelity: np.ndarray | float = 1.0,
) -> dict[str, Any]:
    """How near measured effects on parts' areas come to the renderer's, per requested and per obtained change.

    Judged are the areas that the truth moves by 5 % of the part or more per σ of a selective unit.

    Args: as `score`.
    """
    column = list(measurements.METRICS).index("area")
    selective = np.isin([row["kind"] for row in rows], SELECTIVE)
    true, asked = truth[:, 1:, column], effect[:, 1:, column]
    judged = selective[:, None] & (np.abs(true) >= _SIZEABLE * area[1:][None])
    share, true_share = (np.where(np.abs(each) > _WEAK, each, np.nan) for each in (fidelity, true_fidelity))
    obtained, truly = asked / share[:, None], true / np.broadcast_to(true_share, share.shape)[:, None]
    off = np.abs(asked - true)[judged] / np.abs(true[judged])
    off_obtained = np.abs(obtained - truly)[judged] / np.abs(truly[judged])
    square = float(np.sum(true[judged] ** 2))
    return {
        "area_slope": float(np.sum(asked[judged] * true[judged])) / square if square else None,
        "area_median_error": _median(off),
        "area_within_25_percent": _share(off <= 0.25),
        "area_within_25_percent_per_obtained_change": _share(off_obtained <= 0.25),
        "areas_judged": int(judged.sum()),
    }


def doubles(rows: Sequence[dict[str, Any]], cluster: np.ndarray) -> dict[str, int]:
    """How many of the units that repeat another one are grouped with it, and which other units are.

    Args:
      rows: the truth about every swept unit.
      cluster: of every one, as `linkjax select` gives them; −1 for none.
    """
    named = [(a, b) for b in range(len(rows)) for a in range(b) if cluster[a] >= 0 and cluster[a] == cluster[b]]
    right = [(a, b) for a, b in named if has_double(rows[a], [rows[a], rows[b]])]
    repeating = [row for row in rows if row["kind"] == "double" and has_double(row, rows)]
    return {"doubles": len(repeating), "doubles_named": len(right), "others_named_doubles": len(named) - len(right)}


def significance(
    rows: Sequence[dict[str, Any]], truth: np.ndarray, effect: np.ndarray, spread: np.ndarray, q: np.ndarray, fdr: float
) -> dict[str, Any]:
    """Precision and recall of what is called significant, against true effects.

    An effect that is called is true if the truth has it, of the same sign and of 0.1 sd per σ or more. A noise unit
    that is called is false if none of its called effects is true.

    Args:
      rows, truth, effect, spread: as of `score`.
      q: adjusted p-values, [U, parts, metrics].
      fdr: q up to which an effect is significant.
    """
    kind = np.asarray([row["kind"] for row in rows])
    called, real, false = _called(truth, effect, spread, q, fdr)
    units, true_units = (np.any(each, axis=(1, 2)) for each in (called, called & ~false))
    noise, selective = kind == "noise", np.isin(kind, SELECTIVE)
    return {
        "significant_selective_units": int(units[selective].sum()),
        "significant_noise_units": int(units[noise].sum()),
        "false_noise_units": int((units & ~true_units)[noise].sum()),
        "significant_effects": int(called.sum()),
        "significant_effects_that_are_real": _share(~false[called]),
        "significant_effects_of_noise_units": int(called[noise].sum()),
        "false_effects_of_noise_units": int(false[noise].sum()),
        "real_effects_found": _share(called[real]),
    }


def shown_by_oracle(
    rows: Sequence[dict[str, Any]],
    truth: np.ndarray,
    effect: np.ndarray,
    spread: np.ndarray,
    q: np.ndarray,
    fdr: float,
    knowing: np.ndarray,
) -> dict[str, int]:
    """How many of the effects called that are not true of the renderer the oracle's directions show as well.

    Of selective units. "As well": of the same sign and at least half as large; what generator and labels add to a
    factor then, no direction can leave out.

    Args:
      rows, truth, effect, spread, q, fdr: as of `significance`.
      knowing: effects along those directions, NaN for units not raised along them; as `effect`.
    """
    false = _called(truth, effect, spread, q, fdr)[2]
    false &= np.isin([row["kind"] for row in rows], SELECTIVE)[:, None, None]
    as_well = (np.sign(knowing) == np.sign(effect)) & (np.abs(knowing) >= 0.5 * np.abs(effect))
    return {
        "false_effects_of_selective_units": int(false.sum()),
        "false_effects_that_one_who_knows_shows": int((false & as_well).sum()),
    }


def _called(
    truth: np.ndarray, effect: np.ndarray, spread: np.ndarray, q: np.ndarray, fdr: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which effects are called significant, which are real in truth, and which are called but not true."""
    called = np.nan_to_num(q, nan=1.0) <= fdr
    real = np.abs(truth / np.where(spread > 0, spread, np.nan)) >= _REAL
    return called, real, called & ~(real & (np.sign(truth) == np.sign(effect)))


def _share(holds: np.ndarray) -> float | None:
    return float(np.mean(holds)) if holds.size else None


def _median(values: np.ndarray) -> float | None:
    return float(np.median(values)) if values.size else None
