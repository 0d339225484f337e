import numpy as np

from linkjax.analysis.counterfactuals import boundary


def straight():
    """Paths whose log-odds are straight: M(t) = a (t − t*)."""
    rng = np.random.default_rng(0)
    slope, flip, length = rng.uniform(2, 9, 12), rng.uniform(0.3, 1.1, 12), rng.uniform(1, 3, 12)
    t = np.arange(7) / 4
    return slope, flip, length, (slope[:, None] * (t[None] - flip[:, None])).astype(np.float32), t


def test_aligned_at_the_flip_a_straight_path_is_a_logistic_curve_of_the_distance():
    slope, flip, length, odds, t = straight()
    distance = np.linspace(-2, 2, 9)
    found = boundary.aligned(odds, flip, length, distance, 0.25)
    place = distance[None] / length[:, None] + flip[:, None]
    inside = (place >= 0) & (place <= t[-1])
    expected = 1 / (1 + np.exp(-slope[:, None] * distance[None] / length[:, None]))
    np.testing.assert_allclose(found[inside], expected[inside], atol=1e-5)
    assert np.isnan(found[~inside]).all() and inside.any() and (~inside).any()
    np.testing.assert_allclose(found[:, 4], 0.5, atol=1e-5)
    flip[0], length[1] = np.nan, 0.0
    assert np.isnan(boundary.aligned(odds, flip, length, distance, 0.25)[:2]).all()


def test_a_width_is_the_distance_from_a_quarter_to_three_quarters():
    slope, _, length, _, _ = straight()
    half = boundary.widths(slope, length) / 2

    def p(d):
        return 1 / (1 + np.exp(-slope * d / length))

    np.testing.assert_allclose(p(half), 0.75)
    np.testing.assert_allclose(p(-half), 0.25)
    assert np.isnan(boundary.widths(np.array([-1.0, 0.0, np.nan]), np.ones(3))).all()


def test_a_profile_is_the_mean_and_the_quantiles_of_its_pair_alone():
    rng = np.random.default_rng(1)
    p = np.where(rng.random((40, 5)) < 0.2, np.nan, rng.random((40, 5)))
    p[:, 4] = np.nan
    pair = rng.integers(0, 3, 40)
    found = boundary.profile(p, pair, 4)
    for row in range(3):
        mine = p[pair == row][:, :4]
        np.testing.assert_allclose(found.mean[row, :4], np.nanmean(mine, axis=0))
        np.testing.assert_allclose(found.high[row, :4], np.nanquantile(mine, 0.9, axis=0))
        np.testing.assert_array_equal(found.count[row], np.isfinite(p[pair == row]).sum(axis=0))
    assert np.isnan(found.median[3]).all() and np.isnan(found.mean[:, 4]).all()


def test_pairs_of_classes_are_told_apart_by_their_direction():
    pairs, index = boundary.class_pairs(np.array([3, 1, 3, 1]), np.array([1, 3, 2, 3]))
    assert pairs.tolist() == [[1, 3], [3, 1], [3, 2]] and index.tolist() == [1, 0, 2, 0]
    values = np.array([1.0, 5.0, np.nan, 7.0])
    np.testing.assert_allclose(boundary.quartiles(values, index, 3)[:, 1], [6.0, 1.0, np.nan])
