"""Random directions of a sweep: uniform, of the right length, and swept by the same function as the units."""

import types

import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from linkjax.analysis.links import class_sums, steering
from linkjax.analysis.units import candidates, sweep
from linkjax.analysis.units.random_directions import (
    draw_directions,
    plan_random_steps,
    plan_steered_steps,
    unit_directions,
)


def test_directions_have_length_one_stay_among_live_units_and_do_not_depend_on_their_number():
    live = np.arange(12) % 3 > 0
    found = draw_directions(3, 400, live, 7)
    for rows in found:
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, rtol=1e-6)
    assert (found.in_r[:, ~live] == 0).all()
    np.testing.assert_array_equal(draw_directions(3, 5, live, 7).in_w, found.in_w[:5])
    assert not np.allclose(draw_directions(4, 5, live, 7).in_w, found.in_w[:5])
    # Uniform on the sphere: no mean, and the same spread along every axis.
    assert np.abs(found.in_w.mean(axis=0)).max() < 0.1
    np.testing.assert_allclose(np.square(found.in_w).mean(axis=0), 1 / 7, atol=0.03)


def test_a_direction_goes_as_far_as_the_unit_whose_steps_it_takes():
    kernel = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    walk = plan_random_steps(0, 3, np.ones(9, bool), np.array([1, 3]), kernel)
    np.testing.assert_array_equal(walk.template_unit, [1, 1, 3, 1, 1, 3])
    np.testing.assert_array_equal(walk.space, [0, 0, 0, 1, 1, 1])
    np.testing.assert_allclose(walk.length, [1, 1, 1, *np.linalg.norm(kernel[[1, 1, 3]], axis=1)], rtol=1e-6)
    assert len(plan_random_steps(0, 3, np.ones(9, bool), np.array([], int), kernel).template_unit) == 0


def test_units_and_random_directions_move_w_alike_with_and_without_a_kernel():
    rng = np.random.default_rng(1)
    kernel, r, w = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((5, 3), (4, 5), (4, 3)))

    class Linear:
        def __init__(self):
            self.kernel = kernel

        def __call__(self, r):
            return r @ kernel

    curved_free = types.SimpleNamespace(call=Linear())  # the same map, whose kernel nobody sees
    without = lambda r: curved_free.call(r)  # noqa: E731
    walk = plan_random_steps(0, 2, np.ones(5, bool), np.arange(5), np.asarray(kernel))
    unit = jnp.asarray([2, 5, 6, 8])
    value = jnp.asarray([0.5, 2.0, -1.0, 0.25])
    for mode in ("residual", "absolute"):
        moved = [sweep.swept_w(link, w, r, unit, value, mode, walk.directions) for link in (Linear(), without)]
        np.testing.assert_allclose(*moved, atol=1e-5)
    start = sweep.swept_w(Linear(), w, r, unit, jnp.asarray([float(r[0, 2]), 0, 0, 0]), "residual", walk.directions)
    moved = np.asarray(moved[0] - (r @ kernel))
    np.testing.assert_allclose(start, w, atol=1e-6)
    np.testing.assert_allclose(moved[1], 2.0 * walk.directions.in_r[0] @ kernel, atol=1e-5)
    np.testing.assert_allclose(moved[3], 0.25 * walk.directions.in_w[1], atol=1e-6)
    std = np.ones(5, np.float32)
    np.testing.assert_allclose(
        unit_directions(without, np.asarray(r), np.arange(5), std), np.asarray(kernel), rtol=1e-4, atol=1e-5
    )


def test_a_value_its_class_never_shows_is_off_range():
    r = np.concatenate([np.zeros((30, 1)), np.linspace(0, 4, 30)[:, None]]).astype(np.float32)
    classes = np.repeat([0, 1], 30)
    values = np.broadcast_to(np.float32([0.0, 2.0, 4.0, 5.0]), (2, 1, 4))
    own = np.full((2, 1), -1.0, np.float32)
    assert sweep.off_range(values, own, r, classes, np.array([0, 1]))[0] == np.mean([0.75, 0.25])
    # A class of few samples is held against all of them.
    assert sweep.off_range(values, own, r, classes, np.array([0, 7]))[0] == np.mean([0.75, 0.25])
    assert sweep.off_range(values, own + 6.0, r, classes, np.array([0, 1]))[0] == np.mean(
        [0.5, 0.0]
    )  # its own is there
    found = sweep.cautions(np.float32([0.6, 0, 0.6, 0]), np.float32([1, 0.1, 0.3, np.nan]), np.float32([0, 0.1, 0, 0]))
    np.testing.assert_array_equal(found, [1, 2, 3, 0])


def test_the_units_of_largest_scaled_effect_are_candidates_and_effects_are_matched_by_name():
    effect = np.zeros((4, 2, 2))
    effect[1, 0, 0], effect[2, 1, 1], effect[3, 0, 1] = 3.0, -1.0, np.nan
    spread = np.array([[10.0, 1.0], [1.0, 1.0]])
    np.testing.assert_array_equal(candidates.strongest_units(effect, spread, np.ones(4, bool), 1), [2])
    np.testing.assert_array_equal(candidates.strongest_units(effect, spread, np.arange(4) != 2, 1), [1])
    # What is strong in many metrics goes before what is strong in one, and what may be luck counts for little.
    effect[1] = 2.0 * spread
    np.testing.assert_array_equal(candidates.strongest_units(effect, spread, np.ones(4, bool), 1), [1])
    error = np.where(np.arange(4)[:, None, None] == 1, 3.0 * spread, 0.1)
    np.testing.assert_array_equal(candidates.strongest_units(effect, spread, np.ones(4, bool), 1, error), [2])
    found = candidates.matched(effect, (["a", "b"], ["x", "y"]), (["image", "b"], ["y", "z"]))
    assert found[2, 1, 0] == -1 and np.isnan(found[:, 0]).all() and np.isnan(found[:, 1, 1]).all()


def _units_that_say_nothing_of_w(samples=600, w_dim=12, true=6, noise=200):
    """A decomposition of units of which the first follow w and the rest do not; how many the first are."""
    rng = np.random.default_rng(5)
    w = rng.normal(size=(samples, w_dim)) * np.linspace(3.0, 0.2, w_dim)
    r = rng.normal(size=(samples, true + noise))
    r[:, :true] += 2.0 * w @ rng.normal(size=(w_dim, true))
    within = class_sums.within_of(r.astype(np.float32), w.astype(np.float32), np.arange(samples) % 3, None)
    assert within is not None
    return steering.spectrum(within), true


def test_random_steering_steps_are_as_long_in_mahalanobis_length_as_the_units_whose_steps_they_take():
    found, _ = _units_that_say_nothing_of_w()
    steer = steering.directions(found, 0.3)[:4]
    walk = plan_steered_steps(0, 3, np.ones(206, bool), np.array([1, 3]), steer, found, 0.3)
    np.testing.assert_allclose(steering.mahalanobis(found, walk.directions.in_w), 1.0, rtol=1e-5)
    np.testing.assert_allclose(walk.length, steering.mahalanobis(found, steer[[1, 1, 3, 1, 1, 3]]), rtol=1e-5)
    np.testing.assert_array_equal(walk.space, [0, 0, 0, 1, 1, 1])
    assert walk.directions.in_r.shape == (0, 206)
    assert len(plan_steered_steps(0, 3, np.ones(206, bool), np.array([], int), steer, found, 0.3).template_unit) == 0


@pytest.mark.parametrize("lam", [0.03, 3.0, np.inf])
def test_units_that_say_nothing_of_w_have_steps_like_random_ones(lam):
    """A measurement that is linear in w cannot tell their effects, per Mahalanobis length, from those of the null."""
    found, true = _units_that_say_nothing_of_w()
    steer = steering.directions(found, lam)[true:]
    walk = plan_steered_steps(0, 300, np.ones(206, bool), np.arange(len(steer)), steer, found, lam)
    null = walk.directions.in_w[walk.space == 1]
    for measurement in np.random.default_rng(6).normal(size=(3, 12)):
        units = steer @ measurement / steering.mahalanobis(found, steer)
        assert stats.ks_2samp(np.abs(units), np.abs(null @ measurement)).pvalue > 0.001
