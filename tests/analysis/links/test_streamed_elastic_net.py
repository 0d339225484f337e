import jax
import numpy as np
import pytest

from linkjax.analysis.links import elastic_net, streamed_elastic_net
from linkjax.analysis.links.problem import accumulate
from linkjax.analysis.links.streamed_elastic_net import Steps
from linkjax.devices import parallel

BATCH = 56  # leaves a remainder of 16 pairs out, of which the whole gradient must know


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(0)
    r = random.standard_normal((1024 + 256, 12)).astype(np.float32) @ random.standard_normal((12, 12)) * 0.4
    r = (r + random.standard_normal(r.shape)) * np.logspace(-1, 1, 12) + 5
    r[:, 11] = 2.5  # never varies
    w = r[:, :4] / r[:, :4].std(0) @ random.standard_normal((4, 3)) + random.standard_normal((len(r), 3))
    r, w = r.astype(np.float32), w.astype(np.float32)
    return (r[:1024], w[:1024]), (r[1024:], w[1024:])


def batches(pairs, place=lambda r, w: (r, w)):
    def of(epoch):
        order = np.random.default_rng(epoch).permutation(1024)[: 1024 // BATCH * BATCH].reshape(-1, BATCH)
        return (place(pairs[0][rows], pairs[1][rows]) for rows in order)

    return of


def halves(pairs):
    return ((pairs[0][rows], pairs[1][rows]) for rows in (slice(0, 400), slice(400, 1024)))


@pytest.mark.parametrize(("alpha", "l1_ratio"), [(0.1, 0.5), (0.05, 0.9), (0.02, 0.0)])
def test_the_streamed_elastic_net_is_the_exact_one(data, alpha, l1_ratio):
    train, held = data
    scales = streamed_elastic_net.measure(iter([(train[0][:100], train[1][:100]), (train[0][100:], train[1][100:])]))
    assert scales.count == 1024 and scales.scale_r[11] == 0
    assert np.abs(scales.scale_r - train[0].std(axis=0, dtype=np.float64)).max() < 1e-6 * scales.scale_r.max()
    # Validated on the training pairs with no tolerance: early stopping must not stand in the way of the optimum.
    how = Steps(epochs=60, patience=60, tolerance=0.0)
    found = streamed_elastic_net.solve(
        batches(train), lambda: halves(train), lambda: iter([train]), scales, alpha, l1_ratio, how
    )
    exact = elastic_net.solve_elastic_net(accumulate(*train), alpha, l1_ratio)
    total = accumulate(*train)
    value, least = (elastic_net.objective(total, each, alpha, l1_ratio) for each in (found.solution, exact.solution))
    assert (value - least < 1e-4 * least).all()
    assert np.abs(held[0] @ (found.solution.kernel - exact.solution.kernel)).max() < 0.05


def test_it_stops_when_held_out_pairs_gain_no_more(data):
    train, held = data
    scales = streamed_elastic_net.measure(iter([train]))
    found = streamed_elastic_net.solve(
        batches(train), lambda: halves(train), lambda: iter([held]), scales, 0.01, 0.5, Steps(tolerance=0.01)
    )
    assert len(found.validation) == found.best + 4 < 60
    kept = held[1] - held[0] @ found.solution.kernel - found.solution.bias
    assert np.mean(kept**2) == pytest.approx(found.validation[found.best], rel=1e-4)
    assert found.validation[found.best] < 0.7 * found.validation[0]


def test_what_another_process_measured_decides_when_to_stop(data):
    train, held = data
    scales, said = streamed_elastic_net.measure(iter([train])), []

    def solve(validation, agree):
        return streamed_elastic_net.solve(
            batches(train), lambda: halves(train), lambda: iter([validation]), scales, 0.01, 0.5,
            Steps(epochs=20, patience=1, tolerance=0.02), agree=agree,
        )  # fmt: skip

    def first(value):
        said.append(value)
        return value

    one = solve(held, first)
    told = iter(said)
    other = solve((held[0], 3 * held[1]), lambda value: next(told))
    assert other.validation == one.validation and other.best == one.best
    np.testing.assert_array_equal(other.solution.kernel, one.solution.kernel)
    assert len(one.validation) < 20 and len(said) == len(one.validation) + 1


def test_eight_devices_take_the_steps_of_one(data):
    train, held = data
    scales, on = streamed_elastic_net.measure(iter([train])), parallel.mesh()
    assert on.size == 8

    def split(r, w):
        items = parallel.place({"r": r, "w": w}, on)
        return items["r"], items["w"]

    how = Steps(epochs=3)
    one = streamed_elastic_net.solve(batches(train), lambda: halves(train), lambda: iter([held]), scales, 0.1, 0.5, how)
    eight = streamed_elastic_net.solve(
        batches(train, split), lambda: halves(train), lambda: iter([held]), scales, 0.1, 0.5, how,
        place=lambda tree: parallel.replicate(tree, on),
    )  # fmt: skip
    assert eight.validation == pytest.approx(one.validation, rel=1e-5)
    assert np.abs(eight.solution.kernel - one.solution.kernel).max() < 1e-4 * np.abs(one.solution.kernel).max()
    assert jax.device_count() == 8
