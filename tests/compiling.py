"""How the tests' programs are compiled: quickly, for many runs, or as users' are; and what keeps them small.

Most of a run would be the compiler's time. QUICK is for programs that run once or twice: LLVM optimises nothing, which
is JAX's own switch (JAX_DISABLE_MOST_OPTIMIZATIONS). OFTEN is for the stages, which compute many images with each
program: LLVM's first level takes half as long again to compile and a third as long to run. WHOLE is for
the demo and the notebook, which compute thousands of images: LLVM optimises all. Half of what is left goes
without XLA's fusion emitters, and with a program left whole for LLVM instead of cut into 32 modules. From JAX 0.11 on
the emitters cannot be left out by an option: there the tests take longer.

JAX makes an MLIR context, the tables of all operations there are, for each program and keeps it as long as the program:
5 ms of processor time and 1.2 MB, ten times what a small program takes itself. Here a file's programs share one, and a
program that is lowered while another is has its own. Programs are given up between files where they have become many.
"""

import ctypes
import gc
import json
import os
import sys
import threading
from typing import Any

import jax
from jax._src import compiler
from jax._src.interpreters import mlir
from jax._src.lib.mlir import ir

Kind = dict[str, bool | int]
SHIPPED: Kind = {}
QUICK: Kind = {"xla_cpu_parallel_codegen_split_count": 1}
if jax.__version_info__ < (0, 11):
    QUICK["xla_cpu_use_fusion_emitters"] = False
OFTEN: Kind = QUICK | {"xla_backend_optimization_level": 1, "xla_llvm_disable_expensive_passes": True}
WHOLE: Kind = dict(QUICK)
KINDS = {"as shipped": SHIPPED, "quickly": QUICK, "for many runs": OFTEN, "in one piece": WHOLE}
#: With JAX_DISABLE_MOST_OPTIMIZATIONS=0 in the environment, everything is compiled as shipped.
ALL_AS_SHIPPED = not jax.config.read("jax_disable_most_optimizations")
_DEVICES = "--xla_force_host_platform_device_count="
_MOST_PROGRAMS = 1.6e9  # bytes of a worker, beyond which the programs of the files before are given up
_given = compiler.get_compile_options
_new_context = mlir.make_ir_context
# A program that a test starts compiles as the test does, and finds the test's programs in the cache on disk.
_AS = "TESTS_COMPILE_AS"
_now: list[Kind] = [json.loads(os.environ[_AS]) if _AS in os.environ else SHIPPED if ALL_AS_SHIPPED else QUICK]
_shared = threading.local()  # its `context`, made where there is none


def _options(*positional: Any, **named: Any) -> Any:
    options = _given(*positional, **named)
    options.env_option_overrides = [*options.env_option_overrides, *_now[0].items()]
    return options


def _context() -> Any:
    """This thread's, or a new one where a program is being lowered already, whose place in it would be lost."""
    if ir.Context.current is not None:
        return _new_context()
    if not hasattr(_shared, "context"):
        _shared.context = _new_context()
    return _shared.context


# JAX has no setting for options of all programs, and XLA reads XLA_FLAGS once a process. Nor has it one for contexts.
compiler.get_compile_options = _options
mlir.make_ir_context = _context


def compile_as(kind: Kind) -> None:
    """From now on, also in the programs a test starts; those in memory do not pass from one kind to the other."""
    kind = SHIPPED if ALL_AS_SHIPPED else kind
    if kind is not _now[0]:
        give_up_programs()
        _now[0] = kind
        jax.config.update("jax_disable_most_optimizations", kind is QUICK)
        os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(int(kind is QUICK))


def between_files() -> None:
    """A file is done: what its constants left in the context goes with it, and all programs where they are many."""
    _shared.__dict__.clear()
    if _resident() > _MOST_PROGRAMS:
        give_up_programs()


def give_up_programs() -> None:
    """Free all compiled programs; the cache on disk still has them."""
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # or it stays with the allocator


def _resident() -> int:
    """Bytes of memory that this process holds; 0 where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def xla_flags(devices: int = 1) -> str:
    """XLA_FLAGS of a program that a test starts on so many simulated devices, compiled as the test's own are.

    With what the tests themselves were given, such as a limit of the processor's instructions.
    """
    return " ".join([_given_flags(devices), *(f"--{name}={str(value).lower()}" for name, value in _now[0].items())])


def environment(devices: int = 1) -> dict[str, str]:
    """Variables of a program that imports this file: it compiles by the same options, so that the cache is shared.

    Options in XLA_FLAGS, as `xla_flags` gives them to programs that know nothing of this file, make other keys.
    """
    return {"XLA_FLAGS": _given_flags(devices), _AS: json.dumps(_now[0])}


def _given_flags(devices: int) -> str:
    given = [flag for flag in os.environ["XLA_FLAGS"].split() if not flag.startswith(_DEVICES)]
    return " ".join([f"{_DEVICES}{devices}", *given])
