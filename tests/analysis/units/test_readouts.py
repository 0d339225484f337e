"""Readouts are raised as units are: one unit's is its own direction, sums and scales follow."""

import numpy as np
import pytest

from linkjax.analysis.links import steering
from linkjax.analysis.units import readouts
from linkjax.errors import InputError
from tests.analysis.links.test_steering import UNITS, W_DIM, _within


@pytest.fixture(scope="module")
def spectrum():
    return steering.spectrum(_within(5))


@pytest.mark.parametrize("lam", [0.01, 1.0, np.inf])
def test_a_single_unit_is_raised_along_its_own_direction(spectrum, lam):
    found = readouts.directions(spectrum, lam, np.eye(UNITS))
    expected = steering.directions(spectrum, lam)
    assert np.isnan(found[-1]).all() and np.isnan(expected[-1]).all(), "the last unit is constant within classes"
    np.testing.assert_allclose(found[:-1], expected[:-1], rtol=1e-8, atol=1e-10)


def test_the_step_of_a_readout_is_the_dense_formulas_and_raises_it_by_one(spectrum):
    within, lam = _within(5), 0.3
    rng = np.random.default_rng(1)
    weights = rng.normal(size=(UNITS, 4))
    live = within.variance > 0
    weights[~live] = 0
    A = np.linalg.solve(within.covariance, within.cross.T)[:, live]
    S = np.diag(within.variance[live])
    D = within.covariance @ A @ np.linalg.inv(A.T @ within.covariance @ A + lam * S)
    step = D @ S @ weights[live]
    expected = (step / np.sum(weights[live] * (A.T @ step), axis=0)).T
    found = readouts.directions(spectrum, lam, weights)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    own = np.sum((found @ steering.back(spectrum)) * weights.T, axis=1)
    np.testing.assert_allclose(own, 1.0, rtol=1e-8)
    np.testing.assert_allclose(readouts.directions(spectrum, lam, 5 * weights), found / 5, rtol=1e-8)
    # a latent of an autoencoder: raised by another change than it is read by
    wanted = rng.normal(size=weights.shape)
    step = D @ wanted[live]
    own = np.sum(weights[live] * (A.T @ step), axis=0)
    found = readouts.directions(spectrum, lam, weights, wanted)
    assert (np.isnan(found[:, 0]) == (own <= 0)).all()
    np.testing.assert_allclose(found[own > 0], (step / own).T[own > 0], rtol=1e-6)


def test_what_w_says_nothing_of_or_would_lower_has_no_direction_and_others_share_w(spectrum):
    weights = np.zeros((UNITS, 2))
    weights[-1, 0] = weights[0, 1] = 1.0
    found = readouts.directions(spectrum, 1.0, weights, -weights)
    assert np.isnan(found).all(), "one does not vary, one is asked to fall"
    many = np.random.default_rng(2).normal(size=(UNITS, 50))
    assert readouts.rank(readouts.directions(spectrum, 1.0, many)) == W_DIM
    assert readouts.rank(readouts.directions(spectrum, 1.0, many[:, [0, 0]] * [1, 2])) == 1
    assert readouts.rank(found) == 0
    std = np.sqrt(_within(5).variance)
    np.testing.assert_allclose(readouts.determined(spectrum, np.eye(UNITS), std), spectrum.r2, rtol=1e-8)
    with pytest.raises(InputError, match="weights of 9 units each"):
        readouts.directions(spectrum, 1.0, np.eye(3))


def test_spread_within_classes_is_that_of_deviations_from_class_means():
    values, classes = np.array([[1.0, 5.0], [3.0, 5.0], [10.0, 7.0], [14.0, 7.0]]), np.array([0, 0, 4, 4])
    np.testing.assert_allclose(readouts.within_std(values, classes), [np.sqrt((2 + 8) / 2), 0.0])
