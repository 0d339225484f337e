"""The planted truth is as told."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.demo import factors
from scripts.demo import planted


@pytest.mark.parametrize("world", ["embedded", "a", "b"])
def test_planted_targets_are_never_negative_and_noise_follows_no_factor(world):
    truth = factors.factors_of(*factors.sample(jax.random.key(4), 20000))
    aims = np.asarray(planted.targets(truth, world))
    assert aims.min() >= 0, "the units of a ResNet are means of rectified maps"
    noise = np.asarray([unit.kind == "noise" for unit in planted.units(world)])
    assert noise.sum() >= 10 and (~noise).sum() >= 20
    columns = np.concatenate([aims, np.asarray(truth)], axis=1)
    correlation = np.abs(np.corrcoef(columns.T)[: planted.UNITS, planted.UNITS :])
    assert correlation[noise].max() < 0.1
    single = np.asarray([unit.kind == "single" for unit in planted.units(world)])
    assert correlation[single].max(axis=1).min() > 0.999


def test_a_single_units_truth_is_learned_and_linear_when_it_takes_its_target():
    truth = np.asarray(factors.factors_of(*factors.sample(jax.random.key(4), 2000)))
    rows = planted.truth(np.asarray(planted.targets(jnp.asarray(truth))), truth)
    assert all(row["learned"] == 1 for row in rows)
    assert all(row["linear"] > 0.999 for row in rows if row["kind"] != "noise")
    assert max(row["linear"] for row in rows if row["kind"] == "noise") < 0.1


def test_other_worlds_have_as_many_units_of_each_kind_other_factors_and_every_factor_carried():
    embedded = planted.units()
    for world in planted.OTHERS:
        table = planted.units(world)
        assert [unit.kind for unit in table] == [unit.kind for unit in embedded]
        assert {name for unit in table if unit.kind != "noise" for name in unit.factors} == set(factors.FACTORS)
        assert sum(a == b for a, b in zip(table, embedded, strict=True)) <= 2
        assert table == planted.units(world)
