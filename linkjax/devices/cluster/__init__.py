"""Several processes that run one job together: their number, agreement among them, and what happens when one is lost.

Every process runs the same stage in lockstep: the same calls, in the same order, on the same inputs. Process 0 does
what only one may do (locks, notes, manifests) and tells the others how it went. A job of one process does none of this.
"""

import dataclasses
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from linkjax.devices.cluster import lost
from linkjax.devices.cluster.joining import Job
from linkjax.errors import InputError, LinkjaxError

_LONG = 7 * 24 * 3600 * 1000  # ms; the runtime's heartbeats tell earlier that a process is lost
_HEARTBEAT = 25  # seconds without a sign of life until a process counts as lost
_SHUTDOWN_GRACE = 5  # seconds a failing process gives the others to say that they failed too
_LOST_TIMEOUT = 3 * _HEARTBEAT  # seconds in which the runtime surely finds out which process is lost


@dataclasses.dataclass
class _State:
    processes: int
    process: int
    client: Any
    steps: Iterator[int]  # every meeting of the processes has a number of its own
    alone: bool = False  # in work that process 0 does while the others wait: nobody to meet


_state: _State | None = None


def count() -> int:
    """Processes of this job; 1 unless `join` was called."""
    return 1 if _state is None else _state.processes


def index() -> int:
    """Which of them this is, from 0."""
    return 0 if _state is None else _state.process


def first() -> bool:
    """Whether this is process 0, which writes and prints what only one may."""
    return index() == 0


def process_prefix() -> str:
    """ "process 1 of 2: ", the prefix of an error message; empty for a lone process."""
    return "" if count() == 1 else f"process {index()} of {count()}: "


def join(job: Job) -> None:
    """Become one process of a job; must come before any device is used.

    From here on only process 0 prints to standard output, and what the runtime itself has to say goes into a file.

    Raises: LinkjaxError if the others cannot be found.
    """
    global _state
    import jax
    from jax._src import distributed  # its client is in no public place; Orbax takes it from here too

    lost.watch()
    try:
        jax.distributed.initialize(
            coordinator_address=job.coordinator,
            num_processes=job.processes,
            process_id=job.process,
            local_device_ids=list(job.local_devices),
            cluster_detection_method=job.cluster if job.coordinator is None else "deactivate",
            heartbeat_timeout_seconds=_HEARTBEAT,
        )
    except Exception as error:  # RuntimeError, ValueError, OSError, and gRPC's own
        lost.unwatch()
        raise LinkjaxError(
            f"process {job.process} of {job.processes} could not join the others "
            f"{f'at {job.coordinator} ' if job.coordinator else ''}({lost.first_line(error)}); all have to start "
            "within five minutes, with the same coordinator, whose port has to be free and reachable"
        ) from None
    _state = _State(jax.process_count(), jax.process_index(), distributed.global_state.client, itertools.count())
    lost.name(index(), count())
    if not first():
        sys.stdout = open(os.open(os.devnull, os.O_WRONLY), "w", closefd=False)  # noqa: SIM115 - to the very end


def barrier() -> None:
    """Wait until every process is here; what any of them wrote before can be read by all after."""
    if _state is not None and not _state.alone:
        _state.client.wait_at_barrier(f"linkjax/{next(_state.steps)}", _LONG)


def on_first(work: Callable[[], Any]) -> Any:
    """Process 0 does `work`; every process gets the result (what JSON can hold), or raises its error.

    Raises: what `work` raises; on the other processes a LinkjaxError of the same exit code.
    """
    if _state is None or _state.alone:
        return work()
    name = f"linkjax/{next(_state.steps)}"
    if not first():
        return _result_or_error(json.loads(_state.client.blocking_key_value_get(name, _LONG)))
    _state.alone = True
    try:
        result = work()
    except BaseException as error:
        answer = {"error": str(error), "input": isinstance(error, InputError)}
        _state.client.key_value_set(name, json.dumps(answer))
        raise
    finally:
        _state.alone = False
    _state.client.key_value_set(name, json.dumps({"result": result}))
    return result


def alone() -> bool:
    """Whether this is inside `on_first` of several processes: the others wait, and may not be as far as this one."""
    return _state is not None and _state.alone


def agreed(value: Any) -> Any:
    """Process 0's value, for what depends on time, free memory or rounding and must be the same everywhere."""
    return on_first(lambda: value)


def gathered(value: Any) -> list[Any]:
    """Every process's value (what JSON can hold), in the order of the processes; all get all."""
    if _state is None or _state.alone:
        return [value]
    name = f"linkjax/{next(_state.steps)}"
    _state.client.key_value_set(f"{name}/{index()}", json.dumps(value))
    return [json.loads(_state.client.blocking_key_value_get(f"{name}/{each}", _LONG)) for each in range(count())]


def _result_or_error(answer: dict[str, Any]) -> Any:
    if "error" not in answer:
        return answer["result"]
    error = (InputError if answer["input"] else LinkjaxError)(answer["error"])
    error.already_reported = True
    raise error


def leave(code: int) -> int:
    """End this process's part of the job; returns the exit code.

    One that failed leaves the others soon, unless they failed too: `jax.distributed.shutdown` would wait for them for
    minutes.
    """
    global _state
    if _state is None:
        return code
    sys.stdout.flush()
    sys.stderr.flush()
    import jax

    if code:
        try:
            _state.client.wait_at_barrier("linkjax/failed", _SHUTDOWN_GRACE * 1000)
        except Exception:  # the others work on; they learn of it by the missing heartbeat
            lost.unwatch()
            os._exit(code)
    else:
        barrier()
    _state = None
    jax.distributed.shutdown()
    lost.unwatch()
    return code


def wait_for_lost_process(error: BaseException) -> None:
    """After a network error, wait for the runtime to find out which process is lost; it then ends this one.

    Returns at once if the error is none of the network's.
    """
    if _state is not None and lost.is_network_error(error):
        time.sleep(_LOST_TIMEOUT)
