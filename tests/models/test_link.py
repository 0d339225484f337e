import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linkjax
from linkjax.errors import InputError
from linkjax.models import build
from linkjax.models.link import Link, LinkSpec, MLPLink, link_class
from linkjax.storage import checkpoint
from tests import tolerances as tol

SPEC = LinkSpec(units=5, w_dim=3)
MLP = LinkSpec(units=5, w_dim=3, method="mlp", hidden=(8, 4), activation="tanh")


def random_weights(cls, spec):
    random = np.random.default_rng(0)
    arrays = {name: random.standard_normal(leaf.shape) for name, leaf in build.shapes(cls, spec).items()}
    return {name: np.abs(array) + 0.5 if "scale" in name else array for name, array in arrays.items()}


def test_a_linear_link_is_kernel_and_bias():
    weights = random_weights(Link, SPEC)
    link = build.fill(Link, SPEC, weights)
    r = np.random.default_rng(1).standard_normal((4, 5))
    expected = r @ weights["kernel"] + weights["bias"]
    assert np.abs(link(r) - expected).max() < tol.LINK_FLOAT32 * np.abs(expected).max()
    assert link.kernel.shape == (5, 3) and link.bias.shape == (3,)
    assert np.asarray(link.kernel).dtype == np.float32


def test_an_mlp_link_is_its_formula_in_any_leading_shape():
    weights = random_weights(MLPLink, MLP)
    link = build.fill(MLPLink, MLP, weights)
    r = np.random.default_rng(1).standard_normal((2, 4, 5))
    x = (r - weights["r_mean"]) / weights["r_scale"]
    hidden = x
    for layer in "01":
        hidden = np.tanh(hidden @ weights[f"kernels.{layer}"] + weights[f"biases.{layer}"])
    expected = x @ weights["skip"] + weights["bias"] + hidden @ weights["head"]
    expected = expected * weights["w_scale"] + weights["w_mean"]
    assert np.abs(link(r) - expected).max() < 2e-6 * np.abs(expected).max()
    assert np.abs(link(r[0, 0]) - expected[0, 0]).max() < 2e-6 * np.abs(expected).max()


@pytest.mark.parametrize("spec", [SPEC, MLP])
def test_links_nest_under_jit_vmap_and_grad(spec):
    cls = link_class(spec)
    link = build.fill(cls, spec, random_weights(cls, spec))
    r = jnp.asarray(np.random.default_rng(1).standard_normal((4, 5)), jnp.float32)
    expected = link(r)
    compiled = jax.jit(lambda model, rows: model(rows))(link, r)
    mapped = jax.vmap(lambda row: link(row))(r)
    slope = jax.grad(lambda row: jnp.sum(link(row)))(r[0])
    for found in (compiled, mapped):
        assert np.abs(found - expected).max() < 2e-6 * np.abs(expected).max()
    assert np.isfinite(slope).all() and slope.shape == (5,)


def test_an_mlp_has_no_kernel_and_says_what_has_one():
    link = build.fill(MLPLink, MLP, random_weights(MLPLink, MLP))
    with pytest.raises(AttributeError, match="no single kernel; fit with method ols, ridge or elastic_net"):
        _ = link.kernel
    assert not hasattr(link, "kernel")


def test_a_spec_is_plain_data():
    fields = json.loads(json.dumps(dataclasses.asdict(MLP)))
    assert LinkSpec(**fields | {"hidden": tuple(fields["hidden"])}) == MLP
    assert hash(MLP) != hash(SPEC)


@pytest.mark.parametrize("changes", [{"units": 0}, {"method": "lasso"}, {"activation": "sigmoid"}])
def test_a_spec_that_means_nothing_is_refused(changes):
    with pytest.raises(InputError, match=r"found 0|is not one of"):
        dataclasses.replace(MLP, **changes)


@pytest.mark.parametrize("r", [np.zeros((2, 4)), np.zeros(()), np.zeros((5, 2))])
def test_activations_of_another_classifier_are_refused(r):
    link = build.fill(Link, SPEC, random_weights(Link, SPEC))
    with pytest.raises(InputError, match="fitted on 5 units, but r has shape"):
        link(r)


def test_a_link_made_before_there_were_directions_has_none(tmp_path):
    """Its manifest does not know the field, its weights hold kernel and bias alone."""
    old = build.fill(Link, LinkSpec(3, 2), {"kernel": np.eye(3, 2, dtype=np.float32), "bias": np.zeros(2, np.float32)})
    checkpoint.save_model(tmp_path / "old", old, source={})
    path = tmp_path / "old" / "manifest.json"
    content = json.loads(path.read_text())
    del content["spec"]["steered"]
    path.write_text(json.dumps(content))
    found = linkjax.load(tmp_path / "old")
    assert found.steer is None and found.covariance is None and found.r2 is None
    np.testing.assert_array_equal(found(np.ones(3)), [1, 1])
