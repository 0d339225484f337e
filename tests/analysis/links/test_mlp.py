import numpy as np
import pytest

from linkjax.analysis.links import mlp
from linkjax.analysis.links.fit import fit_link
from linkjax.analysis.links.problem import ArrayPairs, Training, accumulate
from linkjax.models.link import MLPLink

TRAINING = Training(hidden=(64,), epochs=60, batch=128, learning_rate=3e-3)
SHORT = Training(hidden=(16,), epochs=3, batch=200)


def quadratic(n=1500, seed=0):
    """w = products of r and a linear part: half of it no linear link can say."""
    r = np.random.default_rng(seed).standard_normal((n, 6)).astype(np.float32) * 3 + 10
    x = (r - 10) / 3
    return r, np.stack([x[:, 0] ** 2 + x[:, 1], x[:, 2] * x[:, 3] + x[:, 4]], axis=1) * 5 - 2


def r2(link, r, w):
    return 1 - ((np.asarray(link(r)) - w) ** 2).sum() / ((w - w.mean(0)) ** 2).sum()


@pytest.fixture(scope="module")
def data():
    r, w = quadratic()
    return (r[:1200], w[:1200]), (r[1200:], w[1200:])


def test_an_mlp_link_learns_what_a_linear_link_cannot(data):
    train, test = data
    link, linear = fit_link(*train, "mlp", training=TRAINING), fit_link(*train)
    assert isinstance(link, MLPLink)
    assert r2(linear, *test) < 0.65
    assert r2(link, *test) > 0.9


def test_the_same_seed_gives_the_same_link_and_training_never_ends_above_the_linear_start(data):
    train, held = data
    sums = accumulate(*train), accumulate(*held)
    (a, history), (b, _) = (mlp.train(ArrayPairs(train, held), SHORT, seed=4) for _ in range(2))
    assert (np.asarray(a(train[0])) == np.asarray(b(train[0]))).all()
    start = mlp.start(*sums, SHORT, 4)
    held_error = ((np.asarray(start(held[0])) - held[1]) ** 2).mean()
    assert abs(history.validation[0] / held_error - 1) < 1e-4
    assert history.validation[history.best] == min(history.validation)
    kept_error = ((np.asarray(a(held[0])) - held[1]) ** 2).mean()
    assert abs(history.validation[history.best] / kept_error - 1) < 1e-4


def test_noise_keeps_the_linear_start_and_stops_early():
    random = np.random.default_rng(0)
    train = random.standard_normal((64, 5)), random.standard_normal((64, 2))
    held = random.standard_normal((400, 5)), random.standard_normal((400, 2))
    training = Training(hidden=(32,), epochs=40, batch=16, patience=4, learning_rate=0.02)
    _, history = mlp.train(ArrayPairs(train, held), training)
    assert len(history.train) == history.best + 4 < 40
    assert history.validation[-1] > history.validation[history.best]


def test_what_another_process_measured_decides_when_to_stop_and_what_is_kept():
    random = np.random.default_rng(0)
    train = random.standard_normal((64, 5)), random.standard_normal((64, 2))
    sums, said = accumulate(*train), []

    def fit(held, agree):
        training = Training(hidden=(8,), epochs=12, batch=16, patience=3, learning_rate=0.02)
        batches = lambda epoch: ((train[0][rows], train[1][rows]) for rows in np.arange(64).reshape(4, 16))  # noqa: E731
        return mlp.fit_mlp_stream(batches, lambda: iter([held]), sums, sums, training, 4, agree=agree)

    def first(value):
        said.append(value)
        return value

    held = random.standard_normal((400, 5)), random.standard_normal((400, 2))
    link, history = fit(held, first)
    assert len(history.train) < 12 and len(fit(train, lambda value: value)[1].train) == 12
    told = iter(said)
    again, other = fit(train, lambda value: next(told))  # on its own it would not have stopped
    assert other == history and (np.asarray(again(train[0])) == np.asarray(link(train[0]))).all()


def test_streamed_batches_train_as_arrays_in_memory_do(data):
    train, held = data
    sums = accumulate(*train), accumulate(*held)

    def batches(epoch):
        order = np.random.default_rng(epoch).permutation(1200).reshape(6, 200)
        return ((train[0][rows], train[1][rows]) for rows in order)

    _, history = mlp.fit_mlp_stream(batches, lambda: iter([held]), *sums, SHORT, steps=6)
    _, memory = mlp.train(ArrayPairs(train, held), SHORT)
    assert history.validation[0] == pytest.approx(memory.validation[0], rel=1e-6)
    assert history.validation[-1] == pytest.approx(memory.validation[-1], rel=0.1)  # another order of samples


def test_units_that_never_vary_do_not_upset_new_data(data):
    (r, w), _ = data
    dead = np.concatenate([r, np.full((len(r), 1), 0.1, np.float32)], axis=1)
    sums = accumulate(dead, w)
    link = mlp.start(sums, sums, SHORT, 0)
    moved = dead.copy()
    moved[:, -1] = 0.2
    assert np.abs(np.asarray(link(moved)) - np.asarray(link(dead))).max() < 0.5 * w.std()
