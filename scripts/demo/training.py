"""The one training loop of the demo's networks: over all devices, saved as it goes, and resumed where it stopped."""

import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from linkjax.devices import parallel
from linkjax.errors import InputError

Array = jax.Array
#: step(state, learning rate, progress from 0 to 1) → state, numbers to report. `state["step"]` counts the steps done,
#: and whatever is random comes from it, so that a step does not depend on what was run before it in this process.
Step = Callable[[dict, Array, float], tuple[dict, dict[str, Array]]]
FORMAT = 1  # of the checkpoints; raised when the layout of `run`'s log or of a state changes


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long to train, how fast to learn, how often to save and to tell."""

    minutes: (
        float  # of wall-clock time, resumed ones included; infinite: `steps` alone decide, and the result with them
    )
    steps: int  # or so many steps, if that comes first
    learning_rate: float  # after warming up; falls to 0 by a cosine over the minutes or steps
    warm_up: int = 50  # steps
    save_minutes: float = 3.0
    log_seconds: float = 60.0

    def rate(self, step: int, progress: float) -> float:
        """The learning rate of a step."""
        return self.learning_rate * min((step + 1) / self.warm_up, 1.0) * 0.5 * (1 + math.cos(math.pi * progress))


def run(
    step: Step,
    state: dict[str, Any],
    schedule: Schedule,
    folder: Path,
    what: dict[str, Any],
    report: Callable[[dict, dict[str, float], float], dict[str, float]] | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Train to the end of the schedule, from the checkpoint in `folder` if there is one.

    A run that was killed and resumed gives the bits of one that was not, on the same devices, if the schedule counts
    steps; where minutes end it, when it was killed decides how many steps there are. A checkpoint may be resumed on
    another number of devices.

    Args:
      step: see `Step`; may donate the state.
      state: arrays to start from, on the devices, with "step", an int32 scalar.
      schedule: how long and how fast.
      folder: holds the checkpoints; made if missing.
      what: plain settings that name what is trained. A checkpoint of other settings is refused.
      report: (state, means of the step's numbers since the last report, progress) → what to note.
    Returns: the trained state, and how it went.
    Raises: InputError if the checkpoint is of something else, damaged, or of another version of this script.
    """
    what = json.loads(json.dumps(what))
    options = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    with ocp.CheckpointManager(folder.absolute(), options=options) as manager:
        saved_step, spent, history = manager.latest_step(), 0.0, []
        if saved_step is not None:
            state, spent, history = _restored(manager, saved_step, state, what)
        count, numbers = int(state["step"]), []
        start = time.monotonic() - spent
        logged = saved = time.monotonic()
        while True:
            now = time.monotonic()
            progress = min(max((now - start) / (60 * schedule.minutes), count / schedule.steps), 1.0)
            done = progress >= 1
            if numbers and (done or now - logged > schedule.log_seconds):
                means = {name: float(np.mean([each[name] for each in numbers])) for name in numbers[0]}
                found = means if report is None else report(state, means, progress)
                entry = {"minutes": (now - start) / 60, **found}
                history.append({"step": count, **{name: round(float(value), 5) for name, value in entry.items()}})
                print(folder.name, json.dumps(history[-1]), flush=True)
                logged, numbers = time.monotonic(), []
            if count != saved_step and (done or now - saved >= 60 * schedule.save_minutes):
                log = {"format": FORMAT, "what": what, "spent": time.monotonic() - start, "history": history}
                arrays = ocp.args.StandardSave(_plain(state))
                manager.save(count, args=ocp.args.Composite(state=arrays, log=ocp.args.JsonSave(log)))
                saved, saved_step = time.monotonic(), count
            if done:
                break
            state, said = step(state, jnp.asarray(schedule.rate(count, progress), jnp.float32), progress)
            numbers.append(jax.device_get(said))  # waits for the step
            count += 1
    minutes = (time.monotonic() - start) / 60
    return state, {"steps": count, "minutes": minutes, "devices": jax.device_count(), "history": history}


def gradients(loss: Callable[[Any, Any, Any], tuple[Array, Any]], mesh: Mesh) -> Callable[[Any, Any, Any], Any]:
    """(trained, constants, items) → log, gradient: those of the mean loss over all devices' items.

    Args:
      loss: (trained, constants, a device's own items) → loss, log, both means over the items; statistics over the
        whole batch need a `jax.lax.pmean` over `parallel.ITEM`.
      mesh: its size must divide the number of items.
    """

    def own(trained: Any, constants: Any, items: Any) -> Any:
        (_, log), gradient = jax.value_and_grad(loss, has_aux=True)(trained, constants, items)
        return jax.lax.pmean((log, gradient), parallel.ITEM)

    specs = (P(), P(), P(parallel.ITEM))
    return jax.shard_map(own, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=False)


def average(mean: Any, trained: Any, step: Array, most: float) -> Any:
    """Exponential moving average of weights, which forgets the first steps faster."""
    count = step.astype(jnp.float32)
    decay = jnp.minimum(most, (1.0 + count) / (10.0 + count))
    return jax.tree.map(lambda a, b: a * decay + b * (1.0 - decay), mean, trained)


def _restored(manager: ocp.CheckpointManager, step: int, like: dict, what: dict) -> tuple[dict, float, list]:
    place = manager.directory / str(step)
    try:
        log: Any = manager.restore(step, args=ocp.args.Composite(log=ocp.args.JsonRestore())).log
    except Exception as error:  # Orbax raises many kinds; they all mean this
        raise InputError(f"{place}: this checkpoint cannot be read ({_line(error)}); remove it") from None
    if not isinstance(log, dict) or log.get("format") != FORMAT:
        raise InputError(f"{place}: expected a checkpoint of this version of the script, found another; remove it")
    if log["what"] != what:
        there = {name: value for name, value in log["what"].items() if what.get(name) != value}
        raise InputError(f"{place}: this checkpoint was trained with {there}; repeat those settings, or remove it")
    try:
        arrays = manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(_plain(like)))).state
    except Exception as error:
        raise InputError(f"{place}: this checkpoint cannot be read ({_line(error)}); remove it") from None
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    state = jax.tree.unflatten(structure, [arrays[jax.tree_util.keystr(path)] for path, _ in paths])
    return state, log["spent"], log["history"]


def _plain(state: dict) -> dict[str, Any]:
    """A flat dictionary of arrays: what a checkpoint holds must not depend on Flax's classes."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)}


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
