"""Slopes by anchor, bootstrap intervals, sign flips, false discoveries: against NumPy, and on made-up truth."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.analysis.units import response, selectivity
from linkjax.analysis.units.intervals import percentile_interval
from linkjax.errors import InputError


def _sweep(seed=0, samples=12, units=3, steps=5):
    rng = np.random.RandomState(seed)
    values = np.sort(rng.randn(samples, units, steps), axis=2).astype(np.float32)
    measured = rng.randn(samples, units, steps, 2, 4).astype(np.float32)
    return values, measured, rng.rand(units).astype(np.float32) + 0.5


def test_slopes_by_anchor_are_least_squares_and_their_mean_is_the_sweeps_slope():
    values, measured, std = _sweep()
    measured[3, 1, 2, 0, 0] = np.nan
    values[7, 1] = values[7, 1, 0]  # nothing was asked there
    got = np.asarray(selectivity.anchor_slopes(*map(jnp.asarray, (values, measured, std))))
    assert np.isnan(got[7, 1]).all()
    values = np.broadcast_to(values[5:6], values.shape)
    got = np.asarray(selectivity.anchor_slopes(*map(jnp.asarray, (values, measured, std))))
    expected = std[2] * np.polyfit(values[5, 2], measured[5, 2, :, 1, 3], 1)[0]
    assert got[5, 2, 1, 3] == pytest.approx(expected, rel=1e-4)
    assert np.isnan(got[3, 1, 0, 0]) and np.isfinite(got).sum() == got.size - 1
    units, anchors, steps = 3, 12, 5
    sums = response.empty_sums(units, anchors, {"metrics": 8})
    unit, anchor, step = (x.ravel() for x in np.meshgrid(range(units), range(anchors), range(steps), indexing="ij"))
    outputs = measured[anchor, unit, step].reshape(len(unit), 8)
    sums = response.add_items(
        sums,
        jnp.asarray(unit),
        jnp.asarray(anchor),
        jnp.asarray(values[anchor, unit, step]),
        {"metrics": jnp.asarray(outputs)},
    )
    pooled = np.asarray(response.slopes(sums).slope["metrics"]) * std[:, None]
    found = selectivity.effects(jnp.asarray(got), jnp.arange(12) % 3, jax.random.key(0), draws=10)
    np.testing.assert_allclose(np.asarray(found.effect).reshape(3, 8), pooled, rtol=2e-4, atol=1e-5)
    assert int(found.anchors[1, 0, 0]) == 11


def test_an_interval_covers_the_true_mean_about_as_often_as_it_says():
    rng = np.random.RandomState(1)
    classes, anchors, units = 10, 8, 300
    slopes = 0.3 + rng.randn(1, classes, units) * 0.5 + rng.randn(anchors, classes, units)
    labels = np.tile(np.arange(classes), anchors)
    found = selectivity.effects(
        jnp.asarray(slopes.reshape(-1, units), jnp.float32), jnp.asarray(labels), jax.random.key(2), draws=400
    )
    inside = (np.asarray(found.low) <= 0.3) & (np.asarray(found.high) >= 0.3)
    # Ten classes are few: percentile intervals are known to be a little narrow.
    assert 0.85 <= inside.mean() <= 0.99


def test_sign_flip_p_values_are_uniform_without_effect_and_small_with_one():
    rng = np.random.RandomState(3)
    noise = rng.randn(20, 400)
    slopes = jnp.asarray(np.concatenate([noise, noise[:, :50] + 3.0], axis=1), jnp.float32)
    p = np.asarray(selectivity.effects(slopes, jnp.arange(20) % 4, jax.random.key(0), draws=500).p_sign)
    assert abs(np.mean(p[:400] < 0.1) - 0.1) < 0.05
    assert (p[400:] <= 2 / 501).all()


def test_consistency_is_the_share_of_classes_that_agree():
    slopes = jnp.asarray([[1.0], [2.0], [3.0], [-1.0]])
    found = selectivity.effects(slopes, jnp.asarray([0, 1, 2, 3]), jax.random.key(0), draws=20)
    assert float(found.consistency[0]) == 0.75
    alone = selectivity.effects(jnp.asarray([[1.0], [jnp.nan]]), jnp.asarray([0, 1]), jax.random.key(0), draws=20)
    assert np.isnan(float(alone.effect[0])), "one anchor is no sample"


def test_adjusted_p_values_are_those_of_benjamini_and_hochberg():
    p = np.array([0.01, 0.04, 0.03, 0.005, np.nan, 0.5])
    got = np.asarray(selectivity.benjamini_hochberg(jnp.asarray(p, jnp.float32)[:, None]))[:, 0]
    np.testing.assert_allclose(got, [0.025, 0.05, 0.05, 0.025, np.nan, 0.5], rtol=1e-5)


def test_false_discoveries_among_pure_noise_are_as_rare_as_asked():
    rng = np.random.RandomState(5)
    q = np.asarray(selectivity.benjamini_hochberg(jnp.asarray(rng.rand(1000, 40), jnp.float32)))
    assert (q < 0.05).any(axis=0).mean() < 0.2


def test_nonsense_levels_are_refused():
    with pytest.raises(InputError, match="level"):
        selectivity.effects(jnp.zeros((2, 1)), jnp.zeros(2, jnp.int32), jax.random.key(0), level=1.0)


def test_slopes_and_p_values_can_be_mapped_and_compiled():
    values, measured, std = map(jnp.asarray, _sweep())
    alone = np.asarray(selectivity.anchor_slopes(values, measured, std))
    together = jax.jit(jax.vmap(selectivity.anchor_slopes, (None, -1, None), -1))(values, measured, std)
    np.testing.assert_allclose(np.asarray(together), alone, rtol=1e-5, atol=1e-6)
    arrays = jnp.asarray(alone[0]), std, jnp.asarray(alone[1])
    found = jax.jit(selectivity.student_p_values)(*arrays)
    np.testing.assert_allclose(np.asarray(found), selectivity.student_p_values(*arrays), rtol=1e-5)


@pytest.mark.parametrize("missing", [(), (0,), (2, 5)])
def test_few_anchors_are_flipped_in_every_way_once_so_that_the_sign_flip_test_is_exact(missing):
    slope = np.random.default_rng(3).normal(0.6, 1.0, (9, 7)).astype(np.float32)
    slope[list(missing)] = np.nan
    found = selectivity.effects(jnp.asarray(slope)[:, None], jnp.arange(9), jax.random.key(0), draws=8, flips=255)
    left = slope[np.isfinite(slope[:, 0])].astype(np.float64)
    ways = np.asarray(list(itertools.product((1, -1), repeat=len(left))))
    reached = np.abs(ways @ left) >= np.abs(left.sum(axis=0)) * (1 - 1e-6)
    np.testing.assert_allclose(np.asarray(found.p_sign)[0], reached.mean(axis=0), rtol=1e-6)
    random = selectivity.sign_flips(jax.random.key(0), 9, 254)
    assert random.shape == (254, 9) and set(np.unique(np.asarray(random))) == {-1.0, 1.0}


def test_resampling_a_thousand_classes_takes_the_memory_of_its_anchors():
    key, member = jax.random.key(0), jax.ShapeDtypeStruct((1000, 1000), jnp.float32)
    program = jax.jit(selectivity._resampled, static_argnames=("most", "draws"))
    compiled = program.lower(key, member, most=1, draws=1000).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < 64 << 20  # classes times anchors times draws are 4 GB


@pytest.mark.parametrize("draws", (1, 2, 25, 1000))
@pytest.mark.parametrize("level", (0.95, 0.5, 0.01))
def test_intervals_are_quantiles_of_what_is_known(draws, level):
    x = np.random.RandomState(4).randn(draws, 4, 5).astype(np.float32)
    x[::3, 1] = np.nan
    x[:, 2, 0] = np.nan
    x[: draws // 3, 3] = np.inf
    wanted = jnp.asarray([(1 - level) / 2, (1 + level) / 2])
    expected = jax.jit(lambda x: jnp.nanquantile(x, wanted, axis=0))(x)
    got = jax.jit(lambda x: jnp.stack(percentile_interval(x, level)))(x)
    np.testing.assert_allclose(np.asarray(got), np.asarray(expected), rtol=1e-6, atol=1e-7)
