import numpy as np
import pytest

from linkjax.analysis.links import class_sums, steering
from linkjax.analysis.units.shared_directions import shared_directions
from linkjax.errors import InputError


def spectrum(loads: np.ndarray, own: float, noise: float = 0.05, samples: int = 4000) -> steering.Spectrum:
    """Units that follow the first coordinate of w by `loads`, and each a coordinate of its own by `own`."""
    rng = np.random.default_rng(0)
    units = len(loads)
    w = rng.normal(size=(samples, 1 + units)) * np.linspace(1.0, 3.0, 1 + units)
    z = w / np.linspace(1.0, 3.0, 1 + units)
    r = z[:, :1] * loads + own * z[:, 1:] + noise * rng.normal(size=(samples, units))
    within = class_sums.within_of(r.astype(np.float32), w.astype(np.float32), np.zeros(samples, int), None)
    assert within is not None
    return steering.spectrum(within)


def test_what_units_share_is_one_direction_and_the_rest_is_each_units_own():
    found = spectrum(np.array([1.0, 1.2, 0.9, -1.1]), own=0.4)
    shared = shared_directions(found, lam=100.0, least=0.2)
    assert shared.share.shape == (1,) and shared.share[0] > 0.8
    np.testing.assert_allclose(steering.mahalanobis(found, shared.directions), 1.0, rtol=1e-6)
    assert np.argmax(np.abs(shared.directions[0])) == 0
    np.testing.assert_array_equal(np.sign(shared.loading[:, 0]), [1, 1, 1, -1])
    assert (shared.own_share < 0.3).all()
    # The remainder moves the unit's own coordinate, by prediction by what is asked, and the shared one not at all.
    assert (np.argmax(np.abs(shared.own / np.linspace(1.0, 3.0, 5)), axis=1) == [1, 2, 3, 4]).all()
    np.testing.assert_allclose(np.sum(shared.own * steering.back(found).T, axis=1), 1.0, rtol=1e-6)
    across = shared.own @ np.linalg.pinv(found.to_w).T @ (np.linalg.pinv(found.to_w) @ shared.directions[0])
    assert np.abs(across).max() < 1e-6 * np.abs(shared.own).max()
    np.testing.assert_allclose(
        steering.mahalanobis(found, shared.own * found.std[:, None]), shared.own_length, rtol=1e-6
    )


def test_units_that_are_copies_have_nothing_of_their_own():
    found = spectrum(np.array([1.0, 1.0, 1.0]), own=0.0, noise=1e-3)
    shared = shared_directions(found, lam=1.0)
    assert shared.share[0] > 0.99 and (shared.own_share < 1e-3).all()
    assert np.isnan(shared.own).all()


def test_independent_units_share_nothing_that_passes_the_least_share():
    shared = shared_directions(spectrum(np.zeros(4), own=1.0), lam=1.0, least=0.4)
    assert shared.directions.shape == (0, 5) and shared.loading.shape == (4, 0)
    np.testing.assert_allclose(shared.own_share, 1.0)


def test_a_share_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"least share of 0 … 1"):
        shared_directions(spectrum(np.zeros(2), own=1.0), lam=1.0, least=2.0)
