import numpy as np
import pytest

from linkjax.analysis import finite
from linkjax.errors import LinkjaxError


def test_rows_are_good_if_every_array_is_finite_there():
    a = np.array([[0.0, 1.0], [np.nan, 1.0], [1.0, 2.0], [0.0, 0.0]])
    b = np.array([1.0, 1.0, np.inf, -1.0])
    np.testing.assert_array_equal(finite.rows(a, b, np.arange(4)), [True, False, False, True])


def test_a_mean_of_what_is_finite_is_the_plain_one_where_all_is_and_counts_by_weight():
    rng = np.random.default_rng(0)
    values, weights = rng.normal(size=(6, 4, 3)), rng.integers(0, 3, (6, 1, 1))
    np.testing.assert_allclose(finite.finite_mean(values, (0, 2)), values.mean(axis=(0, 2)))
    np.testing.assert_allclose(finite.finite_std(values, 1), values.std(axis=1))
    repeated = np.repeat(values, weights.ravel(), axis=0)
    np.testing.assert_allclose(finite.finite_mean(values, 0, weights), repeated.mean(axis=0))
    values[2, 1], values[:, 3] = np.nan, np.inf
    without = np.delete(values, 2, axis=0)[:, 1]
    np.testing.assert_allclose(finite.finite_mean(values)[1], without.mean(axis=0))
    np.testing.assert_allclose(finite.finite_std(values)[1], without.std(axis=0))
    assert np.isnan(finite.finite_mean(values)[3]).all() and np.isnan(finite.finite_std(values)[3]).all()


def test_notes_add_up_to_the_count_and_the_first_names():
    tally = finite.Tally("exclude", "samples")
    for start in range(0, 60, 20):
        ids = np.arange(start, start + 20)
        tally.add(finite.note(ids % 2 == 0, ids % 3, ids))
    summary = tally.summary()
    assert summary["nonfinite"] == 30 and len(summary["nonfinite_samples"]) == finite.NAMED
    assert summary["nonfinite_samples"][:3] == [[1, 1], [0, 3], [2, 5]]
    assert tally.describe().startswith("30 samples with numbers that are not finite: class 1 sample 1, class 0 sample")


def test_nothing_bad_says_nothing(capsys):
    tally = finite.Tally("stop", "samples")
    tally.add(finite.note(np.ones(3, bool), np.arange(3), np.arange(3)))
    tally.print_summary()
    assert capsys.readouterr().out == "" and tally.summary() == {"nonfinite": 0, "nonfinite_samples": []}


def test_to_stop_names_the_samples_and_the_way_on():
    with pytest.raises(LinkjaxError, match=r"1 samples .* class 5 sample 7; .*--nonfinite exclude") as error:
        finite.Tally("stop", "samples").add(finite.note(np.array([True, False]), [4, 5], [6, 7]))
    assert error.value.exit_code == 1
