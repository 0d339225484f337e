"""Values asked: within the anchor's class around its own, or over all classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkjax.analysis.units import asked, sweep
from linkjax.errors import InputError

ALL = (np.full(2, -9.0), np.full(2, 9.0))


def _classes(seed=0):
    """40, 30 and 5 rows of three classes; the second unit hardly varies in the second class."""
    rng = np.random.default_rng(seed)
    classes = np.repeat([3, 7, 8], [40, 30, 5])
    r = rng.normal(size=(75, 2)) + np.array([[0.0, 10.0]]) * classes[:, None]
    r[classes == 7, 1] = 70.0 + 0.01 * rng.normal(size=30)
    return r.astype(np.float32), classes


def test_the_ends_are_percentiles_of_the_anchors_own_class():
    r, classes = _classes()
    ends = asked.class_ends(r, classes, np.array([7, 3, 3]), ALL, 5.0, 95.0)
    np.testing.assert_allclose(ends.low[1], np.percentile(r[classes == 3], 5, axis=0), rtol=1e-6)
    np.testing.assert_allclose(ends.high[0, 0], np.percentile(r[classes == 7, 0], 95), rtol=1e-6)
    assert np.isnan(ends.low[0, 1]) and np.isnan(ends.high[0, 1])  # nothing to ask for
    np.testing.assert_array_equal(ends.low[1], ends.low[2])


def test_a_class_of_few_samples_takes_the_spread_of_all_classes_around_its_own_mean():
    r, classes = _classes()
    ends = asked.class_ends(r, classes, np.array([8, 99]), ALL, 5.0, 95.0)
    mean = r[classes == 8].astype(np.float64).mean(axis=0)
    assert (ends.low[0] < mean).all() and (mean < ends.high[0]).all()
    assert (1.5 < (ends.high[0] - ends.low[0])[0] < 5.0) and not np.isnan(ends.low).any()  # of a normal one: 3.3
    np.testing.assert_array_equal(ends.low[1], ALL[0])  # a class without samples: those of the link
    with pytest.raises(InputError, match="--range link"):
        asked.class_ends(r[[0, 45]], classes[[0, 45]], np.array([3]), ALL, 5.0, 95.0)


@given(st.integers(0, 2**31 - 1), st.sampled_from([3, 5, 7]))
def test_values_around_an_anchor_hold_its_own_exactly_and_never_descend(seed, steps):
    rng = np.random.default_rng(seed)
    low, high = np.sort(rng.normal(size=(2, 3, 4)), axis=0)
    low[1, 2] = high[1, 2] = np.nan
    own = (2 * rng.normal(size=(3, 4))).astype(np.float32)
    got = asked.values_around(asked.Ends(low, high), own, steps)
    assert got.shape == (3, 4, steps) and got.dtype == np.float32
    np.testing.assert_array_equal(got[:, :, steps // 2], own)
    assert (np.diff(got, axis=-1) >= -1e-6).all()
    inside = np.isfinite(low)
    np.testing.assert_array_equal(got[inside, 0], np.minimum(low[inside].astype(np.float32), own[inside]))
    np.testing.assert_array_equal(got[inside, -1], np.maximum(high[inside].astype(np.float32), own[inside]))
    even = asked.values_around(asked.Ends(low, high), own, steps - 1)
    np.testing.assert_array_equal(even, np.delete(got, steps // 2, axis=2))  # without the untouched image
    np.testing.assert_array_equal(got[1, 2], np.full(steps, own[1, 2]))  # to the bit: such an anchor has no slope


def test_values_over_a_range_run_evenly_whatever_the_anchor():
    ends = asked.Ends(np.array([[0.0, -1.0]]), np.array([[2.0, 1.0]]))
    np.testing.assert_allclose(asked.values_over(ends, 5)[0, 1], np.linspace(-1, 1, 5), atol=1e-7)
    np.testing.assert_array_equal(asked.by_sample(np.ones((2, 5)), 3), np.ones((3, 2, 5)))  # as sweeps were stored


def test_values_of_the_anchors_own_class_are_not_off_range():
    r, classes = _classes()
    labels = np.array([3, 3, 7])
    own = r[[0, 1, 40]]
    ends = asked.class_ends(r, classes, labels, ALL, 1.0, 99.0)
    assert (sweep.off_range(asked.values_around(ends, own, 5), own, r, classes, labels) == 0).all()
    wide = asked.values_over(asked.Ends(*(np.broadcast_to(end, (3, 2)) for end in ((-50.0, -50.0), (120.0, 120.0)))), 5)
    assert (sweep.off_range(wide, own, r, classes, labels) > 0.5).all()
