"""Shards of the page from stored results: an index of all units, a file for each effect, one for a few units each."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from linkjax.analysis.units import effect_map, per_obtained, selection
from linkjax.analysis.units import query as queries
from linkjax.atlas import compared as comparisons
from linkjax.atlas import named as naming
from linkjax.atlas import photographs, shards, words
from linkjax.atlas.examples import Examples
from linkjax.atlas.flips import Flips
from linkjax.atlas.photographs import Photographs
from linkjax.atlas.read import Results
from linkjax.report.source import Source
from linkjax.report.words import alike

UNITS_A_SHARD = 16
_TOP = 12  # findings told in the list and in sentences, where metrics that say the same are told once
_DOUBLES = 8
_MEASURED = (("effect", "f4"), ("low", "f4"), ("high", "f4"), ("q", "f4"), ("consistency", "f2"))
_TESTS = ("p_sign", "p_r", "p_w")


class Shown(NamedTuple):
    """What there are pictures of; of an atlas without any all is None."""

    pictures: dict[str, Any] | None = None  # what `pictures.write_small` tells of them
    beside: dict[str, Any] | None = None  # the same of those along the other directions
    examples: Examples | None = None
    photographs: Photographs | None = None
    example_tile: int = 0


def write(
    folder: Path, title: str, results: Results, shown: Shown, flipped: Flips | None = None,
    beside: Results | None = None, compared: Source | None = None, named: Source | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Write all shards but the pictures'.

    Args:
      folder: of the page's data.
      title: of the page.
      results: what to show.
      shown: what there are pictures of.
      flipped: counterfactuals, if there are any.
      beside: the same units along the other directions, if there are any.
      compared: a comparison with other classifiers, if there is one.
      named: words for the units, if there are any.
    Returns: main numbers, for the manifest.
    """
    scaled = results.effects_in_sd()
    known = _known(results) if beside is None else np.union1d(_known(results), _known(beside))
    index = {**_index(title, results, scaled, shown.pictures), "known": shards.pack(known, "i4")}
    if beside is not None:
        index["beside"] = _beside(folder, beside, known) | {"pictures": shown.beside}
    if compared is not None:
        index["compared"] = comparisons.index(compared, results)
    if named is not None:
        index["named"] = naming.index(named, results)
    if shown.examples is not None:
        index["examples"] = {"tile": shown.example_tile, "most": shown.examples.rows.shape[1]}
    if shown.photographs is not None:
        seen = {each[2] for unit in photographs.of_units(shown.photographs, slice(None)) for each in unit} - {None}
        index["photographs"] = {
            "tile": shown.example_tile, "most": shown.photographs.highest.rows.shape[1],
            "seen": {str(label): results.context.seen_name(label) for label in sorted(seen)},
        }  # fmt: skip
    if flipped is not None:
        index["flips"] = flipped.index()
        flipped.write(folder)
    shards.write(folder, "index", index)
    _write_effects(folder, results, known)
    _write_classes(folder, results)
    activations = results.activations()
    for start in range(0, len(results.units), UNITS_A_SHARD):
        rows = slice(start, min(start + UNITS_A_SHARD, len(results.units)))
        content = _of_units(results, rows, known)
        if shown.examples is not None:
            labels, values = (each[rows].tolist() for each in (shown.examples.label, shown.examples.value))
            content["examples"] = [
                [[label, shards.number(value)] for label, value in zip(*pair, strict=True) if label >= 0]
                for pair in zip(labels, values, strict=True)
            ]
        if shown.photographs is not None:
            content["photographs"] = photographs.of_units(shown.photographs, rows)
        if activations is not None:
            content["activations"] = shards.pack(activations[rows], "f4")
        shards.write(folder, f"units/{start // UNITS_A_SHARD}", content)
    significant = _significant(results)
    return {
        "units": len(results.units),
        "parts": len(results.parts),
        "metrics": len(results.metrics),
        "tested": results.tested,
        "significant_units": int(significant.any(axis=(1, 2)).sum()),
    }


def _significant(results: Results) -> np.ndarray:
    return np.nan_to_num(results.table["q"].values, nan=np.inf) <= results.fdr


def _known(results: Results) -> np.ndarray:
    """Places, part · metrics + metric, of effects that some unit has: a part has no chroma, an image no centroid."""
    effect = results.table["effect"].values
    return np.flatnonzero(np.isfinite(effect).any(axis=0))


def _index(title: str, results: Results, scaled: np.ndarray, pictures: dict[str, Any] | None) -> dict[str, Any]:
    significant, units = _significant(results), len(results.units)
    size = np.nan_to_num(np.abs(scaled), nan=-1.0)
    flat = (units, -1)
    # significant ones first, then the strongest of the rest, for those of whom nothing is known
    order = np.argsort(np.where(significant, -size - 1e6, -size).reshape(flat), axis=1, kind="stable")[:, :_TOP]
    sure = np.take_along_axis(significant.reshape(flat), order, axis=1)

    def top(name: str) -> np.ndarray:
        return np.take_along_axis(results.table[name].values.reshape(flat), order, axis=1)

    strength = np.where(significant, size, -1.0).reshape(flat).max(axis=1)
    q = results.table["q"].values.reshape(flat)
    least = np.where(np.isfinite(q).any(axis=1), np.min(np.where(np.isfinite(q), q, np.inf), axis=1), np.nan)
    columns = results.columns()
    known = {name: values for name, values in columns.items() if name != "unit"}
    extra = {name: results.table[name].values for name in ("fidelity_se", "caution") if name in results.table}
    side_unit, _ = results.side_effects()
    plane = effect_map.effect_map(scaled.reshape(flat))
    context = results.context
    classes = [int(label) for label in results.selected_classes()]
    named = sorted({*classes, *map(int, results.ablated_classes()), *map(int, results.labels)})
    return {
        "title": title,
        "tested": results.tested,
        "fdr": results.fdr,
        "parts": [{"name": name, "id": queries.identifier(name)} for name in results.parts],
        "metrics": [
            {"name": name, "id": queries.identifier(name), **text, "up": up, "down": down, "alike": group}
            for name, text, (up, down), group in zip(
                results.metrics,
                results.metric_texts(),
                words.of_metrics(results.metrics),
                alike(results.metrics),
                strict=True,
            )
        ],
        "spread": shards.pack(results.table["spread"].values, "f4"),
        "class_names": {str(label): context.class_name(label) for label in named},
        "classes": classes,
        "labels": results.labels,
        "sample_ids": results.sample_ids,
        "unit": shards.pack(results.units, "i4"),
        "flag": shards.pack(results.flag, "u1"),
        "columns": {name: shards.pack(values, _kind(values)) for name, values in {**known, **extra}.items()},
        "query_names": ["unit", *known],
        "names": results.names,
        "directions": results.directions,
        "obtained": "per_obtained" in results.table,
        "exact": {name: str(values.dtype) for name, values in {**columns, **extra}.items()},
        "largest": shards.pack(size.reshape(flat).max(axis=1), "f4"),
        "strength": shards.pack(strength, "f4"),
        "least_q": shards.pack(least, "f4"),
        "side_unit": shards.pack(side_unit[:, 0] if side_unit.shape[1] else np.full(units, -1), "i4"),
        "top": {
            "place": shards.pack(order, "i2"),
            "sure": shards.pack(sure, "u1"),
            **{name: shards.pack(top(name), "f4") for name in ("effect", "low", "high", "q")},
        },
        "counts": shards.pack(significant.sum(axis=0), "i4"),
        "findings": _findings(significant.reshape(flat), results.table["effect"].values.reshape(flat)),
        "map": {"places": shards.pack(plane.places, "f4"), "share": plane.share},
        "pictures": pictures,
        "units_a_shard": UNITS_A_SHARD,
        "sources": results.summary(),
        "query_columns": list(selection.COLUMNS),
    }


def _findings(significant: np.ndarray, effect: np.ndarray) -> dict[str, Any]:
    """All significant effects, for words to be looked for in: 2 · place + (1 if it rises), unit after unit.

    Args:
      significant, effect: [units, places].
    Returns: `first` [units + 1], where each unit's begin, and `code`.
    """
    unit, place = np.nonzero(significant)
    first = np.searchsorted(unit, np.arange(len(significant) + 1))
    return {"first": shards.pack(first, "i4"), "code": shards.pack(2 * place + (effect[unit, place] >= 0), "i4")}


def _kind(values: np.ndarray) -> str:
    return {"f": "f4", "b": "u1"}.get(values.dtype.kind, "i4")


def _beside(folder: Path, beside: Results, known: np.ndarray) -> dict[str, Any]:
    """A shard for each unit that was raised along the other directions too; returns what the index tells of them."""
    live = np.flatnonzero(beside.flag == 0)
    for row in live.tolist():
        values = ((name, beside.table[name].values[row].ravel()[known]) for name, _ in _MEASURED[:4])
        content: dict[str, Any] = {name: shards.pack(each, "f4") for name, each in values}
        for name in ("fidelity", "fidelity_se", "caution", "off_range"):
            content[name] = shards.number(beside.table[name].values[row]) if name in beside.table else None
        shards.write(folder, f"beside/units/{int(beside.units[row])}", content)
    return {
        "directions": beside.directions, "unit": shards.pack(beside.units[live], "i4"), "tested": beside.tested,
        "fdr": beside.fdr,
    }  # fmt: skip


def _write_effects(folder: Path, results: Results, known: np.ndarray) -> None:
    """A shard for each known place: its effect in all units."""
    for place in known.tolist():
        part, metric = divmod(place, len(results.metrics))
        names = [*_MEASURED, *((("per_obtained", "f4"),) if "per_obtained" in results.table else ())]
        content = {name: shards.pack(results.table[name].values[:, part, metric], kind) for name, kind in names}
        shards.write(folder, f"effects/{part}-{metric}", content)


def _write_classes(folder: Path, results: Results) -> None:
    """A shard for each class: what raising each unit does to its logit, and what losing the unit does."""
    everything = slice(0, len(results.units))
    logits, lost, accuracy = (
        results.rows(name, everything) for name in ("logit_response", "ablation_logit", "ablation_accuracy")
    )
    ablated = {int(label): place for place, label in enumerate(results.ablated_classes())}
    for label in sorted({*map(int, results.labels), *ablated}):
        content = {}
        if logits is not None and 0 <= label < logits.shape[1]:
            content["logit"] = shards.pack(logits[:, label], "f4")
        if lost is not None and accuracy is not None and label in ablated:
            content["lost_logit"] = shards.pack(lost[:, :, ablated[label]], "f4")
            content["lost_accuracy"] = shards.pack(accuracy[:, :, ablated[label]], "f4")
        if content:
            shards.write(folder, f"classes/{label}", content)


def _of_units(results: Results, rows: slice, known: np.ndarray) -> dict[str, Any]:
    """All that is known of a few units; of what is by part and metric the known places, [units, …, places]."""

    def packed(values: np.ndarray, kind: str) -> dict[str, Any]:
        return shards.pack(values.reshape(*values.shape[:-2], -1)[..., known], kind)

    content: dict[str, Any] = {name: packed(results.table[name].values[rows], kind) for name, kind in _MEASURED}
    content["tests"] = {
        name: packed(results.table[name].values[rows], "f2") for name in _TESTS if name in results.table
    }
    spread = results.table["spread"].values
    by_class = results.rows("class_effect", rows)
    if by_class is not None:
        content["class_effect"] = packed(by_class / np.where(spread > 0, spread, np.nan)[None, None], "f2")
    if "per_obtained" in results.table:
        content["per_obtained"] = _obtained(results, rows)
    side_unit, side = results.side_effects()
    content["side_unit"], content["side"] = shards.pack(side_unit[rows], "i4"), shards.pack(side[rows], "f4")
    content["asked"] = shards.pack(results.asked[:, rows].swapaxes(0, 1), "f4")
    for name, kind in (
        ("obtained", "f4"), ("logit_response", "f2"), ("ablation_logit", "f2"), ("ablation_accuracy", "f2"),
    ):  # fmt: skip
        values = results.rows(name, rows)
        if values is not None:
            content[name] = shards.pack(values, kind)
    content["ablated_classes"] = results.ablated_classes()
    content["doubles"] = [
        [[unit, None if np.isnan(cosine) else round(cosine, 4)] for unit, cosine in each]
        for each in results.doubles(rows, _DOUBLES)
    ]
    return content


def _obtained(results: Results, rows: slice) -> list[list[Any] | None]:
    """Of each unit its significant effects per change obtained: place, value, interval (None: no end).

    None for a unit that moves too little to divide by.
    """
    strong = per_obtained.strong(results.table["first_stage"].values[rows])
    sure = _significant(results)[rows].reshape(len(strong), -1)
    values = [results.table[name].values[rows].reshape(sure.shape) for name in per_obtained.STORED]
    return [
        [[place, *(shards.number(each[row, place]) for each in values)] for place in np.flatnonzero(sure[row]).tolist()]
        if strong[row]
        else None
        for row in range(len(strong))
    ]
