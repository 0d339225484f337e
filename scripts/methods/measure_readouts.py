"""What is linear in r is raised as units are: fidelity of logits and of differences of classes, on the embedded world.

    python scripts/methods/measure_readouts.py [--json docs/figures/readouts.json]

`breeds`, one new animal of each breed (seed 3, 40 more of each for the ranges): the 10 logits, the 45 differences of
two, and the 128 units beside them, set to the 2.5th and 97.5th percentile of the animal's own breed; 12 random
directions.
"""

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import xarray as xr

import linkjax
from linkjax.demo.factors import BREEDS
from linkjax.devices import compile_cache


def told(swept: xr.Dataset) -> dict[str, Any]:
    """The main numbers of a sweep."""
    live = swept["flag"].values == 0
    fidelity = swept["fidelity"].values[live]
    q = linkjax.select(swept, None, fdr=0.05)
    found = {
        "raised": int(live.sum()),
        "median fidelity": float(np.median(fidelity)),
        "within 0.8 … 1.2": float(np.mean(np.abs(fidelity - 1) <= 0.2)),
        "with a significant effect": len(np.unique(q["unit"].values)),
    }
    if "r2" in swept:
        found |= {"median R²": float(np.nanmedian(swept["r2"].values[live])),
                  "independent directions": swept.attrs["summary"]["readouts_rank"]}  # fmt: skip
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    compile_cache.enable()
    study, breeds = linkjax.demo_study("breeds"), range(len(BREEDS))
    anchors = linkjax.sample(study, jax.random.key(3), breeds, range_samples=40)
    asked = {"steps": 2, "low": 2.5, "high": 97.5, "random_directions": 12, "picture_units": 0}
    pairs = [f"{a}:{b}" for a, b in itertools.combinations(breeds, 2)]
    found = {
        name: told(linkjax.sweep(study, anchors, **asked, **given))
        for name, given in (
            ("logits", {"readouts": ["logits"]}),
            ("differences of two classes", {"readouts": pairs}),
            ("units", {}),
        )
    }
    for name, row in found.items():
        print(f"{name}: {row}")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
