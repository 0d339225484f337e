"""Where the time of synthesis goes on an accelerator, kernel by kernel: convolutions, filters, the rest.

    python scripts/speed/profile_synthesis.py [--precision bfloat16] [--batch 16] [--out FILE]

The imagenet256 architecture with random weights: 0.93 GB of them; in bfloat16 2.2 GiB of temporaries for a batch of 16.
First the time of a batch by itself and of ten in a row, then three under JAX's profiler. Two minutes, most of them
compilation. What is written: kernel → milliseconds a batch, calls a batch, and what the profiler tells of registers,
shared memory and occupancy.
"""

import argparse
import collections
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from linkjax.models import build
from linkjax.models.generator_spec import imagenet_spec
from linkjax.models.stylegan_xl import Generator
from scripts.speed.benchmarks import machine
from scripts.speed.benchmarks.timing import compiled, in_turns

RUNS, IN_A_ROW = 3, 10


def kind(kernel: str) -> str:
    """What a kernel's name says it is."""
    if kernel.startswith("filtered_leaky_relu"):
        return "filters"
    return "convolutions" if "xmma" in kernel or "cudnn" in kernel.lower() else "rest"


def kernels(folder: str) -> dict[str, dict[str, Any]]:
    """Kernel → milliseconds and calls a run, and details, from a profile of `RUNS` runs."""
    [file] = Path(folder).rglob("*.xplane.pb")
    spent: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    details: dict[str, dict[str, str]] = {}
    for plane in jax.profiler.ProfileData.from_file(str(file)).planes:
        for line in plane.lines if "GPU" in plane.name else ():
            for event in line.events if line.name.startswith("Stream") else ():
                spent[event.name] += event.duration_ns
                calls[event.name] += 1
                if event.name not in details:
                    details[event.name] = {str(k): str(v) for k, v in event.stats if "detail" in str(k)}
    return {
        name: {"ms": ns / 1e6 / RUNS, "calls": calls[name] / RUNS, **details[name]} for name, ns in spent.most_common()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="bfloat16", choices=tuple(machine.BYTES))
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if jax.default_backend() != "gpu":
        parser.error("this reads the profile of a GPU, and JAX finds none")
    generator = build.random(Generator, imagenet_spec(given.resolution), 0).with_precision(given.precision)
    rng = np.random.default_rng(0)
    w = jax.device_put(rng.normal(size=(given.batch, generator.spec.w_dim)).astype(np.float32))
    run, compile_seconds = compiled(lambda synthesis, w: synthesis(w), generator.synthesis, w)

    def several() -> Any:
        for _ in range(IN_A_ROW):
            images = run(generator.synthesis, w)
        return images

    found, _ = in_turns({"alone": lambda: run(generator.synthesis, w), "in a row": several}, 5)
    ms = {
        "alone": found["alone"].median / given.batch * 1e3,
        "in a row": found["in a row"].median / given.batch / IN_A_ROW * 1e3,
    }
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(RUNS):
                run(generator.synthesis, w).block_until_ready()
        rows = kernels(folder)
    for name, row in rows.items():
        ms[kind(name)] = ms.get(kind(name), 0.0) + row["ms"] / given.batch
    for name, each in ms.items():
        print(f"{name}: {each:.2f} ms an image")
    record = {"machine": machine.name(), "versions": machine.versions(), "precision": given.precision}
    record |= {"batch": given.batch, "compile_seconds": compile_seconds, "ms an image": ms, "kernels": rows}
    if given.out:
        given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
