import numpy as np
import pytest

from linkjax.analysis.spaces import straightness

T = np.linspace(0, 1, 9)[:, None]


def measured(path, asked=None):
    asked = path[-1] - path[0] if asked is None else asked
    of, progress = straightness.measure((path[None]).astype(np.float32), (asked[None]).astype(np.float32))
    return {name: float(value[0]) for name, value in of._asdict().items()}, np.asarray(progress[0])


def test_a_straight_steady_path_is_straight():
    found, progress = measured(T * np.array([[1.0, -2.0, 0.5]]) + 3)
    assert found == pytest.approx({"chord": 1, "r2": 1, "direction": 1, "reach": 1}, abs=1e-5)
    np.testing.assert_allclose(progress, T[:, 0], atol=1e-5)


def test_half_a_circle_has_the_chord_of_half_a_circle():
    found, _ = measured(np.concatenate([np.cos(np.pi * T), np.sin(np.pi * T)], axis=1))
    sides = 2 * 8 * np.sin(np.pi / 16)  # the polygon through nine points
    assert found["chord"] == pytest.approx(2 / sides, abs=1e-5)
    assert found["r2"] < 0.9


def test_a_straight_path_that_jumps_is_straight_but_not_steady():
    found, progress = measured((T > 0.5) * np.array([[1.0, 1.0]]))
    assert found["chord"] == pytest.approx(1.0) and found["r2"] < 0.85
    assert set(np.round(progress, 5)) == {0.0, 1.0}


def test_direction_and_reach_are_against_what_was_asked():
    found, _ = measured(T * np.array([[1.0, 0.0]]), asked=np.array([2.0, 2.0]))
    assert found["direction"] == pytest.approx(np.sqrt(0.5)) and found["reach"] == pytest.approx(0.25)


def test_points_in_disorder_explain_one_in_steps_less_one():
    rng = np.random.default_rng(0)
    paths = (rng.normal(size=(20, 9, 30)) + 5 * T[None]).astype(np.float32)
    chord, r2 = straightness.disordered(straightness.gram(paths), np.random.default_rng(0), 200)
    assert float(r2.mean()) == pytest.approx(1 / 8, abs=0.01)
    assert float(chord.mean()) < 0.3


def test_moves_of_other_pairs_are_in_other_directions():
    rng = np.random.default_rng(0)
    asked = rng.normal(size=(40, 50))
    paths = (asked[:, None] * T[None]).astype(np.float32)
    cosine, reach = straightness.of_other_pairs(paths, (asked).astype(np.float32), np.random.default_rng(0), 100)
    assert abs(float(cosine.mean()) - 1 / 40) < 0.02  # one in forty meets itself
    assert abs(float(reach.mean()) - 1 / 40) < 0.02


def test_a_path_that_does_not_move_has_no_straightness():
    found, progress = measured(np.ones((9, 3)), asked=np.ones(3))
    assert np.isnan([found["chord"], found["r2"], found["direction"]]).all() and np.isnan(progress).all()
