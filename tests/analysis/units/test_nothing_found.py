import numpy as np
import pytest
import xarray as xr

from linkjax.analysis.units import nothing_found, selection

FDR, FLIPS = 0.05, 10000


def table(slopes: np.ndarray, **columns) -> xr.Dataset:
    """Slopes [anchors, units] of one metric of one part, tested by signs unless `random` is given too."""
    names = {"part": ["ear"], "metric": ["area"]}
    made = xr.DataArray(slopes[:, :, None, None], dims=("sample", *selection.DIMS), coords=names)
    return selection.measure_effects(made, np.arange(len(slopes)) % 2, draws=50, flips=FLIPS, **columns)


def explained(found: xr.Dataset, query: str | None) -> nothing_found.NothingFound:
    assert selection.select(found, query, FDR).sizes["row"] == 0
    return nothing_found.explain(found, query, FDR, ("sign",), FLIPS)


def test_too_few_anchors_are_named_with_how_many_would_be_enough():
    """Six anchors that all agree: their signs agree by chance once in 32 times, which 40 units do."""
    rng = np.random.default_rng(0)
    few = rng.normal(0, 1, (6, 40))
    few[:, 7] = rng.uniform(2, 3, 6)
    why = explained(table(few), "ear.area > 1.5")
    assert why.fitting == 1 and why.failing == {"sign": 0} and why.units == 40
    assert why.nearest is not None and (why.nearest.unit, why.nearest.test, why.nearest.anchors) == (7, "sign", 6)
    assert f"{why.nearest.enough} anchors would be enough" in why.describe()
    assert why.nearest.enough is not None
    more = rng.normal(0, 1, (why.nearest.enough, 40))
    more[:, 7] = rng.uniform(2, 3, len(more))
    assert selection.select(table(more), "ear.area > 1.5", FDR)["unit"].values.tolist() == [7]


def test_an_effect_that_no_unit_has_is_said_to_be_there_in_none():
    why = explained(table(np.random.default_rng(1).normal(0, 1, (6, 5))), "ear.area > 100")
    assert (why.fitting, why.nearest) == (0, None)
    assert why.describe() == "none of 5 units would fit if every effect were significant"


def test_columns_that_do_not_fit_count_as_not_fitting():
    slopes = np.random.default_rng(2).normal(0.5, 1, (6, 5))
    found = table(slopes, fidelity=np.array([0.1, 0.9, 0.2, 0.3, 0.4]))
    why = explained(found, "ear.area > -10 and fidelity > 0.5")
    assert why.fitting == 1 and why.nearest is not None and why.nearest.unit == 1


@pytest.mark.parametrize("size, more_help", [(0.5, True), (0.05, False)])
def test_where_random_directions_do_as_much_more_anchors_do_not_help(size, more_help):
    rng = np.random.default_rng(3)
    slopes = rng.normal(size, 0.01, (20, 3))
    found = table(slopes, random={"w": (np.ones(3), rng.normal(0, 0.1, (32, 1, 1)))})
    assert bool(selection.select(found, None, FDR).sizes["row"]) == more_help
    if not more_help:
        why = nothing_found.explain(found, None, FDR, ("sign", "w"), FLIPS)
        assert why.nearest is not None and (why.nearest.test, why.nearest.enough) == ("w", None)
        assert "more anchors would not" in why.describe()
