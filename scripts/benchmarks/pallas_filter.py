"""The filters of a layer along x as one Pallas kernel: upsampling, leaky ReLU, clamp and downsampling in one pass.

A candidate for accelerators, measured by bench_layers.py beside what linkjax uses (`linkjax.ops.resampling`); on a CPU
it runs in Pallas' interpreter, for its test alone. The two passes along y stay sums of shifted slices: they read and
write what is in memory anyhow.

With m = up·q + p, the finer sample m is Σ_s h'[p][s] x[q + s], and output i is Σ_t d[t] lrelu(fine[down·i + t]). Every
up / down outputs the phases repeat, so that all reads of a tile of outputs are the same tile of inputs, shifted
by constants: no exchange within a tile, and the finer grid lives in registers only. Each finer sample is computed once
for every output that reads it, 6 times; 72 multiply-adds an output where memory gives one value.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton
from jaxtyping import Array, Float

from linkjax.ops import resampling

#: Outputs along x and channels of a program: powers of two, 4 values a thread of 4 warps.
TILE, CHANNELS = 16, 32


def filtered_leaky_relu(
    x: Float[Array, "B H W C"],
    up_taps: Float[Array, "U"],
    down_taps: Float[Array, "D"],
    *,
    up: int,
    down: int,
    padding: tuple[int, int, int, int],
    slope: float,
    gain: float,
    clamp: float | None,
    interpret: bool = False,
) -> Float[Array, "B h w C"]:
    """As `resampling.filtered_leaky_relu` with two 1-D filters; not differentiable.

    Errors: ValueError where down does not divide up: the reads of a tile would not lie side by side.
    """
    dtype = x.dtype  # of what is read and written; sums are float32
    x = resampling.upsample(x.astype(jnp.float32), up_taps, up, padding[2:], axis=1, gain=up).astype(dtype)
    x = _along_x(x, up_taps, down_taps, up, down, padding[:2], slope, up * gain, clamp, interpret)
    return resampling.downsample(x.astype(jnp.float32), down_taps, down, axis=1, reads=resampling.APART).astype(dtype)


def _along_x(
    x: Array, up_taps: Array, down_taps: Array, up: int, down: int, padding: tuple[int, int], slope: float, gain: float,
    clamp: float | None, interpret: bool,
) -> Array:  # fmt: skip
    length, low = up_taps.shape[0], padding[0]
    if up % down:
        raise ValueError(f"expected a down that divides up, found up {up} and down {down}")
    period = up // down
    batch, height, width, channels = x.shape
    out = resampling.downsampled_size(resampling.upsampled_size(width, up, length, padding), down, down_taps.shape[0])
    # fine[up·k + n] = Σ_s taps'[first_n + up·s] x[k + shift_n + s], as in resampling.upsample
    fine = np.arange(down * (period - 1) + down_taps.shape[0])
    first = (low - fine) % up
    shift = (fine + first - low) // up
    counts = (length - 1 - first) // up + 1
    base, last = int(shift.min()), int((shift + counts).max())
    tiles = math.ceil(out / (period * TILE))
    rounded = -(-channels // CHANNELS) * CHANNELS
    needed = tiles * TILE + last - base  # columns from base on
    x = jnp.pad(x, ((0, 0), (0, 0), (max(0, -base), 0), (0, rounded - channels)))[:, :, max(0, base) :]
    x = jnp.pad(x, ((0, 0), (0, 0), (0, max(0, needed - x.shape[2])), (0, 0)))
    plan = [
        [(int(shift[n] - base + s), int(first[n] + up * s)) for s in range(counts[n])] for n in range(len(fine))
    ]  # (columns to the right, tap) of each finer sample
    kernel = functools.partial(_kernel, plan=plan, down=down, period=period, slope=slope, clamp=clamp)
    rows = batch * height
    made = pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct((rows, period, tiles * TILE, rounded), x.dtype),
        grid=(rows, tiles, rounded // CHANNELS),
        compiler_params=triton.CompilerParams(num_warps=4),
        interpret=interpret,
    )(x.reshape(rows, *x.shape[2:]), up_taps[::-1] * gain, down_taps[::-1])
    # [rows, period, k] → [rows, k · period]
    made = jnp.transpose(made, (0, 2, 1, 3)).reshape(batch, height, -1, rounded)
    return made[:, :, :out, :channels]


def _kernel(
    x_ref: Any, up_ref: Any, down_ref: Any, out_ref: Any, *, plan: list[list[tuple[int, int]]], down: int, period: int,
    slope: float, clamp: float | None,
) -> None:  # fmt: skip
    row, start, channel = pl.program_id(0), pl.program_id(1) * TILE, pl.program_id(2) * CHANNELS
    columns = sorted({column for sample in plan for column, _ in sample})
    x = {
        column: x_ref[row, pl.ds(start + column, TILE), pl.ds(channel, CHANNELS)].astype(jnp.float32)
        for column in columns
    }
    totals: list[Any] = [0.0] * period
    for n, sample in enumerate(plan):
        value = sum(up_ref[tap] * x[column] for column, tap in sample)
        value = jnp.where(value < 0, value * slope, value)
        value = value if clamp is None else jnp.clip(value, -clamp, clamp)
        for e in range(period):
            if 0 <= n - down * e < down_ref.shape[0]:
                totals[e] = totals[e] + down_ref[n - down * e] * value
    for e, total in enumerate(totals):
        out_ref[row, e, pl.ds(start, TILE), pl.ds(channel, CHANNELS)] = total.astype(out_ref.dtype)
