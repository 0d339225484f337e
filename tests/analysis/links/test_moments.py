import itertools

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkjax.analysis.links import host_moments, moments
from tests import tolerances as tol

UNITS, W_DIM, PAD = 7, 3, 16


def pairs(n, seed=0):
    random = np.random.default_rng(seed)
    return random.standard_normal((n, UNITS)) * 2 + 50, random.standard_normal((n, W_DIM)) - 9


def stream(r, w, cuts):
    """Moments of the parts between cuts, each padded with NaN to one shape."""
    total = moments.empty(UNITS, W_DIM)
    for begin, end in itertools.pairwise([0, *cuts, len(r)]):
        for start in range(begin, end, PAD):
            size = min(PAD, end - start)
            rows_r, rows_w = np.full((PAD, UNITS), np.nan), np.full((PAD, W_DIM), np.nan)
            rows_r[:size], rows_w[:size] = r[start : start + size], w[start : start + size]
            total = moments.update(total, rows_r, rows_w, np.arange(PAD) < size)
    return total


def assert_close(a, b, tolerance=tol.MOMENTS):
    for name in ("count", "mean_r", "mean_w", "S_rr", "S_rw", "S_ww"):
        x, y = np.asarray(getattr(a, name)), np.asarray(getattr(b, name))
        assert x.dtype == np.float64
        # Near-cancelling entries carry the rounding of the largest.
        assert np.abs(x - y).max() <= tolerance * max(np.abs(y).max(), 1e-300), name


@given(st.integers(2, 60), st.integers(0, 99), st.lists(st.integers(0, 60), max_size=4))
def test_moments_do_not_depend_on_batch_size_or_padding(n, seed, cuts):
    r, w = pairs(n, seed)
    found = stream(r, w, sorted(min(cut, n) for cut in cuts))
    dr, dw = r - r.mean(0), w - w.mean(0)
    assert float(found.count) == n
    for got, expected in ((found.S_rr, dr.T @ dr), (found.S_rw, dr.T @ dw), (found.S_ww, (dw**2).sum(0))):
        assert np.abs(np.asarray(got) - expected).max() <= 1e-12 * np.abs(expected).max()
    assert np.abs(np.asarray(found.mean_r) - r.mean(0)).max() <= tol.MOMENTS * 50


def test_moments_do_not_depend_on_the_order_of_samples():
    r, w = pairs(80)
    order = np.random.default_rng(1).permutation(80)
    assert_close(stream(r[order], w[order], [13, 40]), stream(r, w, [64]), 1e-12)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(0, 99))
def test_merge_is_associative_and_empty_is_its_zero(i, j, k, seed):
    r, w = pairs(i + j + k, seed)
    a, b, c = stream(r[:i], w[:i], []), stream(r[i : i + j], w[i : i + j], []), stream(r[i + j :], w[i + j :], [])
    left, right = moments.merge(moments.merge(a, b), c), moments.merge(a, moments.merge(b, c))
    assert_close(left, right, 1e-12)
    assert_close(left, stream(r, w, []), 1e-12)
    assert_close(moments.merge(moments.empty(UNITS, W_DIM), a), a)


def test_an_offset_a_million_times_the_spread_costs_no_accuracy():
    random = np.random.default_rng(0)
    r, w = random.standard_normal((200, UNITS)), random.standard_normal((200, W_DIM))
    # A power of two, so that the shifted data hold the spread exactly where they can.
    shifted = np.round(r * 2**20) / 2**20
    plain, far = stream(shifted, w, [100]), stream(shifted + 2.0**20, w, [100])
    assert np.abs(np.asarray(plain.S_rr) - np.asarray(far.S_rr)).max() <= 1e-9 * np.asarray(plain.S_rr).max()


@pytest.mark.parametrize("units", [513, 600])
def test_tiled_products_equal_the_plain_one_and_are_symmetric(units):
    random = np.random.default_rng(0)
    r, w = random.standard_normal((70, units)), random.standard_normal((70, 2))
    found = np.asarray(moments.update(moments.empty(units, 2), r, w).S_rr)
    expected = (r - r.mean(0)).T @ (r - r.mean(0))
    assert np.abs(found - expected).max() <= tol.MOMENTS * expected.max()
    assert (found == found.T).all()


def test_float32_products_stay_near_and_are_remembered():
    r, w = (x.astype(np.float32) for x in pairs(64))
    exact = moments.update(moments.empty(UNITS, W_DIM), r, w)
    quick = moments.update(moments.empty(UNITS, W_DIM), r, w, products="float32")
    assert_close(quick, exact, tol.MOMENTS_FLOAT32)
    assert float(moments.merge(quick, exact).rounding) == float(quick.rounding) > float(exact.rounding)


def test_memory_is_that_of_the_moments_alone():
    total = moments.update(moments.empty(UNITS, W_DIM), *pairs(50))
    assert sum(leaf.nbytes for leaf in jax.tree.leaves(total)) == moments.nbytes(UNITS, W_DIM)


@pytest.mark.parametrize("products", ["float64", "float32"])
def test_the_hosts_sums_are_those_of_the_devices_in_any_blocks(products, monkeypatch):
    monkeypatch.setattr(host_moments, "PENDING", 3)  # the rank-one terms are added in between
    r, w = (x.astype(np.float32) for x in pairs(200))
    expected = stream(r.astype(np.float64), w.astype(np.float64), [100])
    sums = host_moments.Sums(UNITS, W_DIM, products)
    for rows in np.split(np.arange(200), [1, 20, 21, 90, 150, 150]):
        sums.add(r[rows], w[rows])
    found = sums.moments()
    assert_close(found, expected, 1e-12 if products == "float64" else tol.MOMENTS_FLOAT32)
    going_on = host_moments.Sums(UNITS, W_DIM, products, found)
    going_on.add(r[:70], w[:70])
    both = moments.merge(found, stream(r[:70].astype(np.float64), w[:70].astype(np.float64), []))
    assert_close(going_on.moments(), both, 1e-12 if products == "float64" else tol.MOMENTS_FLOAT32)
    assert (float(found.rounding) > 1e-15) == (products == "float32")


def test_float32_sums_on_the_host_keep_a_large_mean_apart_from_the_spread():
    random = np.random.default_rng(0)
    r = (random.standard_normal((500, UNITS)) + 1000).astype(np.float32)
    sums = host_moments.Sums(UNITS, W_DIM, "float32")
    sums.add(r, r[:, :W_DIM])
    exact = r.astype(np.float64) - r.mean(axis=0, dtype=np.float64)
    assert np.abs(sums.moments().S_rr - exact.T @ exact).max() < tol.MOMENTS_FLOAT32 * (exact**2).sum(axis=0).max()
    assert np.abs(sums.moments().mean_r - r.mean(axis=0, dtype=np.float64)).max() < 1e-6


def test_float32_sums_on_the_host_bear_classes_one_after_another_and_a_first_block_far_off():
    random = np.random.default_rng(1)
    means = np.repeat(np.array([100.0, 0.0, -5.0, 3.0]), [40, 3000, 3000, 3000])
    r = (random.standard_normal((len(means), UNITS)) + means[:, None]).astype(np.float32)
    sums = host_moments.Sums(UNITS, W_DIM, "float32")
    for rows in (slice(0, 40), slice(40, None)):
        sums.add(r[rows], r[rows, :W_DIM])
    found, exact = sums.moments(), r - r.mean(axis=0, dtype=np.float64)
    assert np.abs(found.S_rr - exact.T @ exact).max() < tol.MOMENTS_FLOAT32 * (exact**2).sum(axis=0).max()
    np.testing.assert_allclose(found.S_ww, (exact**2).sum(axis=0)[:W_DIM], rtol=tol.MOMENTS_FLOAT32)


def test_sums_settle_where_blocks_end_however_many_chunks_a_block_has(monkeypatch):
    monkeypatch.setattr(host_moments, "PENDING", 4)
    monkeypatch.setattr(host_moments, "CHUNK_BYTES", 10 * 8 * (UNITS + W_DIM))
    sums = host_moments.Sums(UNITS, W_DIM, "float64")
    r, w = pairs(20)
    settled = []
    for _ in range(6):
        sums.add(r, w)  # two chunks
        settled.append(sums.settled)
    assert settled == [False, True, True, True, True, True]  # 3, then 4 terms more each time
