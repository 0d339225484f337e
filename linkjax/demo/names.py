"""How right names of planted units are: the word of the factor that a unit carries, and its sign."""

from typing import Any

import numpy as np

from linkjax.demo import phrases


def score(names: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """What is right of names.

    Args:
      names: of `linkjax.open`.
      rows: the truth about every planted unit.
    """
    words = [str(word) for word in names["word"].values]
    of_image = names.isel(part=0)
    told, per_unit = {row["unit"]: row for row in rows}, []
    for place, unit in enumerate(names["unit"].values.tolist()):
        row, one = told[unit], of_image.isel(unit=place)
        carried = {
            (factor, int(np.sign(weight)))
            for factor, weight in zip(row["factors"], row["weights"], strict=True)
            if row["kind"] != "noise"
        }
        lowered = {(factor, -sign) for factor, sign in carried}
        nearest = [words[int(each)] for each in one["nearest"].values]
        entry = {
            "unit": unit, "kind": row["kind"], "truth": sorted(_said(*each) for each in carried),
            "nearest": nearest[0], "name": str(one["name"].values[0]), "q": round(float(one["q"].values[0]), 4),
            "right": phrases.named(nearest[0]) in carried, "lowered_right": phrases.named(nearest[1]) in lowered,
            "lowered_name": str(one["name"].values[1]),
        }  # fmt: skip
        if "seen_nearest" in names:
            seen = words[int(names["seen_nearest"].values[place])]
            entry |= {"seen": seen, "seen_right": phrases.named(seen) in carried}
            entry |= {
                "seen_name": str(names["seen_name"].values[place]),
                "verdict": int(names["verdict"].values[place]),
            }
        per_unit.append(entry)
    selective, noise = ([each for each in per_unit if (each["kind"] == "noise") is one] for one in (False, True))
    count = {
        "selective_units": len(selective),
        "nearest_word_right": sum(each["right"] for each in selective),
        "nearest_word_of_lowering_right": sum(each["lowered_right"] for each in selective),
        "named": sum(bool(each["name"]) for each in selective),
        "named_right": sum(bool(each["name"]) and each["right"] for each in selective),
        "noise_units": len(noise),
        "noise_units_named": sum(bool(each["name"]) or bool(each["lowered_name"]) for each in noise),
    }
    if "seen_nearest" in names:
        count["seen_word_right"] = sum(each["seen_right"] for each in selective)
        count["seen_named"] = sum(bool(each["seen_name"]) for each in selective)
        count["seen_named_right"] = sum(bool(each["seen_name"]) and each["seen_right"] for each in selective)
        count["noise_units_named_by_observation"] = sum(bool(each["seen_name"]) for each in noise)
    return {**count, "units": per_unit}


def _said(factor: str, sign: int) -> str:
    return phrases.PHRASES[factor][(sign + 1) // 2]
