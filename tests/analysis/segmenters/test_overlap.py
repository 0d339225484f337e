import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.analysis.segmenters import overlap
from linkjax.errors import InputError


def test_confusion_counts_labelled_pixels_by_label_and_prediction():
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(-1, 5, (3, 7, 6)), rng.integers(0, 4, (3, 7, 6))
    found = np.asarray(overlap.confusion(jnp.asarray(labels), jnp.asarray(predicted), 4))
    for label in range(4):
        for prediction in range(4):
            assert found[label, prediction] == ((labels == label) & (predicted == prediction)).sum()


def test_iou_is_intersection_over_union_and_nan_where_there_is_neither():
    labels = np.array([0, 0, 1, 1, 1, 3])
    predicted = np.array([0, 1, 1, 1, 0, 0])
    found = overlap.intersection_over_union(overlap.confusion(jnp.asarray(labels), jnp.asarray(predicted), 5))
    np.testing.assert_array_equal(found, [1 / 4, 2 / 4, np.nan, 0, np.nan])


def test_a_mean_over_the_background_alone_is_no_mean():
    assert overlap.mean_of_parts(np.array([1.0, np.nan, np.nan])) is None
    assert overlap.mean_of_parts(np.array([np.nan, np.nan])) is None
    assert overlap.mean_of_parts(np.array([1.0, np.nan, 0.5])) == 0.75
    assert overlap.mean_of_parts(np.array([1.0, 0.0])) == 0.5


def test_every_image_is_held_out_once_and_folds_have_like_sizes():
    fold = overlap.folds_of(17, 5, seed=3)
    assert sorted(np.bincount(fold)) == [3, 3, 3, 4, 4]
    np.testing.assert_array_equal(fold, overlap.folds_of(17, 5, seed=3))
    for folds in (1, 18):
        with pytest.raises(InputError, match="number of labelled images, 17"):
            overlap.folds_of(17, folds)
