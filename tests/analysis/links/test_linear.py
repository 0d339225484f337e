import numpy as np
import pytest

from linkjax.analysis.links import linear
from linkjax.analysis.links.problem import accumulate
from tests import tolerances as tol

CASES = [(case, name) for case in ("full", "rankdef") for name in ("lr", "ridge1", "ridge10")]
ALPHAS = {"lr": 0.0, "ridge1": 1.0, "ridge10": 10.0}


@pytest.fixture(scope="module")
def linking(parity):
    with np.load(parity / "linking.npz") as data:
        return dict(data)


def relative(found, expected):
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize(("case", "name"), CASES)
@pytest.mark.parametrize("decomposed", [False, True])
def test_least_squares_and_ridge_are_scikit_learns_numbers_also_where_rank_is_missing(linking, case, name, decomposed):
    r, w = linking[f"{case}/r"], linking[f"{case}/w"]
    total = accumulate(r, w, block=128)
    spectrum = linear.decompose(total) if decomposed else None
    solution = linear.solve_ridge(total, ALPHAS[name], spectrum)
    assert relative(solution.kernel.T, linking[f"{case}/{name}/coef"]) < tol.LINK_SOLUTION
    assert relative(solution.bias, linking[f"{case}/{name}/intercept"]) < tol.LINK_SOLUTION
    mse = linear.squared_errors(total, solution).sum() / w.size
    assert abs(mse / linking[f"{case}/{name}/mse"] - 1) < tol.LINK_ERROR


@pytest.mark.parametrize("name", ["lr", "ridge1"])
def test_float32_data_are_solved_in_float64(linking, name):
    r, w = linking["full/r"].astype(np.float32), linking["full/w"].astype(np.float32)
    solution = linear.solve_ridge(accumulate(r, w), ALPHAS[name])
    assert relative(solution.kernel.T, linking[f"full_f32/{name}/coef"]) < tol.LINK_FLOAT32_REFERENCE
    R, W = r.astype(np.float64), w.astype(np.float64)
    dr, dw = R - R.mean(0), W - W.mean(0)
    exact = np.linalg.solve(dr.T @ dr + ALPHAS[name] * np.eye(40), dr.T @ dw)
    assert relative(solution.kernel, exact) < tol.LINK_SOLUTION


def test_the_rank_is_read_off_the_gram_spectrum(linking):
    for case, rank in (("full", 40), ("rankdef", 30)):
        spectrum = linear.decompose(accumulate(linking[f"{case}/r"], linking[f"{case}/w"]))
        assert int(np.asarray(spectrum.live).sum()) == rank == int(linking[f"{case}/lr/rank"])


def test_fewer_samples_than_units_give_the_minimum_norm_solution():
    random = np.random.default_rng(0)
    r, w = random.standard_normal((12, 30)), random.standard_normal((12, 4))
    total = accumulate(r, w)
    solution = linear.solve_ols(total)
    expected = np.linalg.pinv(r - r.mean(0)) @ (w - w.mean(0))
    assert int(np.asarray(linear.decompose(total).live).sum()) == 11
    assert relative(solution.kernel, expected) < tol.LINK_SOLUTION


def test_constant_activations_give_a_link_to_the_mean():
    w = np.random.default_rng(0).standard_normal((9, 2))
    solution = linear.solve_ols(accumulate(np.full((9, 3), 5.0), w))
    assert (solution.kernel == 0).all()
    assert relative(solution.bias, w.mean(0)) < tol.LINK_SOLUTION


@pytest.mark.parametrize("case", ["full", "rankdef"])
def test_validation_errors_of_all_alphas_are_those_of_the_samples(linking, case):
    r, w = linking[f"{case}/r"], linking[f"{case}/w"]
    total, held_out = accumulate(r[:350], w[:350]), accumulate(r[350:], w[350:])
    spectrum = linear.decompose(total)
    alphas = np.array([0.0, 1e-3, 1.0, 30.0, 1e4])
    errors = linear.validation_errors(total, held_out, alphas, spectrum)
    solutions = [linear.solve_ridge(total, alpha, spectrum) for alpha in alphas]
    for error, solution in zip(errors, solutions, strict=True):
        expected = ((w[350:] - r[350:] @ solution.kernel - solution.bias) ** 2).mean()
        assert abs(error / expected - 1) < tol.LINK_ERROR
    single = linear.solve_ridge(total, 30.0)
    assert relative(solutions[3].kernel, single.kernel) < tol.LINK_SOLUTION


def test_condition_and_effective_ranks_follow_their_formulas():
    random = np.random.default_rng(0)
    q, _ = np.linalg.qr(random.standard_normal((50, 5)) - 0.0)
    q, _ = np.linalg.qr(q - q.mean(0))  # orthonormal columns of mean 0
    r = q * np.array([4.0, 2.0, 2.0, 1.0, 0.0])
    total = accumulate(r, random.standard_normal((50, 2)))
    spectrum = linear.decompose(total)
    variances = np.array([16.0, 4.0, 4.0, 1.0])
    p = variances / variances.sum()
    assert abs(linear.condition_number(spectrum.eigenvalues, spectrum.live) - 4.0) < 1e-9
    assert abs(linear.participation_ratio(total) - variances.sum() ** 2 / (variances**2).sum()) < 1e-9
    assert abs(linear.effective_rank(spectrum.eigenvalues) - np.exp(-(p * np.log(p)).sum())) < 1e-9


@pytest.mark.parametrize("exponent", [4, 6, 9])
def test_cholesky_and_decomposition_agree_up_to_the_condition_that_the_rule_allows(exponent):
    random = np.random.default_rng(0)
    r = random.standard_normal((300, 20)) * np.logspace(0, -exponent, 20)
    total = accumulate(r, random.standard_normal((300, 2)))
    spectrum = linear.decompose(total)
    quick, slow = linear.solve_ols(total), linear.solve_ols(total, spectrum)
    assert relative(r @ quick.kernel, r @ slow.kernel) < tol.LINK_SOLUTION
    assert bool(np.asarray(spectrum.live).all()) == (exponent < 9)


@pytest.mark.parametrize("alpha", [0.0, 40.0])
def test_a_reduced_rank_is_the_best_of_that_rank_for_the_same_objective(alpha):
    random = np.random.default_rng(0)
    r = random.standard_normal((200, 9)) * np.arange(1, 10)
    w = r @ random.standard_normal((9, 5)) + 8 * random.standard_normal((200, 5))
    total = accumulate(r, w)
    full = linear.solve_ridge(total, alpha)
    reduced = linear.reduce_rank(total, full, alpha, 2)
    assert np.linalg.matrix_rank(reduced.kernel) == 2
    assert relative(linear.reduce_rank(total, full, alpha, 5).kernel, full.kernel) < tol.LINK_SOLUTION
    # With the penalty as rows of its own, it is the truncated SVD of the fitted values.
    dr, dw = r - r.mean(0), w - w.mean(0)
    rows = np.concatenate([dr, np.sqrt(alpha) * np.eye(9)])
    u, s, v = np.linalg.svd(rows @ full.kernel, full_matrices=False)
    assert relative(rows @ reduced.kernel, (u[:, :2] * s[:2]) @ v[:2]) < tol.LINK_SOLUTION

    def objective(kernel):
        return ((dw - dr @ kernel) ** 2).sum() + alpha * (kernel**2).sum()

    for seed in range(5):  # nothing near it of the same rank is better
        left, right = np.linalg.svd(reduced.kernel)[0][:, :2], np.linalg.svd(reduced.kernel)[2][:2]
        nudge = np.random.default_rng(seed).standard_normal((2, 5)) * 0.02
        other = (left.T @ reduced.kernel @ right.T) @ (right + nudge)
        assert objective(left @ other) > objective(reduced.kernel)
