"""Names by words: what is named, by how much, and that chance gets no name."""

import numpy as np
import pytest

from linkjax.analysis.names import interventional as by_raising
from linkjax.analysis.names import observational as by_seeing
from linkjax.analysis.names.verdict import Verdict, verdicts

WORDS, WIDTH = 12, 16


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


@pytest.fixture(scope="module")
def world():
    """Words along axes of an embedding, of which the first is what pictures differ by most; random directions of it."""
    rng = np.random.default_rng(0)
    axes = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0][:WORDS]
    size = np.r_[4.0, np.ones(WORDS - 2), 0.1]
    random = (rng.standard_normal((48, WORDS)) * size) @ axes
    return axes, size, random


def test_a_change_is_named_whether_its_word_is_common_or_rare_and_chance_is_not(world):
    axes, size, random = world
    null = by_raising.null_of_best(random, axes, 4000, seed=1)
    rng = np.random.default_rng(2)
    mostly = [axes[place] + 0.3 * unit((rng.standard_normal(WORDS) * size) @ axes) for place in (0, 5, WORDS - 1)]
    word, p = by_raising.best_words(by_raising.cosines(np.stack(mostly), axes), null)
    assert word.tolist() == [0, 5, WORDS - 1] and p.max() < 0.05
    chance = (rng.standard_normal((2000, WORDS)) * size) @ axes
    _, p = by_raising.best_words(by_raising.cosines(chance, axes), null)
    for level in (0.01, 0.05, 0.2):  # the null is itself known from 48 directions alone
        assert (p <= level).mean() < 2.5 * level


def test_without_random_directions_nothing_is_tested(world):
    axes, _, random = world
    null = by_raising.null_of_best(np.r_[random[:3], np.full((5, WIDTH), np.nan), np.zeros((1, WIDTH))], axes, 100, 0)
    word, p = by_raising.best_words(by_raising.cosines(axes[3:5], axes), null)
    assert word.tolist() == [3, 4] and np.isnan(p).all()


def test_changes_mean_over_anchors_and_their_clarity():
    rng = np.random.default_rng(0)
    change = rng.standard_normal((3, 200, 5))
    change[1] += 50 * np.r_[1, np.zeros(4)]  # the same in every anchor
    change[2, 1:] = np.nan  # one anchor alone
    d, clear = by_raising.mean_change(change), by_raising.clarity(change)
    np.testing.assert_allclose(d[1], change[1].mean(axis=0))
    assert np.isnan(d[2]).all() and np.isnan(clear[2]) and abs(clear[0]) < 0.05 and clear[1] > 0.99
    directions = unit(change[0])
    pairs = directions @ directions.T
    mean = (pairs.sum() - len(pairs)) / (len(pairs) * (len(pairs) - 1))
    assert clear[0] == pytest.approx(mean, abs=1e-12)
    one = by_raising.cosines(d[:2], unit(rng.standard_normal((4, 5))))
    assert one.shape == (2, 4) and np.abs(one).max() <= 1


def test_a_unit_rises_where_that_is_sure():
    fidelity, error = np.array([1.0, 0.9, 0.6, 0.4, np.nan, 0.8]), np.array([0.1, 0.3, 0.01, 0.01, 0.1, np.nan])
    assert by_raising.rises(fidelity, error).tolist() == [True, False, True, False, False, True]


def test_soft_wpmi_is_the_formula():
    rng = np.random.default_rng(0)
    images, vectors, r = rng.standard_normal((40, 6)), rng.standard_normal((5, 6)), rng.standard_normal((40, 3))
    shares = by_seeing.word_shares(images, vectors)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    score = 10 * unit(images) @ unit(vectors).T
    np.testing.assert_allclose(shares, np.exp(score) / np.exp(score).sum(axis=1, keepdims=True))
    found = by_seeing.evidence(shares, by_seeing.highest(r, 4))
    weight = 0.998 - (0.998 - 0.97) * np.arange(4) / 4
    for place in range(3):
        top = np.argsort(-r[:, place])[:4]
        by_hand = sum(np.log(1 + p * (shares[row] - 1)) for p, row in zip(weight, top, strict=True))
        np.testing.assert_allclose(found[place], by_hand)
    np.testing.assert_allclose(by_seeing.commonness(found), np.log(np.exp(found).mean(axis=0)))


def test_what_a_unit_answers_to_is_found_and_noise_is_not():
    rng = np.random.default_rng(0)
    vectors = np.eye(6)
    images = unit(rng.standard_normal((400, 6)))
    r = np.c_[images[:, 2], -images[:, 4], rng.standard_normal((400, 20))]
    shares = by_seeing.word_shares(images, vectors)
    found = by_seeing.evidence(shares, by_seeing.highest(r, 30))
    score = found - by_seeing.commonness(found)
    p = by_seeing.p_values(found, score.argmax(axis=1), shares, 30, 500, seed=0)
    assert score[0].argmax() == 2 and p[0] < 0.01
    assert (p[2:] < 0.05).mean() <= 0.2


def test_both_ways_beside_each_other():
    score = np.tile(np.arange(8.0)[::-1], (5, 1))  # word 0 is seen most
    raised, sure = np.array([0, 7, 1, 0, 3]), np.array([True, True, True, False, False])
    seen = np.array([True, True, False, True, False])
    found = verdicts(raised, sure, score, seen)
    assert found.tolist() == [Verdict.SAME, Verdict.OTHER, Verdict.RAISING, Verdict.SEEING, Verdict.NOTHING]
