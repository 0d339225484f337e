import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from linkjax.analysis import ranks

VALUES = st.lists(st.integers(-5, 5), min_size=3, max_size=20).filter(lambda values: len(set(values)) > 1)


@given(VALUES, st.randoms(use_true_random=False))
def test_rank_correlation_is_spearmans_ties_included(values, random):
    a = np.array(values, float)
    b = np.array(random.sample(values, len(values)), float)
    assert ranks.rank_correlation(a, b) == pytest.approx(scipy.stats.spearmanr(a, b).statistic, abs=1e-12)


def test_values_without_an_order_have_no_rank_correlation():
    assert np.isnan(ranks.rank_correlation(np.ones(4), np.arange(4.0)))
    rows = ranks.standard_ranks(np.array([[3.0, 1.0, 2.0], [7.0, 7.0, 7.0]]))
    np.testing.assert_allclose(rows[0], [np.sqrt(1.5), -np.sqrt(1.5), 0])
    assert np.isnan(rows[1]).all()


def test_the_area_under_the_curve_counts_ties_half():
    assert ranks.auc(np.array([2.0, 3.0]), np.array([1.0, 2.0])) == pytest.approx(7 / 8)
    assert ranks.auc(np.array([1.0]), np.array([1.0])) == ranks.auc(np.array([0.0, 2.0]), np.array([1.0])) == 0.5
