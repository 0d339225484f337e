"""The machine: its name, and the rates nothing on it can beat, measured."""

import functools
import os
import platform
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linkjax import numerics
from scripts.speed.benchmarks import torch_side
from scripts.speed.benchmarks.timing import in_turns

BYTES = {"float32": 4, "tf32": 4, "bfloat16": 2, "float16": 2}
_PRODUCTS = {"tf32": jax.lax.Precision.HIGH}


def name() -> str:
    """The accelerator's kind, or the processor's model and cores."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists() and (found := re.search(r"model name\s*: (.+)", info.read_text())):
        model = found[1]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{' '.join(model.split())}, {cores} cores"


def file_name() -> str:
    """`name` as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", name().lower()).strip("-")


def versions() -> dict[str, str]:
    """Of what ran."""
    known = {"python": platform.python_version(), "jax": jax.__version__, "numpy": np.__version__}
    return known | ({"torch": torch_side.torch.__version__} if torch_side.torch else {})


def ceilings(precisions: list[str], tiny: bool) -> dict[str, Any]:
    """Measured rates: FLOP/s of a matrix product in each precision, bytes/s of memory and between host and device."""
    on_cpu = jax.default_backend() == "cpu"
    side = 256 if tiny else 2048 if on_cpu else 8192
    length = 2**16 if tiny else 2**26 if on_cpu else 2**29
    rates: dict[str, Any] = {"matrix": {}, "matrix_torch": {}}
    repeats = 3 if tiny else 7
    for precision in precisions:
        dtype = map_dtype(precision)
        a = jnp.asarray(np.random.default_rng(0).normal(size=(side, side)), dtype)
        how = _PRODUCTS.get(precision, numerics.PRECISION) if dtype == jnp.float32 else None
        product = jax.jit(functools.partial(jnp.matmul, precision=how, preferred_element_type=jnp.float32))
        rates["matrix"][precision] = 2 * side**3 / _least(functools.partial(product, a, a), repeats)
        if torch_side.torch and (torch_side.on_gpu() or precision == "float32"):
            rates["matrix_torch"][precision] = 2 * side**3 / torch_side.matrix_seconds(side, precision, repeats)
    x, y = jnp.ones(length, jnp.float32), jnp.ones(length, jnp.float32)
    triad = jax.jit(lambda x, y: x + 3.0 * y)
    rates["memory"] = 3 * x.nbytes / _least(lambda: triad(x, y), repeats)
    host, device = np.ones(length // 4, np.float32), jax.devices()[0]
    rates["host_to_device"] = host.nbytes / _least(lambda: jax.device_put(host, device), repeats)
    # a new array each time: what was fetched once is kept on the host
    fresh = iter([jax.block_until_ready(x[: length // 4] + i) for i in range(repeats + 1)])
    rates["device_to_host"] = host.nbytes / _least(lambda: np.asarray(next(fresh)), repeats)
    return rates


def _least(run: Callable[[], Any], repeats: int) -> float:
    return in_turns({"": run}, repeats)[0][""].least


def map_dtype(precision: str) -> Any:
    """The type of feature maps in that precision."""
    return {"bfloat16": jnp.bfloat16, "float16": jnp.float16}.get(precision, jnp.float32)
