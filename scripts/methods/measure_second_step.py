"""A second step towards what is missing: does it bring single pictures nearer to what was asked?

    python scripts/methods/measure_second_step.py [--classifiers breeds planted] [--units 24]
        [--json docs/figures/second_step.json]

Of every unit are asked + and − one standard deviation within breeds, of ten new animals, one of each breed, along
steering directions. What the re-encoded image has then says what is missing, and the image is drawn once more along the
same direction, from 0 to --most times as far as the first step. That is the trust region: steering steps are nearly the
shortest, so that it bounds their Mahalanobis length.

again     1 + missing times as far: the slope that all pairs predict
secant    1 / obtained times as far: the slope that this picture showed; where it showed less than a quarter of what was
          asked, or the opposite, the step stays as it was
local     one step, from the animal's own Jacobian, beside them

About 3000 images of 64 × 64 a classifier: two minutes on an idle core.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import jax
import numpy as np

import linkjax
from linkjax.devices import compile_cache
from scripts.methods.measure_directions import local_steps, re_encoded

_LEAST = 0.25  # of what was asked: a slope below it says more of the picture than of the direction


def told(change: np.ndarray, units: np.ndarray) -> dict[str, float]:
    """Of changes [2 signs, animals, K, units], in σ and towards what was asked: how near, and what else moved."""
    own = change[:, :, np.arange(len(units)), units]
    others = np.nan_to_num(change)
    others[:, :, np.arange(len(units)), units] = 0.0
    side = np.sqrt(np.sum(others**2, axis=-1) / (np.isfinite(change[0, 0, 0]).sum() - 1))
    found = {
        "fidelity, median unit": np.median(own.mean(axis=(0, 1))),
        "picture: error of own change, median": np.median(np.abs(own - 1)),
        "picture: error of own change, mean": np.mean(np.abs(own - 1)),
        "picture: within 0.5 ... 1.5": np.mean(np.abs(own - 1) <= 0.5),
        "picture: side effects per own change": np.median(side / np.maximum(np.abs(own), 0.05)),
    }
    return {name: round(float(value), 3) for name, value in found.items()}


def measure(classifier: str, most_units: int, most: float) -> dict[str, Any]:
    """All rows of a classifier."""
    study = linkjax.demo_study(classifier)  # pyright: ignore[reportArgumentType]
    link, models = study.link, (study.generator, study.classifier)
    std, steer = (np.asarray(each, np.float64) for each in (link.unit_std, link.steer))
    units = np.unique(np.linspace(0, len(std) - 1, min(most_units, len(std))).round().astype(int))
    units = units[np.isfinite(steer[units]).all(axis=1)]
    w = linkjax.sample(study, jax.random.key(103), range(10), range_samples=1)["w"].values
    sign, start = np.array([1.0, -1.0])[:, None, None], re_encoded(models, w)

    def changed(steps: np.ndarray) -> np.ndarray:
        moved = (w[None, :, None] + steps).astype(np.float32)
        r = re_encoded(models, moved.reshape(-1, w.shape[1])).reshape(*moved.shape[:3], -1)
        return sign[..., None] * (r - start[None, :, None]) / np.where(std > 0, std, np.nan)

    first = np.broadcast_to(sign[..., None] * steer[units] * std[units, None], (2, len(w), len(units), w.shape[1]))
    begun = changed(first)
    own = begun[:, :, np.arange(len(units)), units]
    secant = np.where(own >= _LEAST, 1.0 / np.maximum(own, _LEAST), 1.0)
    rows = {"one step": begun}
    for name, far in (("again", 2.0 - own), ("secant", secant)):
        rows[name] = changed(np.clip(far, 0.0, most)[..., None] * first)
    local, _ = local_steps(models, w, np.asarray(link.covariance, np.float64), std)
    rows["local"] = changed(sign[..., None] * local[10.0][None, :, units])
    found = {name: told(change, units) for name, change in rows.items()}
    for name, row in found.items():
        print(f"{classifier}, {name}: {row}", flush=True)
    return {"units": len(units), **found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classifiers", nargs="+", default=["breeds", "planted"])
    parser.add_argument("--units", type=int, default=24, help="of each classifier, evenly spread, at most")
    parser.add_argument("--most", type=float, default=2.0, help="times as far as the first step, at most")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    compile_cache.enable()
    begin = time.perf_counter()
    found = {each: measure(each, arguments.units, arguments.most) for each in arguments.classifiers}
    print(f"{time.perf_counter() - begin:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps({"most": arguments.most, **found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
