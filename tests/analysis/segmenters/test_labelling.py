import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.analysis.segmenters import labelling
from linkjax.errors import InputError


def test_uncertainty_is_zero_for_sure_scores_and_log_parts_for_equal_ones():
    sure = jnp.zeros((1, 4, 4, 3)).at[..., 1].set(100.0)
    found = labelling.uncertainty(jnp.concatenate([sure, jnp.zeros((1, 4, 4, 3))]))
    np.testing.assert_allclose(found, [0.0, np.log(3)], atol=1e-6)


def test_suggestions_are_uncertain_unlike_each_other_and_unlike_the_labelled():
    places = np.array([[0.0], [0.1], [5.0], [5.1], [10.0], [99.0]])
    unsure = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.0])
    # nothing labelled: the most uncertain first, then the farthest of the pool
    np.testing.assert_array_equal(labelling.suggest(unsure[:5], places[:5], np.zeros((0, 1)), 3), [0, 4, 2])
    # the neighbourhood of a labelled image comes last
    assert labelling.suggest(unsure[:5], places[:5], np.array([[10.0]]), 2)[0] == 0
    # what is far away but certain is not in the pool
    assert 5 not in labelling.suggest(unsure, places, np.zeros((0, 1)), 1)


def test_no_image_is_suggested_twice():
    rng = np.random.default_rng(0)
    chosen = labelling.suggest(rng.random(30), np.zeros((30, 2)), np.zeros((1, 2)), 8)
    assert len(set(chosen.tolist())) == 8
    assert len(labelling.suggest(rng.random(3), rng.random((3, 2)), rng.random((1, 2)), 8)) == 3
    with pytest.raises(InputError, match="a place for each of 3 images"):
        labelling.suggest(rng.random(3), rng.random((2, 2)), rng.random((1, 2)), 1)


def test_uncertainty_can_be_compiled_with_the_drawing():
    assert jax.jit(labelling.uncertainty)(jnp.zeros((2, 3, 3, 2))).shape == (2,)
