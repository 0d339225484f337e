import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkjax.analysis.spaces import evaluation as ev
from tests import tolerances as tol

N, UNITS, W_DIM, CLASSES = 60, 9, 4, 8
CENTRE = np.array([4.0, 0, 0, 1])  # stands for a training mean


@pytest.fixture(scope="module")
def samples():
    random = np.random.default_rng(0)
    w = random.standard_normal((N, W_DIM)) * [1, 2, 3, 0] + [5, 0, -1, 2]
    r = np.maximum(random.standard_normal((N, UNITS)), 0).astype(np.float32)
    r[:, 2] = 0.3
    logits = random.standard_normal((N, CLASSES)).astype(np.float32)
    return {
        "w": w,
        "predicted": w + random.standard_normal((N, W_DIM)) * 0.5,
        "r": r,
        "encoded": r + random.standard_normal((N, UNITS)).astype(np.float32) * 0.3,
        "logits": logits,
        "encoded_logits": logits + random.standard_normal((N, CLASSES)).astype(np.float32),
        "label": random.integers(0, CLASSES, N),
    }


def latent(samples, rows):
    return ev.add_latent(ev.empty_latent(W_DIM), samples["w"][rows], samples["predicted"][rows], CENTRE)


def cycle(samples, rows, mask=None):
    names = ("logits", "encoded_logits", "label")
    centre = np.full(UNITS, 0.4)
    parts = (samples[name][rows] for name in names)
    return ev.add_cycle(ev.empty_cycle(UNITS), samples["r"][rows], samples["encoded"][rows], centre, *parts, mask)


def numbers(report):
    return np.concatenate([np.ravel(np.asarray(field, np.float64)) for field in report])


def test_latent_figures_are_those_of_the_samples(samples):
    w, predicted = samples["w"], samples["predicted"]
    report = ev.latent_report(latent(samples, slice(None)))
    squared, spread = ((w - predicted) ** 2).sum(0), ((w - w.mean(0)) ** 2).sum(0)
    assert abs(report.r2 - (1 - squared.sum() / spread.sum())) < tol.EVALUATION
    assert np.abs(report.r2_dimensions[:3] - (1 - squared / np.where(spread > 0, spread, 1))[:3]).max() < tol.EVALUATION
    assert np.isnan(report.r2_dimensions[3])
    assert abs(report.r2_mean - report.r2_dimensions[:3].mean()) < tol.EVALUATION
    per_sample = ((w - predicted) ** 2).mean(1)
    assert abs(report.mse.value - per_sample.mean()) < tol.EVALUATION
    assert abs(report.mse.standard_error - per_sample.std(ddof=1) / N**0.5) < tol.EVALUATION
    for found, a, b in ((report.cosine, w, predicted), (report.centred_cosine, w - CENTRE, predicted - CENTRE)):
        cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert abs(found.value - cosines.mean()) < tol.EVALUATION and found.count == N


def test_cycle_figures_are_those_of_the_samples(samples):
    report = ev.cycle_report(cycle(samples, slice(None)))
    r, encoded = (samples[name].astype(np.float64) for name in ("r", "encoded"))
    cosines = (r * encoded).sum(1) / np.linalg.norm(r, axis=1) / np.linalg.norm(encoded, axis=1)
    assert abs(report.cosine.value - cosines.mean()) < tol.EVALUATION
    live = [unit for unit in range(UNITS) if unit != 2]
    pearson = np.array([np.corrcoef(r[:, unit], encoded[:, unit])[0, 1] for unit in live])
    assert np.abs(report.correlations[live] - pearson).max() < tol.EVALUATION
    assert np.isnan(report.correlations[2]) and report.live_units == UNITS - 1
    assert abs(report.median_correlation - np.median(pearson)) < tol.EVALUATION
    top, label = samples["logits"].argmax(1), samples["label"]
    for first, five, scores, target in (
        (report.top1, report.top5, samples["encoded_logits"], top),
        (report.class_top1, report.class_top5, samples["encoded_logits"], label),
        (report.original_class_top1, report.original_class_top5, samples["logits"], label),
    ):
        order = np.argsort(-scores, axis=1)
        assert first.value == pytest.approx((order[:, 0] == target).mean())
        assert five.value == pytest.approx((order[:, :5] == target[:, None]).any(1).mean())


@given(st.lists(st.integers(0, N), max_size=3))
def test_figures_do_not_depend_on_how_samples_are_split(samples, cuts):
    whole = numbers(ev.latent_report(latent(samples, slice(None))))
    w, predicted = (np.concatenate([samples[name], np.full((N, W_DIM), np.nan)]) for name in ("w", "predicted"))
    total = ev.empty_latent(W_DIM)
    for begin, end in itertools.pairwise([0, *sorted(cuts), N]):
        rows = slice(begin, begin + N)  # always N rows: one compiled program
        mask = np.arange(N) < end - begin
        total = ev.merge(total, ev.add_latent(ev.empty_latent(W_DIM), w[rows], predicted[rows], CENTRE, mask))
    found = numbers(ev.latent_report(total))
    assert ((np.abs(found - whole) < tol.EVALUATION) | (np.isnan(found) & np.isnan(whole))).all()


def test_masked_rows_do_not_count_and_parts_merge(samples):
    whole = numbers(ev.cycle_report(cycle(samples, slice(None))))
    rows = np.arange(N) < 25
    parts = ev.merge(cycle(samples, slice(None), rows), cycle(samples, slice(None), ~rows))
    found = numbers(ev.cycle_report(parts))
    assert ((np.abs(found - whole) < tol.EVALUATION) | (np.isnan(found) & np.isnan(whole))).all()


def test_a_perfect_link_scores_one_and_the_mean_scores_zero(samples):
    w = samples["w"]
    mean = np.broadcast_to(w.mean(0), w.shape)
    perfect = ev.latent_report(ev.add_latent(ev.empty_latent(W_DIM), w, w, w.mean(0)))
    guess = ev.latent_report(ev.add_latent(ev.empty_latent(W_DIM), w, mean, w.mean(0)))
    assert perfect.r2 == 1 and perfect.mse.value == 0 and perfect.centred_cosine.value == pytest.approx(1)
    assert abs(guess.r2) < tol.EVALUATION and guess.centred_cosine.count == 0


def test_the_standard_error_of_r2_is_the_spread_over_repetitions():
    random = np.random.default_rng(0)
    reports = []
    for _ in range(200):
        w = random.standard_normal((N, W_DIM))
        predicted = w + random.standard_normal((N, W_DIM)) * 0.7
        reports.append(ev.latent_report(ev.add_latent(ev.empty_latent(W_DIM), w, predicted, np.zeros(W_DIM))))
    spread = np.std([report.r2 for report in reports])
    claimed = np.mean([report.r2_standard_error for report in reports])
    assert 0.8 < claimed / spread < 1.25


def test_without_a_head_agreements_have_no_samples(samples):
    sums = ev.add_cycle(ev.empty_cycle(UNITS), samples["r"], samples["encoded"], np.zeros(UNITS))
    report = ev.cycle_report(sums)
    assert report.top1.count == 0 and np.isnan(report.top1.value) and report.cosine.count == N


def test_samples_that_are_not_finite_are_left_out_and_counted(samples):
    predicted = samples["predicted"].copy()
    predicted[[3, 8], 0] = np.nan
    kept = np.delete(np.arange(N), [3, 8])
    report = ev.latent_report(ev.add_latent(ev.empty_latent(W_DIM), samples["w"], predicted, CENTRE))
    expected = ev.latent_report(latent(samples, kept))
    assert report.nonfinite == 2 and report.mse.count == N - 2
    assert abs(report.r2 - expected.r2) < tol.EVALUATION


def test_ties_and_broken_scores_are_not_agreements():
    logits = np.array([[1.0, 1.0, 0.0], [np.nan] * 3], np.float32)
    ones = np.ones((2, 1), np.float32)
    sums = ev.add_cycle(ev.empty_cycle(1), ones, ones, np.zeros(1), logits, logits, np.array([1, 2]))
    report = ev.cycle_report(sums)
    assert report.class_top1.value == 0  # index 0 comes first among equals, and NaN ranks nothing


def test_class_means_are_means_and_fall_back_to_the_whole():
    w = np.arange(12.0).reshape(6, 2)
    label = np.array([0, 0, 2, 2, 2, -1])
    parts = [
        ev.add_class_means(ev.empty_class_means(4, 2), w[rows], label[rows]) for rows in (slice(0, 3), slice(3, 6))
    ]
    means = ev.class_means(ev.merge(*parts))
    expected = np.stack([w[:2].mean(0), w[:5].mean(0), w[2:5].mean(0), w[:5].mean(0)])
    assert np.abs(means - expected).max() < tol.EVALUATION
