import numpy as np
import pytest

from linkjax.analysis.links.covariance import ledoit_wolf, principal_components
from linkjax.errors import InputError
from tests.tolerances import EVALUATION


@pytest.mark.parametrize(("samples", "units"), [(200, 7), (12, 30)])
def test_shrinkage_and_covariance_are_those_of_the_paper_summed_one_by_one(samples, units):
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(samples, units)) @ rng.normal(size=(units, units)) + 3.0
    found = ledoit_wolf(rows)
    x = rows - rows.mean(axis=0)
    each = [np.outer(row, row) for row in x]
    empirical = np.mean(each, axis=0)
    sphere = np.trace(empirical) / units * np.eye(units)
    d2 = np.sum((empirical - sphere) ** 2)
    b2 = min(d2, sum(np.sum((one - empirical) ** 2) for one in each) / samples**2)
    assert abs(found.shrinkage - b2 / d2) < EVALUATION
    expected = b2 / d2 * sphere + (1 - b2 / d2) * empirical
    np.testing.assert_allclose(found.covariance, expected, atol=EVALUATION * np.abs(rows).max() ** 2)


def test_roots_are_roots_even_where_units_are_silent():
    rows = np.random.default_rng(0).normal(size=(50, 6))
    rows[:, 2] = 0.0
    found = ledoit_wolf(rows)
    np.testing.assert_allclose(found.root @ found.root, found.covariance, atol=EVALUATION)
    np.testing.assert_allclose(found.root @ found.inverse_root, np.eye(6), atol=EVALUATION)


def test_full_shrinkage_is_a_sphere():
    found = ledoit_wolf(np.random.default_rng(0).normal(size=(50, 4)), shrinkage=1.0)
    np.testing.assert_allclose(found.covariance, np.eye(4) * found.covariance[0, 0], atol=EVALUATION)


def test_components_diagonalise_the_covariance_largest_first():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 8)) * np.arange(1, 9)
    found = principal_components(rows, 3)
    covariance = np.cov(rows, rowvar=False, bias=True)
    variance = np.linalg.eigvalsh(covariance)[::-1][:3]
    expected = np.diag(variance)
    np.testing.assert_allclose(found.directions.T @ covariance @ found.directions, expected, atol=1e-9)
    np.testing.assert_allclose(found.share, variance / np.trace(covariance), atol=EVALUATION)
    assert (found.directions[np.abs(found.directions).argmax(axis=0), np.arange(3)] > 0).all()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: ledoit_wolf(np.zeros((1, 3))), "at least 2 samples"),
        (lambda: ledoit_wolf(np.ones((5, 3))), "that vary"),
        (lambda: ledoit_wolf(np.eye(3), 1.5), "at most 1"),
        (lambda: principal_components(np.zeros((1, 3)), 2), "at least 2 samples"),
    ],
)
def test_rows_that_have_no_covariance_are_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()
