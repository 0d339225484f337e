"""What synthesis in bfloat16, float16 and TF32 costs in accuracy: images, activations, classes, sweeps, screening.

    python scripts/numerics/measure_precision.py [--images 200] [--units 16] [--anchors 10] [--architecture 32]
        [--out FILE]

On the embedded world, everything but the precision of the synthesis network alike: the same w, link and anchors. About
10 minutes on 2 idle cores, where half precision is emulated (computed in float32 on rounded values): these are errors,
not times. TF32 is measured where there is some, not on a CPU. `--architecture` adds images of the published ImageNet
architecture of that resolution with random weights (256: about 5 GiB).
"""

import argparse
import functools
import json
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[2]))

import linkjax
from linkjax import numerics
from linkjax.analysis.metrics import measurements
from linkjax.analysis.pairs import named_latents
from linkjax.analysis.ranks import rank_correlation
from linkjax.analysis.units import asked, screening, sweep
from linkjax.analysis.units.selectivity import anchor_slopes
from linkjax.demo import factors
from linkjax.demo.bundle import open_bundle
from linkjax.models import build
from linkjax.models.generator_spec import imagenet_spec
from linkjax.models.stylegan_xl import Generator

BATCH = 20
STEPS = 3


@jax.jit
def encode(generator: Any, classifier: Any, w: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Images, activations and logits."""
    images = generator.synthesis(w)
    found = classifier(classifier.preprocess(images))
    return images, found.penultimate, found.logits


def batches(function: Any, *arrays: np.ndarray) -> list[np.ndarray]:
    """`function` over the leading axis, `BATCH` items at a time (their number must be a multiple of it)."""
    parts = [function(*(each[i : i + BATCH] for each in arrays)) for i in range(0, len(arrays[0]), BATCH)]
    return [np.concatenate(field) for field in zip(*(map(np.asarray, part) for part in parts), strict=True)]


def image_errors(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Of images in [-1, 1]: relative to the largest value, and in levels of a byte."""
    a, b = (np.asarray(numerics.to_uint8(jnp.asarray(each))).astype(int) for each in (found, true))
    return {
        "largest": float(np.abs(found - true).max() / np.abs(true).max()),
        "rms": float(np.sqrt(np.mean((found - true) ** 2)) / np.abs(true).max()),
        "bytes_that_differ": float(np.mean(a != b)),
        "largest_byte_difference": int(np.abs(a - b).max()),
    }


def activation_errors(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Of activations, in standard deviations of each unit over the images (dead units left out)."""
    std = true.std(axis=0)
    away = np.abs(found - true)[:, std > 0] / std[std > 0]
    cosine = np.sum(found * true, axis=1) / (np.linalg.norm(found, axis=1) * np.linalg.norm(true, axis=1))
    return {
        "rms_sd": float(np.sqrt(np.mean(away**2))),
        "p999_sd": float(np.percentile(away, 99.9)),
        "largest_sd": float(away.max()),
        "least_cosine": float(cosine.min()),
    }


def logit_errors(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Of class scores, in their standard deviation, and of the class."""
    return {
        "largest_sd": float(np.abs(found - true).max() / true.std()),
        "same_top1": float(np.mean(found.argmax(axis=1) == true.argmax(axis=1))),
    }


def swept(
    generator: Any, classifier: Any, link: Any, segmenter: Any, w: np.ndarray, r: np.ndarray, images: np.ndarray,
    units: np.ndarray, ranges: Any,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Slopes by (anchor, unit, part, metric) and the units' fidelity by anchor, as the stage measures them."""
    ends = asked.Ends(
        *(np.broadcast_to(np.asarray(end)[units], (len(w), len(units))) for end in (ranges.low, ranges.high))
    )
    values = asked.values_over(ends, STEPS)
    anchor, unit, step = (i.ravel() for i in np.indices((len(w), len(units), STEPS)))
    run = functools.partial(sweep.sweep_step, generator, classifier, link, segmenter=segmenter)

    def one(anchor: np.ndarray, unit: np.ndarray, step: np.ndarray) -> tuple[Any, Any]:
        found = run(w[anchor], r[anchor], images[anchor], units[unit].astype(np.int32), values[anchor, unit, step])
        return found.metrics, found.r[np.arange(len(unit)), units[unit]]

    metrics, own = batches(one, anchor, unit, step)
    shape = (len(w), len(units), STEPS)
    measured = measurements.unwrapped(metrics.reshape(*shape, *metrics.shape[1:]), axis=2)
    std = jnp.asarray(np.asarray(ranges.std)[units])
    fidelity = anchor_slopes(jnp.asarray(values), jnp.asarray(own.reshape(shape)), jnp.ones_like(std))
    return {
        "slopes": np.asarray(anchor_slopes(jnp.asarray(values), jnp.asarray(measured), std)),
        "fidelity": np.asarray(fidelity),
    }


def effect_errors(found: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Of effects (means over anchors), in their standard errors; only where float32's are defined and vary."""
    a, b = found.mean(axis=0), true.mean(axis=0)
    error = true.std(axis=0, ddof=1) / np.sqrt(len(true))
    known = np.isfinite(a) & np.isfinite(b) & (error > 0)
    away = np.abs(a - b)[known] / error[known]
    correlations = [  # by metric (and part), which have units of their own
        rank_correlation(x[ok], y[ok])
        for x, y, ok in zip(*(each.reshape(len(each), -1).T for each in (a, b, known)), strict=True)
        if ok.sum() > 2 and np.ptp(x[ok]) > 0 and np.ptp(y[ok]) > 0
    ]
    return {
        "median_se": float(np.median(away)),
        "p95_se": float(np.percentile(away, 95)),
        "largest_se": float(away.max()),
        "median_rank_correlation": float(np.median(correlations)) if correlations else None,
        "effects": int(known.sum()),
    }


def screened(generator: Any, segmenter: Any, w: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Derivatives of every metric for every unit, [anchors, units, parts, metrics]."""
    basis = jnp.eye(w.shape[1])
    found = jax.jit(functools.partial(screening.derivatives, mode="forward"))(generator, segmenter, w, basis)
    return np.asarray(screening.unit_effects(found.slopes, jnp.asarray(kernel)))


def embedded(given: argparse.Namespace, precisions: list[numerics.Precision]) -> dict[str, Any]:
    """Everything on the embedded world."""
    bundle = open_bundle()
    generator, classifier, segmenter = (
        linkjax.load(bundle.path(name)) for name in ("generator", "breeds", "segmenter")
    )
    count = -(-given.images // BATCH) * BATCH
    label, ids = np.arange(count, dtype=np.int32) % len(factors.BREEDS), np.arange(count)
    w = np.asarray(generator.mapping(named_latents(0, label, ids, generator.spec.z_dim), label))
    true = batches(functools.partial(encode, generator, classifier), w)
    link = linkjax.fit_link(true[1], w, method="ridge", alpha=10.0)
    ranges = sweep.robust_range(jnp.asarray(true[1]), 2.5, 97.5)
    live = np.flatnonzero(~np.asarray(ranges.dead))
    units = live[np.linspace(0, len(live) - 1, given.units).round().astype(int)]
    few = slice(given.anchors)
    pixels = np.asarray(numerics.to_uint8(jnp.asarray(true[0][few])))
    rest = (w[few], true[1][few], pixels, units, ranges)
    kernel = np.asarray(link.kernel) * np.asarray(ranges.std)[:, None]
    base = swept(generator, classifier, link, segmenter, *rest)
    derived = screened(generator, segmenter, w[few], kernel)
    rows = {}
    for precision in precisions:
        other = generator.with_precision(precision)
        images, r, logits = batches(functools.partial(encode, other, classifier), w)
        # Anchors' own images and activations are of the precision too, as in a chain of stages.
        mine = (w[few], r[few], np.asarray(numerics.to_uint8(jnp.asarray(images[few]))), units, ranges)
        moved = swept(other, classifier, link, segmenter, *mine)
        rows[precision] = {
            "images": image_errors(images, true[0]),
            "r": activation_errors(r, true[1]),
            "logits": logit_errors(logits, true[2]),
            "effects": effect_errors(moved["slopes"], base["slopes"]),
            "fidelity": effect_errors(moved["fidelity"], base["fidelity"]),
            "screening": effect_errors(screened(other, segmenter, w[few], kernel), derived),
        }
    return {"images": count, "units": len(units), "anchors": given.anchors, "steps": STEPS, "rows": rows}


def random_architecture(resolution: int, precisions: list[numerics.Precision]) -> dict[str, Any]:
    """Images of the published architecture with random weights."""
    generator = build.random(Generator, imagenet_spec(resolution), 0)
    w = jax.random.normal(jax.random.key(0), (1, generator.spec.w_dim))
    true = np.asarray(generator.synthesis(w))
    rows = {
        precision: image_errors(np.asarray(generator.with_precision(precision).synthesis(w)), true)
        for precision in precisions
    }
    return {"resolution": resolution, "layers": len(generator.spec.layers), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--units", type=int, default=16)
    parser.add_argument("--anchors", type=int, default=10)
    parser.add_argument("--architecture", type=int)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    platform = jax.default_backend()
    precisions: list[numerics.Precision] = ["bfloat16", "float16", *(["tf32"] if platform == "gpu" else [])]
    found: dict[str, Any] = {"device": jax.devices()[0].device_kind, "platform": platform, "jax": jax.__version__}
    found["embedded"] = embedded(given, precisions)
    if given.architecture:
        found["architecture"] = random_architecture(given.architecture, precisions)
    table = Table(title="against float32", title_justify="left")
    table.add_column("of")
    for precision in precisions:
        table.add_column(precision, justify="right")
    rows = found["embedded"]["rows"]
    for group, names in rows[precisions[0]].items():
        for name in names:
            table.add_row(f"{group}: {name}", *(f"{rows[precision][group][name]:.4g}" for precision in precisions))
    if given.architecture:
        rows = found["architecture"]["rows"]
        for name in rows[precisions[0]]:
            table.add_row(f"random {given.architecture}²: {name}", *(f"{rows[p][name]:.4g}" for p in precisions))
    Console().print(table)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
