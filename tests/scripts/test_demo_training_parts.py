"""The training's hand-written derivatives are those of the plain functions; the planted truth is as told."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.demo import factors
from linkjax.ops import conv, resampling


def _script(name: str):
    """A file of scripts/demo as a module, without putting that folder on the path of every other test."""
    path = Path(__file__).parents[2] / "scripts" / "demo" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"demo_script_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _agree(ours, plain, *arguments):
    def both(direction, *arguments):
        value, pull = jax.vjp(ours, *arguments)
        plain_value, plain_pull = jax.vjp(plain, *arguments)
        return (value, *pull(direction)), (plain_value, *plain_pull(direction))

    shape = jax.eval_shape(plain, *arguments).shape
    for a, b in zip(*jax.jit(both)(jax.random.normal(jax.random.key(1), shape), *arguments), strict=True):
        assert np.abs(a - b).max() < 5e-6 * np.abs(b).max()


@pytest.mark.parametrize("size", [1, 3])
def test_the_convolutions_derivatives_are_those_of_the_plain_one(size: int):
    keys = jax.random.split(jax.random.key(0))
    x, kernel = jax.random.normal(keys[0], (2, 9, 8, 3)), jax.random.normal(keys[1], (size, size, 3, 4))
    _agree(_script("fast_synthesis").full_conv, lambda x, k: conv.conv(x, k, padding=size - 1), x, kernel)


@pytest.mark.parametrize(("factor", "padding", "axis"), [(2, (9, 8), 1), (4, (-3, 2), 2)])
def test_the_upsamplings_derivative_is_that_of_the_plain_one(factor: int, padding: tuple[int, int], axis: int):
    x = jax.random.normal(jax.random.key(0), (2, 10, 11, 3))
    taps = jax.random.normal(jax.random.key(2), (6 * factor,))
    fast = _script("fast_synthesis")
    _agree(
        lambda x: fast.up(x, taps, factor, padding, axis),
        lambda x: resampling.upsample(x, taps, factor, padding, axis, gain=factor),
        x,
    )


@pytest.mark.parametrize(("size", "axis"), [(30, 1), (31, 2)])
def test_the_downsamplings_derivative_is_that_of_the_plain_one(size: int, axis: int):
    x = jax.random.normal(jax.random.key(0), (2, size, size, 3))
    taps = jax.random.normal(jax.random.key(2), (12,))
    fast = _script("fast_synthesis")
    _agree(lambda x: fast.down(x, taps, 2, axis), lambda x: resampling.downsample(x, taps, 2, axis), x)


def test_planted_targets_are_never_negative_and_noise_follows_no_factor():
    planted = _script("planted")
    truth = factors.factors_of(*factors.sample(jax.random.key(4), 20000))
    aims = np.asarray(planted.targets(truth))
    assert aims.min() >= 0, "the units of a ResNet are means of rectified maps"
    noise = np.asarray([unit.kind == "noise" for unit in planted.units()])
    assert noise.sum() >= 10 and (~noise).sum() >= 20
    columns = np.concatenate([aims, np.asarray(truth)], axis=1)
    correlation = np.abs(np.corrcoef(columns.T)[: planted.UNITS, planted.UNITS :])
    assert correlation[noise].max() < 0.1
    single = np.asarray([unit.kind == "single" for unit in planted.units()])
    assert correlation[single].max(axis=1).min() > 0.999


def test_a_single_units_truth_is_learned_and_linear_when_it_takes_its_target():
    planted = _script("planted")
    truth = np.asarray(factors.factors_of(*factors.sample(jax.random.key(4), 2000)))
    rows = planted.truth(np.asarray(planted.targets(jnp.asarray(truth))), truth)
    assert all(row["learned"] == 1 for row in rows)
    assert all(row["linear"] > 0.999 for row in rows if row["kind"] != "noise")
    assert max(row["linear"] for row in rows if row["kind"] == "noise") < 0.1
