"""The training loop of the demo's networks: killed and resumed, on any number of devices, from its own checkpoints."""

import functools
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from linkjax.devices import parallel
from linkjax.errors import InputError
from linkjax.models.classifier import Classifier, ClassifierSpec
from scripts.demo import fast_resnet, training

TRUTH = np.linspace(-1.0, 1.0, 6, dtype=np.float32)


def _mesh(count: int):
    auto = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((count,), (parallel.ITEM,), axis_types=auto, devices=jax.devices()[:count])


def _train(folder: Path, devices: int = 8, steps: int = 6, stop_after: int | None = None, what: str = "a"):
    """A regression on items drawn from the step's number, stopped after so many steps here as by Ctrl-C."""
    mesh, optimizer = _mesh(devices), optax.scale_by_adam()

    def loss(weights, constants, items):
        truth = jnp.sum(items["x"] * TRUTH[None], axis=1)
        value = jnp.mean(jnp.square(jnp.sum(items["x"] * weights[None], axis=1) + constants - truth))
        return value, value

    spread = training.gradients(loss, mesh)

    @functools.partial(jax.jit, donate_argnums=0)
    def step(state, rate):
        key = jax.random.fold_in(jax.random.key(0), state["step"])
        value, gradient = spread(state["weights"], jnp.float32(0.5), {"x": jax.random.normal(key, (16, 6))})
        with jax.numpy_dtype_promotion("standard"):  # inside optax
            updates, moments = optimizer.update(gradient, state["moments"])
        weights = state["weights"] - rate * updates
        mean = training.average(state["mean"], weights, state["step"], 0.99)
        return {"weights": weights, "mean": mean, "moments": moments, "step": state["step"] + 1}, {"loss": value}

    taken = []

    def stopping(state, rate, progress):
        if len(taken) == stop_after:
            raise KeyboardInterrupt
        taken.append(progress)
        return step(state, rate)

    weights = jnp.zeros(6)
    start = {"weights": weights, "mean": weights + 0, "moments": optimizer.init(weights), "step": jnp.int32(0)}
    schedule = training.Schedule(math.inf, steps, learning_rate=0.1, warm_up=3, save_minutes=0.0)
    state, how = training.run(stopping, parallel.replicate(start, mesh), schedule, folder, {"network": what})
    return jax.tree.map(np.asarray, state), how, len(taken)


def _equal(a, b) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_a_run_killed_and_resumed_gives_the_bits_of_one_that_was_not(tmp_path: Path):
    whole, how, _ = _train(tmp_path / "whole")
    assert how["steps"] == 6 and np.abs(whole["weights"]).max() > 0.1
    for stop in (2, 2):
        with pytest.raises(KeyboardInterrupt):
            _train(tmp_path / "killed", stop_after=stop)
    resumed, _, taken = _train(tmp_path / "killed")
    assert taken == 2, "no step is done twice"
    assert _equal(resumed, whole)


def test_a_checkpoint_of_eight_devices_goes_on_on_two_and_on_one(tmp_path: Path):
    whole, _, _ = _train(tmp_path / "one", devices=1)
    for devices, stop in ((8, 2), (2, 2)):
        with pytest.raises(KeyboardInterrupt):
            _train(tmp_path / "moved", devices=devices, stop_after=stop)
    moved, _, taken = _train(tmp_path / "moved", devices=1)
    assert taken == 2
    for a, b in zip(jax.tree.leaves(moved), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)  # sums over 8 devices' items are rounded in another order


def test_a_finished_run_is_not_trained_again_and_a_longer_one_goes_on_from_it(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, _, _ = _train(Path("run"))  # a relative folder is the same as its absolute one
    again, how, taken = _train(tmp_path / "run")
    assert taken == 0 and _equal(again, first) and how["history"][-1]["step"] == 6
    _, how, taken = _train(tmp_path / "run", steps=8)
    assert taken == 2 and [entry["step"] for entry in how["history"]] == [6, 8]


def test_checkpoints_of_something_else_of_another_version_or_damaged_are_refused_in_a_sentence(
    tmp_path: Path, monkeypatch
):
    _train(tmp_path / "run", steps=2)
    with pytest.raises(InputError, match=r"was trained with \{'network': 'a'\}; repeat those settings, or remove it"):
        _train(tmp_path / "run", what="b")
    with (
        monkeypatch.context() as patch,
        pytest.raises(InputError, match="of this version of the script, found another"),
    ):
        patch.setattr(training, "FORMAT", training.FORMAT + 1)
        _train(tmp_path / "run")
    [log] = (tmp_path / "run" / "2" / "log").glob("*metadata*") if (tmp_path / "run" / "2" / "log").is_dir() else [None]
    assert log is not None and json.loads(log.read_text())["format"] == training.FORMAT
    log.write_text("{")
    with pytest.raises(InputError, match="this checkpoint cannot be read"):
        _train(tmp_path / "run")


def test_gradients_and_batch_statistics_of_eight_devices_are_those_of_one():
    spec = ClassifierSpec("tiny", "resnet", (4,), (1,), expansion=1, num_classes=0)
    network = Classifier(spec, rngs=nnx.Rngs(0)).network
    graph, weights, buffers = nnx.split(network, nnx.Param, ...)
    items = {"x": jax.random.normal(jax.random.key(1), (16, 8, 8, 3)), "y": jnp.linspace(-1.0, 1.0, 16)}

    def loss(weights, buffers, items):
        units, seen = fast_resnet.features(nnx.merge(graph, weights, buffers), items["x"])
        return jnp.mean(jnp.square(jnp.sum(units, axis=1) - items["y"])), seen

    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        one, eight = (jax.jit(training.gradients(loss, _mesh(n)))(weights, buffers, items) for n in (1, 8))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(eight), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5 * max(1.0, float(jnp.abs(a).max())))
