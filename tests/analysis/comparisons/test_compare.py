"""Matching of units, similarity of networks and agreement of effects: properties, and against direct computation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkjax.analysis.comparisons import cka, effect_profiles, matching
from linkjax.errors import InputError


def two_networks(n=400, seed=0):
    """Five classes; units 0–3 of the first are 1, 0, 3, 2 of the second (one reversed); the others are their own."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(5), n // 5)
    x, noise = rng.normal(size=(n, 6)) + 3 * label[:, None], rng.normal(size=(n, 5))
    y = np.concatenate([x[:, [1, 0, 3, 2]] * [1, 1, -2, 1], noise[:, :1] + 3 * label[:, None]], axis=1)
    y[:, :4] += 0.1 * noise[:, 1:]
    return x, y, label


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(0, 5))
def test_sums_within_classes_do_not_depend_on_the_blocks(sizes, seed):
    rng = np.random.default_rng(seed)
    x = 100 + rng.normal(size=(sum(sizes), 3)) @ rng.normal(size=(3, 3))
    label = rng.integers(0, 2, len(sizes))
    sums = matching.WithinClasses(3)
    for part, one in zip(np.split(x, np.cumsum(sizes)[:-1]), label, strict=True):
        sums.add(part, int(one))
    rows = np.repeat(label, sizes)
    centred = np.concatenate([x[rows == one] - x[rows == one].mean(axis=0) for one in np.unique(rows)])
    np.testing.assert_allclose(sums.S, centred.T @ centred, rtol=1e-9, atol=1e-9)


def test_units_that_say_the_same_are_shared_and_their_class_alone_makes_no_pair():
    x, y, label = two_networks()
    sums, half = matching.WithinClasses(11), np.arange(len(x)) % 2 == 0
    joint = np.concatenate([x, y], axis=1)
    for one in range(5):
        sums.add(joint[(label == one) & half], one)
    partner = matching.strongest(sums.correlations()[:6, 6:])
    np.testing.assert_array_equal(partner.unit[:4], [1, 0, 3, 2])
    assert partner.r[3] < -0.9
    draws, shuffles = 100, 50
    held = matching.PairSums(11, np.arange(6), 6 + partner.unit, draws, shuffles)
    for one in range(5):
        held.add(joint[(label == one) & ~half], np.ones(draws), np.random.default_rng(one))
    found = matching.agreement(held, np.sign(partner.r))
    kinds = matching.decide(found, 0.5, matching.p_values(found), 0.05)
    np.testing.assert_array_equal(kinds, [matching.SHARED] * 4 + [matching.PRIVATE] * 2)
    assert (found.low <= found.r).all() and (found.r <= found.high).all()
    assert 0.1 < matching.chance(found.shuffled) < 0.18  # 1.96 / √195
    assert matching.mutual(np.array([1, 0, -1]), np.array([1, 0])).tolist() == [True, True, False]


def test_sums_of_pairs_are_those_made_block_by_block_and_draw_by_draw():
    sizes, units, draws, shuffles = (3, 200, 1, 70, 130, 2), 7, 5, 4
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, units, (2, 600))  # more pairs than are worked on at once
    held = matching.PairSums(units, first, second, draws, shuffles)
    value, drawn, shuffled = np.zeros((3, 600)), np.zeros((draws, 3, 600)), np.zeros((shuffles, 600))
    for number, size in enumerate(sizes):
        x, weight = 5 + rng.normal(size=(size, units)), rng.integers(0, 3, draws).astype(float)
        held.add(x, weight, np.random.default_rng(number))
        if size < 2:
            continue
        random = np.random.default_rng(number)
        times = random.poisson(1.0, (draws, size))
        one, other = ((x - x.mean(axis=0))[:, each] for each in (first, second))
        value += [(one * one).sum(axis=0), (other * other).sum(axis=0), (one * other).sum(axis=0)]
        for draw, again in enumerate(np.repeat(np.arange(size), each) for each in times):
            a, b = (each[again] - each[again].sum(axis=0) / max(len(again), 1) for each in (one, other))
            drawn[draw] += weight[draw] * np.array([(a * a).sum(axis=0), (b * b).sum(axis=0), (a * b).sum(axis=0)])
        for row in shuffled:
            row += (one * other[random.permutation(size)]).sum(axis=0)
    found = held.sums()
    np.testing.assert_allclose(found.value, value, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.shuffled, shuffled, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(found.drawn.T, drawn[:, 2], rtol=1e-10, atol=1e-10)
    for row, units_of in enumerate((first, second)):
        np.testing.assert_allclose(found.drawn_squares[units_of].T, drawn[:, row], rtol=1e-10, atol=1e-10)


def test_a_unit_that_never_varies_is_dead_and_nobodys_partner():
    x, y, _ = two_networks()
    x[:, 2] = 7.25
    sums = matching.WithinClasses(11)
    sums.add(np.concatenate([x, y], axis=1), 0)
    partner = matching.strongest(sums.correlations()[6:, :6])
    assert 2 not in partner.unit
    own = matching.strongest(sums.correlations()[:6, :6], itself=True)
    assert own.unit[2] == -1 and (own.unit[[0, 1, 3]] != [0, 1, 3]).all()
    held = matching.PairSums(11, np.array([2]), np.array([6]), 3, 3)
    held.add(np.concatenate([x, y], axis=1), np.ones(3), np.random.default_rng(0))
    found = matching.agreement(held, np.array([np.nan]))
    assert matching.decide(found, 0.5, matching.p_values(found), 0.05) == matching.DEAD


def test_p_values_of_pairs_by_chance_are_even_and_one_common_spike_is_no_surprise():
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        held = matching.PairSums(100, np.arange(50), 50 + np.arange(50), 2, 99)
        held.add(rng.normal(size=(100, 100)), np.ones(2), rng)
        found.append(matching.p_values(matching.agreement(held, np.ones(50))))
    assert np.mean(np.concatenate(found) <= 0.05) == pytest.approx(0.025, abs=0.015)  # those of the right sign
    spike = np.zeros((20, 1))
    spike[3] = 1
    held = matching.PairSums(1, np.zeros(1, int), np.zeros(1, int), 2, 199)
    held.add(spike, np.ones(2), np.random.default_rng(0))
    assert matching.p_values(matching.agreement(held, np.ones(1))) == pytest.approx(1 / 20, abs=0.05)


def test_hsic_is_the_mean_over_all_quadruples():
    """Song et al., equation 3, by brute force."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 2)), rng.normal(size=(6, 3))
    k, l = x @ x.T, y @ y.T  # noqa: E741
    total = [
        k[i, j] * (l[i, j] + l[q, r] - 2 * l[i, q])
        for i in range(6) for j in range(6) for q in range(6) for r in range(6)
        if len({i, j, q, r}) == 4
    ]  # fmt: skip
    assert cka.unbiased_hsic(k, l) == pytest.approx(np.mean(total), rel=1e-12)
    moved = (x + 5) @ (x + 5).T
    assert cka.unbiased_hsic(moved, l) == pytest.approx(cka.unbiased_hsic(k, l), rel=1e-9)
    with pytest.raises(InputError, match="4 samples or more"):
        cka.unbiased_hsic(k[:3, :3], l[:3, :3])


def test_cka_is_1_up_to_rotation_and_scale_and_0_for_independent_networks_of_many_units():
    rng = np.random.default_rng(1)
    sums = cka.empty(3, 50, 20)
    turn = np.linalg.qr(rng.normal(size=(40, 40)))[0]
    for _ in range(12):
        x = rng.normal(size=(24, 40)) * np.linspace(0.1, 2, 40)
        sums = cka.add(sums, (x, 3 * x @ turn + 1, rng.normal(size=(24, 300))), rng.poisson(1.0, 50), rng)
    found = cka.similarity(sums)
    assert found.value[0, 1] == pytest.approx(1, abs=1e-9)
    assert abs(found.value[0, 2]) < 0.1  # that of all samples at once, not corrected, is above 0.5
    assert found.shuffled_low[0, 2] < found.value[0, 2] < found.shuffled_high[0, 2]
    assert found.low[0, 2] < 0 < found.high[0, 2] and found.low[0, 1] > 0.999
    np.testing.assert_allclose(found.value, found.value.T)


def test_cka_of_one_block_has_no_interval():
    rng = np.random.default_rng(1)
    sums = cka.add(cka.empty(2, 50, 20), rng.normal(size=(2, 24, 5)), rng.poisson(1.0, 50), rng)
    found = cka.similarity(sums)
    assert np.isfinite(found.value).all() and np.isnan([found.low, found.high]).all()


def test_effects_agree_where_units_do_the_same_and_nan_anchors_have_no_part():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(5, 3, 4))
    one = truth[None] + 0.1 * rng.normal(size=(8, 5, 3, 4))
    other = -2 * truth[None, [2, 0, 1, 4, 3]] + 0.1 * rng.normal(size=(8, 5, 3, 4))
    one[0, :, 1] = np.nan  # a part that the first anchor does not show
    spread = np.ones((3, 4))
    spread[2, 3] = np.nan
    a, b = (effect_profiles.standardised(each, spread) for each in (one, other))
    assert a.shape == (8, 5, 11)
    np.testing.assert_array_equal(effect_profiles.nearest(a, b), [1, 2, 0, 4, 3])
    b = b[:, [1, 2, 0, 4, 3]]
    cosine = effect_profiles.cosines(a, b)
    assert (cosine < -0.95).all()
    low, high = effect_profiles.intervals(a, b, rng.multinomial(8, np.full(8, 1 / 8), 40))
    assert (low < high).all() and (high - low < 0.02).all()  # noise only takes from a cosine near 1
    shuffled = effect_profiles.shuffled_means(a, b, -np.ones(5), rng, 50)
    assert np.mean(shuffled >= -cosine.mean()) < 0.1
