import itertools

import numpy as np
import scipy.stats

from linkjax.analysis.counterfactuals import transitions


def at_random(rng, searches, live, most):
    """The units that change most in each search: any of the live ones."""
    units = np.broadcast_to(np.flatnonzero(live), (searches, int(live.sum())))
    return rng.permuted(units, axis=1)[:, :most].astype(np.int32)


def test_chances_are_those_of_independent_coins():
    drawn, live = np.array([1, 3, 2, 2, 2]), 7
    found = transitions.chances(drawn, np.array([0, 0, 0, 1, 1]), 2, live)
    expected = np.zeros(4)
    for heads in itertools.product([0, 1], repeat=3):
        q = np.array([1, 3, 2]) / live
        expected[sum(heads)] += np.prod(np.where(heads, q, 1 - q))
    np.testing.assert_allclose(found[0], expected[::-1].cumsum()[::-1], rtol=1e-12)
    np.testing.assert_allclose(found[1, :3], scipy.stats.binom.sf([-1, 0, 1], 2, 2 / live), rtol=1e-12)
    assert found[1, 3] == 0


def test_units_at_random_have_calibrated_p_values_and_are_not_discovered():
    rng = np.random.default_rng(0)
    live = np.arange(60) % 6 != 0
    pair = np.repeat(np.arange(200), 8)
    found = transitions.recurrence(at_random(rng, 1600, live, 10), pair, 200, live)
    assert np.isnan(found.p[:, ~live]).all() and np.isfinite(found.p[:, live]).all()
    p = found.p[:, live].ravel()
    for value in np.unique(p.round(12))[1:-1]:  # counts are few, so p takes few values: at each it must hold exactly
        share, spread = np.mean(p <= value + 1e-9), np.sqrt(value * (1 - value) / p.size)
        assert abs(share - value) < 4 * spread + 1e-4
    assert np.mean((found.q <= 0.05).any(axis=1)) < 0.08


def test_a_unit_that_recurs_is_found_in_its_pair_alone():
    rng = np.random.default_rng(1)
    live = np.ones(40, bool)
    top = at_random(rng, 30, np.arange(40) != 7, 5)
    top[:10, 2] = 7
    found = transitions.recurrence(top, np.repeat([0, 1, 2], 10), 3, live)
    assert found.count[0, 7] == 10 and found.q[0, 7] < 1e-4 and (found.count[1:, 7] == 0).all()
    assert (found.count.sum(axis=1) == 50).all()
    top[:10] = -1  # nothing changed in these searches
    assert (transitions.recurrence(top, np.repeat([0, 1, 2], 10), 3, live).p[0] == 1).all()


def test_sets_at_random_share_as_many_units_as_the_hypergeometric_law_says():
    rng = np.random.default_rng(2)
    member = rng.permuted(np.broadcast_to(np.arange(50) < 12, (120, 50)), axis=1)
    found = transitions.overlap(member, 50)
    upper = np.triu_indices(120, 1)
    p = found.p[upper]
    for value in np.unique(p.round(12))[1:-1]:
        assert abs(np.mean(p <= value + 1e-9) - value) < 0.02
    assert np.isnan(np.diag(found.jaccard)).all() and (found.q[upper] >= p - 1e-6).all()
    np.testing.assert_array_equal(found.q, found.q.T)


def test_overlap_is_told_by_what_pairs_of_classes_have_in_common():
    pairs = np.array([[0, 1], [1, 0], [2, 1], [0, 2], [3, 4]])
    of = transitions.relations(pairs)
    names = np.array(transitions.RELATIONS)
    assert names[of[0, 1:]].tolist() == ["reversed", "same target", "same origin", "apart"]
    assert names[of[1, 2:]].tolist() == ["chained", "chained", "apart"] and (np.diag(of) == -1).all()
    live = np.ones(200, bool)
    member = np.zeros((5, 200), bool)
    for row, start in enumerate((0, 0, 40, 80, 120)):
        member[row, start : start + 8] = True
    rows = {row.relation: row for row in transitions.shared_by_relation(member, pairs, live, np.random.default_rng(0))}
    assert rows["reversed"].jaccard == 1 and rows["reversed"].p < 0.01 and rows["reversed"].significant == 1
    assert rows["apart"].jaccard == 0 and rows["apart"].p == 1
    assert abs(rows["apart"].chance - 8 * 8 / 200 / 16) < 0.01
    assert transitions.shared_by_relation(np.zeros((5, 200), bool), pairs, live, np.random.default_rng(0)) == []
