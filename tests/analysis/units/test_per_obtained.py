"""Effects per change obtained: against NumPy, and on a made-up truth that the effects per change asked miss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import linkjax
from linkjax.analysis.units import per_obtained, query, selection, selectivity
from linkjax.errors import InputError

LABELS = np.arange(16) % 4


def _found(share, seed=0, noise=0.02, labels=LABELS):
    """Units that obtain `share` of what is asked; every metric changes by 3 per activation obtained, one not at all."""
    rng = np.random.default_rng(seed)
    share = np.asarray(share)[None, :, None] + noise * rng.normal(size=(len(labels), len(share), 1))
    asked = np.sort(rng.normal(size=(len(labels), share.shape[1], 5)), axis=2) * rng.gamma(4, 0.25, share.shape)
    obtained = rng.normal(size=share.shape) + share * asked
    metric = np.stack([3.0 * obtained + 0.01 * rng.normal(size=asked.shape), rng.normal(size=asked.shape)], axis=-1)
    asked, obtained, metric = (jnp.asarray(x, jnp.float32) for x in (asked, obtained, metric))
    std = jnp.full(share.shape[1], 2.0)
    slopes = selectivity.anchor_slopes(asked, metric, std)
    own = selectivity.anchor_slopes(asked, obtained, jnp.ones_like(std))
    spread = selectivity.deviations(asked)[1]
    counts = selectivity.draw_resamples(labels, jax.random.key(0), 400, 1).counts
    return (jnp.moveaxis(slopes, 1, 0), own.T, spread.T, counts), (asked, obtained, metric)


def test_the_effect_per_change_obtained_is_the_truth_however_little_is_obtained():
    items, _ = _found([0.2, 0.7, 1.5])
    found = per_obtained.measure(*items)
    np.testing.assert_allclose(found.per_obtained[:, 0], 6.0, rtol=0.02)  # 3 an activation, σ = 2
    per_asked = np.asarray(items[0]).mean(axis=1)[:, 0]
    np.testing.assert_allclose(per_asked, [1.2, 4.2, 9.0], rtol=0.1)
    low, high = found.per_obtained_low, found.per_obtained_high
    assert ((low <= found.per_obtained) & (found.per_obtained <= high)).all() and (low[:, 1] < 0).all()
    assert (found.first_stage > per_obtained.WEAK).all()


def test_the_ratio_is_two_stage_least_squares_with_a_level_for_every_anchor():
    items, (asked, obtained, metric) = _found([0.5], noise=0.3)
    found = per_obtained.measure(*items)
    within = [np.asarray(x[:, 0], np.float64) for x in (asked, obtained, metric[..., 0])]
    x, o, y = (each - each.mean(axis=1, keepdims=True) for each in within)
    fitted = x * (x * o).sum() / (x * x).sum()
    expected = 2.0 * (fitted * y).sum() / (fitted * fitted).sum()
    np.testing.assert_allclose(found.per_obtained[0, 0], expected, rtol=1e-4)
    f = (x * o).sum() / (x * x).sum()
    residual = ((x * o).sum(axis=1) - f * (x * x).sum(axis=1)) ** 2
    np.testing.assert_allclose(found.first_stage[0], f**2 / (16 / 15 * residual.sum() / (x * x).sum() ** 2), rtol=1e-3)


def test_a_weak_first_stage_is_told_and_its_interval_has_no_end():
    items, _ = _found([0.0, 0.9], noise=0.5)
    found = per_obtained.measure(*items)
    assert found.first_stage[0] < per_obtained.WEAK < found.first_stage[1]
    assert np.isneginf(found.per_obtained_low[0]).all() and np.isposinf(found.per_obtained_high[0]).all()
    assert np.isfinite(found.per_obtained_low[1]).all()


def test_anchors_without_the_part_or_without_a_range_take_no_part():
    (slopes, own, spread, counts), _ = _found([0.5])
    whole = per_obtained.measure(slopes[:, 3:], own[:, 3:], spread[:, 3:], counts[:, 3:])
    absent = slopes.at[:, :3, 0].set(jnp.nan)
    found = per_obtained.measure(absent, own, spread, counts)
    np.testing.assert_allclose(found.per_obtained[:, 0], whole.per_obtained[:, 0], rtol=1e-6)
    still = per_obtained.measure(
        slopes.at[:, :3].set(jnp.nan), own.at[:, :3].set(jnp.nan), spread.at[:, :3].set(0), counts
    )
    np.testing.assert_allclose(still.per_obtained, whole.per_obtained, rtol=1e-6)
    np.testing.assert_allclose(still.first_stage, whole.first_stage, rtol=1e-4)
    alone = per_obtained.measure(slopes[:, :1], own[:, :1], spread[:, :1], counts[:, :1])
    assert np.isnan(alone.per_obtained).all() and np.isnan(alone.first_stage).all()


def test_a_query_asks_for_effects_per_change_obtained_of_units_that_move():
    (slopes, own, spread, _), _ = _found([0.2, 0.0, 1.5], noise=0.05)
    names = {"part": ["ear"], "metric": ["area", "x"]}
    by_sample = xr.DataArray(np.moveaxis(slopes[:, :, None], 0, 1), dims=("sample", *selection.DIMS), coords=names)
    table = selection.measure_effects(by_sample, LABELS, first_stage=(own.T, spread.T), draws=100, flips=500)
    assert set(linkjax.select(table, "ear.area > 5", fdr=0.1)["unit"].values) == {2}  # per change asked
    found = linkjax.select(table, "ear.area.per_obtained > 5 and first_stage > 10", fdr=0.1)
    assert set(found["unit"].values) == {0, 2}
    assert set(linkjax.select(table, "abs(ear.area.per_obtained) < 5.5", fdr=0.1)["unit"].values) == set()
    np.testing.assert_allclose(found["per_obtained"], 6.0, rtol=0.05)
    asked = query.parse("not ear.x.per_obtained", ["ear"], ["area", "x"], ())
    assert asked.effects == ((0, 1),) and asked.obtained
    for text in ("ear.area.other > 1", "fidelity.per_obtained > 1", "ear.area.per_obtained.per_obtained > 1"):
        with pytest.raises(InputError, match="query"):
            query.parse(text, ["ear"], ["area", "x"], ("fidelity",))
    with pytest.raises(InputError, match="make it again with linkjax select"):
        linkjax.select(table.drop_vars(["per_obtained", "first_stage"]), "ear.area.per_obtained > 5")
