"""Realised false discoveries of `linkjax select`, over seeds and worlds of planted units.

    python scripts/methods/measure_discoveries.py --out FOLDER [--bundles embedded world-b] [--seeds 0 1 2]
        [--json docs/figures/discoveries.json]

For every bundle and seed the steps of the full demo that are about planted units: pictures, labels and segmentation
head, pairs, link, a sweep of all 36 units over one anchor of each breed, `select` at 5 %, and the directions of one who
knows the factors; the seed is that of all samples and of the random directions. Other bundles are trained by
`scripts/train_demo.py --world`. What is in FOLDER already is not made again. About a minute a seed on an idle core.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from linkjax.demo import run, steps
from linkjax.demo.bundle import EMBEDDED, open_bundle
from linkjax.devices import compile_cache
from linkjax.storage import artifacts

_TOLD = (
    "significant_selective_units", "significant_noise_units", "false_noise_units", "significant_effects",
    "false_effects_of_noise_units", "false_effects_of_selective_units", "false_effects_that_one_who_knows_shows",
    "real_effects_found", "auc", "sign_right", "fidelity_within_20_percent_of_all", "true_effect_first",
    "true_effect_first_or_tied", "oracle_true_effect_first_or_tied", "true_effect_in_first_three",
    "area_within_25_percent_per_obtained_change", "oracle_area_within_25_percent_per_obtained_change",
    "doubles_named", "others_named_doubles", "lambda",
)  # fmt: skip
_COUNTS = (
    "significant_effects", "false_effects_of_noise_units", "false_effects_of_selective_units",
    "false_effects_that_one_who_knows_shows",
)  # fmt: skip


def measure(folder: Path, bundle_folder: Path, seed: int) -> dict[str, Any]:
    """What the score tells of one world and seed."""
    bundle = open_bundle(bundle_folder)
    for title, name, settings in steps.plan(folder, bundle, seed, False):
        if name == "compare" or "-kernel" in settings["out"] or Path(settings["out"]).exists():
            continue
        if name == "sweep":
            settings = {**settings, "seed": seed, "picture_units": 0, "motion": "none"}
        run.take(name, settings, bundle)
        if name == "recovery":
            break
        print(f"  {title}", flush=True)
    told = artifacts.Artifact(folder / "recovery", "recovery").summary
    return {name: told[name] for name in _TOLD}


def shares(counts: dict[str, int]) -> dict[str, float]:
    """Of the effects called: not true of the renderer, and of these what one who knows the factors does not show."""
    called = max(counts["significant_effects"], 1)
    false = counts["false_effects_of_noise_units"] + counts["false_effects_of_selective_units"]
    left = false - counts["false_effects_that_one_who_knows_shows"]
    return {"not true of the renderer": round(false / called, 4), "nor shown by one who knows": round(left / called, 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--bundles", nargs="+", default=["embedded"], help="embedded, or folders of bundles")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    compile_cache.enable()
    begin, spent, found = time.perf_counter(), time.process_time(), {}
    for given in arguments.bundles:
        bundle, called = (EMBEDDED, given) if given == "embedded" else (Path(given), Path(given).name)
        rows = {}
        for seed in arguments.seeds:
            folder = arguments.out / called / f"seed-{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            rows[str(seed)] = row = measure(folder, bundle, seed)
            row |= shares(row)
            print(f"{called}, seed {seed}: {row}", flush=True)
        whole = {name: sum(row[name] for row in rows.values()) for name in _COUNTS}
        found[called] = {"seeds": rows, "all seeds": {**whole, **shares(whole)}}
        print(f"{called}, all seeds: {found[called]['all seeds']}", flush=True)
    print(f"{time.perf_counter() - begin:.0f} s, {time.process_time() - spent:.0f} CPU-seconds")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
