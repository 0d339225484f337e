import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from linkjax.analysis.spaces import congruence
from linkjax.errors import InputError


def spaces(classes=6, m=9, noise=0.0, seed=0):
    """Points of two spaces, the second a rotation of the first and noise."""
    rng = np.random.default_rng(seed)
    r = (2.0 * rng.normal(size=(classes, 1, 7)) + rng.normal(size=(classes, m, 7))).astype(np.float32)
    turn = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    return r, (r @ turn + noise * rng.normal(size=r.shape)).astype(np.float32)


def compared(r, w, **options):
    return congruence.compare(r, w, np.random.default_rng(0), **{"draws": 100, "permutations": 99, **options})


@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
def test_distances_are_those_of_scipy(distance):
    x = np.random.default_rng(0).normal(size=(300, 5)).astype(np.float32) + 10
    found = congruence.distances(x, distance)
    rows = x - x.astype(np.float64).mean(axis=0)
    expected = scipy.spatial.distance.squareform(scipy.spatial.distance.pdist(rows, distance))
    off = ~np.eye(300, dtype=bool)
    assert np.abs(found - expected)[off].max() < 1e-10 * expected.max()


def test_a_rotation_keeps_every_order_and_noise_loses_it():
    same = compared(*spaces())
    assert {scope for _, scope in same} == set(congruence.SCOPES)
    for each in same.values():
        assert each.value == pytest.approx(1.0, abs=1e-3) and each.p == pytest.approx(0.01)
    r, w = spaces()
    none = compared(r, np.random.default_rng(1).normal(size=w.shape).astype(np.float32))
    for each in none.values():
        assert abs(each.value - each.null) < 0.4 and each.p > 0.02
    assert none["distances", "all"].null == pytest.approx(0.0, abs=0.02)


def test_values_are_those_of_scipy_and_of_counting():
    r, w = spaces(noise=1.0)
    found = compared(r, w, neighbours=2)
    dr, dw = (scipy.spatial.distance.cdist(x, x) for x in (r.reshape(54, 7), w.reshape(54, 7)))
    i, j = np.triu_indices(54, 1)
    different = i // 9 != j // 9
    everything = scipy.stats.spearmanr(dr[i, j], dw[i, j])[0]
    assert found["distances", "all"].value == pytest.approx(everything, abs=1e-3)
    across = scipy.stats.spearmanr(dr[i, j][different], dw[i, j][different])[0]
    assert found["distances", "across"].value == pytest.approx(across, abs=1e-3)
    one = [
        scipy.stats.spearmanr(*(scipy.spatial.distance.pdist(x[c].astype(np.float64)) for x in (r, w)))[0]
        for c in range(6)
    ]
    assert found["distances", "within"].value == pytest.approx(np.mean(one), abs=1e-3)
    np.fill_diagonal(dr, np.inf)
    np.fill_diagonal(dw, np.inf)
    shared = [len(set(np.argsort(a)[:2]) & set(np.argsort(b)[:2])) / 2 for a, b in zip(dr, dw, strict=True)]
    assert found["neighbours", "all"].value == pytest.approx(np.mean(shared), abs=1e-6)
    assert found["neighbours", "all"].null == pytest.approx(2 / 53, abs=0.02)  # chance: k / (n − 1)
    assert found["distances", "all"].count == 54 * 53 // 2


def test_an_interval_holds_its_value_and_narrows_with_more_classes():
    few, many = (compared(*spaces(classes=classes, noise=1.5)) for classes in (5, 40))
    for name, one in few.items():
        assert one.low <= one.value <= one.high, name
        assert many[name].high - many[name].low < one.high - one.low, name


def test_resampled_classes_do_not_change_the_share_of_pairs_within_them():
    rng = np.random.default_rng(0)
    middle = 8.0 * rng.normal(size=(10, 1, 5))
    r, w = ((middle[::step] + rng.normal(size=(10, 12, 5))).astype(np.float32) for step in (1, -1))
    found = compared(r, w, draws=400)["distances", "all"]  # nothing in common but that classes lie apart
    assert abs((found.low + found.high) / 2 - found.value) < 0.25 * (found.high - found.low)


@given(st.integers(0, 2**31))
def test_order_is_blind_to_shifts_scales_and_the_order_of_samples(seed):
    r, w = spaces(classes=4, m=5, noise=1.0, seed=seed)
    rng = np.random.default_rng(seed)
    moved = (3.0 * w + rng.normal(size=(1, 1, 7))).astype(np.float32)
    order = rng.permutation(5)
    options = {"draws": 2, "permutations": 2}
    here, there = compared(r, w, **options), compared(r[:, order], moved[:, order], **options)
    for name, each in here.items():
        assert there[name].value == pytest.approx(each.value, abs=5e-3), name


def test_resampled_counts_are_of_classes_and_of_samples_within_them():
    counts, times = congruence.resampled(np.random.default_rng(0), 5, 4, 50)
    np.testing.assert_array_equal(np.asarray(times).sum(axis=1), 5)
    np.testing.assert_array_equal(np.asarray(counts).sum(axis=2), 4 * np.asarray(times))


def test_one_class_has_no_across_and_no_centroids():
    r, w = spaces(classes=1, m=12)
    assert {scope for _, scope in compared(r, w)} == {"all", "within"}


def test_what_is_not_finite_or_does_not_fit_is_refused():
    r, w = spaces()
    with pytest.raises(InputError, match="expected r and w as"):
        compared(r, w[:, :3])
    r[0, 0, 0] = np.nan
    with pytest.raises(InputError, match="finite"):
        compared(r, w)
