"""`linkjax compare` on two made-up networks of full size: processor seconds and memory.

    python scripts/speed/bench_compare.py [--samples 30000] [--folder /tmp] [--json docs/figures/compare_size.json]

Writes pairs of two networks that see the same samples, half of whose units follow common factors, in few large classes,
in a thousand small ones, and in few classes of a third as many samples; compares each in a process of its own. Classes
of 30 samples are what a test split of all of ImageNet's classes has.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from linkjax.storage.artifacts import Writer

CHUNK, W_DIM = 1024, 512


@dataclasses.dataclass(frozen=True)
class MadeUp:
    """Settings of pairs that no generator drew."""

    units: int
    samples: int
    classes: int
    classifier: str


def write(folder: Path, shape: MadeUp, network: int) -> None:
    """Pairs of one network as `linkjax pairs` leaves them; factors and latents are the same for all networks."""
    groups, each = [], shape.samples // shape.classes
    for label in range(shape.classes):
        first = label * each
        groups.append({"split": "test", "label": label, "first_row": first, "wanted": each, "accepted": each})
    total = each * shape.classes
    mix = np.random.default_rng([network, 0]).standard_normal((64, shape.units), np.float32) / 8
    mix[:, shape.units // 2 :] = 0
    weights = {"generator": "0" * 64, "classifier": f"{network}" * 64}
    with Writer(folder, "pairs", shape, weights) as writer:
        for name, dims, width in (("r", ("sample", "unit"), shape.units), ("w", ("sample", "w"), W_DIM)):
            writer.array(name, dims, (total, width), np.float32, (CHUNK, width))
        for start in range(0, total, CHUNK):
            rows = slice(start, min(start + CHUNK, total))
            count = rows.stop - rows.start
            common, own = np.random.default_rng([1, start]), np.random.default_rng([2, start, network])
            factors = common.standard_normal((count, 64), np.float32)
            r = np.maximum(factors @ mix + 0.3 * own.standard_normal((count, shape.units), np.float32), 0)
            writer.group["r"][rows] = r.astype(np.float16).astype(np.float32)
            w = common.standard_normal((count, W_DIM), np.float32)
            writer.group["w"][rows] = w.astype(np.float16).astype(np.float32)
        labels = np.repeat(np.arange(shape.classes, dtype=np.int32), each)
        writer.put("label", ("sample",), labels)
        writer.put("sample_id", ("sample",), np.arange(total))
        summary = {"classes": tuple(range(shape.classes)), "units": shape.units, "w_dim": W_DIM}
        named = [str(label) for label in range(shape.classes)]
        writer.finish(summary | {"class_names": named, "splits": {"test": [0, total]}, "groups": groups})


def measured(pairs: list[Path], out: Path) -> dict[str, float]:
    """Processor seconds, seconds and peak memory of one comparison."""
    command = [sys.executable, "-m", "linkjax.cli", "compare", "--pairs", pairs[0], "--other-pairs", *pairs[1:]]
    with subprocess.Popen([*map(str, command), "--out", str(out), "--names", "a", "b"]) as process:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"linkjax compare ended with {process.returncode}")
    return {"CPU s": round(used.ru_utime + used.ru_stime, 1), "peak MiB": round(used.ru_maxrss / 1024)}


def processor() -> str:
    lines = subprocess.run(["lscpu"], capture_output=True, text=True).stdout.splitlines()
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("Model name")), "unknown processor")
    return f"{name}, {os.cpu_count()} cores"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=2048)
    parser.add_argument("--samples", type=int, default=30_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where to write the pairs")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    given = parser.parse_args()
    rows = []
    for samples, classes in ((given.samples // 3, 30), (given.samples, 30), (given.samples, 1000)):
        with tempfile.TemporaryDirectory(dir=given.folder) as name:
            pairs = [Path(name) / network for network in "ab"]
            for network, folder in enumerate(pairs):
                write(folder, MadeUp(given.units, samples, classes, "ab"[network]), network)
            found = {"samples": samples, "classes": classes, **measured(pairs, Path(name) / "beside")}
        print(json.dumps(found), flush=True)
        rows.append(found)
    figures = {"device": processor(), "networks": 2, "units": given.units, "rows": rows}
    if given.json:
        given.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
