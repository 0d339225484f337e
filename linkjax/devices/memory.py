"""Batch sizes that fit: what a compiled program needs, against the memory there is."""

import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from linkjax.devices import cluster, parallel

_SHARE = 0.5  # of what is free: compilers and other programs need some too
_FIRST = 16  # items a device for which the program is compiled and measured
_MOST = 256  # items a device, on an accelerator


def batch_size(
    function: Callable[..., Any],
    models: Any,
    items: Mapping[str, np.ndarray],
    mesh: Mesh,
    on_cpu: int = _FIRST,
    share: int = 0,
) -> int:
    """Items of one batch of `parallel.map_batches` that fit into half of the free memory of every device.

    The program is compiled for 16 items a device, on a CPU for `on_cpu`, which are then the most, or for all there are;
    memory is taken to grow in proportion, which errs on the safe side. In shares, one after another, it hardly grows:
    then nothing is compiled, and a device gets `on_cpu`.

    Args:
      function, models: as `map_batches` takes them.
      items: name → array; the first ones stand for all.
      on_cpu: items a CPU device gets, at most; many do not make it faster.
      share: as `map_batches` takes it.
    Returns: of several processes what fits process 0, whose hosts should be alike.
    """
    count = len(next(iter(items.values())))
    if share:
        return min(on_cpu * mesh.size, parallel.filled(count, mesh, share))
    first, most = (on_cpu, on_cpu) if mesh.devices.flat[0].platform == "cpu" else (_FIRST, _MOST)
    tried = min(first * mesh.size, parallel.round_up(count, mesh))
    padded, _ = parallel.pad({name: array[:tried] for name, array in items.items()}, tried)
    compiled = parallel.sharded(function, models, mesh, share).compiled(parallel.place(padded, mesh))
    needed: Any = compiled.memory_analysis()  # of one device
    bytes_each = max(1, needed.temp_size_in_bytes + needed.output_size_in_bytes) / (tried // mesh.size)
    fit = int(_SHARE * free_bytes(mesh) / bytes_each)
    return cluster.agreed(mesh.size * max(1, min(fit, most)))


def free_bytes(mesh: Mesh) -> int:
    """Free memory of the fullest device; simulated devices of one host share what the host has."""
    devices = [device for device in mesh.devices.flat if device.process_index == jax.process_index()]
    told = [device.memory_stats() for device in devices]
    known = [stats["bytes_limit"] - stats["bytes_in_use"] for stats in told if stats and "bytes_limit" in stats]
    return int(min(known)) if len(known) == len(devices) else _free_on_host() // len(devices)


def _free_on_host() -> int:
    """Free memory of this machine; of Linux what programs may still take, file caches included."""
    with contextlib.suppress(OSError, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        [found] = [line for line in lines if line.startswith("MemAvailable:")]
        return int(found.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
