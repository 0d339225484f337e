"""Normalisations, by stored statistics and by a value's own."""

import jax
import jax.numpy as jnp

from linkjax.models.graph.operations.table import operation
from linkjax.models.graph.view import View
from linkjax.ops import normalise


def channels_last(rank: int) -> tuple[int, ...]:
    """How a value [batch, channels, …] lies when its channels lie last."""
    return (0, rank - 1, *range(1, rank - 1))


@operation
def batch_norm(
    input: View, weight: View | None, bias: View | None, running_mean: View, running_var: View, eps: float = 1e-5
) -> View:
    """Batch normalisation in evaluation mode, of [B, C, …]."""
    order = channels_last(input.rank)
    mean, var = running_mean.plain(), running_var.plain()
    scale = jnp.ones_like(mean) if weight is None else weight.plain()
    shift = jnp.zeros_like(mean) if bias is None else bias.plain()
    return View(normalise.batch_norm(input.laid(order), scale, shift, mean, var, eps), order)


@operation
def layer_norm(
    input: View, normalized_shape: tuple[int, ...], weight: View | None = None, bias: View | None = None,
    eps: float = 1e-5,
) -> View:  # fmt: skip
    """Each item's last axes, as many as `normalized_shape` has, centred and scaled by their own mean and variance."""
    axes = range(input.rank - len(normalized_shape), input.rank)
    scale, shift = (None if each is None else each.widened(input.rank).laid(input.order) for each in (weight, bias))
    return input.like(normalise.layer_norm(input.array, tuple(input.axis(axis) for axis in axes), scale, shift, eps))


@operation
def rms_norm(input: View, normalized_shape: tuple[int, ...], weight: View | None = None, eps: float = 1e-6) -> View:
    """Each item's last axes over the root of the mean of their squares."""
    axes = tuple(input.axis(axis) for axis in range(input.rank - len(normalized_shape), input.rank))
    x = input.array
    y = x * jax.lax.rsqrt(jnp.mean(x * x, axis=axes, keepdims=True) + eps)
    return input.like(y if weight is None else y * weight.widened(input.rank).laid(input.order))


@operation
def group_norm(
    input: View, num_groups: int, weight: View | None = None, bias: View | None = None, eps: float = 1e-5
) -> View:
    """Groups of channels of [B, C, …], centred and scaled by their own mean and variance over all positions."""
    order = channels_last(input.rank)
    x = input.laid(order)
    apart = x.reshape(*x.shape[:-1], num_groups, x.shape[-1] // num_groups)
    axes = (*range(1, input.rank - 1), input.rank)
    y = normalise.layer_norm(apart, axes, epsilon=eps).reshape(x.shape)
    wide = (1,) * (input.rank - 1) + (-1,)
    y = y if weight is None else y * weight.plain().reshape(wide)
    return View(y if bias is None else y + bias.plain().reshape(wide), order)
