"""Convolution whose weights are scaled per sample by a style, computed around one shared convolution."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from linkjax import numerics
from linkjax.ops.full_conv import full_conv


def style_scales(
    kernel: Float[Array, "kh kw I O"], styles: Float[Array, "B I"], input_gain: Float[Array, ""], *, demodulate: bool
) -> tuple[Float[Array, "B I"], Float[Array, "B O"] | None]:
    """Factors before and after a shared convolution that make it the modulated one.

    With q_o = 1/rms(kernel[..., o]) and ŝ = s / rms(s): before = ŝ · input_gain,
    after_o = q_o / √(Σ_i ŝ_i² q_o² Σ_k kernel²_kio + 1e-8). Without demodulation: before = s · input_gain, after none.

    Deviations: the original takes rms(s) over the whole batch, so that batch mates touch each other through rounding
    and the 1e-8; here every sample has its own.
    """
    if not demodulate:
        return styles * input_gain, None
    # Summed tap by tap, so that the squares of a kernel (the largest array there is) are never stored.
    taps = kernel.reshape(-1, *kernel.shape[2:])
    power = jnp.square(taps[0])
    for tap in range(1, taps.shape[0]):
        power = power + jnp.square(taps[tap])
    normalise = jax.lax.rsqrt(jnp.sum(power, axis=0) / (kernel.size // kernel.shape[-1]))
    styles = styles * jax.lax.rsqrt(jnp.mean(jnp.square(styles), axis=1, keepdims=True))
    energy = jnp.matmul(jnp.square(styles), power * jnp.square(normalise)[None], precision=numerics.PRECISION)
    return styles * input_gain, normalise[None] * jax.lax.rsqrt(energy + 1e-8)


def in_range(
    before: Float[Array, "B I"], kernel: Float[Array, "kh kw I O"], after: Float[Array, "B O"] | None
) -> tuple[Float[Array, "B I"], Float[Array, "kh kw I O"], Float[Array, "B O"]]:
    """The same modulated convolution with its size in `after` alone, so that what half precision holds stays in range.

    before' = before / max|before| and kernel'_o = kernel_o / ‖kernel_o‖ bound the convolution by Cauchy-Schwarz:
    |conv(x · before', kernel')| ≤ ‖patch of x‖, for clamped maps of 1024 channels at most 256 · √(9 · 1024) = 24 576,
    of float16's 65 504, whatever w is. The original divides float16 weights and styles by their sizes to the same end.
    """
    largest = jnp.max(jnp.abs(before), axis=1, keepdims=True)
    norms = jnp.sqrt(jnp.sum(jnp.square(kernel), axis=(0, 1, 2)))
    largest, norms = (jnp.where(scale > 0, scale, 1.0) for scale in (largest, norms))
    size = largest * norms[None]
    return before / largest, kernel / norms[None, None, None], size if after is None else after * size


def modulated_conv(
    x: Float[Array, "B H W I"],
    kernel: Float[Array, "kh kw I O"],
    styles: Float[Array, "B I"],
    bias: Float[Array, "O"],
    input_gain: Float[Array, ""],
    *,
    demodulate: bool = True,
    policy: numerics.Policy = numerics.POLICIES["float32"],
) -> Float[Array, "B h w O"]:
    """Full convolution (padding k − 1) with kernel · style, demodulated to unit gain, plus bias.

    y_o = a_o · conv(x · b, kernel)_o + bias_o with (b, a) from `style_scales`: scaling the input and the output by
    channel is the same function as scaling the weights, and needs no convolution per sample.

    Args:
      x: feature maps.
      kernel: HWIO, as trained (normalised here).
      styles: a factor per input channel.
      input_gain: 1/√(running second moment of x).
      policy: what the convolution multiplies.
    Returns: [B, H + kh − 1, W + kw − 1, O], float32.
    """
    y, after = scaled_conv(x, kernel, styles, input_gain, demodulate=demodulate, policy=policy)
    y = y.astype(jnp.float32)
    if after is not None:
        y = y * after[:, None, None, :]
    return y + bias[None, None, None, :]


def scaled_conv(
    x: Float[Array, "B H W I"],
    kernel: Float[Array, "kh kw I O"],
    styles: Float[Array, "B I"],
    input_gain: Float[Array, ""],
    *,
    demodulate: bool = True,
    policy: numerics.Policy = numerics.POLICIES["float32"],
    multiple: int = 1,
) -> tuple[Float[Array, "B h w O"], Float[Array, "B O"] | None]:
    """`modulated_conv` before its output is scaled: the convolution of x · before, and the scales a, or none.

    Args:
      x: may have more channels than the kernel, of zeros.
      multiple: outputs are filled up with zeros to a multiple of it.
    Returns: in half precision the convolution is of that type, of a 1 × 1 kernel float32.
    """
    before, after = style_scales(kernel, styles, input_gain, demodulate=demodulate)
    if policy.dtype != jnp.float32:
        before, kernel, after = in_range(before, kernel, after)
    more_in, more_out = x.shape[-1] - kernel.shape[2], -kernel.shape[3] % multiple
    if more_in or more_out:
        before, kernel = _filled(before, more_in), jnp.pad(kernel, ((0, 0), (0, 0), (0, more_in), (0, more_out)))
        after = None if after is None else _filled(after, more_out)
    x, kernel = (
        numerics.stored(each, policy.dtype) for each in (x.astype(jnp.float32) * before[:, None, None, :], kernel)
    )
    if policy.dtype != jnp.float32 and kernel.shape[:2] == (1, 1):
        return jnp.matmul(x, kernel[0, 0], precision=policy.products, preferred_element_type=jnp.float32), after
    return full_conv(x, kernel, policy.products), after


def _filled(x: Float[Array, "B C"], more: int) -> Float[Array, "B D"]:
    return jnp.pad(x, ((0, 0), (0, more)))
