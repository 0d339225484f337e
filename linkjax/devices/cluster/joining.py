"""Which processes belong to a job: from flags, from `LINKJAX_…`, or from what Slurm, Open MPI and GKE tell."""

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence

from linkjax.errors import InputError

FLAGS = ("coordinator", "processes", "process")
AUTO = "auto"  # of --processes: JAX is to find out, as on the hosts of a TPU pod slice


@dataclasses.dataclass(frozen=True)
class Job:
    """One process among others; what is None is left to JAX to find out."""

    coordinator: str | None  # HOST:PORT where process 0 listens
    processes: int | None
    process: int | None
    local_devices: tuple[int, ...] = ()  # of this host, those that are this process's own; () for all it sees
    cluster: str | None = None  # JAX's name for the cluster that tells what is not given


def take_flags(arguments: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The flags of the job, which every stage has, and the arguments without them.

    Raises: InputError if a flag has no value.
    """
    given: dict[str, str] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--") or name not in FLAGS:
            rest.append(word)
            continue
        value = value if equals else next(words, "")
        if not value or value.startswith("--"):
            raise InputError(f"--{name}: expected a value after it, found {value or 'nothing'}")
        given[name] = value
    return given, rest


def find(given: Mapping[str, str], environment: Mapping[str, str] | None = None) -> Job | None:
    """The job this process belongs to, or None if it is alone.

    What the flags leave open is taken from LINKJAX_COORDINATOR, LINKJAX_PROCESSES and LINKJAX_PROCESS, then from the
    cluster. One process is never a job, whatever surrounds it.

    Raises: InputError if these do not fit together.
    """
    environment = os.environ if environment is None else environment
    named = {name: f"LINKJAX_{name.upper()}" for name in FLAGS}
    told = {name: environment[variable] for name, variable in named.items() if environment.get(variable)} | {**given}
    if told.get("processes") == "1" and told.get("process", "0") == "0":
        return None
    if told.get("processes") == AUTO:
        return Job(told.get("coordinator"), None, None)
    found = _slurm(environment) or _open_mpi(environment) or _gke(environment)
    coordinator = told.get("coordinator")
    if coordinator is not None and not re.fullmatch(r".+:\d{1,5}", coordinator):
        raise InputError(f"--coordinator: expected HOST:PORT, found '{coordinator}'")
    if "processes" not in told and "process" not in told:
        return _of_the_cluster(found, coordinator, environment)
    missing = [f"--{name}" for name in FLAGS if name not in told]
    if missing:
        raise InputError(
            f"several processes: expected {' and '.join(missing)} beside --{' and --'.join(told)}; give every process "
            "the address of process 0 and a free port there, how many there are, and which one it is"
        )
    processes, process = (_number(name, told[name]) for name in ("processes", "process"))
    if not 0 <= process < processes:
        raise InputError(
            f"several processes: expected --process from 0 to {processes - 1} with --processes {processes}, "
            f"found {process}"
        )
    return Job(coordinator, processes, process, () if found is None else found.local_devices)


def _of_the_cluster(found: Job | None, coordinator: str | None, environment: Mapping[str, str]) -> Job | None:
    if found is None:
        if coordinator is None:
            return None
        raise InputError(
            "several processes: expected --processes and --process beside --coordinator; no cluster tells them here"
        )
    if coordinator is None and found.cluster == "ompi" and "OMPI_MCA_orte_hnp_uri" not in environment:
        raise InputError(
            "several processes: this Open MPI does not tell where process 0 runs; add --coordinator HOST:PORT with the "
            "host that process 0 is on and a free port there"
        )
    return dataclasses.replace(found, coordinator=coordinator)


def _number(name: str, text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"--{name}: expected a whole number, found '{text}'")
    return int(text)


def _slurm(environment: Mapping[str, str]) -> Job | None:
    """A step of `srun`; a batch script or a notebook inside an allocation is no step of several tasks."""
    processes = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
    if processes < 2 or "SLURM_PROCID" not in environment:
        return None
    # "4(x2),3": four tasks on each of two nodes, three on the last
    told = re.findall(r"(\d+)(?:\(x(\d+)\))?", environment.get("SLURM_STEP_TASKS_PER_NODE", ""))
    tasks = [int(here) for here, nodes in told for _ in range(int(nodes or 1))]
    node = int(environment.get("SLURM_NODEID", 0))
    shared = node < len(tasks) and tasks[node] > 1
    local = _own_device(environment, shared, environment.get("SLURM_LOCALID", "0"))
    return Job(None, processes, int(environment["SLURM_PROCID"]), local, "slurm")


def _open_mpi(environment: Mapping[str, str]) -> Job | None:
    processes = int(environment.get("OMPI_COMM_WORLD_SIZE", 1))
    if processes < 2:
        return None
    shared = int(environment.get("OMPI_COMM_WORLD_LOCAL_SIZE", 1)) > 1
    local = _own_device(environment, shared, environment.get("OMPI_COMM_WORLD_LOCAL_RANK", "0"))
    return Job(None, processes, int(environment["OMPI_COMM_WORLD_RANK"]), local, "ompi")


def _gke(environment: Mapping[str, str]) -> Job | None:
    """A TPU slice of several hosts: GKE names them in every pod."""
    hosts = environment.get("TPU_PROCESS_ADDRESSES") or environment.get("TPU_WORKER_HOSTNAMES") or ""
    return Job(None, None, None, (), "gketpu") if "," in hosts else None


def _own_device(environment: Mapping[str, str], shared: bool, local: str) -> tuple[int, ...]:
    """Processes that share a host take a GPU each, unless the cluster has already shown each only its own."""
    alone = environment.get("CUDA_VISIBLE_DEVICES", "").count(",") == 0 and environment.get("CUDA_VISIBLE_DEVICES")
    return (int(local),) if shared and not alone else ()
