"""How deep a link reaches, where it is known: layers that say all of w, half of it, nothing, or never vary."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.analysis.links import class_sums
from linkjax.analysis.links.host_moments import Sums
from linkjax.analysis.spaces import depth
from linkjax.errors import InputError

W_DIM, CLASSES, ALPHAS = 12, 4, (1e-6, 1e-3, 1.0)


def latents(each, seed):
    rng = np.random.default_rng(seed)
    means = 2 * np.random.default_rng(9).normal(size=(CLASSES, 1, W_DIM))
    return means + rng.normal(size=(CLASSES, each, W_DIM))


def summed(r, w):
    (classes, each), units = r.shape[:2], r.shape[2]
    sums = Sums(units, W_DIM)
    of_class = jax.tree.map(np.array, class_sums.empty(classes, units, W_DIM))
    rows = [x.reshape(classes * each, -1).astype(np.float32) for x in (r, w)]
    sums.add(*rows)
    class_sums.add_on_host(of_class, *rows, np.repeat(np.arange(classes), each))
    return sums.moments(), of_class


def reach(layer):
    """Of a layer that is a function of w and noise."""
    made = []
    for seed, each in enumerate((150, 50, 50)):
        w = latents(each, seed)
        made.append((layer(w, np.random.default_rng(100 + seed)).astype(np.float32), w.astype(np.float32)))
    train, val, (r, w) = summed(*made[0]), summed(*made[1]), made[2]
    return depth.measure(
        train, val, r, w, lambda question: np.random.default_rng(question), alphas=ALPHAS, draws=50, permutations=50
    )


MIX = np.random.default_rng(5).normal(size=(W_DIM, 20))


def test_a_linear_layer_says_all_of_w_and_its_units_obey():
    found = reach(lambda w, _: 3 + w @ MIX)
    r2, fidelity, order = (found.estimates[name] for name in ("r2", "fidelity", "distances"))
    assert r2.value > 1 - 1e-6 and r2.low <= r2.value <= r2.high
    assert fidelity.value == pytest.approx(1, abs=0.15) and fidelity.low < 1 < fidelity.high + 0.15
    assert fidelity.null_high < 0.3 and fidelity.p < 0.05
    assert order.value > 0.6 and order.p < 0.05
    assert 1 < found.effective_rank <= W_DIM + 1e-6


def test_a_layer_of_noise_says_nothing_though_it_varies_much():
    found = reach(lambda w, rng: 1e4 * rng.normal(size=(*w.shape[:2], 20)))
    assert -0.05 < found.estimates["r2"].value < 0.02
    assert abs(found.estimates["fidelity"].value) < 0.3
    assert abs(found.estimates["distances"].value) < 0.1
    assert found.effective_rank > 18


def test_a_layer_that_sees_half_of_w_says_half_of_it_whatever_its_scale():
    several = [reach(lambda w, _, scale=scale: scale * w[..., :6]).estimates["r2"].value for scale in (1, 1e-4)]
    spread = latents(150, 0).reshape(-1, W_DIM).var(axis=0)
    assert several[0] == pytest.approx(several[1], rel=1e-4)
    assert spread[:6].sum() / spread.sum() - 0.05 < several[0] < 0.95  # and what classes say of the other half


def test_a_layer_that_never_varies_says_nothing():
    found = reach(lambda w, _: np.full((*w.shape[:2], 3), 2.5))
    assert found.estimates["r2"].value == 0 and "fidelity" not in found.estimates and found.effective_rank == 0
    assert np.isnan(found.own).all() and len(found.own) == 3


def test_layers_with_positions_are_pooled():
    x = jnp.arange(2 * 3 * 4, dtype=jnp.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(depth.pooled(x, "mean"), x.mean(axis=1))
    np.testing.assert_array_equal(depth.pooled(x, "cls"), x[:, 0])
    np.testing.assert_array_equal(depth.pooled(x[:, None], "max"), x.max(axis=1))
    np.testing.assert_array_equal(depth.pooled(x[:, None], "cls"), x.mean(axis=1))
    np.testing.assert_array_equal(depth.pooled(x[:, 0], "max"), x[:, 0])
    with pytest.raises(InputError, match="found stem with 4 axes"):
        depth.pooled(x[:, None, None], "mean", "stem")
