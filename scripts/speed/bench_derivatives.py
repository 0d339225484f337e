"""What derivatives of a synthesis cost, with transposes written out and as JAX derives them, and what screening costs.

    python scripts/speed/bench_derivatives.py [--batch 8] [--repeats 3] [--out figures.json]

The demo world's 64 × 64 architecture with random weights. Both ways take turns; CPU seconds of this process are given
beside wall-clock seconds, because they say the same on a machine that is shared. Ten parts for screening.
"""

import argparse
import functools
import json
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from rich.console import Console
from rich.table import Table

from linkjax.analysis.metrics import parts
from linkjax.analysis.units import screening
from linkjax.models import build
from linkjax.models.linear_segmenter import LinearSegmenter
from linkjax.models.stylegan_xl import Generator
from linkjax.ops import full_conv, resampling
from scripts.demo.architecture import generator_spec

PARTS = tuple(f"part {i}" for i in range(10))


def derive() -> None:
    """Take the written transposes away: plain functions, which JAX derives."""
    resampling._upsample, resampling._downsample = resampling._upsampled, resampling._downsampled
    full_conv._full_conv = full_conv._forward


def programs(generator: Generator, w: jax.Array) -> dict[str, Callable[[], Any]]:
    """Compiled as first called, so with what is in force then."""
    size = generator.spec.resolution
    aim = jax.random.normal(jax.random.key(1), (len(w), size, size, 3))
    graph, weights, rest = nnx.split(generator, nnx.Param, ...)

    def loss(weights: Any, w: jax.Array) -> jax.Array:
        return jnp.sum(nnx.merge(graph, weights, rest).synthesis(w) * aim)

    return {
        "forward": functools.partial(jax.jit(lambda v, w: nnx.merge(graph, v, rest).synthesis(w)), weights, w),
        "jvp along one direction": functools.partial(
            jax.jit(lambda v, w: jax.jvp(nnx.merge(graph, v, rest).synthesis, (w,), (jnp.cos(w),))[1]), weights, w
        ),
        "gradient in w": functools.partial(jax.jit(jax.grad(loss, 1)), weights, w),
        "gradient in the weights": functools.partial(jax.jit(jax.grad(loss)), weights, w),
    }


def clock(function: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Least wall-clock and CPU seconds of a call, compilation left out."""
    jax.block_until_ready(function())
    found = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        jax.block_until_ready(function())
        found.append((time.perf_counter() - wall, time.process_time() - cpu))
    return tuple(np.min(found, axis=0).tolist())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    generator = build.random(Generator, generator_spec(), 0)
    w = jax.random.normal(jax.random.key(0), (given.batch, generator.spec.w_dim))
    found: dict[str, Any] = {"machine": platform.processor() or platform.machine(), "batch": given.batch}

    segmenter = build.random(LinearSegmenter, parts.linear_spec(generator.spec, PARTS), 2)
    basis = jnp.eye(generator.spec.w_dim)
    for mode in ("forward", "reverse"):
        products = generator.spec.w_dim if mode == "forward" else screening.SUMS * len(PARTS)
        function = jax.jit(functools.partial(screening.derivatives, mode=mode))
        one = functools.partial(function, generator, segmenter, w, basis)
        found[f"screening, {products} {mode} products"] = {"written": clock(one, 1)}
    for way in ("written", "derived"):
        if way == "derived":
            derive()
            jax.clear_caches()
        for name, function in programs(generator, w).items():
            found.setdefault(name, {})[way] = clock(function, given.repeats)

    table = Table(title=f"seconds for {given.batch} images: CPU (wall)", title_justify="left")
    for column in ("", "written out", "derived", "ratio of CPU seconds", "in forward passes"):
        table.add_column(column, justify="right" if column else "left")
    one = found["forward"]["written"][1]
    for name, row in found.items():
        if isinstance(row, dict):
            cells = [f"{row[way][1]:.3f} ({row[way][0]:.3f})" if way in row else "–" for way in ("written", "derived")]
            ratio = f"{row['derived'][1] / row['written'][1]:.1f}" if "derived" in row else "–"
            table.add_row(name, *cells, ratio, f"{row['written'][1] / one:.1f}")
    Console().print(table)
    if given.out:
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
