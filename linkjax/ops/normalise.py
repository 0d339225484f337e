"""Normalisations over channels that lie last."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def batch_norm(
    x: Float[Array, "*batch C"],
    scale: Float[Array, "C"],
    bias: Float[Array, "C"],
    mean: Float[Array, "C"],
    var: Float[Array, "C"],
    epsilon: float = 1e-5,
) -> Float[Array, "*batch C"]:
    """(x − mean) · scale / √(var + epsilon) + bias with stored mean and variance, per channel.

    Numerics: the roundings of PyTorch's evaluation mode in its order, s = scale · (1 / √(var + epsilon)), then
    x · s + (bias − mean · s), each with one fused multiply-add; on a CPU the result is PyTorch's to the bit. Not folded
    into the convolution before it, so that every intermediate result is there to compare.
    """
    # Apart, or XLA makes one reciprocal square root of the two, which is often a unit in the last place off.
    root = jax.lax.optimization_barrier(jnp.sqrt(var + epsilon))
    factor = jax.lax.optimization_barrier(1.0 / root) * scale
    shift = bias - mean * factor
    wide = (1,) * (x.ndim - 1) + (-1,)
    return x * factor.reshape(wide) + shift.reshape(wide)


def layer_norm(
    x: Float[Array, "*batch C"],
    axes: tuple[int, ...],
    scale: Array | None = None,
    bias: Array | None = None,
    epsilon: float = 1e-5,
) -> Float[Array, "*batch C"]:
    """(x − mean) / √(var + epsilon) · scale + bias, with the mean and variance of the numbers along `axes` themselves.

    Args:
      scale, bias: of x's rank, broadcast against it.
    """
    centred = x - jnp.mean(x, axis=axes, keepdims=True)
    y = centred * jax.lax.rsqrt(jnp.mean(centred * centred, axis=axes, keepdims=True) + epsilon)
    y = y if scale is None else y * scale
    return y if bias is None else y + bias
