import numpy as np
import pytest

from linkjax.analysis import finite
from linkjax.errors import LinkjaxError


def test_rows_are_good_if_every_array_is_finite_there():
    a = np.array([[0.0, 1.0], [np.nan, 1.0], [1.0, 2.0], [0.0, 0.0]])
    b = np.array([1.0, 1.0, np.inf, -1.0])
    np.testing.assert_array_equal(finite.rows(a, b, np.arange(4)), [True, False, False, True])


def test_notes_add_up_to_the_count_and_the_first_names():
    tally = finite.Tally("exclude", "samples")
    for start in range(0, 60, 20):
        ids = np.arange(start, start + 20)
        tally.add(finite.note(ids % 2 == 0, ids % 3, ids))
    summary = tally.summary()
    assert summary["nonfinite"] == 30 and len(summary["nonfinite_samples"]) == finite.NAMED
    assert summary["nonfinite_samples"][:3] == [[1, 1], [0, 3], [2, 5]]
    assert tally.sentence().startswith("30 samples with numbers that are not finite: class 1 sample 1, class 0 sample")


def test_nothing_bad_says_nothing(capsys):
    tally = finite.Tally("stop", "samples")
    tally.add(finite.note(np.ones(3, bool), np.arange(3), np.arange(3)))
    tally.tell()
    assert capsys.readouterr().out == "" and tally.summary() == {"nonfinite": 0, "nonfinite_samples": []}


def test_to_stop_names_the_samples_and_the_way_on():
    with pytest.raises(LinkjaxError, match=r"1 samples .* class 5 sample 7; .*--nonfinite exclude") as error:
        finite.Tally("stop", "samples").add(finite.note(np.array([True, False]), [4, 5], [6, 7]))
    assert error.value.exit_code == 1
