import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.analysis.metrics import parts, regions
from linkjax.analysis.units import screening
from linkjax.errors import InputError
from linkjax.models import build
from linkjax.models.linear_segmenter import LinearSegmenter
from tests import tolerances, worlds

NAMES = ("background", "left", "right")
UNITS = 20


@pytest.fixture(scope="module")
def world():
    generator = worlds.generator()
    spec = parts.linear_spec(generator.spec, NAMES)
    segmenter = build.random(LinearSegmenter, spec, 3)
    rng = np.random.default_rng(0)
    for index, name in enumerate(spec.layers):
        kernel = segmenter.kernels[name]
        kernel[...] = jnp.asarray(rng.normal(size=kernel[...].shape) / (1 + index), jnp.float32)
    label = np.arange(4) % worlds.CLASSES
    w = generator.mapping(rng.normal(size=(4, generator.spec.z_dim)).astype(np.float32), label)
    kernel = 0.1 * rng.normal(size=(UNITS, generator.spec.w_dim)).astype(np.float32)
    return generator, segmenter, w, kernel


@jax.jit
def metrics_of(generator, segmenter, w):
    images, scores = parts.draw_with_parts(generator, segmenter, w)
    of = functools.partial(screening.soft_metrics, height=16, width=16)
    return jax.vmap(jax.vmap(of))(screening.soft_sums(images, scores))


def soft(generator, segmenter, w):
    return np.asarray(metrics_of(generator, segmenter, w), np.float64)


@functools.cache
def compiled(mode, at_once=1):
    return jax.jit(functools.partial(screening.derivatives, mode=mode, at_once=at_once))


def effects(world, mode, rows=slice(None), at_once=1, kernel=None):
    generator, segmenter, w, all_units = world
    chosen = screening.choose_products(all_units if kernel is None else kernel, len(NAMES), mode)
    assert chosen.mode == mode
    found = compiled(mode, at_once)(generator, segmenter, w[rows], jnp.asarray(chosen.directions))
    return np.asarray(screening.unit_effects(found.slopes, jnp.asarray(chosen.coefficients)))


@pytest.mark.parametrize("mode", ["reverse", "forward"])
def test_derivatives_are_those_of_finite_differences(world, mode):
    generator, segmenter, w, kernel = world
    found = effects(world, mode)
    step = 0.01
    for unit in (0, 7):
        direction = jnp.asarray(step * kernel[unit])[None]
        above, below = (soft(generator, segmenter, w + sign * direction) for sign in (1, -1))
        expected = (above - below) / (2 * step)
        scale = np.abs(expected).max(axis=(0, 1), keepdims=True)
        there = np.isfinite(found[:, unit])
        assert there.any(axis=(0, 1)).all()
        error = np.where(there, np.abs(found[:, unit] - expected), 0.0) / scale
        assert error.max() < tolerances.SCREENING, screening.METRICS[error.max(axis=(0, 1)).argmax()]


def test_both_ways_and_any_batching_give_the_same(world):
    reverse = effects(world, "reverse")
    scale = np.nanmax(np.abs(reverse), axis=(0, 1, 2))
    for other in (
        effects(world, "forward"),
        effects(world, "reverse", at_once=5),
        np.concatenate([effects(world, "forward", slice(0, 2)), effects(world, "forward", slice(2, 4))]),
    ):
        assert np.array_equal(np.isnan(other), np.isnan(reverse))
        assert np.nanmax(np.abs(other - reverse) / scale) < tolerances.SCREENING_WAYS


def test_the_fewer_products_are_chosen_by_counting():
    rng = np.random.default_rng(1)
    for rank, num_parts, mode in ((12, 2, "forward"), (30, 2, "reverse"), (30, 10, "forward"), (64, 10, "forward")):
        kernel = rng.normal(size=(200, rank)) @ rng.normal(size=(rank, 64))
        chosen = screening.choose_products(kernel, num_parts)
        assert chosen.mode == mode
        assert chosen.count == (rank if mode == "forward" else screening.SUMS * num_parts)
        rebuilt = chosen.coefficients @ chosen.directions
        assert np.abs(rebuilt - kernel).max() < 1e-5 * np.abs(kernel).max()


def test_hard_memberships_give_the_metrics_of_regions():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, (12, 16)).astype(np.int32)
    labels[:4] = 0
    image = rng.integers(0, 256, (12, 16, 3)).astype(np.float32) / 255
    scores = 1e3 * jax.nn.one_hot(jnp.asarray(labels), 3)
    sums = screening.soft_sums(jnp.asarray(image)[None] * 2 - 1, scores[None])[0]
    found = jax.vmap(functools.partial(screening.soft_metrics, height=12, width=16))(sums)
    expected = regions.measure_regions(jnp.asarray(image), jnp.asarray(labels), 3)
    for index, name in enumerate(screening.METRICS):
        assert np.allclose(found[:, index], getattr(expected, name), rtol=2e-4, atol=2e-4), name


def test_the_integral_along_a_path_is_the_difference_of_its_ends(world):
    generator, segmenter, w, kernel = world
    direction = jnp.asarray(kernel[[3, 3, 9, 9]])
    low, high = jnp.asarray([-0.5, 0.0, -0.5, 0.2]), jnp.asarray([0.5, 0.7, 1.0, 0.6])
    path = jax.jit(screening.path_effects, static_argnames="points")
    ends = [soft(generator, segmenter, w + end[:, None] * direction) for end in (low, high)]
    expected = (ends[1] - ends[0]) / np.asarray(high - low)[:, None, None]
    found = np.asarray(path(generator, segmenter, w, direction, low, high, points=5))
    areas = slice(0, 2)
    error = np.abs(found[..., areas] - expected[..., areas]).max() / np.abs(expected[..., areas]).max()
    assert error < tolerances.SCREENING


def test_a_round_or_absent_part_has_finite_derivatives():
    of = functools.partial(screening.soft_metrics, height=8, width=8)
    for sums in (np.zeros(11), np.array([4.0, 0, 0, 2, 2, 0, 1, 1, 1, 1, 1])):
        value, slope = of(jnp.asarray(sums, jnp.float32)), jax.jacfwd(of)(jnp.asarray(sums, jnp.float32))
        assert np.isfinite(value).all() and np.isfinite(slope).all()


def test_what_hardly_belongs_to_a_part_belongs_to_it_not_at_all():
    """Thousands of far pixels at a small probability must not move a small part."""
    shares = jnp.asarray([[0.02, 0.98], [0.5, 0.5], [0.97, 0.03], [0.3, 0.7]])
    found = np.asarray(screening.memberships(jnp.log(shares), 1.0))
    assert np.allclose(found[:3], [[0, 1], [0.5, 0.5], [1, 0]], atol=1e-6)
    assert 0 < found[3, 0] < 0.3 and np.allclose(found.sum(axis=-1), 1.0, atol=1e-6)


def test_a_temperature_of_nought_is_refused():
    with pytest.raises(InputError, match="temperature"):
        screening.soft_sums(jnp.zeros((1, 2, 2, 3)), jnp.zeros((1, 2, 2, 2)), 0.0)
