"""`resampling.filtered_leaky_relu` in less than float32 on NVIDIA GPUs: one Pallas kernel, one pass over memory.

Sums of shifted slices write and read the finer grid along y, and compute each of its samples for six readers: 18 ms of
a 256 × 256 image, four times its convolutions. Here a program keeps a tile of columns and channels and walks down the
rows, so that each value is read and written once and the finer grid is never stored:

  input row · scale + bias → ring of the last 6 or 7 rows → weighted sums, the finer rows (y up, at the input's width)
  → U · row (x up, tensor cores) → leaky ReLU, clamp → D · row (x down, tensor cores)
  → added with its tap to each of the 6 output rows that read it (y down) → the oldest is complete, and stored

U [fine, in] and D [out, fine] are the banded matrices of a tile's filters, the same for every tile. An output costs
about 650 multiply-adds on tensor cores and 110 instructions beside them; the two finer rows of an output row go side by
side through each product, for what limits the kernel is not arithmetic but how long a row's chain of products takes.

Numerics: operands of the products, taps among them, are float16 whatever the maps are, 11 bits as TF32 has; what
exceeds ±65504 becomes that. All sums are float32.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linkjax import numerics
from linkjax.ops import resampling

#: Columns of a tile: read, on the finer grid, and given at most. Powers of two, as tensor cores take them.
IN, FINE, OUT = 64, 128, 64
#: Channels of a tile (and what channels should be a multiple of: 32 bytes, what memory gives at a time), and its warps.
#: 8 to 32 channels with 2 to 8 warps took up to half longer on an H200, and at no size of layer less beyond the noise.
CHANNELS, WARPS = 16, 4
HALF, LARGEST = jnp.float16, 65504.0
#: Indices are 32-bit: larger arrays are taken in parts of their batch.
MOST_VALUES = 2**31 - 1


def available() -> bool:
    """Whether this is a machine for the kernel."""
    return jax.default_backend() == "gpu" and "NVIDIA" in jax.devices()[0].device_kind


def takes(
    policy: numerics.Policy, up: int, up_taps: Array | None, down: int, down_taps: Array | None, **settings: Any
) -> bool:
    """Whether a layer's filters run here: less than float32 asked for, both separable, 2 or 4 times up and 2 down."""
    del settings
    made_for = up in (2, 4) and down == 2 and up_taps is not None and down_taps is not None and down_taps.ndim == 1
    return policy.name != "float32" and made_for and available()


def filtered_leaky_relu(
    x: Float[Array, "B H W C"],
    scale: Float[Array, "B C"],
    bias: Float[Array, "C"],
    up_taps: Float[Array, "U"],
    down_taps: Float[Array, "D"],
    **settings: Any,
) -> Float[Array, "B h w C"]:
    """`resampling.filtered_leaky_relu` of x · scale + bias, rounded to x's type.

    What is differentiated, and values that are asked for along with derivatives, come from `resampling`.

    Args:
      x: feature maps of any float type.
      bias: may have fewer channels than x, where x was filled up with zeros.
      settings: up, down, padding, slope, gain and clamp, as there.
    """
    bias = jnp.pad(bias, (0, x.shape[-1] - bias.shape[0]))
    return _with_derivatives(tuple(settings.items()), x, scale, bias, up_taps, down_taps)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _with_derivatives(
    settings: tuple[tuple[str, Any], ...], x: Array, scale: Array, bias: Array, up_taps: Array, down_taps: Array
) -> Array:
    at_once = max(1, MOST_VALUES // (4 * x[0].size))  # an output may be up to 4 times as large
    run = functools.partial(in_one_pass, bias=bias, up_taps=up_taps, down_taps=down_taps, **dict(settings))
    if x.shape[0] <= at_once:
        return run(x, scale)
    return jax.lax.map(lambda each: run(each[0][None], each[1][None])[0], (x, scale), batch_size=at_once)


def _tangent(settings: tuple[tuple[str, Any], ...], primals: Any, tangents: Any) -> Any:
    def slices(x: Array, scale: Array, bias: Array, up_taps: Array, down_taps: Array) -> Array:
        given = x.astype(jnp.float32) * scale[:, None, None] + bias[None, None, None]
        y = resampling.filtered_leaky_relu(given, up_taps, down_taps, **dict(settings), dtype=x.dtype)
        return numerics.stored(y, x.dtype)

    return jax.jvp(slices, primals, tangents)


_with_derivatives.defjvp(_tangent)


def tile_columns(out: int, up: int, down: int, up_length: int, down_length: int) -> int:
    """Output columns of a tile: as many as U and D hold, the tiles evenly filled."""
    rows = -(-up_length // up) + 1
    fine = min(FINE, (IN - rows) * up)
    most = min(OUT, (fine - down_length) // down + 1)
    period = max(1, up // down)  # a tile starts where the finer grid meets a sample of the input
    most -= most % period
    even = -(-out // -(-out // most))
    return even + -even % period


def in_one_pass(
    x: Float[Array, "B H W C"],
    scale: Float[Array, "B C"],
    bias: Float[Array, "C"],
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
    """The kernel alone: not differentiable, arrays of fewer than 2^31 values; `interpret` runs it anywhere, slowly."""
    from jax.experimental import pallas as pl  # here and below: a sixth of a second, of use on GPUs alone
    from jax.experimental.pallas import triton

    batch, height, width, depth = x.shape
    sizes = [
        resampling.downsampled_size(
            resampling.upsampled_size(size, up, up_taps.shape[0], pad), down, down_taps.shape[0]
        )
        for size, pad in ((height, padding[2:]), (width, padding[:2]))
    ]
    tile = tile_columns(sizes[1], up, down, up_taps.shape[0], down_taps.shape[0])
    rows, first_row = resampling.phases(up_taps[::-1] * up, up, padding[2])
    columns, first_column = resampling.phases(up_taps[::-1] * (up * gain), up, padding[0])
    kernel = functools.partial(
        _kernel,
        down=down,
        tile=tile,
        first=(first_row, first_column),
        slope=slope,
        clamp=LARGEST if clamp is None else min(clamp, LARGEST),
    )
    return pl.pallas_call(
        kernel,
        out_shape=jax.ShapeDtypeStruct((batch, *sizes, depth), x.dtype),
        grid=(-(-sizes[1] // tile), -(-depth // CHANNELS), batch),
        compiler_params=triton.CompilerParams(num_warps=WARPS, num_stages=1),
        interpret=interpret,
        name="filtered_leaky_relu",
    )(x, scale, bias, _up_matrix(columns), _down_matrix(down_taps[::-1], down, tile), rows, down_taps[::-1])


def _up_matrix(phases: Float[Array, "S up"]) -> Float[Array, "fine in"]:
    """U[up · k + p, k + s] = phases[s, p]."""
    count, up = phases.shape
    k, p = np.divmod(np.arange(FINE), up)
    s = np.arange(IN)[None] - k[:, None]
    return jnp.where((s >= 0) & (s < count), phases[np.clip(s, 0, count - 1), p[:, None]], 0.0).astype(HALF)


def _down_matrix(taps: Float[Array, "T"], down: int, tile: int) -> Float[Array, "out fine"]:
    """D[i, down · i + t] = taps[t], for the outputs of a tile."""
    i = np.arange(OUT)[:, None]
    t = np.arange(FINE)[None] - down * i
    inside = (t >= 0) & (t < taps.shape[0]) & (i < tile)
    return jnp.where(inside, taps[np.clip(t, 0, taps.shape[0] - 1)], 0.0).astype(HALF)


def _kernel(
    x_ref: Any, scale_ref: Any, bias_ref: Any, u_ref: Any, d_ref: Any, rows_ref: Any, down_ref: Any, out_ref: Any, *,
    down: int, tile: int, first: tuple[int, int], slope: float, clamp: float,
) -> None:  # fmt: skip
    """One tile, from the top to the bottom of one image."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    (_, height, width, depth), (_, out_height, out_width, _) = x_ref.shape, out_ref.shape
    count, up = rows_ref.shape
    length = down_ref.shape[0]
    open_rows = -(-length // down)  # outputs that one finer row is part of
    at_once = up // down  # outputs that one input row completes
    column, image = pl.program_id(0) * tile, pl.program_id(2)
    channels = pl.program_id(1) * CHANNELS + jnp.arange(CHANNELS)
    known = channels < depth
    reads = first[1] + column * down // up + jnp.arange(IN)
    inside = ((reads >= 0) & (reads < width))[:, None] & known[None]
    writes = column + jnp.arange(OUT)
    mine = ((jnp.arange(OUT) < tile) & (writes < out_width))[:, None] & known[None]
    scale = triton.load(scale_ref.at[image, channels], mask=known, other=0.0)
    bias = triton.load(bias_ref.at[channels], mask=known, other=0.0)
    u, d = u_ref[...], d_ref[...]
    row_taps = [[rows_ref[s, phase] for s in range(count)] for phase in range(up)]
    down_taps = [down_ref[t] for t in range(length)]
    nothing = jnp.zeros((OUT, CHANNELS), jnp.float32)

    def fetched(y: Any) -> Any:
        row = x_ref.at[image, jnp.clip(y, 0, height - 1), reads[:, None], channels[None]]
        return triton.load(row, mask=inside & (y >= 0) & (y < height), other=0.0)

    def scaled(row: Any, y: Any) -> Any:
        value = row.astype(jnp.float32) * scale[None] + bias[None]
        return jnp.where(inside & (y >= 0) & (y < height), value, 0.0)

    def weighted(taps: list[Any], rows: Any) -> Any:
        return functools.reduce(jnp.add, [tap * row for tap, row in zip(taps, rows, strict=True)])

    def bounded(x: Any, largest: float) -> Any:
        return jnp.minimum(jnp.maximum(x.astype(HALF), -largest), largest)

    def side_by_side(rows: list[Any]) -> Any:
        """[in, channels · down]: the finer rows of a channel are neighbours, which moves nothing between threads."""
        return jnp.stack(rows, axis=-1).reshape(IN, CHANNELS * down)

    def apart(rows: Any) -> list[Any]:
        parts = jnp.split(rows.reshape(OUT, CHANNELS, down), down, axis=-1)
        return [part.reshape(OUT, CHANNELS) for part in parts]

    def step(k: Any, carry: Any) -> Any:
        ring, coming, sums = carry
        y = first[0] + k + count - 1
        ring = (*ring, scaled(coming, y))
        for group in range(at_once):
            fine = side_by_side([weighted(row_taps[group * down + phase], ring) for phase in range(down)])
            fine = jnp.dot(u, bounded(fine, LARGEST), preferred_element_type=jnp.float32)
            fine = bounded(jnp.maximum(fine, fine * slope), clamp)
            fine = jnp.dot(d, fine, preferred_element_type=jnp.float32)
            if group == at_once - 1:
                coming = fetched(y + 1)  # the fences of the products would wait for it, had it been asked for before
            for phase, row in enumerate(apart(fine)):  # sums[j] is of output i + j, tap by tap
                taps = [down * (open_rows - 1 - j) + phase for j in range(open_rows)]
                sums = tuple(
                    total + down_taps[t] * row if t < length else total for t, total in zip(taps, sums, strict=True)
                )
            i = k * at_once + group - (open_rows - 1)
            row = out_ref.at[image, jnp.clip(i, 0, out_height - 1), writes[:, None], channels[None]]
            triton.store(row, sums[0].astype(out_ref.dtype), mask=mine & (i >= 0) & (i < out_height))
            sums = (*sums[1:], nothing)
        return ring[1:], coming, sums

    ring = tuple(scaled(fetched(first[0] + s), first[0] + s) for s in range(count - 1))
    steps = -(-(out_height + open_rows - 1) // at_once)
    jax.lax.fori_loop(0, steps, step, (ring, fetched(first[0] + count - 1), (nothing,) * open_rows))
