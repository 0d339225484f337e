import jax
import numpy as np
import pytest

import linkjax
from linkjax.analysis.links import class_sums, moments, steering
from linkjax.analysis.links.class_sums import Within
from linkjax.analysis.links.problem import accumulate
from linkjax.errors import InputError
from linkjax.stages.link import summing
from tests.tolerances import LINK_ERROR, LINK_FLOAT32, MOMENTS

W_DIM, UNITS = 6, 9


def _world(seed=0, samples=400, units=UNITS, noise=0.3):
    """Pairs of three classes: w Gaussian within classes, r linear in it with noise; the last unit is constant."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(3), samples // 3 + 1)[:samples]
    mix = np.random.default_rng(7).normal(size=(W_DIM, W_DIM))
    slopes = np.random.default_rng(8).normal(size=(W_DIM, units))
    w = rng.normal(size=(samples, W_DIM)) @ mix + 3 * np.random.default_rng(9).normal(size=(3, W_DIM))[label]
    r = w @ slopes + noise * rng.normal(size=(samples, units)) + 5 * label[:, None]
    r[:, -1] = 2.0 + label
    return r.astype(np.float32), w.astype(np.float32), label


def _within(seed=0, **given):
    r, w, label = _world(seed, **given)
    found = class_sums.within_of(r, w, label, None)
    assert found is not None
    return found


def test_moments_within_classes_are_those_of_deviations_from_class_means():
    r, w, label = _world()
    direct = class_sums.within_of(r, w, label, None)
    from_sums = class_sums.within_of(r, w, label, accumulate(r, w))
    for name in ("covariance", "cross", "variance"):
        expected = getattr(direct, name)
        assert np.abs(getattr(from_sums, name) - expected).max() < LINK_ERROR * np.abs(expected).max()
    away = r - np.stack([r[label == c].mean(axis=0, dtype=np.float64) for c in range(3)])[label]
    assert np.allclose(direct.variance[:-1], (away**2).sum(axis=0)[:-1] / (len(r) - 3), rtol=1e-6)
    assert direct.variance[-1] == from_sums.variance[-1] == 0


def test_a_w_that_is_constant_within_classes_gives_no_direction():
    label = np.arange(60) % 3
    r = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    link = linkjax.fit_link(r, np.eye(3, dtype=np.float32)[label], method="ridge", alpha=1.0, labels=label)
    assert link.steer is None or np.isnan(link.steer).all()


@pytest.mark.parametrize("lam", [0.0, 0.1, 10.0, np.inf])
def test_the_predicted_own_change_is_one_and_a_constant_unit_has_no_direction(lam):
    within = _within()
    found = steering.spectrum(within)
    steps = steering.directions(found, lam)
    own = np.einsum("uw,wu->u", steps, steering.back(found))
    np.testing.assert_allclose(own[:-1], 1, rtol=1e-9)
    assert np.isnan(steps[-1]).all() and np.isfinite(steps[:-1]).all()
    np.testing.assert_allclose(steering.measure(found, lam).own[:-1], 1, rtol=1e-9)


def test_a_large_lambda_gives_the_pattern_and_a_small_one_moves_no_other_unit():
    within = _within(units=5)
    found = steering.spectrum(within)
    cross = within.cross[:-1]
    pattern = cross / np.einsum("uw,wu->u", cross, np.linalg.solve(within.covariance, cross.T))[:, None]
    np.testing.assert_allclose(steering.directions(found, np.inf)[:-1], pattern, rtol=1e-9)
    changes = steering.directions(found, 0.0)[:-1] @ steering.back(found)[:, :-1]
    np.testing.assert_allclose(changes, np.eye(4), atol=1e-8)


def test_directions_are_those_of_the_formula():
    within, lam = _within(), 0.7
    slopes = np.linalg.solve(within.covariance, within.cross.T)[:, :-1]
    spread = np.diag(within.variance[:-1])
    whole = within.covariance @ slopes @ np.linalg.inv(slopes.T @ within.covariance @ slopes + lam * spread)
    expected = (whole / np.einsum("wu,wu->u", slopes, whole)).T
    found = steering.directions(steering.spectrum(within), lam)[:-1]
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)


def test_a_smaller_lambda_disturbs_less_and_goes_further():
    found = steering.spectrum(_within())
    measured = [steering.measure(found, lam) for lam in steering.LAMBDAS]
    for name, sign in (("side", 1), ("length", -1)):
        medians = [np.nanmedian(getattr(each, name)) for each in measured]
        assert np.all(sign * np.diff(medians) >= -1e-9), name


def test_held_out_pairs_of_the_same_world_confirm_the_own_change():
    found = steering.spectrum(_within(samples=3000))
    own = steering.measure(found, 1.0, _within(seed=1, samples=3000)).own[:-1]
    np.testing.assert_allclose(own, 1, atol=0.1)


def test_lambda_is_the_smallest_of_short_steps_and_exclusive_goes_further():
    found, held_out = steering.spectrum(_within()), _within(seed=1)
    common, own = (steering.choose(found, held_out, exclusive=each) for each in (False, True))
    lengths = {row["lambda"]: row["length"] for row in common.curve}
    shortest = lengths[steering.LAMBDAS[-1]]
    assert lengths[common.lam] <= 1.05 * shortest and own.lam <= common.lam
    assert lengths[own.lam] <= 2 * shortest
    assert steering.choose(found, held_out, lam=3.0).lam == 3.0
    with pytest.raises(InputError, match="lambda: expected 0 or more"):
        steering.directions(found, -1.0)


def test_the_curve_of_all_lambdas_is_what_each_measures():
    found, other = steering.spectrum(_within()), _within(seed=1)
    for held_out in (None, other):
        for row in steering.choose(found, held_out).curve:
            expected = steering.measure(found, row["lambda"], held_out)._asdict()
            for name, values in expected.items():
                assert row[name] == pytest.approx(np.nanmedian(values), rel=1e-5, abs=1e-6), (name, row["lambda"])


def test_sums_of_float32_products_are_those_of_float64_but_for_rounding():
    r, w, label = (np.asarray(each) for each in _world())
    w = (w + 30 * w.std()).astype(np.float32)  # far from zero: plain squares in float32 would leave little
    total = accumulate(r.astype(np.float32), w)
    exact, near = (
        class_sums.within_of(r.astype(np.float32), w, label, total, products) for products in ("float64", "float32")
    )
    scale = np.abs(exact.covariance).max()
    np.testing.assert_allclose(near.covariance, exact.covariance, atol=3e-6 * scale)
    np.testing.assert_allclose(near.cross, exact.cross, rtol=1e-6, atol=1e-9)


def test_long_steps_that_seem_to_hold_up_do_not_choose_the_other_end(monkeypatch):
    """Own changes of long steps are told with a large error: a lucky one must not choose."""
    own = {steering.LAMBDAS[0]: 1.0, 1.0: 0.84}
    length = {lam: 3.0 if lam < 1 else 1.0 for lam in steering.LAMBDAS}
    rows = [{"lambda": lam, "own": own.get(lam, 0.83), "side": 0.1, "length": length[lam]} for lam in steering.LAMBDAS]
    monkeypatch.setattr(steering, "_curve", lambda of, held_out: rows)
    assert steering.choose(steering.spectrum(_within()), _within(seed=1)).lam == 1.0


def test_directions_of_a_linear_sample_are_those_of_all_pairs():
    """Where every Jacobian is A, one sample's directions along all axes are the directions."""
    within = _within()
    axes = steering.leading_axes(within.covariance, share=1.0)
    np.testing.assert_allclose(axes @ axes.T, within.covariance, atol=1e-9 * np.abs(within.covariance).max())
    slopes = np.linalg.solve(within.covariance, within.cross.T)
    found = steering.local(axes, axes.T @ slopes, np.sqrt(within.variance), 0.7)
    expected = steering.directions(steering.spectrum(within), 0.7)
    np.testing.assert_allclose(found[:-1], expected[:-1], rtol=1e-6, atol=1e-8)
    few = steering.leading_axes(within.covariance, share=0.5)
    assert 1 <= few.shape[1] < axes.shape[1]
    assert np.square(few).sum() >= 0.5 * np.trace(within.covariance)


def test_scaled_steps_are_divided_by_what_was_obtained_within_bounds():
    steps = np.ones((5, 3))
    found = steering.scaled(steps, np.array([0.8, 4.0, 0.1, -1.0, np.nan]))
    np.testing.assert_allclose(found[:, 0], [1.25, 0.5, 2.0, 2.0, 1.0])


def test_a_link_fitted_in_memory_steers():
    r, w, label = _world()
    link = linkjax.fit_link(r, w, method="ridge", labels=label, steer_lambda=1.0)
    expected = steering.directions(steering.spectrum(_within()), 1.0)
    assert link.steer.shape == (UNITS, W_DIM) and np.isnan(link.steer[-1]).all()
    error = np.abs(np.asarray(link.steer)[:-1] - expected[:-1]).max()
    assert error < LINK_FLOAT32 * np.abs(expected[:-1]).max()
    again = steering.directions(steering.of_link(link), 1.0)[:-1]
    assert np.abs(again - expected[:-1]).max() < 1e-4 * np.abs(expected[:-1]).max()  # through float32 moments
    assert jax.tree.leaves(link(r[:2]))[0].shape == (2, W_DIM)


def test_without_labels_all_are_of_one_class_and_other_methods_steer_alike():
    r, w, _ = _world()
    one = linkjax.fit_link(r, w, steer_lambda=1.0)
    same = linkjax.fit_link(r, w, labels=np.zeros(len(r), int), method="elastic_net", alpha=0.1, steer_lambda=1.0)
    np.testing.assert_array_equal(one.steer, same.steer)
    few = linkjax.fit_link(r[::50], w[::50], steer_lambda=1.0)  # fewer samples than units: no moments are made
    assert np.isfinite(few.steer).all()
    with pytest.raises(InputError, match="labels must hold one whole number"):
        linkjax.fit_link(r, w, labels=np.zeros(3, int))
    with pytest.raises(InputError, match="no steering directions"):
        steering.of_link(linkjax.fit_link(r, w, labels=np.arange(len(r))))


def test_sums_streamed_on_devices_are_those_of_the_host():
    r, w, label = _world()
    like = summing.nothing(UNITS, W_DIM, 3)
    host, devices = summing.HostSums(like, "float64"), summing.start(like, "float64", 160)
    assert isinstance(devices, summing.DeviceSums)
    for begin in range(0, len(r), 150):
        block = slice(begin, begin + 150)
        host.add(r[block], w[block], label[block])
        devices.add(r[block], w[block], label[block])
    for found, expected in zip(jax.tree.leaves(devices.summed()), jax.tree.leaves(host.summed()), strict=True):
        assert np.abs(np.asarray(found) - np.asarray(expected)).max() <= 10 * MOMENTS * max(np.abs(expected).max(), 1)


def test_there_are_no_directions_where_no_class_has_two_samples():
    r, w, _ = _world(samples=6)
    assert class_sums.within_of(r, w, np.arange(6), moments.empty(UNITS, W_DIM)) is None
    nothing = Within(5.0, np.eye(2), np.zeros((3, 2)), np.zeros(3))
    assert np.isnan(steering.directions(steering.spectrum(nothing), 1.0)).all()
    assert steering.choose(steering.spectrum(nothing), None).curve == []
