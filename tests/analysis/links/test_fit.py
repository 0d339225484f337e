import dataclasses
import json
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.analysis.links import elastic_net
from linkjax.analysis.links.by_moments import fit_from_moments
from linkjax.analysis.links.fit import fit_link
from linkjax.analysis.links.problem import accumulate
from linkjax.errors import InputError
from linkjax.models.link import Link
from tests import tolerances as tol

METHODS = {
    "lr": ("ols", 1.0),
    "ridge10": ("ridge", 10.0),
    "enet_default_tight": ("elastic_net", 1.0),
    "enet_a001_tight": ("elastic_net", 0.01),
}


@pytest.fixture(scope="module")
def linking(parity):
    with np.load(parity / "linking.npz") as data:
        return dict(data)


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("case", ["full", "rankdef"])
def test_fit_link_is_scikit_learns_link_rounded_to_float32(linking, case, name):
    method, alpha = METHODS[name]
    r, w = linking[f"{case}/r"], linking[f"{case}/w"]
    link = fit_link(r, w, method, alpha)
    coef, intercept = linking[f"{case}/{name}/coef"], linking[f"{case}/{name}/intercept"]
    assert isinstance(link, Link) and link.spec.method == method
    assert np.abs(np.asarray(link.kernel).T - coef).max() < tol.LINK_FLOAT32 * np.abs(coef).max()
    assert np.abs(np.asarray(link.bias) - intercept).max() < tol.LINK_FLOAT32 * np.abs(intercept).max()
    expected = r @ coef.T + intercept
    assert np.abs(np.asarray(link(r)) - expected).max() < tol.LINK_FLOAT32 * np.abs(expected).max()


@pytest.mark.parametrize("method", ["ridge", "elastic_net"])
def test_alpha_is_the_one_with_the_smallest_held_out_error(linking, method):
    r, w = linking["rankdef/r"], linking["rankdef/w"]
    alphas = (0.003, 10.0, 0.3, 1e4)
    train, held = (r[:60], w[:60]), (r[60:], w[60:])
    link = fit_link(*train, method, validation=held, alphas=alphas)
    errors = [((w[60:] - np.asarray(fit_link(*train, method, alpha)(r[60:]))) ** 2).mean() for alpha in alphas]
    assert link.spec.alpha == alphas[int(np.argmin(errors))]
    same, found = fit_from_moments(accumulate(*train), method, held_out=accumulate(*held), alphas=alphas)
    lam = link.spec.steer_lambda
    assert (
        dataclasses.replace(same.spec, steered=True, steer_lambda=lam) == link.spec and found.alpha == link.spec.alpha
    )
    for (alpha, error), expected in zip(found.validation, errors, strict=True):
        assert alpha in alphas and abs(error / expected - 1) < 1e-5  # against a float32 link


def test_elastic_net_without_absolute_values_is_ridge(linking):
    r, w = linking["full/r"], linking["full/w"]
    net, ridge = fit_link(r, w, "elastic_net", 0.02, 0.0), fit_link(r, w, "ridge", 0.02 * 500)
    assert np.abs(np.asarray(net.kernel) - np.asarray(ridge.kernel)).max() < tol.LINK_FLOAT32


def test_diagnostics_are_plain_numbers_that_a_manifest_can_hold(linking):
    r, w = linking["rankdef/r"], linking["rankdef/w"]
    link, found = fit_from_moments(accumulate(r, w), "ridge", 1.0)
    fields = json.loads(json.dumps(dataclasses.asdict(found)))
    assert fields["numerical_rank"] == 30 and fields["count"] == 500 and fields["converged"]
    assert len(fields["eigenvalues"]) == 40 and fields["eigenvalues"][0] > fields["eigenvalues"][-1]
    values = np.linalg.svd(r - r.mean(0), compute_uv=False)[:30]
    assert abs(found.condition_number / (values[0] / values[-1]) - 1) < 1e-6
    assert 1 < found.participation_ratio < found.effective_rank < 30
    predicted = np.asarray(link(r), np.float64)
    assert abs(found.train_mse / ((w - predicted) ** 2).mean() - 1) < 1e-6
    assert abs(found.train_r2 - (1 - ((w - predicted) ** 2).sum() / ((w - w.mean(0)) ** 2).sum())) < 1e-6


def test_an_unconverged_elastic_net_warns_and_says_so(linking, monkeypatch):
    solve = elastic_net.solve_elastic_net
    monkeypatch.setattr(elastic_net, "solve_elastic_net", lambda *a: solve(*a, max_iterations=3))
    total = accumulate(linking["rankdef/r"], linking["rankdef/w"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _, found = fit_from_moments(total, "elastic_net", 0.01)
    assert not found.converged and found.iterations == 3 and found.kkt_residual > 1e-10
    assert "stopped after 3 iterations" in str(caught[0].message)


@pytest.mark.parametrize("convert", [np.float32, np.float16, jnp.float32, jnp.bfloat16, np.int32])
def test_any_real_dtype_is_taken_as_it_is(convert):
    random = np.random.default_rng(0)
    r = jnp.asarray(random.integers(-3, 4, (40, 4)), convert) if convert is jnp.bfloat16 else None
    r = np.asarray(random.integers(-3, 4, (40, 4))).astype(convert) if r is None else r
    kernel = np.array([[1.0, 0], [0, 2], [0.5, 0], [0, 1]])
    w = np.asarray(r, np.float64) @ kernel + 1
    assert np.abs(np.asarray(fit_link(r, w).kernel) - kernel).max() < tol.LINK_FLOAT32


R, W = np.random.default_rng(0).standard_normal((10, 4)), np.random.default_rng(1).standard_normal((10, 2))


def broken(array, *places, value=np.nan):
    array = array.copy()
    for place in places:
        array[place] = value
    return array


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((R, W, "rigde"), {}, "'rigde' is not one of ols, ridge, elastic_net, mlp; did you mean 'ridge'"),
        ((R, W[:9]), {}, "same samples, found shapes"),
        ((R[0], W[0]), {}, "found shapes"),
        ((R[:, :0], W), {}, "found shapes"),
        ((R[:1], W[:1]), {}, "at least 2 samples, found 1"),
        ((broken(R, (3, 1), (3, 2), (7, 0)), W), {}, "r has NaN or infinite values in 2 of 10 samples, .* sample 3;"),
        ((R, broken(W, (6, 0), value=np.inf)), {}, "w has NaN or infinite values in 1 of 10 samples, .* sample 6;"),
        ((R + 0j, W), {}, "real numbers, found dtype complex128"),
        ((R.astype(str), W), {}, "real numbers"),
        ((R, W, "ridge", -1.0), {}, "alpha must be finite and at least 0, found -1"),
        ((R, W, "elastic_net", 1.0, 1.5), {}, r"l1_ratio must lie in \[0, 1\], found 1.5"),
        ((R, W, "ridge"), {"alphas": (1.0, 2.0)}, "needs held-out pairs"),
        ((R, W, "ols"), {"alphas": (1.0,), "validation": (R, W)}, "no alpha to choose"),
        ((R, W, "ridge"), {"validation": (R[:, :3], W)}, "validation pairs have 3 units"),
        ((R, W, "ridge"), {"validation": (broken(R, (0, 0)), W)}, "validation r has NaN"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(arguments, options, message):
    with pytest.raises(InputError, match=message) as caught:
        fit_link(*arguments, **options)
    assert "\n" not in str(caught.value)


def test_streamed_moments_are_checked_too():
    with pytest.raises(InputError, match="at least 2 training samples, found 1"):
        fit_from_moments(accumulate(R[:1], W[:1]))
    with pytest.raises(InputError, match="training pairs hold NaN"):
        fit_from_moments(accumulate(broken(R, (0, 0)), W))
    with pytest.raises(InputError, match="cannot be fitted from moments"):
        fit_from_moments(accumulate(R, W), "mlp")


def test_blocks_do_not_show_in_the_result():
    whole, parts = accumulate(R, W), accumulate(R, W, block=3)
    assert np.abs(np.asarray(whole.S_rr) - np.asarray(parts.S_rr)).max() < tol.MOMENTS * np.asarray(whole.S_rr).max()
