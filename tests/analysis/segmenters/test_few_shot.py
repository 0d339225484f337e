import jax
import jax.numpy as jnp
import numpy as np

from linkjax.analysis.segmenters.few_shot import FewShotTraining, few_shot_targets, learning_rate, train_few_shot
from linkjax.models.segmenter import SegmenterSpec
from tests import draws

SPEC = SegmenterSpec("S", 3, 2, widths=(6, 4, 4, 4), map_size=8)


def problem():
    maps = draws.normal(0, 5, 8, 8, 3)
    return maps, (maps[..., 0] > maps[..., 1]).astype(jnp.int32)


def test_the_network_learns_and_leaves_out_what_is_not_labelled():
    maps, labels = problem()
    training = FewShotTraining(epochs=60, learning_rate=1e-2)
    model, losses = train_few_shot(maps, labels, np.arange(4), SPEC, training)
    assert losses.shape == (60,) and losses[-1] < 0.3 * losses[0]
    assert float(jnp.mean(jnp.argmax(model(maps[:4]), -1) == labels[:4])) > 0.9
    wrong = labels.at[:, :4].set(-1)
    half, _ = train_few_shot(maps, wrong, np.arange(4), SPEC, training)
    again, _ = train_few_shot(maps, wrong.at[4].set(0), np.arange(4), SPEC, training)
    np.testing.assert_array_equal(half(maps), again(maps))  # the fifth image is not trained on


def test_the_learning_rate_falls_to_a_tenth_after_every_fiftieth_epoch():
    with jax.numpy_dtype_promotion("standard"):  # inside optax
        rate = learning_rate(FewShotTraining(), images=3)
        found = [float(rate(step)) for step in (0, 149, 150, 299, 300)]
    np.testing.assert_allclose(found, [1e-3, 1e-3, 1e-4, 1e-4, 1e-5], rtol=1e-6)


def test_labels_are_resized_by_nearest_neighbour():
    labels = jnp.asarray([[[0, 1], [2, -1]]])
    np.testing.assert_array_equal(few_shot_targets(labels, 4)[0], np.kron([[0, 1], [2, -1]], np.ones((2, 2))))
