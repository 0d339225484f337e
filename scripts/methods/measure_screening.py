"""How far screening can be trusted, and what makes it better: against full sweeps of the embedded world.

    python scripts/methods/measure_screening.py --out FOLDER [--json FILE]
        [--classifiers breeds planted]
        [--segmenter linkjax-demo/segmenter]

Makes pairs and link (as `linkjax demo`), sweeps all units over 8 anchors of each class, and screens the same anchors
at one and at several places, and along the sweep's paths; then narrower sweeps, to see what the step does. What is in
FOLDER already is not made again. About an hour on 2 idle cores; 25 minutes with `--path-points --no-narrow`.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

from linkjax.demo.bundle import Bundle, open_bundle
from linkjax.demo.factors import BREEDS
from linkjax.devices import compile_cache
from linkjax.stages import PIPELINE
from scripts.methods.compare_screening import compare

_NARROW = ((25.0, 75.0), (40.0, 60.0))


def stage(name: str, out: Path, **settings: Any) -> Path:
    """Run a stage, unless its folder is there."""
    if not out.exists():
        module = next(stage.module for stage in PIPELINE if stage.name == name)
        module.run(module.Config(out=str(out), **settings))
    return out


def chain(folder: Path, bundle: Bundle, classifier: str) -> dict[str, Any]:
    """Pairs and link as the demo makes them; what later stages are told."""
    models = {"generator": bundle.path("generator"), "classifier": bundle.path(classifier)}
    drawn = {"class_names": BREEDS, "classes": tuple(range(len(BREEDS))), "truncation": 1.0, "batch_size": 50}
    pairs = stage("pairs", folder / "pairs", **models, **drawn, n_train=150, n_val=20, n_test=15)
    alphas = tuple(float(alpha) for alpha in np.logspace(-3, 3, 13))
    link = stage("link", folder / "link", pairs=str(pairs), method="ridge", alphas=alphas)
    return {**models, "pairs": str(pairs), "link": str(link), "segmenter": bundle.path("segmenter")}


def measure(folder: Path, bundle: Bundle, classifier: str, settings: argparse.Namespace) -> dict:
    """All rows of one classifier: name → rank correlations."""
    linked = chain(folder, bundle, classifier)
    if settings.segmenter is not None:
        linked["segmenter"] = str(settings.segmenter)
    samples, steps = settings.samples, settings.steps
    plain = {"steps": steps, "random_directions": 0, "picture_units": 0, "batch_size": 50, "samples": samples}

    def sweep(name: str, low: float, high: float) -> Path:
        return stage("sweep", folder / name, **linked, **plain, low=low, high=high)

    def screen(name: str, **settings: Any) -> Path:
        return stage("screen", folder / name, **linked, samples=samples, batch_size=10, low=2.5, high=97.5, **settings)

    full, rows = sweep(f"sweep-{steps}-steps", 2.5, 97.5), {}
    for places in settings.places:
        made = screen(f"screening-{places}", places=places)
        rows[f"{places} places"] = compare(made, full)
    for points in settings.path_points:
        paths = {"path_units": 1000, "path_points": points, "path_samples": samples}
        made = screen(f"paths-{points}", **paths)
        rows[f"integrated, {points} points"] = compare(made, full, paths=True)
    for low, high in () if settings.no_narrow else _NARROW:
        made = sweep(f"sweep-{steps}-steps-{low:.0f}", low, high)
        rows[f"swept over {low:.0f} … {high:.0f}"] = compare(folder / f"screening-{settings.places[0]}", made)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--classifiers", nargs="+", default=["breeds", "planted"])
    parser.add_argument("--samples", type=int, default=8, help="anchors of each class")
    parser.add_argument("--steps", type=int, default=3, help="of the sweeps")
    parser.add_argument("--places", nargs="+", type=int, default=[1, 2, 4], help="of the screenings")
    parser.add_argument("--path-points", nargs="*", type=int, default=[3])
    parser.add_argument("--segmenter", type=Path, help="a head of the demo's own training; none: the embedded one")
    parser.add_argument("--no-narrow", action="store_true", help="leave the narrower sweeps out")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    compile_cache.enable()
    bundle, found, begin = open_bundle(), {}, time.perf_counter()
    for classifier in arguments.classifiers:
        folder = arguments.out / classifier
        folder.mkdir(parents=True, exist_ok=True)
        found[classifier] = measure(folder, bundle, classifier, arguments)
        for name, row in found[classifier].items():
            by_metric = ", ".join(f"{metric} {value:.2f}" for metric, value in row["by metric"].items())
            print(f"{classifier}, {name}: pooled {row['pooled']:.3f} over {row['effects']}; {by_metric}")
    print(f"{time.perf_counter() - begin:.0f} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
