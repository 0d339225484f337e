"""Time part metrics: the compiled one-pass function against plain NumPy loops over images and parts.

python scripts/bench_regions.py --json regions.json      # a minute on 2 cores; aim: below 5 ms an image on a CPU
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from linkjax.analysis.regions import Regions, measure_region_batch
from tests.reference import region_loops


def scenes(count: int, side: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Byte images of smooth colour with noise, and labels that are the nearest of some random points."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    points = rng.uniform(0, side, (count, 3 * parts, 2))
    labels = np.empty((count, side, side), np.int32)
    for label, point in zip(labels, points, strict=True):
        distance = [(y - py) ** 2 + (x - px) ** 2 for py, px in point]
        label[...] = np.argmin(distance, axis=0) % parts
    colours = rng.integers(0, 256, (count, parts, 3))
    images = np.stack([colour[label] for colour, label in zip(colours, labels, strict=True)])
    return np.clip(images + rng.normal(0, 20, images.shape), 0, 255).astype(np.uint8), labels


def seconds(run: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median wall time, and processor time of all threads, which other programs on the machine disturb less."""
    wall, processor = [], []
    for _ in range(repeats):
        start = time.perf_counter(), time.process_time()
        run()
        wall.append(time.perf_counter() - start[0])
        processor.append(time.process_time() - start[1])
    return float(np.median(wall)), float(np.median(processor))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--parts", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    images, labels = scenes(given.images, given.side, given.parts)
    on_device = jnp.asarray(images.astype(np.float32) / np.float32(255)), jnp.asarray(labels)

    start = time.perf_counter()
    measured = jax.block_until_ready(measure_region_batch(*on_device, given.parts))
    first = time.perf_counter() - start
    compiled = seconds(lambda: jax.block_until_ready(measure_region_batch(*on_device, given.parts)), given.repeats)
    few = min(given.images, 8)
    expected: list[dict[str, np.ndarray]] = []
    loops = seconds(
        lambda: expected.extend(
            region_loops.measure(image, label, given.parts)
            for image, label in zip(images[:few], labels[:few], strict=True)
        ),
        1,
    )
    worst = {
        name: float(
            np.nanmax(np.abs(np.asarray(getattr(measured, name))[:few] - reference)) / np.nanmax(np.abs(reference))
        )
        for name in Regions._fields
        if name != "orientation"
        for reference in [np.stack([row[name] for row in expected])]
    }
    result = {
        "device": jax.devices()[0].device_kind,
        "jax": jax.__version__,
        "images": given.images,
        "side": given.side,
        "parts": given.parts,
        "ms_per_image": {
            "linkjax": 1e3 * compiled[0] / given.images,
            "linkjax, processor": 1e3 * compiled[1] / given.images,
            "NumPy loops": 1e3 * loops[0] / few,
            "NumPy loops, processor": 1e3 * loops[1] / few,
        },
        "first_call_s": first,
        "largest_relative_error": max(worst.values()),
    }
    print(f"{given.images} images of {given.side}², {given.parts} parts, {result['device']}, jax {jax.__version__}")
    for name, value in result["ms_per_image"].items():
        print(f"  {name:<24} {value:8.2f} ms an image")
    print(f"  first call, with compilation {first:.1f} s; largest error {result['largest_relative_error']:.1e}")
    if given.json:
        given.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
