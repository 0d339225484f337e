import numpy as np
import pytest

from linkjax.analysis.links import elastic_net, linear
from linkjax.analysis.links.linear import Solution
from linkjax.analysis.links.problem import accumulate
from tests import tolerances as tol

ALPHAS = {"enet_default_tight": 1.0, "enet_a001_tight": 0.01}


@pytest.fixture(scope="module")
def linking(parity):
    with np.load(parity / "linking.npz") as data:
        return dict(data)


@pytest.mark.parametrize("name", list(ALPHAS))
@pytest.mark.parametrize("case", ["full", "rankdef"])
def test_the_elastic_net_is_scikit_learns_at_its_true_optimum(linking, case, name):
    r, w, alpha = linking[f"{case}/r"], linking[f"{case}/w"], ALPHAS[name]
    total = accumulate(r, w, block=200)
    net = elastic_net.solve_elastic_net(total, alpha, 0.5)
    expected = Solution(linking[f"{case}/{name}/coef"].T, linking[f"{case}/{name}/intercept"])
    assert net.converged.all() and net.kkt_residual.max() <= 1e-10
    difference = elastic_net.objective(total, net.solution, alpha, 0.5)
    difference = difference - elastic_net.objective(total, expected, alpha, 0.5)
    assert np.abs(difference).max() < tol.LINK_OBJECTIVE
    predicted, reference = (r @ solution.kernel + solution.bias for solution in (net.solution, expected))
    assert np.abs(predicted - reference).max() < tol.LINK_SOLUTION * np.abs(reference).max()
    assert np.abs(net.solution.kernel - expected.kernel).max() < tol.LINK_SOLUTION * np.abs(expected.kernel).max()
    assert ((net.solution.kernel == 0) == (expected.kernel == 0)).mean() > 0.99


def test_the_optimality_conditions_hold_on_the_samples_themselves(linking):
    r, w = linking["full/r"], linking["full/w"]
    net = elastic_net.solve_elastic_net(accumulate(r, w), 0.1, 0.7)
    kernel = net.solution.kernel
    gradient = -(r - r.mean(0)).T @ (w - r @ kernel - net.solution.bias) / len(r) + 0.1 * 0.3 * kernel
    active = kernel != 0
    assert 0 < active.mean() < 1
    assert np.abs(gradient + 0.07 * np.sign(kernel))[active].max() < 1e-8
    assert np.abs(gradient[~active]).max() <= 0.07 + 1e-8


def test_stopping_early_is_reported_and_a_warm_start_finishes(linking):
    total = accumulate(linking["rankdef/r"], linking["rankdef/w"])
    early = elastic_net.solve_elastic_net(total, 0.01, 0.5, max_iterations=20)
    assert int(early.iterations) == 20 and not early.converged.all() and early.kkt_residual.max() > 1e-10
    done = elastic_net.solve_elastic_net(total, 0.01, 0.5, early.solution.kernel)
    assert done.converged.all()


def test_a_penalty_above_every_gradient_leaves_only_the_mean(linking):
    r, w = linking["full/r"], linking["full/w"]
    net = elastic_net.solve_elastic_net(accumulate(r, w), 1e6, 1.0)
    assert (net.solution.kernel == 0).all() and net.converged.all()
    assert np.abs(net.solution.bias - w.mean(0)).max() < tol.LINK_SOLUTION


def test_units_of_very_different_size_and_dead_units_converge():
    random = np.random.default_rng(0)
    r = random.standard_normal((400, 30)) * np.logspace(-2, 2, 30)
    r[:, 7] = 3.0
    w = r @ (random.standard_normal((30, 4)) / np.logspace(-2, 2, 30)[:, None])
    net = elastic_net.solve_elastic_net(accumulate(r, w), 1e-3, 1.0)
    assert net.converged.all() and (net.solution.kernel[7] == 0).all()


def test_a_vanishing_penalty_approaches_least_squares(linking):
    total = accumulate(linking["full/r"], linking["full/w"])
    net = elastic_net.solve_elastic_net(total, 1e-9, 0.5)
    expected = linear.solve_ols(total).kernel
    assert np.abs(net.solution.kernel - expected).max() < tol.LINK_SOLUTION * np.abs(expected).max()
