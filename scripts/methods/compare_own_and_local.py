"""Units raised along steering directions, their own remainders and local steps: what is obtained, and what is found.

    python scripts/methods/compare_own_and_local.py [--classifiers breeds planted] [--units 40] [--seeds 201]
        [--json docs/figures/own_and_local.json]

Animals are new ones, one of each breed; the links are the bundle's; values are the ends of what each breed shows (2.5th
and 97.5th percentile), with 12 random directions in each space, made as the directions are. Tests are those of `linkjax
select`, at 5 % false discoveries. About 8000 images of 64 × 64: three minutes on an idle core.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

import linkjax
from linkjax.analysis.units.sweep_table import of_sweep
from linkjax.devices import compile_cache

_WAYS = ("steer", "own", "local")
_FDR = 0.05


def told(swept: xr.Dataset, table: xr.Dataset) -> dict[str, Any]:
    """Summary of a sweep and its tests."""
    live = np.flatnonzero(swept["flag"].values == 0)
    swept = swept.isel(unit=live)
    asked, obtained = (np.diff(swept[name].values, axis=2)[..., 0] for name in ("value", "obtained"))
    own = obtained[asked != 0] / asked[asked != 0]
    fidelity = swept["fidelity"].values.astype(np.float64)
    response = np.nan_to_num(swept["response"].values.astype(np.float64))
    response[np.arange(len(live)), swept["unit"].values] = 0.0
    side = np.sqrt(np.sum(response**2, axis=1) / (response.shape[1] - 1)) / np.maximum(np.abs(fidelity), 0.05)
    called = np.nan_to_num(table["q"].values, nan=1.0) <= _FDR
    found = {
        "units with a direction": len(live), "fidelity, median": np.median(fidelity),
        "within 0.8 ... 1.2": np.mean(np.abs(fidelity - 1) <= 0.2), "picture: error of own change, median":
        np.median(np.abs(own - 1)), "side effects per own change": np.median(side),
        "length": np.median(swept["step_mahalanobis"].values), "still": np.mean(asked == 0),
        "units with a significant effect": int(called.any(axis=(1, 2)).sum()), "significant effects": int(called.sum()),
    }  # fmt: skip
    return {name: round(float(value), 3) for name, value in found.items()}


def strongest(table: xr.Dataset) -> dict[int, tuple[int, int]]:
    """By unit the place of its strongest effect, of those that are significant."""
    size = np.abs(table["effect"].values / table["spread"].values)
    size = np.where(np.nan_to_num(table["q"].values, nan=1.0) <= _FDR, np.nan_to_num(size), 0.0)
    places = {}
    for unit, rows in zip(table["unit"].values, size, strict=True):
        if rows.any():
            part, metric = np.unravel_index(np.argmax(rows), rows.shape)
            places[int(unit)] = int(part), int(metric)
    return places


def measure(classifier: str, most: int, seed: int) -> dict[str, Any]:
    """All ways of one classifier, from the same animals."""
    study = linkjax.demo_study(classifier)  # pyright: ignore[reportArgumentType]
    count = study.classifier.spec.num_units
    units = np.unique(np.linspace(0, count - 1, min(most, count)).round().astype(int)).tolist()
    anchors = linkjax.sample(study, jax.random.key(seed), range(10))
    settings = {"steps": 2, "low": 2.5, "high": 97.5, "random_directions": 12, "picture_units": 0, "batch_size": 50}
    found: dict[str, Any] = {"lambda": study.link.spec.steer_lambda}
    first = {}
    for way in _WAYS:
        swept = linkjax.sweep(study, anchors, units, directions=way, seed=seed, **settings)
        table = of_sweep(swept)
        found[way], first[way] = told(swept, table), strongest(table)
        if classifier == "planted":
            kind = linkjax.demo_truth()["kind"].values[list(first[way])]
            noise = int((kind == "noise").sum())
            found[way] |= {"selective units found, of 20": len(kind) - noise, "noise units called, of 16": noise}
        else:
            both = first["steer"].keys() & first[way].keys()
            found[way]["also found along steer"] = len(both)
            found[way]["of these, with the same strongest effect"] = sum(
                first["steer"][u] == first[way][u] for u in both
            )
        print(f"{classifier}, seed {seed}, {way}: {found[way]}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classifiers", nargs="+", default=["breeds", "planted"])
    parser.add_argument("--units", type=int, default=40, help="of each classifier, evenly spread, at most")
    parser.add_argument("--seeds", nargs="+", type=int, default=[201], help="of animals and random directions")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    compile_cache.enable()
    begin = time.perf_counter()
    found = {
        each: {str(seed): measure(each, arguments.units, seed) for seed in arguments.seeds}
        for each in arguments.classifiers
    }
    print(f"{time.perf_counter() - begin:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
