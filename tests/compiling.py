"""How the tests' programs are compiled: quickly, or as users' are.

Most of a run would be the compiler's time. JAX's own switch (JAX_DISABLE_MOST_OPTIMIZATIONS) has LLVM optimise nothing.
Half of what is left goes without XLA's fusion emitters, and with a program left whole for LLVM instead of cut into 32
modules. From JAX 0.11 on the emitters cannot be left out by an option: there the tests take longer.
"""

import os
from typing import Any

import jax
from jax._src import compiler

QUICK: dict[str, bool | int] = {"xla_cpu_parallel_codegen_split_count": 1}
if jax.__version_info__ < (0, 11):
    QUICK["xla_cpu_use_fusion_emitters"] = False
_DEVICES = "--xla_force_host_platform_device_count="
_given = compiler.get_compile_options


def _options(*positional: Any, **named: Any) -> Any:
    options = _given(*positional, **named)
    if quick():
        options.env_option_overrides = [*options.env_option_overrides, *QUICK.items()]
    return options


# JAX has no setting for options of all programs, and XLA reads XLA_FLAGS once a process.
compiler.get_compile_options = _options


def quick() -> bool:
    """Whether programs are compiled quickly now."""
    return jax.config.read("jax_disable_most_optimizations")


def set_quick(wanted: bool) -> None:
    """From now on, also in the programs a test starts; those in memory do not pass from one kind to the other."""
    if wanted != quick():
        jax.clear_caches()
        jax.config.update("jax_disable_most_optimizations", wanted)
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(wanted))


def xla_flags(devices: int = 1) -> str:
    """XLA_FLAGS of a program that a test starts on so many simulated devices, compiled as the test's own are."""
    flags = [f"--{name}={str(value).lower()}" for name, value in QUICK.items()] if quick() else []
    return " ".join([f"{_DEVICES}{devices}", *flags])
