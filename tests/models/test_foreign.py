"""Classifiers of other JAX programs."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linkjax
from linkjax import Foreign, Preprocessing
from linkjax.errors import InputError
from tests import worlds

AS_IS = Preprocessing(resize=None, crop=None)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(6, (3, 3), strides=2)(x))
        r = jnp.mean(x, axis=(1, 2))
        return r, nn.Dense(4, name="last")(r)


def flax_classifier():
    net = Net()
    weights = net.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))

    def head(weights, r):
        return nn.Dense(4).apply({"params": weights["params"]["last"]}, r)

    return net, weights, Foreign(net.apply, weights, head=head, preprocessing=AS_IS, side=16, name="flax")


def test_a_flax_network_is_a_classifier():
    net, weights, made = flax_classifier()
    x = made.preprocess(jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (3, 16, 16, 3)), jnp.float32))
    r, logits = net.apply(weights, x)
    found = made(x)
    np.testing.assert_allclose(found.penultimate, r, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.logits, logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(made.head(found.penultimate), found.logits, rtol=1e-5, atol=1e-6)
    assert (made.spec.num_units, made.spec.num_classes) == (6, 4)
    assert jnp.isfinite(jax.grad(lambda x: made(x).logits[0, 0])(x)).all()
    other = jax.tree.map(lambda leaf: leaf * 2, weights)
    assert Foreign(net.apply, other, side=16).sha256 != made.sha256 == flax_classifier()[2].sha256


def test_a_foreign_classifier_goes_through_a_study():
    _, _, classifier = flax_classifier()
    generator = worlds.generator()
    random = np.random.default_rng(0)
    w = generator.mapping(random.standard_normal((24, 8)).astype(np.float32), np.arange(24) % 2)
    r = classifier(classifier.preprocess(generator.synthesis(w))).penultimate
    link = linkjax.fit_link(r, w, method="ridge", alpha=1.0, labels=np.arange(24) % 2)
    study = linkjax.Study(generator, classifier, link)
    anchors = linkjax.sample(study, jax.random.key(1), (0, 1), range_samples=4)
    found = linkjax.sweep(study, anchors, units=(0, 3), steps=2, random_directions=0, picture_units=0)
    assert found["obtained"].shape == (2, 2, 2) and np.isfinite(found["obtained"]).all()


def test_what_gives_something_else_is_refused():
    def odd(weights, x):
        return jnp.mean(x, axis=(1, 2, 3)), None

    with pytest.raises(InputError, match="expected \\(r"):
        Foreign(odd, {}, side=8)
    with pytest.raises(InputError, match="a row for each image"):
        Foreign(lambda weights, x: (jnp.zeros((1, 4)), None), {}, side=8)
    with pytest.raises(InputError, match="expected the side"):
        Foreign(odd, {}, preprocessing=AS_IS)
    bare = Foreign(lambda weights, x: (jnp.mean(x, axis=(1, 2)), None), {}, side=8)
    assert bare.spec.num_classes == 0 and bare.spec.num_units == 3
    with pytest.raises(InputError, match="expected a head"):
        bare.head(jnp.zeros((1, 3)))
