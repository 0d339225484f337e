import numpy as np
import pytest

from linkjax.analysis.comparisons import moves

SAMPLE = np.repeat(np.arange(30), 3)


def drawn(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


def test_moves_that_share_a_direction_of_each_search_agree_and_those_that_share_none_do_not():
    own = drawn(0, 90, 40)
    alike, apart = own + drawn(1, 90, 40), drawn(2, 90, 40)
    found, none = (
        moves.agreement(own, other, SAMPLE, np.random.default_rng(3), 200, 99, 0.95) for other in (alike, apart)
    )
    assert found.mean == pytest.approx(np.sqrt(0.5), abs=0.02) and found.low < found.mean < found.high
    assert found.chance_high < 0.1 and found.p == 0.01
    assert none.low < 0 < none.high and none.p > 0.05 and none.chance_low < none.mean < none.chance_high


def test_what_all_searches_have_in_common_is_chance():
    common = drawn(4, 40)
    one, other = (common + 0.1 * drawn(seed, 90, 40) for seed in (5, 6))
    found = moves.agreement(one, other, SAMPLE, np.random.default_rng(7), 50, 99, 0.95)
    assert found.mean > 0.9 and found.chance_high > 0.9 and found.p > 0.05


def test_a_feature_that_is_not_there_has_no_part_in_a_cosine_or_a_share():
    own = drawn(8, 6, 3)
    other = own.copy()
    own[:, 1] = np.nan
    found = moves.agreement(own, other, np.arange(6), np.random.default_rng(9), 10, 9, 0.95)
    assert found.mean == pytest.approx(1)
    shares = moves.shares(own)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares[:, 1] == 0).all() and np.isnan(moves.shares(np.zeros((1, 2, 2)))).all()


def test_what_one_moves_more_is_found_and_its_own_repetitions_are_not_counted_as_samples():
    one, other = np.abs(drawn(10, 90, 2, 3)) + 0.5, np.abs(drawn(11, 90, 2, 3)) + 0.5
    one[:, 1, 2] *= 4
    found = moves.difference(moves.shares(one), moves.shares(other), SAMPLE, np.random.default_rng(12), 999)
    assert found.q[1, 2] < 0.01 and found.mean[1, 2] > 0.2 and found.mean.shape == (2, 3)
    assert found.mean.sum() == pytest.approx(0, abs=1e-9)
    few = moves.difference(moves.shares(one), moves.shares(other), SAMPLE % 3, np.random.default_rng(12), 999)
    assert few.q[1, 2] > 0.1  # three samples can be tossed eight ways
    none = moves.difference(moves.shares(other), moves.shares(other), SAMPLE, np.random.default_rng(12), 9)
    assert np.isnan(none.q).all() and (none.mean == 0).all()
