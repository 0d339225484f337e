import numpy as np
import pytest

from linkjax.analysis.links import linear, shuffled
from linkjax.analysis.links.fit import accumulate
from tests import tolerances as tol


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    r = random.standard_normal((150, 12)) * np.linspace(0.2, 2, 12) + 1
    w = r @ random.standard_normal((12, 3)) + random.standard_normal((150, 3))
    return r, w


def test_streamed_cross_products_give_the_link_of_the_shuffled_pairs(data):
    r, w = data
    mixed = w[np.random.default_rng(1).permutation(150)]
    padded_r, padded_w = (np.concatenate([x, np.full((50, x.shape[1]), np.nan)]) for x in (r, mixed))
    parts = [
        shuffled.update_cross(shuffled.empty_cross(12, 3), padded_r[rows], padded_w[rows], np.arange(200)[rows] < 150)
        for rows in (slice(0, 100), slice(100, 200))
    ]
    found = linear.solve_ols(shuffled.shuffled_moments(accumulate(r, w), shuffled.merge_cross(*parts)))
    expected = linear.solve_ols(accumulate(r, mixed))
    for name in ("kernel", "bias"):
        x, y = getattr(found, name), getattr(expected, name)
        assert np.abs(x - y).max() < tol.LINK_SOLUTION * np.abs(y).max()


@pytest.mark.parametrize("alpha", [0.0, 40.0])
def test_the_expected_error_is_the_mean_over_shuffles(data, alpha):
    r, w = data
    total, held_out = accumulate(r[:100], w[:100]), accumulate(r[100:], w[100:])
    expected = shuffled.expected_error(total, held_out, linear.decompose(total), alpha)
    random = np.random.default_rng(2)
    dr = r[:100] - r[:100].mean(0)
    solve = np.linalg.inv(dr.T @ dr + alpha * np.eye(12)) @ dr.T
    errors = []
    for _ in range(2000):
        mixed = w[random.permutation(100)]
        kernel = solve @ (mixed - mixed.mean(0))
        errors.append(((w[100:] - (r[100:] - r[:100].mean(0)) @ kernel - mixed.mean(0)) ** 2).mean(0))
    error = np.std(errors, axis=0) / 2000**0.5
    assert (np.abs(np.mean(errors, axis=0) - expected) < 4 * error).all()
