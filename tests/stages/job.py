"""Runs commands one after another in a child, and starts a child again where one was killed: what the kill tests drive.

    python tests/stages/job.py COMMANDS.json PID    a list of command lines; those whose --out exists are done

The child is forked after the imports, so that a start takes no longer than its work; `PID` says which process it is.
"""

import gc
import json
import os
import sys
from pathlib import Path

import orbax.checkpoint  # noqa: F401 - before the fork
import zarr  # noqa: F401

from linkjax.cli import main
from linkjax.stages import PIPELINE
from tests import compiling  # noqa: F401 - the programs of the tests

for _stage in PIPELINE:
    _stage.module  # noqa: B018 - imports it


def work(commands: list[list[str]]) -> int:
    """Commands that are not done yet; the first that fails ends it."""
    for arguments in commands:
        if not Path(arguments[arguments.index("--out") + 1]).exists() and main(arguments):
            return 1
    return 0


if __name__ == "__main__":
    gc.set_threshold(100_000, 50, 100)  # as the tests
    to_do, told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2])
    while True:
        child = os.fork()
        if not child:
            new = told.with_suffix(".new")
            new.write_text(str(os.getpid()))
            os.replace(new, told)
            os._exit(work(to_do))
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            sys.exit(os.waitstatus_to_exitcode(status))
        print("killed", flush=True)
