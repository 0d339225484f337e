"""The planted truth is as told."""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from linkjax.demo import factors


def _script(name: str):
    """A file of scripts/demo as a module, without putting that folder on the path of every other test."""
    path = Path(__file__).parents[2] / "scripts" / "demo" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"demo_script_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_planted_targets_are_never_negative_and_noise_follows_no_factor():
    planted = _script("planted")
    truth = factors.factors_of(*factors.sample(jax.random.key(4), 20000))
    aims = np.asarray(planted.targets(truth))
    assert aims.min() >= 0, "the units of a ResNet are means of rectified maps"
    noise = np.asarray([unit.kind == "noise" for unit in planted.units()])
    assert noise.sum() >= 10 and (~noise).sum() >= 20
    columns = np.concatenate([aims, np.asarray(truth)], axis=1)
    correlation = np.abs(np.corrcoef(columns.T)[: planted.UNITS, planted.UNITS :])
    assert correlation[noise].max() < 0.1
    single = np.asarray([unit.kind == "single" for unit in planted.units()])
    assert correlation[single].max(axis=1).min() > 0.999


def test_a_single_units_truth_is_learned_and_linear_when_it_takes_its_target():
    planted = _script("planted")
    truth = np.asarray(factors.factors_of(*factors.sample(jax.random.key(4), 2000)))
    rows = planted.truth(np.asarray(planted.targets(jnp.asarray(truth))), truth)
    assert all(row["learned"] == 1 for row in rows)
    assert all(row["linear"] > 0.999 for row in rows if row["kind"] != "noise")
    assert max(row["linear"] for row in rows if row["kind"] == "noise") < 0.1
