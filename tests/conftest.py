"""JAX as strict as it gets: no silent promotion of dtypes or ranks, 8 simulated CPU devices, no second chance.

What most tests ask of linkjax does not depend on how far XLA optimises, and they are compiled quickly, the stages for
many runs (compiling.py); files whose numbers are claims about the programs that users run say
`COMPILED = "as shipped"`. With JAX_DISABLE_MOST_OPTIMIZATIONS=0 in the environment, all are.
"""

import atexit
import gc
import os
import shutil
import tempfile
from pathlib import Path

# Programs that tests start read this checkout, installed or not, as the tests do.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "converters"), os.environ.get("PYTHONPATH", "")]
).rstrip(os.pathsep)
# Before JAX is imported: the backend reads these once.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = (os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8").strip()
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Threads of XLA, here and in the programs that tests start on fewer devices: without AVX-512 their number decides in
# which order oneDNN's products are summed (docs/scale.md).
os.environ.setdefault("NPROC", "8")
# No program tells where its operations were written: a quarter of the time to trace, lower and compile.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")
# The workers, and the programs the tests start, compile many of the same programs: once a run is enough. Also the
# smallest: 20 ms to compile, 3 ms to read.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _PROGRAMS = tempfile.mkdtemp(prefix="linkjax-programs-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _PROGRAMS
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    atexit.register(shutil.rmtree, _PROGRAMS, ignore_errors=True)

import jax
import pytest
from hypothesis import settings
from xdist.scheduler.loadscope import LoadScopeScheduling

from tests import compiling, meshes, products

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# A whole collection walks all that JAX keeps of every program so far: a second and more, late in a run.
gc.set_threshold(100_000, 50, 100)

settings.register_profile("linkjax", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("linkjax")


_FILE: list[Path] = []  # of the last test


def pytest_collection_modifyitems(items):
    """The stages first, which take one worker half of the time; then what takes long to compile; then the rest.

    Of the stages those first that ask whether a program is in memory still: later, files before may have filled it.
    """
    items.sort(
        key=lambda item: (
            _scope(item.nodeid) != "stages",
            not getattr(getattr(item, "module", None), "FIRST", False),
            _compiled(item) not in ("as shipped", "in one piece"),
        )
    )


def _compiled(item) -> str:
    usual = "for many runs" if _scope(item.nodeid) == "stages" else "quickly"
    return getattr(getattr(item, "module", None), "COMPILED", usual)


def _devices(item) -> int | None:
    """Two for the stages and where a file says so: each device fills a share of its own; None: all."""
    return getattr(getattr(item, "module", None), "DEVICES", 2 if _scope(item.nodeid) == "stages" else None)


@pytest.hookimpl(tryfirst=True)  # before fixtures of a session, which compile too
def pytest_runtest_setup(item):
    """Compile as the file says, for as many devices as it says."""
    if [item.path] != _FILE:
        _FILE[:] = [item.path]
        compiling.between_files()
    compiling.compile_as(compiling.KINDS[_compiled(item)])
    meshes.use(_devices(item))


_BELOW = products.watch()


@pytest.fixture(autouse=True)
def every_product_has_the_highest_precision():
    """No float32 product or convolution of linkjax may leave the choice to the device, which is TF32 or bfloat16."""
    yield
    below, _BELOW[:] = _BELOW[:], []
    assert not below, f"give these precision=numerics.PRECISION: {below}"


@pytest.fixture(scope="module")
def settled():
    """For files that collect garbage after each test: what was there before them, much by then, is not looked at."""
    gc.freeze()
    yield
    gc.collect()
    gc.unfreeze()


@pytest.fixture(scope="session")
def parity() -> Path:
    """Outputs of the original programs on small random weights."""
    return Path(__file__).parent / "parity"


@pytest.fixture
def on_devices(monkeypatch):
    """`on_devices(n)`: from now on, all stages run on n devices."""
    from linkjax.devices import parallel

    def use(count: int) -> None:
        few = meshes.mesh_of(count)
        monkeypatch.setattr(parallel, "mesh", lambda: few)

    return use


@pytest.fixture
def one_device(on_devices):
    """All stages on one device instead of eight."""
    on_devices(1)


def _scope(nodeid: str) -> str:
    file = nodeid.split("::", 1)[0]
    return "stages" if file.startswith("tests/stages/") else file


class _ByFile(LoadScopeScheduling):
    """With several workers, a file stays together (it shares fixtures), and so do the stages, which share one run."""

    def _split_scope(self, nodeid: str) -> str:
        return _scope(nodeid)


def pytest_xdist_make_scheduler(config, log):
    """Said outright: pytest-xdist's own groups go by names of tests that pytest 9.2 no longer lets it change."""
    return _ByFile(config, log)
