"""Derivatives that are written out are those of the plain functions, in both modes, batched and sharded."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from linkjax.ops import conv, full_conv, resampling
from tests import draws, tolerances

TAPS = draws.normal(2, 12)


def plain_upsample(x, taps, factor, padding, axis, gain):
    return resampling._upsampled(x, taps, factor=factor, padding=padding, axis=axis, gain=gain)


def plain_downsample(x, taps, factor, axis):
    return resampling._downsampled(x, taps, factor=factor, axis=axis, reads=0)


def cases():
    image = draws.normal(0, 2, 10, 11, 3)
    for factor, padding, axis in ((2, (9, 8), 1), (4, (-3, 2), 2), (1, (6, 5), 1), (2, (5, 4), 0)):
        settings = {"factor": factor, "padding": padding, "axis": axis, "gain": 1.5}
        yield (f"upsample {factor} axis {axis}", functools.partial(resampling.upsample, **settings),
               functools.partial(plain_upsample, **settings), image, TAPS)  # fmt: skip
    for factor, size, axis in ((2, 30, 1), (2, 31, 2), (4, 29, 1), (1, 20, 0)):
        settings = {"factor": factor, "axis": axis}
        wide = draws.normal(0, size, size, size, 2)
        yield (f"downsample {factor} axis {axis}", functools.partial(resampling.downsample, **settings),
               functools.partial(plain_downsample, **settings), wide, TAPS)  # fmt: skip
    for size, channels in ((1, 3), (3, 3), (3, full_conv.WINOGRAD_CHANNELS)):
        maps = draws.normal(0, 2, 9, 8, channels)
        kernel = draws.normal(1, size, size, channels, channels)
        yield (f"conv {size} of {channels}", full_conv.full_conv,
               functools.partial(conv.conv, padding=size - 1), maps, kernel)  # fmt: skip


CASES = {name: rest for name, *rest in cases()}


def agree(found, expected):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        assert np.abs(a - b).max() <= tolerances.DERIVATIVES * np.abs(b).max()


@pytest.mark.parametrize("name", CASES)
def test_both_modes_give_the_plain_functions_derivatives(name):
    ours, plain, x, y = CASES[name]
    shape = jax.eval_shape(plain, x, y).shape
    direction = draws.normal(3, *shape)

    def both_modes(function, x, y, dx, dy):
        value, pull = jax.vjp(function, x, y)
        return value, pull(direction), jax.jvp(function, (x, y), (dx, dy))[1]

    arrays = (x, y, jnp.cos(x), jnp.sin(y))
    agree(*(jax.jit(functools.partial(both_modes, function))(*arrays) for function in (ours, plain)))
    agree(ours(x, y), plain(x, y))  # and outside compiled functions


@pytest.mark.parametrize("name", [name for name in CASES if "128" not in name])
def test_batches_of_either_argument_and_second_derivatives_are_right(name):
    ours, plain, x, y = CASES[name]

    def several(function, x, y):
        cubic = lambda x, y: jnp.sum(function(x, y) ** 3)  # noqa: E731
        xs, ys = jnp.stack([x, 2 * x], axis=1), jnp.stack([y, jnp.cos(y)])
        over_x = jax.vmap(jax.grad(cubic), (1, None))(xs, y)
        over_y = jax.vmap(jax.grad(cubic, 1), (None, 0))(x, ys)
        twice = jax.jvp(jax.grad(cubic), (x, y), (jnp.sin(x), y))[1]
        return over_x, over_y, twice

    agree(*(jax.jit(functools.partial(several, function))(x, y) for function in (ours, plain)))


@pytest.mark.parametrize("checked", [True, False])
def test_derivatives_go_through_shard_map(checked):
    ours, plain, x, y = CASES["conv 3 of 3"]
    mesh = jax.make_mesh((2,), ("item",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])

    def loss(function, x, y):
        inner = jax.shard_map(
            lambda x, y: function(resampling.upsample(x, TAPS, 2, (9, 8), 1), y),
            mesh=mesh, in_specs=(P("item"), P()), out_specs=P("item"), check_vma=checked,
        )  # fmt: skip
        return jnp.sum(inner(x, y) ** 2)

    found, expected = (jax.jit(jax.grad(functools.partial(loss, each), (0, 1)))(x, y) for each in (ours, plain))
    agree(found, expected)
