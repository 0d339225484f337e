"""What single units of a link will do, told from pairs: against cases whose answer is known."""

import numpy as np
import pytest

from linkjax.analysis.links import stability
from linkjax.errors import InputError


def _pairs(noise, count=20000, w_dim=3, seed=1):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(count, w_dim)) * np.array([1.0, 2.0, 0.5])
    return w, w + np.asarray(noise) * rng.normal(size=w.shape)


def test_a_noisy_reading_is_followed_too_little_and_the_prediction_says_by_how_much():
    w, r = _pairs([0.0, 1.0, 0.5])
    kernel = np.linalg.lstsq(r, w, rcond=None)[0]
    predicted = stability.diluted_fidelity(kernel, stability.fit_inverse(w, r, np.zeros(len(w), int)))
    np.testing.assert_allclose(predicted, [1, 4 / 5, 1 / 2], atol=0.02)


def test_classes_that_differ_do_not_pass_for_fidelity():
    w, r = _pairs([0.0, 0.0, 0.0])
    label = np.arange(len(w)) % 2
    r[:, 0] = np.random.default_rng(2).normal(size=len(w)) + 50.0 * label  # it tells the class, and nothing else
    w[:, 0] += 50.0 * label
    kernel = np.linalg.lstsq(r - r.mean(0), w - w.mean(0), rcond=None)[0]
    predicted = stability.diluted_fidelity(kernel, stability.fit_inverse(w, r, label))
    assert abs(predicted[0]) < 0.05 and predicted[1] == pytest.approx(1, abs=0.01)


def test_one_sigma_along_an_axis_is_a_straight_step_of_length_one():
    w, r = _pairs([0.0, 0.0, 0.0])
    reading = stability.fit_inverse(w, r, np.zeros(len(w), int))
    found = stability.measure(np.eye(3), reading)
    for values in found:
        np.testing.assert_allclose(values, 1, atol=0.02)
    # A step as long again to the side, in standard deviations, shows no more of the unit: length √2, directness 1/√2.
    aside = stability.measure(np.eye(3) + np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 0.25], [2.0, 0.0, 0.0]]), reading)
    np.testing.assert_allclose(aside.fidelity, 1, atol=0.02)
    np.testing.assert_allclose(aside.length, np.sqrt(2), atol=0.03)
    np.testing.assert_allclose(aside.directness, np.sqrt(0.5), atol=0.03)
    # Half as far on the same way: half the fidelity and length, as straight.
    half = stability.measure(0.5 * np.eye(3), reading)
    np.testing.assert_allclose(half, [found.fidelity / 2, found.length / 2, found.directness])


def test_units_that_never_vary_have_no_figure():
    w, r = _pairs([0.0, 0.0, 0.0], 50)
    r[:, 1] = 3.0
    found = stability.measure(np.eye(3), stability.fit_inverse(w, r, np.arange(50) % 2))
    for values in found:
        assert np.isnan(values[1]) and np.isfinite(values[[0, 2]]).all()


def test_the_straightest_of_the_good_penalties_is_taken():
    alphas, r2 = [0.1, 1.0, 10.0, 100.0], [0.80, 0.81, 0.805, 0.5]
    assert stability.straightest(r2, [0.1, 0.2, 0.3, 0.9], alphas, 0.01) == 2
    assert stability.straightest(r2, [0.1, 0.2, 0.3, 0.9], alphas, 1.0) == 3
    assert stability.straightest(r2, [0.3, 0.3, 0.3, 0.9], alphas, 0.01) == 2  # of equals the larger alpha
    assert stability.straightest(r2, [0.1, 0.2, 0.3, 0.9], alphas, 0.0) == 1
    with pytest.raises(InputError, match="finite"):
        stability.straightest([float("nan")], [1.0], [1.0], 0.1)
