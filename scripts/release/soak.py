"""Does a long sweep keep its memory? Sweeps the embedded world, parts included, and samples the process's memory.

    python scripts/release/soak.py --images 40000 --json docs/figures/soak.json

About 4 minutes on 2 cores. Memory is the resident set of this process, read twice a second; it is set against the
images swept so far, which are counted from the stage's own notes on disk. The first third holds compilation; a leak
would show in the last two.
"""

import argparse
import json
import os
import platform
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from linkjax.demo.bundle import open_bundle
from linkjax.stages import link, pairs, sweep

STEPS, UNITS, DEAD = 5, 128, 0.25  # values a unit, units of the classifier, share of them that may be dead


def resident() -> float:
    """MiB of memory this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Watch(threading.Thread):
    """Samples (seconds, chunks of work done, MiB) until it is told to end."""

    def __init__(self, notes: Path):
        super().__init__(daemon=True)
        self.notes, self.samples, self.ended, self.chunks = notes, [], threading.Event(), 0

    def run(self) -> None:
        start = time.perf_counter()
        while not self.ended.wait(0.5):
            if self.notes.exists():
                self.chunks = max(self.chunks, self.notes.read_bytes().count(b"\n") - 1)  # the first tells their size
                self.samples.append((time.perf_counter() - start, self.chunks, resident()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10000, help="to sweep, about")
    parser.add_argument("--batch-size", type=int, help="of the sweep; else it chooses its own")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    bundle = open_bundle()
    models = {"generator": bundle.path("generator"), "classifier": bundle.path("breeds")}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        made = {"pairs": str(out / "pairs"), "link": str(out / "link")}
        sizes = {"n_train": 40, "n_val": 2, "n_test": 2, "truncation": 1.0, "batch_size": 50}
        pairs.run(pairs.Config(out=made["pairs"], **models, **sizes))
        link.run(link.Config(out=made["link"], pairs=made["pairs"], method="ridge"))
        rows = -(-arguments.images // (10 * STEPS))
        units = min(UNITS, 2 * rows // 3)
        watch = Watch(out / "sweep.partial" / "done.jsonl")
        watch.start()
        start = time.perf_counter()
        sweep.run(sweep.Config(
            out=str(out / "sweep"), **models, **made, segmenter=bundle.path("segmenter"), units=tuple(range(units)),
            random_directions=max(1, -(-int(rows - (1 - DEAD) * units) // 2)), samples=1, steps=STEPS,
            batch_size=arguments.batch_size or "auto",
        ))  # fmt: skip
        seconds = time.perf_counter() - start
        watch.ended.set()
        watch.join()
        images = json.loads((out / "sweep" / "manifest.json").read_text())["summary"]["images"]
    report = figures(np.array(watch.samples), images, seconds)
    for name, value in report.items():
        print(f"{name}: {len(value)} taken" if name.startswith("samples") else f"{name}: {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")


def figures(samples: np.ndarray, images: int, seconds: float) -> dict[str, object]:
    """Memory by thirds of the work, and its slope over the last two."""
    done = samples[:, 1] / samples[:, 1].max() * images
    third = np.minimum((3 * done / images).astype(int), 2)
    late = third > 0
    slope = np.polyfit(done[late] / 1000, samples[late, 2], 1)[0]
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "images": images,
        "seconds": round(seconds, 1),
        "MiB, mean by thirds": [round(float(samples[third == part, 2].mean()), 1) for part in range(3)],
        "MiB, largest by thirds": [round(float(samples[third == part, 2].max()), 1) for part in range(3)],
        "MiB a 1000 images, last two thirds": round(float(slope), 2),
        "samples: seconds, images, MiB": [
            [round(float(second), 1), int(count), round(float(size), 1)]
            for second, count, size in list(zip(samples[:, 0], done, samples[:, 2], strict=True))[
                :: len(done) // 100 + 1
            ]
        ],
    }


if __name__ == "__main__":
    main()
