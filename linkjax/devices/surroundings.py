"""What a command finds around it: streams that cannot show every character, devices asked for, JAX's own switches."""

import io
import os
import select
import sys
from typing import TextIO

from linkjax.errors import InputError


def forgive_streams() -> None:
    """Print `?` for characters that the terminal's encoding does not have, where it is none of Unicode's."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="replace")


def unheard() -> bool:
    """Whether the reader of standard output is gone (`| head -1`); what is printed from then on is dropped."""
    left = [stream for stream in (sys.stdout, sys.stderr) if _reader_left(stream)]
    for stream in left:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
    return bool(left)


def _reader_left(stream: TextIO) -> bool:
    try:
        stream.flush()
        place = select.poll()  # an unbuffered stream forgets what it could not write, so the pipe itself is asked
        place.register(stream.fileno(), 0)
        return bool(place.poll(0))
    except BrokenPipeError:
        return True
    except (OSError, ValueError, AttributeError):  # no descriptor, closed; Windows has no poll
        return False


def check_devices() -> None:
    """Look for the devices that JAX_PLATFORMS asks for, if it asks for others than the processor.

    Raises: InputError if they are not there, with those that are.
    """
    import jax

    wanted = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
    if not wanted or wanted == "cpu":
        return
    try:
        jax.devices()
        return
    except (RuntimeError, AssertionError) as error:
        said = str(error).strip().split("\n")[0]
    raise InputError(
        f"JAX_PLATFORMS={wanted}: expected such a device, found {' and '.join(_platforms())} alone; unset "
        "JAX_PLATFORMS or give one of these, or install what JAX needs for it"
        + (f" (JAX says: {said})" if said else "")
    )


def _platforms() -> list[str]:
    """The kinds of device there are when nothing special is asked for."""
    import jax
    from jax.extend import backend

    jax.config.update("jax_platforms", "")
    backend.clear_backends()
    return sorted({device.platform for device in jax.devices()} | {"cpu"})


def threads() -> int:
    """How many threads XLA computes with on a CPU: without AVX-512 it decides the order of sums (docs/scale.md).

    One for each core that this process may use, or as many as the environment's `NPROC` says, and one for each device
    at least.
    """
    import jax

    given = os.environ.get("NPROC", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(int(given) if given.isdigit() and int(given) else cores, jax.local_device_count())


def allow_nans() -> None:
    """Compute with NaN, which stands for what is absent (a part that an image does not show), whatever JAX is told."""
    import jax

    for name in ("jax_debug_nans", "jax_debug_infs"):
        if getattr(jax.config, name):
            jax.config.update(name, False)
            print(f"linkjax: {name.upper()} is not heeded: NaN and infinity stand for what is absent", file=sys.stderr)
