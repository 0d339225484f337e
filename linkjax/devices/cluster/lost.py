"""When a process of the job dies, the others end with one clear line.

JAX's runtime notices it by missing heartbeats, or by a closed connection when process 0 goes, which serves them. It
then writes a page of internals on standard error and aborts. Here the page goes into a file, and the abort becomes a
sentence and exit code 1.
"""

import contextlib
import ctypes
import os
import re
import signal
import sys
import tempfile
from pathlib import Path

_NETWORK = (
    "Gloo",
    "NCCL",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "oordination",
    "arrier",
    "Connection reset",
    "heartbeat",
)
_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_int)

_log: Path | None = None
_handler: object = None  # kept alive: C holds only its address
_who = (0, 1)  # which process of how many
_stderr = 2  # where people read; 2 itself is the runtime's while it is watched


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its kind if it has none."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def is_network_error(error: BaseException) -> bool:
    """Whether an error says that another process could not be reached."""
    return any(word in str(error) for word in _NETWORK)


def watch() -> None:
    """Turn the runtime's aborts into a sentence, and keep what it says itself in a file, away from the results."""
    global _log, _handler, _stderr
    handle, path = tempfile.mkstemp(prefix="linkjax-", suffix=".log")
    _log = Path(path)
    sys.stdout.flush()
    sys.stderr.flush()
    stdout, _stderr = os.dup(1), os.dup(2)
    for native in (1, 2):
        os.dup2(handle, native)
    os.close(handle)
    # Open as long as the process lives, like those they replace.
    sys.stdout = open(stdout, "w", encoding="utf-8", buffering=1, closefd=False)  # noqa: SIM115
    sys.stderr = open(_stderr, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115

    def aborted(_: int) -> None:
        os.write(_stderr, _sentence().encode())
        os._exit(1)

    # Python's own handlers wait for the main thread, which may hang in a collective: this one is C's.
    _handler = _HANDLER(aborted)
    ctypes.CDLL(None).signal(signal.SIGABRT, _handler)


def name(process: int, processes: int) -> None:
    """Say which process this turned out to be."""
    global _who
    _who = (process, processes)


def unwatch() -> None:
    """Stop watching: this process ends by itself, and the runtime's messages are not needed any more."""
    if _log is not None:
        _log.unlink(missing_ok=True)


def _sentence() -> str:
    process, processes = _who
    said = ""
    with contextlib.suppress(OSError):
        said = _log.read_text(encoding="utf-8", errors="replace") if _log else ""
    details = f"what JAX said is in {_log}"
    if "distributed service" not in said:
        return f"linkjax: process {process} of {processes}: JAX stopped it; {details}\n"
    # "…: Task 1 heartbeat timeout", or "… (stopped sending heartbeats):" and a number on each line after it
    listed = " ".join(re.findall(r"heartbeats\):\n((?:\d+\n)+)", said)).split()
    gone = sorted({int(number) for number in listed + re.findall(r"Task (\d+) heartbeat timeout", said)})
    if not gone and process:
        gone = [0]  # it keeps the heartbeats; with it they end
    who = f"process {' and '.join(map(str, gone))} of {processes}" if gone else "another process"
    return f"linkjax: {who} stopped answering; the same command goes on where it was; {details}\n"
