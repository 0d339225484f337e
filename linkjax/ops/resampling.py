"""Resampling with FIR filters, and the leaky ReLU that acts between two of them.

Along one axis a filter is a banded matrix: zeros inserted, padding or cropping, taps, every d-th sample kept. Its
product is written as a short sum of shifted slices, for a phase of a filter has 6 or 7 taps and the band is that
narrow: at 276² a dense product does 50 times the work, a product by blocks 6 times, and on a CPU both end up slower,
at every size; depthwise convolutions are slower still. The sums fuse with what is around them, here on purpose:
upsampling in x, leaky ReLU and downsampling in x become one pass, and the twice-as-fine grid between them never exists
in memory.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linkjax import numerics
from linkjax.ops.activations import leaky_relu
from linkjax.ops.custom_transpose import with_transposes

#: XLA fuses a producer into a consumer of up to 15 reads and computes it anew for each. Padding the last filter of a
#: layer with zero taps to 16 reads keeps it from fusing all filters into one (12 × 12 reads of each sample).
APART = 16


def upsampled_size(size: int, factor: int, taps: int, padding: tuple[int, int]) -> int:
    """Samples after `upsample` along an axis."""
    return size * factor + sum(padding) - (taps - 1)


def downsampled_size(size: int, factor: int, taps: int) -> int:
    """Samples after `downsample` along an axis."""
    return (size - taps) // factor + 1


def _window(x: Float[Array, "..."], axis: int, start: int, stop: int) -> Float[Array, "..."]:
    """x[start:stop] along an axis, zeros where that is outside."""
    size = x.shape[axis]
    x = jax.lax.slice_in_dim(x, min(max(start, 0), size), max(min(stop, size), 0), axis=axis)
    pads = [(0, 0)] * x.ndim
    pads[axis] = (max(0, min(-start, stop - start)), max(0, min(stop - size, stop - start)))
    return jnp.pad(x, pads)


def upsample(
    x: Float[Array, "..."], taps: Float[Array, "T"], factor: int, padding: tuple[int, int], axis: int, gain: float = 1.0
) -> Float[Array, "..."]:
    """Insert factor − 1 zeros after each sample, pad or crop, convolve: y[j] = gain · Σ_t h[t] z[j + T − 1 − t].

    Args:
      x: any array.
      taps: the filter h, in convolution order.
      padding: zeros before and after, counted after insertion; negative crops.
      gain: `factor` keeps the signal's amplitude.
    """
    return _upsample(x, taps, factor=factor, padding=tuple(padding), axis=axis, gain=float(gain))


def phases(reversed_taps: Float[Array, "T"], factor: int, low: int) -> tuple[Float[Array, "S factor"], int]:
    """An upsampling filter by phases: y[factor · q + p] = Σ_s coefficients[s, p] x[q + first + s].

    Args:
      reversed_taps: the filter, turned round.
      low: zeros before the first sample, as `padding[0]` of `upsample`.
    Returns: coefficients, zero where a phase has fewer taps; first.
    """
    length, phase = reversed_taps.shape[0], np.arange(factor)
    start = (low - phase) % factor  # of a phase's taps, which are `factor` apart
    shift = (phase + start - low) // factor
    first = int(shift.min())
    count = int(max(shift - first + (length - 1 - start) // factor)) + 1
    index = start[None] + factor * (np.arange(count)[:, None] - (shift - first)[None])
    inside = (index >= 0) & (index < length)
    return jnp.where(inside, reversed_taps[np.clip(index, 0, length - 1)], 0.0), first


def _upsampled(
    x: Float[Array, "..."], taps: Float[Array, "T"], *, factor: int, padding: tuple[int, int], axis: int, gain: float
) -> Float[Array, "..."]:
    out = upsampled_size(x.shape[axis], factor, taps.shape[0], padding)
    coefficients, base = phases(taps[::-1] * gain, factor, padding[0])
    count = coefficients.shape[0]
    groups = -(-out // factor)
    x = _window(x, axis, base, base + groups + count - 1)
    shape = [1] * (x.ndim + 1)
    shape[axis + 1] = factor
    y = jnp.zeros((), x.dtype)
    for s in range(count):
        part = jax.lax.slice_in_dim(x, s, s + groups, axis=axis)
        y = y + jnp.expand_dims(part, axis + 1) * coefficients[s].reshape(shape)
    merged = (*x.shape[:axis], groups * factor, *x.shape[axis + 1 :])
    return jax.lax.slice_in_dim(jnp.reshape(y, merged), 0, out, axis=axis)


def _upsample_transposed(
    g: Float[Array, "..."], taps: Float[Array, "T"], like: Any, *, factor: int, padding: tuple[int, int],
    axis: int, gain: float,
) -> Float[Array, "..."]:  # fmt: skip
    """Σ_t h[t] g[…]: a downsampling with the filter turned round."""
    start = padding[0] - taps.shape[0] + 1
    g = _window(g, axis, start, start + factor * (like.shape[axis] - 1) + taps.shape[0])
    return _alone(_downsample(g, taps[::-1] * gain, factor=factor, axis=axis, reads=0))


def downsample(
    x: Float[Array, "..."], taps: Float[Array, "T"], factor: int, axis: int, *, reads: int = 0
) -> Float[Array, "..."]:
    """Convolve without padding and keep every factor-th sample: y[i] = Σ_t h[t] x[factor·i + T − 1 − t].

    Args:
      x: any array.
      taps: the filter h, in convolution order.
      reads: lengthen the filter with zero taps to so many, which changes no value; see `APART`.
    """
    return _downsample(x, taps, factor=factor, axis=axis, reads=reads)


def _downsampled(
    x: Float[Array, "..."], taps: Float[Array, "T"], *, factor: int, axis: int, reads: int
) -> Float[Array, "..."]:
    length = taps.shape[0]
    out = downsampled_size(x.shape[axis], factor, length)
    stop = factor * (out - 1) + 1
    before, after = max(0, reads - length) // 2, -(-max(0, reads - length) // 2)
    x = _window(x, axis, -before, x.shape[axis] + after)
    taps = jnp.pad(taps[::-1], (before, after))
    y = taps[0] * jax.lax.slice_in_dim(x, 0, stop, stride=factor, axis=axis)
    for t in range(1, length + before + after):
        y = y + taps[t] * jax.lax.slice_in_dim(x, t, t + stop, stride=factor, axis=axis)
    return y


def _downsample_transposed(
    g: Float[Array, "..."], taps: Float[Array, "T"], like: Any, *, factor: int, axis: int, reads: int
) -> Float[Array, "..."]:
    """An upsampling with the filter turned round."""
    del reads
    padding = (taps.shape[0] - 1, like.shape[axis] - g.shape[axis] * factor)
    return _alone(_upsample(g, taps[::-1], factor=factor, padding=padding, axis=axis, gain=1.0))


def _alone(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Keeps x from being computed anew by everything that reads it: the passes back are not made to fuse."""
    return jax.lax.optimization_barrier(x)


_upsample = with_transposes("upsample", _upsampled, _upsample_transposed)
_downsample = with_transposes("downsample", _downsampled, _downsample_transposed)


def downsample_radial(x: Float[Array, "B H W C"], taps: Float[Array, "T T"], factor: int) -> Float[Array, "B h w C"]:
    """`downsample` of both axes with a filter that is no product of two: row by row of the filter.

    T horizontal passes, each on the rows its filter row meets; exact for any filter.
    """
    length = taps.shape[0]
    height = downsampled_size(x.shape[1], factor, length)
    stop = factor * (height - 1) + 1

    def add_row(total: Float[Array, "B h w C"], step: tuple[Array, Array]) -> tuple[Array, None]:
        row, offset = step
        rows = jax.lax.dynamic_slice_in_dim(x, offset, stop, axis=1)[:, ::factor]
        return total + downsample(rows, row, factor, axis=2), None

    shape = (x.shape[0], height, downsampled_size(x.shape[2], factor, length), x.shape[3])
    offsets = jnp.arange(length, dtype=jnp.int32)
    return jax.lax.scan(add_row, jnp.zeros(shape, x.dtype), (taps[::-1], offsets))[0]


def filtered_leaky_relu(
    x: Float[Array, "B H W C"],
    up_taps: Float[Array, "U"] | None,
    down_taps: Float[Array, "D"] | Float[Array, "D D"] | None,
    *,
    up: int,
    down: int,
    padding: tuple[int, int, int, int],
    slope: float,
    gain: float,
    clamp: float | None,
    dtype: jax.typing.DTypeLike = jnp.float32,
) -> Float[Array, "B h w C"]:
    """Upsample, leaky ReLU, clamp, downsample: a nonlinearity without aliasing.

    Args:
      x: feature maps.
      up_taps, down_taps: 1-D (used on both axes), 2-D (down only), or none for the identity.
      padding: x low, x high, y low, y high, after zero insertion; negative crops.
      slope: of the leaky ReLU; 1 makes it linear.
      gain: of the leaky ReLU, positive.
      clamp: largest magnitude between the two filters, or none.
      dtype: what maps in memory between the passes are rounded to; the sums of a filter are float32.
    Returns: float32, not yet rounded.
    """

    def kept(x: Array) -> Array:
        return numerics.stored(x, dtype).astype(jnp.float32)

    one = jnp.ones((1,), x.dtype)
    up_taps = one if up_taps is None else up_taps
    x = kept(upsample(x, up_taps, up, padding[2:], axis=1, gain=up))
    # A positive gain passes through the leaky ReLU, so the filter's taps carry it.
    x = upsample(x, up_taps, up, padding[:2], axis=2, gain=up * gain)
    x = leaky_relu(x, slope, gain=1.0) if slope != 1 else x
    if clamp is not None:
        x = jnp.clip(x, -clamp, clamp)
    if down_taps is None:
        return x[:, ::down, ::down]
    if down_taps.ndim == 2:
        return downsample_radial(x, down_taps, down)
    x = kept(downsample(x, down_taps, down, axis=2))
    return downsample(x, down_taps, down, axis=1, reads=APART)
