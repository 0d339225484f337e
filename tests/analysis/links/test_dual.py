import numpy as np
import pytest

from linkjax.analysis.links import dual, linear, problem
from linkjax.analysis.links.fit import fit_link
from linkjax.analysis.links.problem import accumulate
from tests import tolerances as tol


@pytest.fixture(scope="module")
def few():
    random = np.random.default_rng(0)
    r = random.standard_normal((60, 150)).astype(np.float32) + 3
    r[:, 40:] = r[:, :110] * 0.5  # and of lower rank than samples would allow in part
    w = r[:, :5] @ random.standard_normal((5, 4)) + random.standard_normal((60, 4))
    return r, w


def relative(found, expected):
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("in_place", [60, 59])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 300.0])
def test_the_dual_solution_is_that_of_the_moments(few, alpha, in_place, monkeypatch):
    monkeypatch.setattr(dual, "COLUMNS", 64)
    monkeypatch.setattr(dual, "IN_PLACE", in_place)
    found, expected = dual.solve(dual.decompose(*few), alpha), linear.solve_ridge(accumulate(*few), alpha)
    assert relative(found.kernel, expected.kernel) < tol.LINK_SOLUTION
    assert relative(found.bias, expected.bias) < tol.LINK_SOLUTION


def test_fit_link_takes_the_dual_where_units_outnumber_samples_and_makes_no_moments(few, monkeypatch):
    expected = fit_link(*few, "ridge", validation=few, alphas=(0.1, 5.0, 50.0))
    r, w = few
    wide = np.concatenate([r, np.zeros((60, 10), np.float32)], axis=1)
    monkeypatch.setattr(problem, "accumulate", None)
    found = fit_link(wide, w, "ridge", validation=(wide, w), alphas=(0.1, 5.0, 50.0))
    assert found.spec.alpha == expected.spec.alpha == 0.1
    assert relative(np.asarray(found.kernel[...])[:150], np.asarray(expected.kernel[...])) < tol.LINK_FLOAT32
    least = fit_link(wide, w)
    centred = r - r.mean(0, dtype=np.float64)
    inverse = np.linalg.pinv(centred, rcond=1e-9)  # centring takes away a rank, down to rounding
    assert relative(np.asarray(least.kernel[...])[:150], inverse @ (w - w.mean(0))) < tol.LINK_FLOAT32


def test_lapack_can_count_its_workspace_where_it_works_in_place():
    fits, exceeds = (1 + 6 * n + 2 * n * n for n in (dual.IN_PLACE, dual.IN_PLACE + 1))
    assert fits <= 2**31 - 1 < exceeds
