"""What the penalty of a link does to sweeps: predictions from pairs alone, against real sweeps at some penalties.

    python scripts/methods/measure_alpha.py --out FOLDER [--alphas 0.1 1 3.1622776601683795 31.622776601683793]
        [--json docs/figures/alpha.json]

For every alpha tried: held-out R², and medians over units of predicted fidelity, length of a step and directness. At
`--alphas`, a sweep of all units of `breeds` over 2 anchors of each class, and a screening of the same anchors: measured
fidelity, its rank correlation with the predicted one over units, rank correlation of the effects of the two halves
of the anchors, and of screened with swept effects. Pairs are those of `measure_screening.py`, if FOLDER is the same.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import jax.numpy as jnp
import numpy as np

import linkjax
from linkjax.analysis.finite import finite_mean
from linkjax.analysis.links import stability
from linkjax.analysis.metrics import measurements
from linkjax.analysis.ranks import rank_correlation
from linkjax.analysis.units import screening
from linkjax.analysis.units.selectivity import anchor_slopes
from linkjax.demo.bundle import open_bundle
from linkjax.devices import compile_cache
from linkjax.stages import inputs
from linkjax.storage import artifacts, manifest
from linkjax.storage.swept_values import read_asked
from scripts.methods.compare_screening import compare
from scripts.methods.measure_screening import chain, stage


def halves(sweep: artifacts.Artifact) -> float:
    """Rank correlation of the effects on parts in the two halves of the anchors, in the metrics of a screening."""
    data = sweep.open()
    read = {name: sweep.read(name) for name in ("measured", "unit", "unit_std", "baseline")}
    arrays = (read_asked(sweep, data), measurements.unwrapped(read["measured"], axis=2), read["unit_std"][read["unit"]])
    slopes = np.asarray(anchor_slopes(*map(jnp.asarray, arrays)), np.float64)
    columns = [artifacts.names(data, "metric").index(name) for name in screening.METRICS]
    spread = measurements.spread(read["baseline"], artifacts.names(data, "metric"))
    scaled = [(finite_mean(slopes[half::2]) / spread)[:, 1:][..., columns] for half in (0, 1)]
    both = np.isfinite(scaled[0]) & np.isfinite(scaled[1])
    return rank_correlation(scaled[0][both], scaled[1][both])


def measure(folder: Path, linked: dict[str, Any], alpha: float) -> dict[str, float]:
    """A link of this penalty, its sweep and its screening."""
    name = f"{alpha:.3g}"
    link = stage("link", folder / f"link-{name}", pairs=linked["pairs"], method="ridge", alpha=alpha)
    with_link = {**linked, "link": str(link)}
    # A penalty is the kernel's; steering directions do not depend on it.
    shared = {"low": 2.5, "high": 97.5, "samples": 2, "directions": "kernel"}
    plain = {"range": "link", "steps": 3, "random_directions": 0, "picture_units": 0, "batch_size": 50}
    sweep = stage("sweep", folder / f"sweep-alpha-{name}", **with_link, **plain, **shared)
    screened = stage("screen", folder / f"screening-alpha-{name}", **with_link, **shared, batch_size=10)
    swept = artifacts.Artifact(sweep, "sweep")
    fidelity = swept.read("fidelity")
    pairs = artifacts.Artifact(Path(linked["pairs"]), "pairs")
    w, r, label = (inputs.spread_rows(pairs, each, "train", 16384) for each in ("w", "r", "label"))
    kernel = np.asarray(linkjax.load(link).kernel[...])
    predicted = stability.measure(kernel, stability.fit_inverse(w, r, label)).fidelity
    live = np.isfinite(fidelity) & np.isfinite(predicted)
    return {
        "fidelity": float(np.median(fidelity[live])),
        "predicted": float(np.median(predicted[live])),
        "agreement over units": rank_correlation(fidelity[live], predicted[live]),
        "two halves of the anchors": halves(swept),
        "screened and swept": compare(screened, sweep)["pooled"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--alphas", nargs="+", type=float, default=[0.1, 1.0, 10**0.5, 10**1.5])
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    compile_cache.enable()
    bundle, begin = open_bundle(), time.perf_counter()
    folder = arguments.out / "breeds"
    folder.mkdir(parents=True, exist_ok=True)
    linked = chain(folder, bundle, "breeds")
    every = tuple(float(alpha) for alpha in np.logspace(-3, 3, 13))
    chosen = stage("link", folder / "link-stable", pairs=linked["pairs"], method="ridge", alphas=every, choose="stable")
    told = manifest.read(chosen)["source"]["diagnostics"]
    for row in told["steps"]:
        print(", ".join(f"{name} {value:.3g}" for name, value in row.items()))
    print(f"chosen for stable sweeps: {told['alpha']:.3g}")
    found: dict[str, Any] = {"tried": told["steps"], "stable": told["alpha"], "swept": {}}
    for alpha in arguments.alphas:
        found["swept"][f"{alpha:.3g}"] = row = measure(folder, linked, alpha)
        print(f"alpha {alpha:.3g}: " + ", ".join(f"{name} {value:.3f}" for name, value in row.items()))
    print(f"{time.perf_counter() - begin:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
