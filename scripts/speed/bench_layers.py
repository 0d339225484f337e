"""Single layers of the imagenet256 architecture: FIR filters and 3×3 convolutions against their alternatives.

    python scripts/speed/bench_layers.py [--repeats 3] [--sizes 36 84 148 276 532 1044] [--out FILE.json]
    python scripts/speed/bench_layers.py --dtype bfloat16 --batch 8 --channels 128 --repeats 10       # on a GPU

Under six minutes on 2 cores. Filters: upsampling, leaky ReLU and downsampling of one layer, as sums of shifted slices,
as dense banded products, as banded products by blocks, as depthwise convolutions (on a CPU only up to 84², where they
already take longest) and, on a GPU, by linkjax's kernel (`linkjax.ops.filter_kernel`). They run on `--channels`
channels, on a CPU a quarter of them beyond 276², for their time is proportional to them, with maps of `--dtype` and
sums of float32. Convolutions, on a CPU: Winograd's method against the library's own at the layer's full width. Last,
what a derivative of a small synthesis costs. Candidates take turns, the best of the repeats counts; processor time is
summed over the cores. Prints rows of Markdown tables, the winner for each size, and writes the same as JSON; what was
found on other kinds of machine, or for other sizes, stays there.
"""

import argparse
import functools
import json
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import jax
import jax.numpy as jnp
import numpy as np

from linkjax import numerics
from linkjax.models import build
from linkjax.models.filter_design import layer_filters
from linkjax.models.generator_spec import LayerSpec, Progression, imagenet_spec, stem_spec
from linkjax.models.stylegan_xl import Generator
from linkjax.ops import filter_kernel, resampling
from linkjax.ops.activations import leaky_relu
from linkjax.ops.conv import conv
from linkjax.ops.winograd import full_conv3x3
from scripts.speed.benchmarks import machine

GAIN, SLOPE = math.sqrt(2.0), 0.2
#: Largest output side at which depthwise convolutions are timed.
DEPTHWISE = 84
#: Largest output side that is timed on all channels.
WIDE = 276


def in_turns(candidates: dict[str, Callable[[], jax.Array]], repeats: int) -> dict[str, dict[str, float]]:
    """Best wall and processor seconds of each candidate, and its largest difference from the first, after a warm-up."""
    best: dict[str, dict[str, float]] = {}
    first = None
    for turn in range(repeats + 1):
        for name, run in candidates.items():
            cpu, wall = time.process_time(), time.perf_counter()
            value = jax.block_until_ready(run())
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if turn == 0:
                value = np.asarray(value, np.float32)
                first = value if first is None else first
                difference = float(np.abs(value - first).max() / np.abs(first).max())
                best[name] = {"wall": math.inf, "cpu": math.inf, "difference": difference}
            else:
                best[name] |= {"wall": min(best[name]["wall"], wall), "cpu": min(best[name]["cpu"], cpu)}
    return best


def blocks(matrix: np.ndarray, size: int) -> list[tuple[int, int, np.ndarray]]:
    """A banded matrix as (first column, last column + 1, rows) of `size` rows each."""
    parts = []
    for start in range(0, len(matrix), size):
        rows = matrix[start : start + size]
        used = np.flatnonzero(np.abs(rows).max(axis=0))
        first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
        parts.append((first, last, rows[:, first:last]))
    return parts


def product(x: jax.Array, matrix: np.ndarray, axis: int, block: int | None) -> jax.Array:
    """A matrix along an axis of an image, whole or by blocks of its rows; operands of x's type, sums in float32."""
    equation = "yh,bhwc->bywc" if axis == 1 else "xw,bhwc->bhxc"

    def of(rows: np.ndarray, part: jax.Array) -> jax.Array:
        operands = jnp.asarray(rows, x.dtype), part
        return jnp.einsum(equation, *operands, precision=numerics.PRECISION, preferred_element_type=jnp.float32)

    if block is None:
        return of(matrix, x)
    parts = [of(rows, jax.lax.slice_in_dim(x, first, last, axis=axis)) for first, last, rows in blocks(matrix, block)]
    return jnp.concatenate(parts, axis=axis)


def depthwise(x: jax.Array, taps: np.ndarray, up: int, down: int, padding: tuple[int, int], axis: int) -> jax.Array:
    """A filter along an axis as a convolution of every channel by itself."""
    shape = (len(taps), 1) if axis == 1 else (1, len(taps))
    kernel = jnp.tile(jnp.asarray(taps[::-1].copy(), x.dtype).reshape(*shape, 1, 1), (1, 1, 1, x.shape[-1]))

    def both(along, across):
        return (along, across) if axis == 1 else (across, along)

    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=both(down, 1),
        # the library inserts no zeros after the last sample
        padding=both((padding[0], padding[1] + up - 1), (0, 0)),
        lhs_dilation=both(up, 1),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1],
        precision=numerics.PRECISION,
    )


def filter_candidates(layer: LayerSpec, x: jax.Array) -> dict[str, Callable[[], jax.Array]]:
    """The filters of a layer, each way."""
    up_taps, down_taps = (np.asarray(taps, np.float32) for taps in layer_filters(layer))
    up, down, padding = layer.up_factor, layer.down_factor, layer.padding
    sizes = x.shape[1]
    ups = [
        np.asarray(resampling.upsample(jnp.eye(sizes), jnp.asarray(up_taps), up, pad, axis=0, gain=up))
        for pad in (padding[2:], padding[:2])
    ]
    downs = [np.asarray(resampling.downsample(jnp.eye(len(m)), jnp.asarray(down_taps), down, axis=0)) for m in ups]

    how: dict[str, Any] = {"up": up, "down": down, "padding": padding, "slope": SLOPE, "gain": GAIN, "clamp": None}
    taps, dtype = (jnp.asarray(up_taps), jnp.asarray(down_taps)), x.dtype

    def kept(x):
        return numerics.stored(x, dtype)

    def slices(x):
        return kept(resampling.filtered_leaky_relu(x.astype(jnp.float32), *taps, **how, dtype=dtype))

    def banded(x, block=None):
        x = kept(product(kept(product(x, ups[0], 1, block)), ups[1], 2, block))
        x = leaky_relu(x.astype(jnp.float32), SLOPE, gain=GAIN)
        return kept(product(kept(product(kept(x), downs[1], 2, block)), downs[0], 1, block))

    def convolved(x):
        x = depthwise(x, up_taps * up, up, 1, padding[2:], 1)
        x = depthwise(x, up_taps * up, up, 1, padding[:2], 2)
        x = kept(leaky_relu(x.astype(jnp.float32), SLOPE, gain=GAIN))
        return depthwise(depthwise(x, down_taps, 1, down, (0, 0), 2), down_taps, 1, down, (0, 0), 1)

    def kernel(x):
        scale, bias = jnp.ones((len(x), x.shape[-1])), jnp.zeros(x.shape[-1])
        return filter_kernel.filtered_leaky_relu(x, scale, bias, *taps, **how)

    ways = {"slices": slices, "dense product": banded, "product by blocks": lambda x: banded(x, 32)}
    if jax.default_backend() != "cpu" or layer.out_size <= DEPTHWISE:
        ways["depthwise"] = convolved
    if filter_kernel.available():
        ways["kernel"] = kernel
    compiled = {name: jax.jit(way) for name, way in ways.items()}
    return {name: lambda run=run: run(x) for name, run in compiled.items()}


def gradient(repeats: int) -> dict[str, dict[str, float]]:
    """A small synthesis, forward and differentiated."""
    generator = build.random(Generator, stem_spec(32, 6, Progression(channel_base=2**11, channel_max=64)), 0)
    w = jnp.asarray(np.random.default_rng(0).normal(size=(1, generator.spec.w_dim)), jnp.float32)
    forward = jax.jit(lambda synthesis, w: synthesis(w))
    backward = jax.jit(jax.grad(lambda w, synthesis: jnp.mean(synthesis(w) ** 2)))
    once = {"forward": lambda: forward(generator.synthesis, w), "derivative": lambda: backward(w, generator.synthesis)}
    found = {name: in_turns({name: run}, repeats)[name] for name, run in once.items()}
    return {name: {key: row[key] for key in ("wall", "cpu")} for name, row in found.items()}


def show(kind: str, size: int, channels: str, found: dict[str, dict[str, float]]) -> None:
    """One row per candidate."""
    for name, row in found.items():
        times = f"{row['wall'] * 1e3:.1f} | {row['cpu'] * 1e3:.1f}"
        print(f"| {kind} {size}², {channels} | {name} | {times} | {row.get('difference', 0):.0e} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--channels", type=int, default=64, help="of the filters' maps")
    parser.add_argument("--batch", type=int, default=1, help="images that are filtered together")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="of those maps")
    sizes = [36, 84, 148, 276, 532, 1044]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes, help="output sides of layers")
    parser.add_argument("--max-width", type=int, default=1024, help="cut the convolutions' channels to so many")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parents[2] / "docs" / "figures" / "bench_layers.json"
    )
    options = parser.parse_args()

    random = np.random.default_rng(0)
    layers = {layer.out_size: layer for layer in imagenet_spec(1024).layers if layer.up_factor == 2}
    on_cpu = jax.default_backend() == "cpu"
    record: dict[str, Any] = {"versions": machine.versions()}
    winners: dict[int, str] = {}
    library, winograd = jax.jit(lambda x, k: conv(x, k, padding=2)), jax.jit(full_conv3x3)
    print("| layer | way | ms | ms of processor time | difference |\n| --- | --- | --- | --- | --- |", flush=True)
    for size in options.sizes:
        layer = layers[size]
        side = layer.in_size + layer.conv_kernel - 1
        channels = options.channels if size <= WIDE or not on_cpu else max(1, options.channels // 4)
        x = jax.random.normal(jax.random.key(size), (options.batch, side, side, channels), options.dtype)
        found = in_turns(filter_candidates(layer, x), options.repeats)
        record[f"filters {size}"] = {"channels": channels, "batch": options.batch, "dtype": options.dtype, **found}
        winners[size] = min(found, key=lambda name: found[name]["wall"])
        show("filters", size, f"{channels} channels", found)
        del x
    known = json.loads(options.out.read_text()) if options.out.exists() else {}
    record["fastest filters"] = known.get(machine.name(), {}).get("fastest filters", {}) | {
        str(size): way for size, way in winners.items()
    }
    for size in options.sizes if on_cpu else ():
        layer = layers[size]
        width, out = (min(each, options.max_width) for each in (layer.in_channels, layer.out_channels))
        x = jnp.asarray(random.normal(size=(1, layer.in_size, layer.in_size, width)), jnp.float32)
        kernel = jnp.asarray(random.normal(size=(3, 3, width, out)), jnp.float32)
        candidates = {
            name: functools.partial(run, x, kernel) for name, run in (("library", library), ("Winograd", winograd))
        }
        found = in_turns(candidates, options.repeats)
        record[f"convolution {size}"] = {"channels": [width, out], **found}
        show("convolution", size, f"{width} → {out}", found)
    record["small synthesis"] = found = gradient(options.repeats)
    show("small synthesis", 32, "64 channels", found)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    known[machine.name()] = known.get(machine.name(), {}) | record
    options.out.write_text(json.dumps(known, indent=1) + "\n")
    print("fastest filters:", ", ".join(f"{size}² {name}" for size, name in winners.items()))


if __name__ == "__main__":
    main()
