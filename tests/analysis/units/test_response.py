import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linkjax.analysis.units import response
from linkjax.errors import InputError
from tests.tolerances import SWEEP

K, A, V = 3, 4, 5
OUTPUTS = {"r": V, "logits": 2}


def draw(seed, count=60):
    """Items in random order, cells of unequal size, outputs with a level per (unit, anchor)."""
    rng = np.random.default_rng(seed)
    unit, anchor = rng.integers(0, K, count), rng.integers(0, A, count)
    x = rng.normal(size=count)
    true = {name: rng.normal(size=(K, v)) for name, v in OUTPUTS.items()}
    level = {name: 3 * rng.normal(size=(K, A, v)) for name, v in OUTPUTS.items()}
    y = {
        name: true[name][unit] * x[:, None] + level[name][unit, anchor] + 0.3 * rng.normal(size=(count, v))
        for name, v in OUTPUTS.items()
    }
    return unit, anchor, x, y


def sums_of(unit, anchor, x, y, mask=None, size=60):
    """Items added in batches of `size`."""
    sums = response.empty_sums(K, A, OUTPUTS)
    for start in range(0, len(x), size):
        now = slice(start, start + size)
        sums = response.add_items(
            sums,
            jnp.asarray(unit[now], jnp.int32),
            jnp.asarray(anchor[now], jnp.int32),
            jnp.asarray(x[now], jnp.float32),
            {name: jnp.asarray(values[now], jnp.float32) for name, values in y.items()},
            None if mask is None else jnp.asarray(mask[now]),
        )
    return sums


def dummy_regression(unit, anchor, x, y):
    """Slopes by least squares with an indicator column per anchor, and their errors clustered by anchor."""
    slope, error = np.full((K, y.shape[1]), np.nan), np.full((K, y.shape[1]), np.nan)
    for u in range(K):
        mine = unit == u
        ids = np.unique(anchor[mine])
        design = np.concatenate([x[mine, None], anchor[mine, None] == ids], axis=1)
        fit = np.linalg.lstsq(design, y[mine], rcond=None)[0]
        slope[u] = fit[0]
        centred = x[mine] - np.array([x[mine & (anchor == a)].mean() for a in anchor[mine]])
        residual = y[mine] - design @ fit
        scores = np.array([(centred[:, None] * residual)[anchor[mine] == a].sum(axis=0) for a in ids])
        used = [a for a in ids if np.ptp(x[mine & (anchor == a)]) > 0]
        error[u] = np.sqrt(len(used) / (len(used) - 1) * (scores**2).sum(axis=0)) / (centred**2).sum()
    return slope, error


@pytest.mark.parametrize("seed", range(3))
def test_slopes_and_errors_are_those_of_a_regression_with_a_column_per_anchor(seed):
    unit, anchor, x, y = draw(seed)
    got = response.slopes(sums_of(unit, anchor, x, y))
    for name in OUTPUTS:
        slope, error = dummy_regression(unit, anchor, x, y[name])
        np.testing.assert_allclose(got.slope[name], slope, atol=SWEEP)
        np.testing.assert_allclose(got.error[name], error, atol=SWEEP)


@pytest.mark.parametrize("size", [1, 7, 20, 59])
def test_sums_are_the_same_bits_whatever_the_batches(size):
    data = draw(0)
    jax.tree.map(np.testing.assert_array_equal, sums_of(*data, size=size), sums_of(*data))


@given(st.integers(0, 2**31 - 1), st.sampled_from([0, 1, 17, 59]))
@settings(max_examples=10)
def test_padding_adds_exactly_nothing_whatever_it_holds(seed, true_items):
    unit, anchor, x, y = draw(seed)
    mask = np.arange(60) < true_items
    kept = (unit[mask], anchor[mask], x[mask], {name: values[mask] for name, values in y.items()})
    for values in (x, *y.values()):
        values[~mask] = np.nan
    jax.tree.map(np.testing.assert_array_equal, sums_of(unit, anchor, x, y, mask), sums_of(*kept))


def test_sums_of_two_runs_add_up():
    unit, anchor, x, y = draw(0)
    halves = [
        sums_of(unit[now], anchor[now], x[now], {name: values[now] for name, values in y.items()})
        for now in (slice(0, 31), slice(31, 60))
    ]
    merged = response.slopes(response.merge(*halves))
    whole = response.slopes(sums_of(unit, anchor, x, y))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=SWEEP), merged, whole)


def test_a_constant_per_anchor_changes_no_slope():
    unit, anchor, x, y = draw(1)
    moved = {name: values + 10.0 * anchor[:, None] for name, values in y.items()}
    got, expected = (response.slopes(sums_of(unit, anchor, x, values)) for values in (moved, y))
    np.testing.assert_allclose(got.slope["r"], expected.slope["r"], atol=10 * SWEEP)


def test_slopes_are_missing_where_nothing_was_asked_twice():
    unit, anchor = np.array([0, 0, 1, 1, 2]), np.array([0, 0, 0, 1, 0])
    y = {name: np.ones((5, v)) for name, v in OUTPUTS.items()}
    got = response.slopes(sums_of(unit, anchor, np.array([0.3, 0.3, 1.0, 2.0, 1.0]), y))
    # unit 0: one value twice; unit 1: two values of different anchors; unit 2: one item
    assert np.isnan(got.slope["r"]).all()
    assert [row.max() for row in got.anchors.values()] == [0] * len(got.anchors)
    one = response.slopes(sums_of(np.array([0, 0]), np.array([2, 2]), np.array([0.0, 1.0]), {n: y[n][:2] for n in y}))
    np.testing.assert_array_equal(one.slope["r"][0], np.zeros(V))
    assert np.isnan(one.error["r"]).all()


def test_response_is_in_standard_deviations():
    slope = jnp.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    std = jnp.asarray([2.0, 0.0, 4.0])
    got = response.response_matrix(slope, jnp.asarray([2, 0]), std, std)
    np.testing.assert_array_equal(got, [[2.0, np.nan, 3.0], [4.0, np.nan, 3.0]])
    np.testing.assert_array_equal(
        response.response_matrix(slope, jnp.asarray([2, 0]), std), slope * jnp.asarray([[4.0], [2.0]])
    )


def test_side_effects_are_the_largest_others_by_magnitude():
    matrix = jnp.asarray([[9.0, -5.0, 1.0, np.nan], [0.5, 8.0, np.nan, np.nan]])
    got = response.largest_side_effects(matrix, jnp.asarray([0, 1]), 2)
    assert got.unit.tolist() == [[1, 2], [0, -1]]
    np.testing.assert_array_equal(got.response, [[-5.0, 1.0], [0.5, np.nan]])


def test_wrong_input_is_refused_in_a_sentence():
    unit, anchor, x, y = draw(0)
    with pytest.raises(InputError, match="these sums were made for"):
        sums_of(unit, anchor, x, {"r": y["r"]})
    with pytest.raises(InputError, match="side effects"):
        response.largest_side_effects(jnp.ones((2, 3)), jnp.asarray([0, 1]), 4)
