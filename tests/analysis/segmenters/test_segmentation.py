import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.analysis.segmenters import segmentation
from linkjax.analysis.segmenters.segmentation import UNLABELLED, LinearTraining
from linkjax.errors import InputError
from linkjax.models.linear_segmenter import LinearSegmenterSpec, linear_scores
from tests import draws, tolerances

SIZE, PARTS = 12, 3
TRAINING = LinearTraining(weight_decay=1e-3, iterations=200)  # one for all: a compiled program serves several tests


def problem(count=6, seed=0):
    """Maps of two sizes whose scores under a hidden head give the labels."""
    features = {
        "low": 3.0 + 0.1 * draws.normal(2 * seed, count, 4, 4, 5),
        "high": 20.0 * draws.normal(2 * seed + 1, count, SIZE, SIZE, 3),
    }
    kernels = {
        "low": 10.0 * draws.normal(7, 5, PARTS),
        "high": 0.05 * draws.normal(8, 3, PARTS),
    }
    scores = linear_scores(kernels, jnp.asarray([1.0, 0.0, 0.0]), features, SIZE)
    scores = scores - jnp.mean(scores, axis=(0, 1, 2), keepdims=True)
    return features, jnp.argmax(scores, axis=-1)


def everything(labels):
    return jnp.ones(len(labels), bool)


def test_training_finds_the_minimum_of_its_objective():
    features, labels = problem()
    training = TRAINING
    targets = segmentation.training_targets(labels, PARTS, SIZE)
    head = segmentation.train_linear(features, targets, everything(labels), training)
    assert float(head.gradient) < tolerances.SEGMENTER_GRADIENT and int(head.steps) < 200

    # the objective as the docstring has it, in float64, and that no direction leads down
    deviation = {name: np.asarray(x, np.float64).std(axis=(0, 1, 2)) for name, x in features.items()}
    host = np.asarray(labels)
    share = np.bincount(host.ravel(), minlength=PARTS) / host.size
    weight = share[host] ** -training.balance

    def value(kernels, bias):
        scores = np.asarray(linear_scores(kernels, jnp.zeros(PARTS), features, SIZE), np.float64) + bias
        logs = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
        fit = -(weight * np.take_along_axis(logs, host[..., None], -1)[..., 0]).sum() / weight.sum()
        penalty = sum(
            ((np.asarray(kernels[name], np.float64) * deviation[name][:, None]) ** 2).sum() for name in kernels
        )
        return fit + 0.5 * training.weight_decay * penalty

    bias = np.asarray(head.bias, np.float64)
    best = value(head.kernels, bias)
    assert best == pytest.approx(float(head.objective), rel=tolerances.SEGMENTER_OBJECTIVE)
    rng = np.random.default_rng(0)
    for _ in range(8):
        moved = {
            name: kernel + np.float32(0.05 * rng.normal(size=kernel.shape) / deviation[name][:, None])
            for name, kernel in head.kernels.items()
        }
        assert value(moved, bias + 0.05 * rng.normal(size=PARTS)) > best


def test_a_head_learns_what_a_linear_head_drew_and_keeps_it_on_other_images():
    features, labels = problem()
    spec = LinearSegmenterSpec(("low", "high"), (5, 3), SIZE, PARTS)
    targets = segmentation.training_targets(labels, PARTS, SIZE)
    head = segmentation.train_linear(features, targets, jnp.arange(6) < 5, TRAINING)
    predicted = jnp.argmax(segmentation.linear_segmenter(spec, head)(features), axis=-1)
    assert float(jnp.mean(predicted[5:] == labels[5:])) > 0.95


def test_every_image_is_predicted_by_a_head_that_has_not_seen_it():
    features, labels = problem()
    fold = np.array([0, 1, 2, 0, 1, 2])
    targets = segmentation.training_targets(labels, PARTS, SIZE)
    predicted = segmentation.held_out_labels(features, targets, fold, TRAINING)
    np.testing.assert_array_equal(segmentation.target_labels(targets), labels)
    assert np.mean(predicted == np.asarray(labels)) > 0.9
    head = segmentation.train_linear(features, targets, jnp.asarray(fold != 1), TRAINING)
    spec = LinearSegmenterSpec(("low", "high"), (5, 3), SIZE, PARTS)
    expected = jnp.argmax(segmentation.linear_segmenter(spec, head)(features), axis=-1)
    np.testing.assert_array_equal(predicted[fold == 1], expected[fold == 1])


def test_images_not_used_and_pixels_not_labelled_do_not_count():
    features, labels = problem()
    targets, used = segmentation.training_targets(labels, PARTS, SIZE), jnp.arange(6) < 4
    right = segmentation.train_linear(features, targets, used, TRAINING)
    other = {name: maps.at[4:].set(7.0) for name, maps in features.items()}
    wrong = segmentation.train_linear(other, targets.at[4:].set(1.0), used, TRAINING)
    for name in features:
        np.testing.assert_array_equal(right.kernels[name], wrong.kernels[name])
    unlabelled = segmentation.training_targets(labels.at[:, :3].set(UNLABELLED), PARTS, SIZE)
    np.testing.assert_array_equal(unlabelled[:, :3], 0)
    np.testing.assert_array_equal(unlabelled[:, 3:], targets[:, 3:])
    assert (segmentation.target_labels(unlabelled)[:, :3] == UNLABELLED).all()


def test_a_channel_that_does_not_vary_gets_no_weight():
    features, labels = problem()
    features["high"] = features["high"].at[..., 1].set(5.0)
    head = segmentation.train_linear(
        features, segmentation.training_targets(labels, PARTS, SIZE), everything(labels), TRAINING
    )
    np.testing.assert_array_equal(head.kernels["high"][1], 0)
    assert all(bool(jnp.isfinite(kernel).all()) for kernel in head.kernels.values())


def test_targets_of_a_coarser_grid_are_shares():
    labels = jnp.zeros((1, 8, 8), jnp.int32).at[:, :, 4:].set(2)
    targets = segmentation.training_targets(labels, 3, 4)
    assert targets.shape == (1, 4, 4, 3)
    np.testing.assert_allclose(targets.sum(-1), 1, rtol=1e-6)
    assert float(targets[0, 0, 0, 0]) == 1.0 and float(targets[0, 0, 3, 2]) == 1.0


def test_finer_maps_are_averaged_for_training_and_coarser_ones_kept():
    features = {"fine": jnp.ones((1, 8, 8, 2)), "coarse": jnp.ones((1, 2, 2, 2))}
    made = segmentation.training_maps(features, 4)
    assert made["fine"].shape == (1, 4, 4, 2) and made["coarse"].shape == (1, 2, 2, 2)


def test_wrong_settings_are_one_sentence():
    for make, said in (
        (lambda: LinearTraining(balance=2), "from 0 to 1"),
        (lambda: LinearTraining(weight_decay=0), "weight-decay"),
        (
            lambda: segmentation.train_linear(
                problem()[0], jnp.zeros((5, SIZE, SIZE, PARTS)), jnp.ones(6, bool), LinearTraining()
            ),
            "same images",
        ),
    ):
        with pytest.raises(InputError, match=said):
            make()
