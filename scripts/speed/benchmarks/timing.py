"""Clocks: candidates take turns, so that other work on the machine falls on all alike."""

import gc
import os
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np


class Seconds(NamedTuple):
    """Of one call. Processor seconds are over the number of cores: other work on the machine disturbs them less."""

    median: float
    least: float
    processor: float  # least
    all: list[float]


def in_turns(
    candidates: Mapping[str, Callable[[], Any]], repeats: int, warm_up: int = 1
) -> tuple[dict[str, Seconds], dict[str, Any]]:
    """Seconds of each candidate, waited for, and its last result; `warm_up` rounds come before and do not count."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in candidates}
    results = {}
    for turn in range(repeats + warm_up):
        for name, run in candidates.items():
            results.pop(name, None)
            gc.collect()
            processor, wall = time.process_time(), time.perf_counter()
            results[name] = jax.block_until_ready(run())
            if turn >= warm_up:
                spent[name].append((time.perf_counter() - wall, (time.process_time() - processor) / cores))
    found = {}
    for name, each in spent.items():
        wall, processor = np.array(each).T
        found[name] = Seconds(float(np.median(wall)), float(wall.min()), float(processor.min()), wall.tolist())
    return found, results


def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """A program for these arguments, and the seconds it took to trace and compile it."""
    start = time.perf_counter()
    program = jax.jit(function).lower(*arguments).compile()
    return program, time.perf_counter() - start
