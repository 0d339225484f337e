"""`linkjax link` on made-up pairs that lie on disk: seconds, pairs a second, and that memory does not grow with them.

    python scripts/speed/bench_link_stream.py [--samples 1000000] [--folder /tmp] [--json docs/figures/link_stream.json]

Writes `--samples` pairs of 2048 units → 512 once, chunk by chunk, in ten equal classes (float32 of 10 significant bits:
4.1 GiB for a million, removed afterwards), and fits ridge links on one, three and all of the classes, each in a
process of its own. Under five minutes for a million on 2 idle cores, half of it spent writing.
"""

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import linkjax
from linkjax.storage.artifacts import Writer

CLASSES, VAL = 10, 512
CHUNK = 1024


@dataclasses.dataclass(frozen=True)
class MadeUp:
    """Settings of pairs that no generator drew."""

    samples: int
    units: int
    w_dim: int


def rows(random: np.random.Generator, n: int, shape: MadeUp, kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Non-negative activations with common factors, and w = r · kernel + noise; few bits, so that they compress."""
    common = random.standard_normal((n, 64), np.float32) @ MIX[:, : shape.units]
    r = np.maximum(common + random.standard_normal((n, shape.units), np.float32), 0).astype(np.float16)
    r = r.astype(np.float32)
    return r, (r @ kernel + random.standard_normal((n, shape.w_dim), np.float32)).astype(np.float16).astype(np.float32)


MIX = np.random.default_rng(1).standard_normal((64, 8192), np.float32) / 8


def write(folder: Path, shape: MadeUp) -> np.ndarray:
    """Pairs as `linkjax pairs` leaves them; returns the kernel they were made with."""
    kernel = np.random.default_rng(0).standard_normal((shape.units, shape.w_dim), np.float32) / shape.units**0.5
    each = shape.samples // CLASSES
    groups, first = [], 0
    for split, wanted in (("train", each), ("val", VAL)):
        for label in range(CLASSES):
            groups.append({"split": split, "label": label, "first_row": first, "wanted": wanted, "accepted": wanted})
            first += wanted
    weights = {"generator": "0" * 64, "classifier": "0" * 64}
    with Writer(folder, "pairs", shape, weights) as writer:
        for name, dims, width in (("r", ("sample", "unit"), shape.units), ("w", ("sample", "w"), shape.w_dim)):
            writer.array(name, dims, (first, width), np.float32, (CHUNK, width))
        for start in range(0, first, CHUNK):
            stop = min(start + CHUNK, first)
            r, w = rows(np.random.default_rng([2, start]), stop - start, shape, kernel)
            writer.group["r"][start:stop], writer.group["w"][start:stop] = r, w
        starts = {"train": [0, each * CLASSES], "val": [each * CLASSES, first]}
        summary = {"classes": tuple(range(CLASSES)), "units": shape.units, "w_dim": shape.w_dim}
        writer.finish(summary | {"splits": starts, "groups": groups})
    return kernel


def fit(pairs: Path, out: Path, classes: int, products: str) -> tuple[float, float]:
    """Seconds and peak memory (MiB) of one `linkjax link`."""
    command = [sys.executable, "-m", "linkjax.cli", "link", "--pairs", str(pairs), "--out", str(out)]
    command += ["--method", "ridge", "--products", products, "--classes", *map(str, range(classes))]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"linkjax link ended with {process.returncode}")
    return time.perf_counter() - start, used.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("samples", 1_000_000), ("units", 2048), ("w-dim", 512)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where to write the pairs")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):  # a processor that is not this one
        os.environ.pop(name, None)
    shape = MadeUp(options.samples, options.units, options.w_dim)
    figures = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "units": shape.units, "w_dim": shape.w_dim}
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        pairs, start = Path(folder) / "pairs", time.perf_counter()
        kernel = write(pairs, shape)
        size = sum(file.stat().st_size for file in pairs.rglob("*") if file.is_file())
        print(f"{shape.samples} pairs written in {time.perf_counter() - start:.0f} s, {size / 2**30:.1f} GiB")
        print("| pairs | products | seconds | pairs/s | peak memory, MiB | largest error of the kernel |")
        print("| --- | --- | --- | --- | --- | --- |")
        figures["fits"] = []
        for classes in (1, 3, CLASSES):
            for products in ("float32", "float64"):
                out = Path(folder) / f"link-{classes}-{products}"
                seconds, peak = fit(pairs, out, classes, products)
                count = classes * (shape.samples // CLASSES)
                error = float(np.abs(np.asarray(linkjax.load(out).kernel[...]) - kernel).max())
                print(
                    f"| {count} | {products} | {seconds:.1f} | {count / seconds:.0f} | {peak:.0f} | {error:.4f} |",
                    flush=True,
                )
                named = {"pairs": count, "products": products, "seconds": round(seconds, 1), "peak MiB": round(peak)}
                figures["fits"].append(named | {"largest error of the kernel": round(error, 5)})
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
