"""The score knows a right answer from a wrong one."""

import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkjax.analysis.links import class_sums, steering
from linkjax.analysis.metrics import measurements
from linkjax.analysis.ranks import rank_correlation
from linkjax.analysis.units.shared_directions import shared_directions
from linkjax.demo import oracle, recovery, score, truth, world
from linkjax.demo.bundle import EMBEDDED, open_bundle
from linkjax.demo.factors import FACTORS
from linkjax.errors import InputError
from linkjax.storage.loading import load

ROWS = [
    {"unit": 0, "kind": "single", "factors": ["ear_size"], "weights": [0.8]},
    {"unit": 1, "kind": "mixed", "factors": ["leg_length", "body_height"], "weights": [0.5, 0.5]},
    {"unit": 2, "kind": "mixed", "factors": ["leg_length", "body_height"], "weights": [0.5, -0.5]},
    {"unit": 3, "kind": "single", "factors": ["body_hue"], "weights": [-0.8]},
    {"unit": 4, "kind": "double", "factors": ["body_hue"], "weights": [0.8]},
    {"unit": 5, "kind": "noise", "factors": ["ear_size", "body_hue"], "weights": [3.0, 3.0], "phase": 1.0},
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
    return score.score(
        ROWS, true, found, ones, np.full(SHAPE[1], 10.0), np.linspace(0.9, 1.1, 6), np.zeros(6), np.linspace(0, 1, 6)
    )


def test_the_truth_itself_scores_full_marks():
    found = _score(lambda effects: effects)
    assert found["auc"] == found["sign_right"] == found["true_effect_first"] == found["true_part_first"] == 1
    assert found["rank_correlation"] > 0.99 and found["area_slope"] == pytest.approx(1, abs=0.01)
    assert (
        found["nearly_strongest_first"] == 1
        and found["area_within_25_percent"] > 0.95
        and found["fidelity_within_20_percent"] == 1
    )
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
    assert rank_correlation(values, np.argsort(np.argsort(values))) == pytest.approx(1)
    assert rank_correlation(values, -np.argsort(np.argsort(values))) == pytest.approx(-1)


def test_what_is_called_significant_is_held_against_the_truth():
    shape = (len(ROWS), 2, 3)
    true, q = np.zeros(shape), np.ones(shape)
    kinds = [row["kind"] for row in ROWS]
    selective, noise = kinds.index("single"), kinds.index("noise")
    true[selective, 0, :2] = 1.0
    q[selective, 0, 0] = q[selective, 1, 2] = q[noise, 0, 0] = 0.01
    found = score.significance(ROWS, true, np.ones(shape), np.ones(shape[1:]), q, 0.05)
    assert found["significant_selective_units"] == found["significant_noise_units"] == 1
    assert found["significant_effects_that_are_real"] == pytest.approx(1 / 3)
    assert found["real_effects_found"] == pytest.approx(1 / 2)
    assert found["false_noise_units"] == 1 and found["false_effects_of_noise_units"] == 1


def test_an_effect_of_a_noise_unit_is_false_only_where_the_truth_within_breeds_has_none_of_its_sign():
    shape = (len(ROWS), 1, 3)
    true, q = np.zeros(shape), np.full(shape, 0.01)
    true[5, 0] = 0.5, -0.5, 0.05
    assert score.significance(ROWS, -true, np.ones(shape), np.ones(shape[1:]), q, 0.05)["false_noise_units"] == 0
    found = score.significance(ROWS, true, np.ones(shape), np.ones(shape[1:]), q, 0.05)
    assert found["false_effects_of_noise_units"] == 2  # the second of the wrong sign, the third too small
    q[5, 0, 0] = 1.0
    assert score.significance(ROWS, true, np.ones(shape), np.ones(shape[1:]), q, 0.05)["false_noise_units"] == 1
    q[5, 0] = 0.01, 1.0, 1.0
    found = score.significance(ROWS, true, np.ones(shape), np.ones(shape[1:]), q, 0.05)
    assert found["significant_noise_units"] == 1 and found["false_noise_units"] == 0


def test_raising_a_unit_by_one_raises_it_by_one_and_its_double_with_it():
    weights = truth.unit_weights(ROWS)
    moved = truth.raising(ROWS) @ weights.T
    expected = np.eye(5)
    expected[3, 4] = expected[4, 3] = -1.0
    np.testing.assert_allclose(moved[:5, :5], expected, atol=1e-12)


def test_the_truth_answers_the_question_that_lambda_asks():
    weights = truth.unit_weights(ROWS)
    own, goes_with = (truth.raising(ROWS, lam) for lam in (1e-4, 1e4))
    np.testing.assert_allclose((own @ weights.T)[:3, :3], np.eye(3), atol=0.01)  # nothing else moves
    np.testing.assert_allclose(np.einsum("uf,uf->u", goes_with, weights)[:5], 1, rtol=1e-6)
    np.testing.assert_allclose(goes_with[5], truth.raising(ROWS)[5], atol=1e-3)  # of a noise unit: its pattern


def test_two_effects_of_one_strength_are_tied():
    true, ones = np.zeros(SHAPE), np.ones(SHAPE[1:])
    area = list(measurements.METRICS).index("area")
    true[:5, 1, area], true[:5, 2, area] = 1.0, 0.97
    found = true.copy()
    found[:5, 2, area] = 1.1
    assert score.strongest_effects(ROWS, true, found, ones) == {
        "true_effect_first": 0, "true_effect_first_or_tied": 1, "nearly_strongest_first": 1, "ties_in_truth": 1
    }  # fmt: skip


def test_what_one_who_knows_shows_as_well_is_the_generators():
    shape = (len(ROWS), 2, 2)
    truth_, found, q = np.zeros(shape), np.ones(shape), np.ones(shape)
    q[0, 0], q[5, 0, 0] = 0.01, 0.01  # two of a selective unit; one of a noise unit, which is not counted
    knowing = np.full(shape, np.nan)
    knowing[0, 0] = 0.6, -0.6
    assert score.shown_by_oracle(ROWS, truth_, found, np.ones(shape[1:]), q, 0.05, knowing) == {
        "false_effects_of_selective_units": 2, "false_effects_that_one_who_knows_shows": 1
    }  # fmt: skip


def test_a_noise_unit_has_no_line_over_all_animals_and_rises_by_its_line_within_breeds():
    factors, breed = truth._animals()
    weights = np.zeros((len(FACTORS), 1), np.float32)
    weights[[FACTORS.index("ear_size"), FACTORS.index("body_hue")]] = 3.0
    phase = np.ones(1, np.float32)
    line = truth.noise_line(weights, phase)
    noise = np.asarray(truth.noise_activations(weights, phase, factors, line), np.float64)[:, 0]
    factors = np.array(factors, np.float64)
    over_all = np.linalg.lstsq(factors - factors.mean(axis=0), noise - noise.mean(), rcond=None)[0]
    np.testing.assert_allclose(over_all, 0, atol=1e-3)
    for each in np.unique(breed):
        factors[breed == each] -= factors[breed == each].mean(axis=0)
        noise[breed == each] -= noise[breed == each].mean()
    within = np.linalg.lstsq(factors, noise, rcond=None)[0]
    assert np.abs(within).max() > 0.05
    assert truth.raising(ROWS)[5] @ within == pytest.approx(1, abs=0.02)


def test_areas_are_judged_per_change_obtained_by_unit_and_truth_alike():
    true = np.zeros(SHAPE)
    column = list(measurements.METRICS).index("area")
    true[0, 3, column] = 4.0
    ones = np.ones(len(ROWS))
    # The unit rises by half of what was asked, and the area by half; the truth comes to its end at 0.8.
    found = score.areas(ROWS, true, true / 2, np.full(SHAPE[1], 10.0), ones / 2, 0.8 * ones)
    assert found["area_within_25_percent"] == 0 and found["areas_judged"] == 1
    assert found["area_within_25_percent_per_obtained_change"] == 1  # 4 / 1 against 4 / 0.8
    assert score.areas(ROWS, true, true / 2, np.full(SHAPE[1], 10.0), ones)["area_slope"] == pytest.approx(0.5)


def test_units_named_as_doubles_are_counted_and_so_are_those_named_wrongly():
    assert score.doubles(ROWS, np.array([0, 1, 2, 3, 3, -1])) == {
        "doubles": 1, "doubles_named": 1, "others_named_doubles": 0
    }  # fmt: skip
    found = score.doubles(ROWS, np.array([0, 0, 2, 3, 4, -1]))
    assert found["doubles_named"] == 0 and found["others_named_doubles"] == 1


def test_one_who_knows_the_factors_raises_units_along_them_whatever_the_breeds_are_like():
    rng = np.random.default_rng(0)
    label = np.arange(400) % 4
    factors = rng.normal(size=(400, len(FACTORS))) + 3 * rng.normal(size=(4, len(FACTORS)))[label]
    slopes = rng.normal(size=(len(FACTORS), 24))
    w = factors @ slopes + 50 * rng.normal(size=(4, 24))[label]
    found = oracle.directions(ROWS, factors, w, label)
    np.testing.assert_allclose(found[:5], truth.raising(ROWS)[:5] @ slopes, rtol=1e-4, atol=1e-5)
    assert np.isnan(found[5]).all()


UNITS = open_bundle().units  # enough that shared directions do not span all of their steps


def _seen_by(slopes, noise=0.0):
    """A link that takes w = factors · slopes, exactly where there is no noise of w beside."""
    inside = truth.within_breeds(UNITS)
    covariance = slopes.T @ inside.covariance @ slopes + noise * np.eye(slopes.shape[1])
    return steering.spectrum(class_sums.Within(np.inf, covariance, inside.cross @ slopes, inside.variance))


def test_an_own_remainder_raises_its_unit_by_1_and_moves_nothing_along_what_is_shared():
    inside, weights = steering.spectrum(truth.within_breeds(UNITS)), truth.unit_weights(UNITS)
    shared = shared_directions(inside, 1.0)
    own = truth.own_remainders(UNITS, 1.0)
    there = np.isfinite(own).all(axis=1)
    assert there[weights.any(axis=1)].all() and 1 <= len(shared.directions) <= 8
    np.testing.assert_allclose(np.einsum("uf,fu->u", own, steering.back(inside))[there], 1)
    np.testing.assert_allclose(np.einsum("uf,uf->u", own, weights)[weights.any(axis=1)], 1, rtol=1e-6)
    own, along, steps = (each @ inside.to_axes.T for each in (own, shared.directions, truth.raising(UNITS, 1.0)))
    np.testing.assert_allclose(own[there] @ along.T, 0, atol=1e-8)
    # And what it is longer than the unit's step by, but for what lies along them, is one number for all factors.
    rest = steps - steps @ along.T @ along
    longer = np.sum(own * rest, axis=1) / np.sum(rest**2, axis=1)
    np.testing.assert_allclose(own[there], (longer[:, None] * rest)[there], atol=1e-8)


def test_where_w_is_the_factors_what_a_link_takes_off_and_what_the_factors_share_are_one():
    slopes = np.random.default_rng(0).normal(size=(len(FACTORS), len(FACTORS)))
    seen = _seen_by(slopes)
    taken = truth.TakenOff(seen, shared_directions(seen, 1.0).directions, slopes)
    own = truth.own_remainders(UNITS, 1.0)
    assert np.isfinite(own).all(axis=1).sum() >= 30
    np.testing.assert_allclose(truth.own_remainders(UNITS, 1.0, taken), own, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(truth.shared_agreement(UNITS, 1.0, taken), 1, atol=1e-6)


def test_what_a_link_takes_off_beside_the_factors_leaves_their_steps_whole():
    slopes = np.concatenate([np.eye(len(FACTORS)), np.zeros((len(FACTORS), 2))], axis=1)
    seen = _seen_by(slopes, noise=0.01)
    beside = np.zeros((1, slopes.shape[1]))
    beside[0, -1] = 0.1  # of length 1: a standard deviation of what w has beside the factors
    taken = truth.TakenOff(seen, beside, slopes)
    np.testing.assert_allclose(truth.own_remainders(UNITS, 1.0, taken), truth.raising(UNITS, 1.0), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(truth.shared_agreement(UNITS, 1.0, taken), 0, atol=1e-6)


def test_of_one_shared_direction_known_by_hand_the_rest_is_known_by_hand(monkeypatch):
    # Factors of variance 1 that go with nothing; unit 0 reads the first and the second, unit 1 the first alone.
    rows = [
        {"unit": 0, "kind": "mixed", "factors": list(FACTORS[:2]), "weights": [0.5, 0.25]},
        {"unit": 1, "kind": "single", "factors": [FACTORS[0]], "weights": [1.0]},
    ]
    weights = truth.unit_weights(rows)
    plain = class_sums.Within(np.inf, np.eye(len(FACTORS)), weights, np.sum(weights**2, axis=1))
    monkeypatch.setattr(truth, "within_breeds", lambda rows: plain)
    first = np.eye(len(FACTORS))[:1]
    own = truth.own_remainders(rows, np.inf, truth.TakenOff(steering.spectrum(plain), first, np.eye(len(FACTORS))))
    expected = np.zeros(len(FACTORS))
    expected[1] = 4.0  # the second factor alone, by as much as raises the unit by 1
    np.testing.assert_allclose(own[0], expected, atol=1e-9)
    assert np.isnan(own[1]).all()  # all it has is shared


def _animals_in_w(width):
    """Factors and breeds of some animals, and a w that follows the factors and other things."""
    factors, breed = (each[:600] for each in truth._animals())
    rng = np.random.default_rng(0)
    w = factors @ rng.normal(size=(len(FACTORS), width)) + 0.1 * rng.normal(size=(600, width))
    return factors, w, breed


def test_own_remainders_are_held_against_their_own_truth_and_never_against_that_of_whole_steps(monkeypatch):
    link = load(EMBEDDED / "planted_link")
    seen = _animals_in_w(link.spec.w_dim)
    monkeypatch.setattr(recovery, "within_pairs", lambda pairs: seen)
    whole, own = (recovery._asked(way, link, None, UNITS, 1.0) for way in ("steer", "own"))
    np.testing.assert_array_equal(whole.changes, truth.raising(UNITS, 1.0))
    assert whole.beside is None and own.beside is not None
    expected = truth.own_remainders(UNITS, 1.0, oracle.taken_off(link, *seen))
    np.testing.assert_array_equal(own.changes, np.nan_to_num(expected))
    assert np.abs(own.changes - whole.changes).max() > 0.1
    assert all(0 <= cosine <= 1 for cosine in own.agreement)


def test_one_who_knows_own_remainders_moves_w_along_them_and_is_asked_for_nothing_else(tmp_path, monkeypatch):
    folder = str(EMBEDDED / "planted_link")
    link = load(folder)
    seen = _animals_in_w(link.spec.w_dim)
    monkeypatch.setattr(oracle, "within_pairs", lambda pairs: seen)
    monkeypatch.setattr(oracle.artifacts, "Artifact", lambda *of: None)
    oracle.run(oracle.Config(str(tmp_path / "own"), "pairs", folder, "own"), UNITS)
    changes = truth.own_remainders(UNITS, link.spec.steer_lambda, oracle.taken_off(link, *seen))
    made = np.asarray(load(tmp_path / "own").steer)
    np.testing.assert_allclose(made[:20], (changes @ oracle.slopes_within(*seen))[:20], rtol=1e-5, atol=1e-5)
    assert np.isnan(made[20:]).all()
    swept = types.SimpleNamespace(path="sweep", manifest={"config": {"link": str(tmp_path / "own")}})
    recovery._check_oracle(swept, "own")
    with pytest.raises(InputError, match=r"found others \(own remainders"):
        recovery._check_oracle(swept, "steer")
