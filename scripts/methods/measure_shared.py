"""What the steps of planted units share: by the link, and in truth, from these animals and from others.

    python scripts/methods/measure_shared.py [--seeds 22 23] [--json docs/figures/shared_directions.json]

Shared directions of steering steps (`linkjax.analysis.units.shared_directions`) of the bundle's link, and of the
factors themselves from 8192 animals (`linkjax.demo.truth`): how many, with what share of the squared lengths; what part
of these lengths is noise units', which w and the factors barely determine; whether other animals give the same
directions; and how like the steps and own remainders of these are. Beside it the link of `breeds`, which has no truth.
No image is drawn: seconds.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import linkjax
from linkjax.analysis.links import steering
from linkjax.analysis.units.shared_directions import Shared, shared_directions
from linkjax.demo import truth
from linkjax.demo.bundle import open_bundle


def told(spectrum: steering.Spectrum, lam: float, noise: np.ndarray) -> tuple[Shared, dict[str, Any]]:
    """Shared directions, and how the lengths are spread over units."""
    found = shared_directions(spectrum, lam)
    of_kind = {"selective": ~noise, "noise": noise} if noise.any() else {"all": ~noise}
    length2 = (spectrum.std * steering.mahalanobis(spectrum, steering.directions(spectrum, lam))) ** 2
    heaviest = np.sort(length2)[::-1]
    return found, {
        "shared directions": len(found.directions),
        "share of squared lengths": [round(float(each), 3) for each in found.share],
        **(
            {"squared lengths that are noise units'": round(float(length2[noise].sum() / length2.sum()), 3)}
            if noise.any()
            else {}
        ),
        "... the two longest units'": round(float(heaviest[:2].sum() / length2.sum()), 3),
        **{f"own share, median: {kind}": _median(found.own_share[units]) for kind, units in of_kind.items()},
        **{f"R2, median: {kind}": _median(spectrum.r2[units]) for kind, units in of_kind.items()},
        "units of whose step half or more is left": int((found.own_share >= 0.5).sum()),
    }


def _median(values: np.ndarray) -> float:
    return round(float(np.nanmedian(values)), 3)


def cosines(spectrum: steering.Spectrum, a: np.ndarray, b: np.ndarray) -> list[float]:
    """Of the principal angles between two spans, whitened."""
    spans = [np.linalg.qr(spectrum.to_axes @ each.T)[0] for each in (a, b)]
    return [round(float(each), 2) for each in np.linalg.svd(spans[0].T @ spans[1], compute_uv=False)]


def alike(spectrum: steering.Spectrum, a: np.ndarray, b: np.ndarray, of: np.ndarray) -> dict[str, float]:
    """Cosines of the rows of two sets of steps, whitened: median and least of those that both have."""
    a, b = (each[of] @ spectrum.to_axes.T for each in (a, b))
    found = np.sum(a * b, axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    found = found[np.isfinite(found)]
    return {"median": round(float(np.median(found)), 2), "least": round(float(found.min()), 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[22, 23], help="of other animals")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    rows, link = open_bundle().units, linkjax.demo_study("planted").link
    lam = float(link.spec.steer_lambda)
    noise = np.asarray([row["kind"] == "noise" for row in rows])
    spectrum = steering.spectrum(truth.within_breeds(rows))
    mine, in_truth = told(spectrum, lam, noise)
    found: dict[str, Any] = {"lambda": lam, "link": told(steering.of_link(link), lam, noise)[1], "truth": in_truth}
    breeds = linkjax.demo_study("breeds").link
    everyone = np.zeros(breeds.spec.units, bool)
    found["link of breeds"] = told(steering.of_link(breeds), float(breeds.spec.steer_lambda), everyone)[1]
    for seed in arguments.seeds:
        others = steering.spectrum(truth.within_breeds(rows, seed))
        theirs, row = told(others, lam, noise)
        steps = [steering.directions(each, lam) for each in (spectrum, others)]
        found[f"truth of other animals, seed {seed}"] = row | {
            "cosines of the angles between shared directions": cosines(spectrum, mine.directions, theirs.directions),
            "steps of selective units": alike(spectrum, *steps, ~noise),
            "own remainders of selective units": alike(spectrum, mine.own, theirs.own, ~noise),
            "steps of noise units": alike(spectrum, *steps, noise),
            "own remainders of noise units": alike(spectrum, mine.own, theirs.own, noise),
        }
    print(json.dumps(found, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
