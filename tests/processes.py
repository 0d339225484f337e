"""Commands in several processes on this machine, as a cluster would start them, each with simulated devices."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests import compiling

ROOT = Path(__file__).parents[1]
DEVICES = 2

# Runs the commands one after another in one process of the job: JAX starts once.
_SEVERAL = """
import gc, json, sys
from linkjax import cli
from linkjax.devices import cluster
gc.set_threshold(100_000, 50, 100)
code = 0
for command in json.loads(sys.argv[1]):
    code = code or cli._run(command)
sys.exit(cluster.leave(code))
"""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a process ended."""

    code: int
    out: str
    err: str


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return made.getsockname()[1]


def start(program: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Python with these arguments, and `environment` over the test's own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "OMPI_", "LINKJAX_"))}
    strict = {"JAX_NUMPY_DTYPE_PROMOTION": "strict", "JAX_NUMPY_RANK_PROMOTION": "raise"}
    return subprocess.Popen(
        [sys.executable, "-W", "error", *program],
        env={**kept, "XLA_FLAGS": compiling.xla_flags(DEVICES), "JAX_PLATFORMS": "cpu", **strict, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str], seconds: float = 1200) -> Ended:
    """Wait for a process."""
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"still running after {seconds} s: {out}{err}") from None
    return Ended(process.returncode, out, err)


def job(count: int = 2) -> list[dict[str, str]]:
    """What linkjax reads from the environment, for each process of a job."""
    port = free_port()
    return [
        {"LINKJAX_COORDINATOR": f"127.0.0.1:{port}", "LINKJAX_PROCESSES": str(count), "LINKJAX_PROCESS": str(index)}
        for index in range(count)
    ]


def run_together(commands: Sequence[Sequence[str]], environments: Sequence[Mapping[str, str]]) -> list[Ended]:
    """The same commands in one process for each environment."""
    program = ["-c", _SEVERAL, json.dumps([[str(word) for word in command] for command in commands])]
    running = [start(program, each) for each in environments]
    try:
        return [ended(process) for process in running]
    finally:  # a process whose job is given up, by a time limit too, would wait for the others
        for process in running:
            process.kill()


def wait_until(holds, seconds: float = 120) -> None:
    """Look twenty times a second."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.05)
