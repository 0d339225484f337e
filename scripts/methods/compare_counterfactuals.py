"""Every method of `linkjax counterfactual` on the same searches, against the original's recipe.

    python scripts/methods/compare_counterfactuals.py demo [--json docs/figures/counterfactuals.json]
    python scripts/methods/compare_counterfactuals.py full [--json docs/figures/counterfactuals_full.json]

demo: the embedded world's `breeds`, one sample of each breed towards 3 others (27 searches), all nine methods and the
recipe at the paper's own start and step; 3 minutes on 2 cores.
full: the imagenet256 architecture and a full-width ResNet-50 with random weights, one search, few rounds, each program
compiled and run by itself; 6 minutes on 2 cores. Random weights say what a method costs there, not what it
finds. A program that asks for more memory than is free is only compiled; through the image a search at 256² takes
7.9 GiB.
"""

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from linkjax import cli
from linkjax.analysis.counterfactuals import counterfactual, minimal
from linkjax.analysis.counterfactuals.counterfactual import Outcome
from linkjax.demo.bundle import open_bundle
from linkjax.demo.factors import BREEDS
from linkjax.models import build
from linkjax.models.classifier import Classifier
from linkjax.models.classifier_spec import classifier_spec
from linkjax.models.generator_spec import imagenet_spec
from linkjax.models.link import Link, LinkSpec
from linkjax.models.stylegan_xl import Generator
from linkjax.stages.counterfactual.settings import MINIMAL
from linkjax.storage import artifacts

_SHOWN = ("images", "distance_l1", "distance_r", "distance_whitened", "distance_w", "units_most", "probability_target")
_OWN = {"l1": "distance_l1", "l2": "distance_r", "whitened": "distance_whitened"}  # what each penalty keeps small


def _stage(*arguments: Any) -> None:
    if cli.main([str(argument) for argument in arguments]):
        raise SystemExit(f"{arguments[0]} failed")


def demo(folder: Path) -> dict[str, Any]:
    """All methods on the embedded world."""
    bundle = open_bundle()
    models = ["--generator", bundle.path("generator"), "--classifier", bundle.path("breeds")]
    counts = ["--n-train", 150, "--n-val", 20, "--n-test", 15, "--truncation", 1, "--batch-size", 50]
    _stage("pairs", *models, "--classes", *range(len(BREEDS)), *counts, "--out", folder / "pairs")
    alphas = [f"{alpha:.6g}" for alpha in np.logspace(-3, 3, 13)]
    link = ["--pairs", folder / "pairs", "--method", "ridge", "--alphas", *alphas]
    _stage("link", *link, "--out", folder / "link")
    shared = [*models, "--pairs", folder / "pairs", "--link", folder / "link", "--samples", 1, "--targets", 0, 1, 2,
              "--pictures", 0, "--batch-size", 27, "--path-points", 5, "--path-beyond", 2]  # fmt: skip
    nearer = ["--start", "zero", "--step-size", 0.1, "--max-steps", 200, "--check-every", 5]
    rows, seconds = [], {}
    runs = {
        "original, paper's settings": ["--methods", "original", "--check-every", 10],
        "original": ["--methods", "original", *nearer],
        **{method: ["--methods", method] for method in MINIMAL},
    }
    found = {}
    for name, flags in runs.items():
        out = folder / name.replace(" ", "_").replace(",", "").replace("'", "")
        start = time.perf_counter()
        _stage("counterfactual", *shared, *flags, "--out", out)
        seconds[name] = time.perf_counter() - start
        made = artifacts.Artifact(out, "counterfactual")
        found[name] = {key: made.read(key) for key in ("outcome", *_SHOWN)}
        numbers, along = made.summary["methods"][0], made.summary["paths"][0]
        rows.append({**along, **numbers, "method": name, "seconds": round(seconds[name], 1)})
    return {"searches": len(found["original"]["outcome"]), "rows": rows, "image against head": _paired(found)}


def _paired(found: dict[str, dict[str, np.ndarray]]) -> dict[str, Any]:
    """Through the image against through the head, over the searches that both flipped."""
    pairs_of = {}
    for penalty, distance in _OWN.items():
        head, image = found[f"head_{penalty}"], found[f"image_{penalty}"]
        both = (head["outcome"] == int(Outcome.REACHED)) & (image["outcome"] == int(Outcome.REACHED))
        if both.any():
            ratio = image[distance][both] / head[distance][both]
            pairs_of[penalty] = {
                "searches": int(both.sum()),
                "distance": distance,
                "ratio_quartiles": np.quantile(ratio, (0.25, 0.5, 0.75)).tolist(),
                "images_ratio": float(np.median(image["images"][both] / head["images"][both])),
            }
    return pairs_of


def full(resolution: int) -> dict[str, Any]:
    """A very small search by each kind of method at full size."""
    generator = build.random(Generator, imagenet_spec(resolution), 0)
    classifier = build.random(Classifier, classifier_spec("resnet50"), 1)
    rng = np.random.default_rng(0)
    z, label = jnp.asarray(rng.normal(size=(1, generator.spec.z_dim)), jnp.float32), jnp.asarray([207])
    w = generator.mapping(z, label)
    rows = []
    seen = _timed("one image", rows, jax.jit(_see), (generator, classifier), w)
    r, logits = seen.penultimate, seen.logits
    kernel = rng.normal(size=(r.shape[1], generator.spec.w_dim)).astype(np.float32) / np.float32(np.linalg.norm(r))
    spec = LinkSpec(r.shape[1], generator.spec.w_dim)
    link = build.fill(Link, spec, {"kernel": kernel, "bias": np.zeros(generator.spec.w_dim, np.float32)})
    origin = jnp.argmax(logits, axis=1).astype(jnp.int32)
    target = (origin + 1) % logits.shape[1]
    models = minimal.SearchModels(generator, classifier, link, None)
    start = jnp.zeros_like(r)
    recipe = counterfactual.Recipe(max_steps=1)
    search, pair = counterfactual.search, (generator, classifier)
    _timed("original", rows, search, classifier, link, r, origin, target, start, pair, recipe=recipe)
    for name, settings in (
        ("closed_form", minimal.Minimal("l2", "plane", rounds=2)),
        ("head_l2", minimal.Minimal("l2", "head", rounds=2, iterations=40)),
        ("image_l2", minimal.Minimal("l2", "image", rounds=1, iterations=3)),
    ):
        _timed(name, rows, minimal.search, models, r, origin, target, recipe=settings)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {"resolution": resolution, "rows": rows, "peak_gib": round(peak, 2)}


def _see(models: tuple[Any, Any], w: jax.Array) -> Any:
    generator, classifier = models
    return classifier(classifier.preprocess(generator.synthesis(w)))


def _timed(name: str, rows: list[dict[str, Any]], function: Any, *arguments: Any, **settings: Any) -> Any:
    """Compile, run once if memory allows; note both times, the temporaries, and what a search says of itself."""
    begin = time.perf_counter()
    compiled = function.lower(*arguments, **settings).compile()
    middle = time.perf_counter()
    needed = compiled.memory_analysis().temp_size_in_bytes
    row: dict[str, Any] = {"method": name, "compile_seconds": round(middle - begin, 1)}
    row["temporaries_gib"] = round(needed / 2**30, 2)
    if needed > 0.9 * os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"):
        rows.append(row | {"outcome": "not run: too little memory"})
        print(rows[-1], flush=True)
        return None
    output = jax.block_until_ready(compiled(*arguments))
    row["seconds"] = round(time.perf_counter() - middle, 1)
    found: Any = output[0] if type(output) is tuple else output
    if hasattr(found, "images"):
        row |= {"images": int(found.images[0]), "outcome": Outcome(int(found.outcome[0])).name.lower()}
        row |= {"distance_r": float(found.distance_r[0]), "probability_target": float(found.probability[0])}
    rows.append(row)
    print(row, flush=True)
    return output


def show(figures: dict[str, Any]) -> None:
    """A table of the rows' numbers."""
    table = Table(title=figures["machine"], title_justify="left")
    keys = [
        key
        for key in dict.fromkeys(key for row in figures["rows"] for key in row)
        if all(isinstance(row.get(key), str | int | float | None) for row in figures["rows"])
    ]
    for key in keys:
        table.add_column(key, justify="left" if key == "method" else "right")
    for row in figures["rows"]:
        values = (row.get(key) for key in keys)
        table.add_row(*(f"{x:.3g}" if isinstance(x, float) else "–" if x is None else str(x) for x in values))
    Console(width=240).print(table)
    if "image against head" in figures:
        print(json.dumps(figures["image against head"], indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", choices=("demo", "full"))
    parser.add_argument("--resolution", type=int, default=256, help="of the full-size generator; smaller for a trial")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    begin = time.perf_counter()
    if arguments.size == "demo":
        with tempfile.TemporaryDirectory() as folder:
            figures = demo(Path(folder))
    else:
        figures = full(arguments.resolution)
    figures["machine"] = f"{platform.machine()}, {os.cpu_count()} cores"
    figures["seconds"] = round(time.perf_counter() - begin)
    show(figures)
    if arguments.json:
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
