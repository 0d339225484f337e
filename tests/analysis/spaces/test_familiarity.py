import numpy as np
import pytest

from linkjax.analysis.links import moments
from linkjax.analysis.spaces import familiarity


def test_training_samples_have_an_rms_distance_of_one_whatever_their_scale():
    rng = np.random.default_rng(0)
    r = rng.normal(size=(500, 12)) * np.geomspace(1e-3, 1e3, 12) + rng.normal(size=12)
    r[:, 5] = 0.25  # a silent unit
    total = moments.update(moments.empty(12, 1), r, np.zeros((500, 1)))
    for shrinkage in (1e-6, 0.01, 1.0):
        found = familiarity.distance(familiarity.whitening(total, shrinkage), r)
        assert np.sqrt(np.mean(found**2)) == pytest.approx(1.0, rel=1e-9)
    silent = r.mean(0)
    silent[5] += 1.0
    assert 0 < familiarity.distance(familiarity.whitening(total), silent[None])[0] < np.inf


def test_shares_and_cosines_of_what_is_not_there_are_nan():
    tied = familiarity.share_below(np.array([2 + 4e-16, 2 - 4e-16, np.inf]), np.array([1.0, 2.0, 2.0, 3.0]))
    np.testing.assert_array_equal(tied, [0.25, 0.25, 1.0])  # rounding decides nothing
    values = familiarity.share_below(np.array([0.0, 2.5, np.nan]), np.array([3.0, 1.0, 2.0, np.nan]))
    assert values[:2].tolist() == [0.0, pytest.approx(2 / 3)] and np.isnan(values[2])
    assert np.isnan(familiarity.share_below(np.array([1.0]), np.zeros(0))).all()
    found = familiarity.cosine(np.array([[1.0, 0], [0, 0]]), np.array([[1.0, 1.0], [1.0, 0]]))
    assert found[0] == pytest.approx(np.sqrt(0.5)) and np.isnan(found[1])
