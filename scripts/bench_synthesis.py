"""Synthesis in JAX against plain PyTorch layers, on the same random weights, in one run.

    python scripts/bench_synthesis.py [--only 64 | --only 256] [--skip-torch] [--repeats 3] [--out figures.json]

64: a super-resolution model of 64 × 64 pixels. 256: the full imagenet256 architecture, 233 million
weights, one image; PyTorch takes most of a minute for it. Both sides run float32 and take turns, so that other work on
the machine falls on both; the best of the repeats counts. PyTorch (`tests/reference/torch_stylegan.py`) is what
one writes without compiled extensions: grouped modulated convolutions, depthwise FIR filters.
"""

import argparse
import gc
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from linkjax.models import build
from linkjax.models.generator_spec import (
    GeneratorSpec,
    Progression,
    conv_flops,
    imagenet_spec,
    stem_spec,
    superres_spec,
)
from linkjax.models.stylegan_xl import Generator
from linkjax.ops.full_conv import WINOGRAD_CHANNELS


def small_spec() -> GeneratorSpec:
    """64 × 64 with a stem of 16 × 16, 208 channels falling to 26."""
    how = Progression(channel_base=2**13, channel_max=208)
    return superres_spec(stem_spec(16, 6, how, num_classes=7), 4, 5, how)


def fir_flops(spec: GeneratorSpec) -> int:
    """Operations (2 per multiply-add) of all four filter passes of each layer, if no tap met an inserted zero."""
    total = 0
    for layer in spec.layers:
        mid_h, mid_w = layer.mid_size
        full = layer.in_size + layer.conv_kernel - 1
        up, down = layer.up_taps / layer.up_factor, layer.down_taps
        work = mid_h * full * up + mid_h * mid_w * up if layer.up_taps > 1 else 0
        work += mid_h * layer.out_size * down + layer.out_size**2 * down if layer.down_taps > 1 else 0
        total += int(2 * work * layer.out_channels)
    return total


def products(spec: GeneratorSpec, winograd: bool) -> int:
    """Operations of the convolutions as run: Winograd's method takes 16 products for 4 outputs instead of 36."""
    total = 0
    for layer in spec.layers:
        share = 4 / 9 if winograd and layer.conv_kernel == 3 and min(layer.in_channels, layer.out_channels) >= (
            WINOGRAD_CHANNELS
        ) else 1.0  # fmt: skip
        total += int(conv_flops([layer]) * share)
    return total


def matrix_rate(size: int = 2048, repeats: int = 5) -> float:
    """FLOP/s of a float32 matrix product in XLA at the precision linkjax uses."""
    a = jax.numpy.asarray(np.random.default_rng(0).normal(size=(size, size)).astype(np.float32))
    product = jax.jit(lambda a: jax.numpy.matmul(a, a, precision="highest"))
    product(a).block_until_ready()
    return 2 * size**3 / min(timed(lambda: product(a).block_until_ready()) for _ in range(repeats))


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run(name: str, spec: GeneratorSpec, batch: int, repeats: int, skip_torch: bool) -> dict[str, object]:
    """Figures of one architecture."""
    generator = build.random(Generator, spec, 0)
    w = np.random.default_rng(0).normal(size=(batch, spec.w_dim)).astype(np.float32)
    draw = jax.jit(lambda synthesis, w: synthesis(w))
    start = time.perf_counter()
    compiled = draw.lower(generator.synthesis, w).compile()
    compile_s = time.perf_counter() - start
    images = np.asarray(compiled(generator.synthesis, w))

    def ours() -> object:
        return np.asarray(compiled(generator.synthesis, w))

    seconds: dict[str, list[float]] = {"linkjax": [], "torch": []}
    difference = None
    if skip_torch:
        seconds["linkjax"] = [timed(ours) / batch for _ in range(repeats)]
    else:
        import torch

        from tests.reference import torch_stylegan

        weights = torch_stylegan.torch_weights(generator)
        torch_w = torch.from_numpy(w)
        with torch.no_grad():
            theirs = torch_stylegan.synthesise(weights, spec, torch_w).numpy().transpose(0, 2, 3, 1)
            difference = float(np.abs(theirs - images).max() / np.abs(theirs).max())
            for _ in range(repeats):
                seconds["linkjax"].append(timed(ours) / batch)
                seconds["torch"].append(timed(lambda: torch_stylegan.synthesise(weights, spec, torch_w)) / batch)
    best = {side: min(each) for side, each in seconds.items() if each}
    rate = matrix_rate()
    run_flops = products(spec, winograd=jax.default_backend() == "cpu")
    memory = compiled.memory_analysis()
    row = {
        "name": name,
        "batch": batch,
        "seconds_per_image": best,
        "all_seconds": seconds,
        "ratio": best["torch"] / best["linkjax"] if "torch" in best else None,
        "compile_seconds": compile_s,
        "largest_difference": difference,
        "conv_tflop": conv_flops(spec.layers) / 1e12,
        "conv_tflop_as_run": run_flops / 1e12,
        "fir_tflop": fir_flops(spec) / 1e12,
        "weight_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(generator)),
        "temporary_bytes": getattr(memory, "temp_size_in_bytes", 0),
        "matrix_gflops": rate / 1e9,
        "reached_gflops": run_flops / best["linkjax"] / 1e9,
        "share_of_matrix_rate": run_flops / best["linkjax"] / rate,
        "floor_seconds": run_flops / rate,
    }
    del generator, compiled
    gc.collect()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("64", "256"))
    parser.add_argument("--skip-torch", action="store_true")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    cases = {"64": (small_spec(), 4), "256": (imagenet_spec(256), 1)}
    rows = [
        run(name, spec, batch, options.repeats, options.skip_torch)
        for name, (spec, batch) in cases.items()
        if options.only in (None, name)
    ]
    device = jax.devices()[0].device_kind
    machine = f"{device}, {platform.machine()}, {os.cpu_count()} cores, JAX {jax.__version__}"
    table = Table(title=f"synthesis, float32, seconds an image ({machine})")
    for column in (
        "model",
        "linkjax",
        "PyTorch",
        "ratio",
        "compile s",
        "TFLOP conv (as run)",
        "FIR",
        "GFLOP/s",
        "share",
    ):
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in rows:
        best = row["seconds_per_image"]
        table.add_row(
            f"{row['name']}²",
            f"{best['linkjax']:.3f}",
            f"{best['torch']:.3f}" if "torch" in best else "–",
            f"{row['ratio']:.2f}×" if row["ratio"] else "–",
            f"{row['compile_seconds']:.1f}",
            f"{row['conv_tflop']:.3f} ({row['conv_tflop_as_run']:.3f})",
            f"{row['fir_tflop']:.3f}",
            f"{row['reached_gflops']:.0f} of {row['matrix_gflops']:.0f}",
            f"{100 * row['share_of_matrix_rate']:.0f} %",
        )
    Console(width=140).print(table)
    for row in rows:
        print(
            f"{row['name']}²: weights {row['weight_bytes'] / 2**20:.0f} MiB, temporaries "
            f"{row['temporary_bytes'] / 2**20:.0f} MiB, largest difference {row['largest_difference']}"
        )
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
