"""The score knows a right answer from a wrong one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkjax.analysis import measurements
from linkjax.demo import recovery, truth, world
from linkjax.demo.factors import FACTORS

ROWS = [
    {"unit": 0, "kind": "single", "factors": ["ear_size"], "weights": [0.8]},
    {"unit": 1, "kind": "mixed", "factors": ["leg_length", "body_height"], "weights": [0.5, 0.5]},
    {"unit": 2, "kind": "mixed", "factors": ["leg_length", "body_height"], "weights": [0.5, -0.5]},
    {"unit": 3, "kind": "single", "factors": ["body_hue"], "weights": [-0.8]},
    {"unit": 4, "kind": "double", "factors": ["body_hue"], "weights": [0.8]},
    {"unit": 5, "kind": "noise", "factors": ["ear_size", "body_hue"], "weights": [3.0, 3.0]},
]
SHAPE = (len(ROWS), 1 + len(world.PARTS), len(measurements.METRICS))


def test_a_direction_raises_its_unit_and_leaves_the_others():
    weights = truth.unit_weights(ROWS)
    moved = truth.factor_directions(weights)[:5] @ weights.T
    np.testing.assert_allclose(moved[:3, :5], np.eye(5)[:3], atol=1e-12)
    # The doubles share one factor: raising one alone moves it half as far, and the other the other way.
    np.testing.assert_allclose(moved[3, 3:5], [0.5, -0.5], atol=1e-12)
    assert not weights[5].any()


def test_the_renderers_truth_of_a_larger_ear_is_a_larger_ear():
    directions = truth.factor_directions(truth.unit_weights(ROWS))[:1]
    step = np.linspace(-0.5, 0.5, 3)[None, None]
    measured = truth.measure_truth(directions, np.zeros((1, len(FACTORS))), step)
    assert measured.shape == (1, 1, 3, *SHAPE[1:])
    area = measured[0, 0, :, 1 + world.PARTS.index("ear"), list(measurements.METRICS).index("area")]
    assert area[0] < area[1] < area[2]


def _score(found_of):
    rng = np.random.default_rng(0)
    true = rng.normal(size=SHAPE)
    true[5] = 0
    ones = np.ones(SHAPE[1:])
    found = found_of(true) + 1e-3 * rng.normal(size=SHAPE)
    return recovery.score(
        ROWS, true, found, ones, np.full(SHAPE[1], 10.0), np.linspace(0.9, 1.1, 6), np.zeros(6), np.linspace(0, 1, 6)
    )


def test_the_truth_itself_scores_full_marks():
    found = _score(lambda effects: effects)
    assert found["auc"] == found["sign_right"] == found["true_effect_first"] == found["true_part_first"] == 1
    assert found["rank_correlation"] > 0.99 and found["area_slope"] == pytest.approx(1, abs=0.01)
    assert found["area_within_25_percent"] > 0.95 and found["fidelity_within_20_percent"] == 1
    assert found["selective_units"] == 5 and found["noise_units"] == 1


def test_reversed_and_halved_effects_are_noticed():
    assert _score(lambda effects: -effects)["sign_right"] == 0
    assert _score(lambda effects: 0.5 * effects)["area_slope"] == pytest.approx(0.5, abs=0.01)
    assert _score(lambda effects: 0.5 * effects)["area_within_25_percent"] < 0.05
    assert _score(np.zeros_like)["rank_correlation"] < 0.3


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=20, unique=True))
@settings(max_examples=40, deadline=None)
def test_rank_correlation_sees_order_alone(values):
    values = np.asarray(values)
    assert recovery.rank_correlation(values, np.argsort(np.argsort(values))) == pytest.approx(1)
    assert recovery.rank_correlation(values, -np.argsort(np.argsort(values))) == pytest.approx(-1)


def test_what_is_called_significant_is_held_against_the_truth():
    shape = (len(ROWS), 2, 3)
    true, q = np.zeros(shape), np.ones(shape)
    kinds = [row["kind"] for row in ROWS]
    selective, noise = kinds.index("single"), kinds.index("noise")
    true[selective, 0, :2] = 1.0
    q[selective, 0, 0] = q[selective, 1, 2] = q[noise, 0, 0] = 0.01
    found = recovery.significance(ROWS, true, np.ones(shape[1:]), q, 0.05)
    assert found["significant_selective_units"] == found["significant_noise_units"] == 1
    assert found["significant_effects_that_are_real"] == pytest.approx(1 / 3)
    assert found["real_effects_found"] == pytest.approx(1 / 2)
