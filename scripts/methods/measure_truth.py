"""Does "which effect is strongest" have one answer? By the renderer and the tables of planted units alone.

    python scripts/methods/measure_truth.py --sweep linkjax-demo/planted-sweep [--json docs/figures/truth.json]

Of the embedded table of units and those of the other worlds, at λ → 0 and at λ = 1, for the animals of a sweep and in
its spread of metrics: of how many selective units the second strongest effect in truth is within 2 % and 5 % of the
first, and how often both λ have the same strongest effect. No model is asked; the sweep tells its animals and their
measured spread. A minute or two.
"""

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import jax.numpy as jnp
import numpy as np

from linkjax.analysis.metrics import measurements
from linkjax.analysis.pairs import named_latents
from linkjax.demo import score, truth
from linkjax.demo.factors import Z_DIM, factors_of
from linkjax.storage import artifacts
from scripts.demo import planted


def effects(rows: list[dict[str, Any]], lam: float | None, factors: np.ndarray, std: np.ndarray) -> np.ndarray:
    """[units, parts, metrics]: mean over animals of the change for ± 1.5 σ of each unit, per σ."""
    ends = np.broadcast_to(1.5 * std[None, :, None] * np.array([-1.0, 1.0]), (len(factors), len(rows), 2))
    drawn = measurements.unwrapped(truth.measure_truth(truth.raising(rows, lam), factors, ends), axis=2)
    return np.mean(drawn[:, :, 1] - drawn[:, :, 0], axis=0) / 3.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweep", type=Path, required=True, help="folder of a sweep of planted units with parts")
    parser.add_argument("--seed", type=int, default=0, help="of the pairs whose animals it starts from")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    sweep = artifacts.Artifact(arguments.sweep, "sweep")
    baseline, label, sample = (sweep.read(name) for name in ("baseline", "label", "sample_id"))
    z = named_latents(arguments.seed, label, sample, Z_DIM)
    factors = np.asarray(factors_of(jnp.asarray(z), jnp.asarray(label, jnp.int32)))
    spread = measurements.spread(baseline, tuple(measurements.METRICS))
    ranked = np.zeros(spread.shape, bool)
    ranked[1:, [list(measurements.METRICS).index(name) for name in score.RANKED]] = True
    found: dict[str, Any] = {}
    for world in (planted.EMBEDDED, *planted.OTHERS):
        rows = [{"unit": unit, **dataclasses.asdict(row)} for unit, row in enumerate(planted.units(world))]
        std = np.sqrt(truth.within_breeds(rows).variance)
        selective = np.asarray([row["kind"] != "noise" for row in rows])
        told = {"lambda 0": effects(rows, None, factors, std), "lambda 1": effects(rows, 1.0, factors, std)}
        usable = ranked & (spread > 0) & np.all([np.isfinite(each[selective]).all(axis=0) for each in told.values()], 0)
        strengths = {name: np.abs(each[:, usable] / spread[usable]) for name, each in told.items()}
        found[world] = {
            "same strongest": float(np.mean(np.equal(*(s.argmax(1) for s in strengths.values()))[selective]))
        }
        for name, strength in strengths.items():
            ordered = np.sort(np.nan_to_num(strength), axis=1)
            close = ordered[selective, -2] / ordered[selective, -1]
            within = {f"second within {100 - share} %": int((close >= share / 100).sum()) for share in (98, 95)}
            found[world][name] = within
        print(world, found[world], flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
