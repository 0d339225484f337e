"""How far steps of one standard deviation raise units of the embedded world: kernel, steering, scaled, local.

    python scripts/methods/measure_directions.py [--classifiers breeds planted] [--units 64] [--animals 4]
        [--json docs/figures/directions.json]

Animals are new ones, four of each breed to judge by and four of each to scale by; the links are the bundle's. Of every
unit are asked + and − one standard deviation within breeds, and the images are re-encoded. Told is, by unit (mean over
animals) and by single picture: own change obtained ÷ asked, and the root mean square change of the other units, in
their σ, per own change. Units stand behind a ReLU: what can be obtained of ± 1 σ, if a unit falls to 0 and no
further, is told beside it ("possible").

kernel    rows of the link
steer     its steering directions
scaled    steer, times 1 / the own change seen on the other animals, from 0.5 to 2
local     the Jacobian of the animal itself in the place of A, along the leading directions of Σ that have 99 % of its
          trace: as many derivatives for each animal (here differences over ± a quarter of a standard deviation)

About 50 000 images of 64 × 64: ten minutes on 2 idle cores.
"""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import linkjax
from linkjax.analysis.links import steering
from linkjax.analysis.metrics import parts
from linkjax.devices import compile_cache

_BATCH = 40
_LOCAL_LAMBDAS = (1.0, 10.0, 1e3)
_SMALL = 0.25  # standard deviations, of the differences that stand for derivatives


@jax.jit
def activations(models: Any, w: jax.Array) -> jax.Array:
    """Of the images drawn from w, as bytes."""
    return parts.draw_and_classify(models[0], models[1], None, w)[1].penultimate


def re_encoded(models: Any, w: np.ndarray) -> np.ndarray:
    """Activations of many latents, batch by batch."""
    padded = np.concatenate([w, np.repeat(w[-1:], -len(w) % _BATCH, axis=0)])
    found = [
        np.asarray(activations(models, jnp.asarray(padded[i : i + _BATCH]))) for i in range(0, len(padded), _BATCH)
    ]
    return np.concatenate(found)[: len(w)]


def raised(models: Any, w: np.ndarray, steps: np.ndarray, std: np.ndarray, units: np.ndarray) -> np.ndarray:
    """[A, K, units]: change of every unit, in its σ, per σ asked of each of K units.

    Args:
      steps: [K, w_dim] or, by animal, [A, K, w_dim], for one σ.
    """
    steps = np.broadcast_to(steps, (len(w), *steps.shape[-2:]))
    both = np.stack([w[:, None] + steps, w[:, None] - steps]).astype(np.float32)
    r = re_encoded(models, both.reshape(-1, w.shape[1])).reshape(2, len(w), len(units), -1)
    return (r[0] - r[1]) / 2 / np.where(std > 0, std, np.nan)


def possible(r: np.ndarray, std: np.ndarray) -> np.ndarray:
    """[units] own change per σ asked, up and down, of a unit that obeys but never falls below 0; r: [A, units]."""
    return 0.5 + 0.5 * np.mean(np.minimum(1.0, r / np.where(std > 0, std, np.nan)), axis=0)


def told(change: np.ndarray, units: np.ndarray, limit: np.ndarray) -> dict[str, float]:
    """Summary of `raised`, by unit and by single picture; limit: `possible` of all units."""
    own = change[:, np.arange(len(units)), units]
    others = np.nan_to_num(change)  # a unit that does not vary within breeds has no σ
    others[:, np.arange(len(units)), units] = 0.0
    count, mean = np.isfinite(change[0, 0]).sum() - 1, own.mean(axis=0)
    side = np.sqrt(np.sum(others.mean(axis=0) ** 2, axis=1) / count) / np.abs(mean)
    one = np.sqrt(np.sum(others**2, axis=2) / count) / np.maximum(np.abs(own), 0.05)
    found = {
        "fidelity": np.median(mean), "fidelity, of what is possible": np.median(mean / limit[units]),
        "within 0.8 ... 1.2": np.mean(np.abs(mean - 1) <= 0.2),
        "side effects per own change": np.median(side), "picture: fidelity": np.median(own),
        "picture: within 0.5 ... 1.5": np.mean(np.abs(own - 1) <= 0.5),
        "picture: error of own change, median": np.median(np.abs(own - 1)),
        "picture: side effects per own change": np.median(one),
    }  # fmt: skip
    return {name: round(float(value), 3) for name, value in found.items()}


def local_steps(
    models: Any, w: np.ndarray, covariance: np.ndarray, std: np.ndarray
) -> tuple[dict[float, np.ndarray], int]:
    """By λ the steps [A, units, w_dim] for one σ from each animal's own Jacobian, and how many directions it took."""
    axes = steering.leading_axes(covariance)
    count = axes.shape[1]
    ends = np.stack([w[:, None] + _SMALL * axes.T, w[:, None] - _SMALL * axes.T]).astype(np.float32)
    r = re_encoded(models, ends.reshape(-1, w.shape[1])).reshape(2, len(w), count, -1).astype(np.float64)
    found: dict[float, list[np.ndarray]] = {lam: [] for lam in _LOCAL_LAMBDAS}
    for change in (r[0] - r[1]) / (2 * _SMALL):  # [count, units], by animal
        for lam in found:
            found[lam].append(np.nan_to_num(steering.local(axes, change, std, lam) * std[:, None]))
    return {lam: np.stack(steps) for lam, steps in found.items()}, count


def measure(classifier: str, most: int, animals: int) -> dict[str, Any]:
    """All rows of a classifier."""
    study = linkjax.demo_study(classifier)  # pyright: ignore[reportArgumentType]
    link, models = study.link, (study.generator, study.classifier)
    std, steer, kernel = (np.asarray(each, np.float64) for each in (link.unit_std, link.steer, link.kernel[...]))
    units = (
        np.unique(np.linspace(0, len(std) - 1, most).round().astype(int)) if most < len(std) else np.arange(len(std))
    )
    units = units[np.isfinite(steer[units]).all(axis=1)]
    other, judged = (
        np.concatenate(
            [
                linkjax.sample(study, jax.random.key(seed + 2 * k), range(10), range_samples=1)["w"]
                for k in range(animals)
            ]
        )
        for seed in (101, 102)
    )
    limit = possible(re_encoded(models, judged), std)
    by_sigma = steer[units] * std[units, None]
    seen = raised(models, other, by_sigma, std, units)[:, np.arange(len(units)), units].mean(axis=0)
    rows = {"kernel": kernel[units] * std[units, None], "steer": by_sigma, "scaled": steering.scaled(by_sigma, seen)}
    local, count = local_steps(models, judged, np.asarray(link.covariance, np.float64), std)
    rows |= {f"local, lambda {lam:g}": steps[:, units] for lam, steps in local.items()}
    found: dict[str, Any] = {"units": len(units), "lambda": link.spec.steer_lambda, "derivatives for an animal": count}
    found |= {"animals": len(judged), "possible": round(float(np.median(limit[units])), 3)}
    for name, steps in rows.items():
        found[name] = told(raised(models, judged, steps, std, units), units, limit)
        print(f"{classifier}, {name}: {found[name]}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--classifiers", nargs="+", default=["breeds", "planted"])
    parser.add_argument("--units", type=int, default=64, help="of each classifier, evenly spread, at most")
    parser.add_argument("--animals", type=int, default=4, help="of each breed")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    compile_cache.enable()
    begin = time.perf_counter()
    found = {each: measure(each, arguments.units, arguments.animals) for each in arguments.classifiers}
    print(f"{time.perf_counter() - begin:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps({"cores": os.cpu_count(), **found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
