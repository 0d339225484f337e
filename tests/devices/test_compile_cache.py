"""Compiled programs outlive the process that compiled them."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from linkjax.devices import compile_cache

PROGRAM = """
import sys
from linkjax import compile_cache
compile_cache._LEAST_SECONDS = 0.0
folder = compile_cache.enable()
import jax
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name.endswith("cache_hits")))
jax.jit(lambda x: jax.numpy.sin(x) + 1)(jax.numpy.ones(3))
print(folder, sum(hits))
"""


def _run(**environment: str) -> list[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        env=clean | {"JAX_PLATFORMS": "cpu"} | environment,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_a_second_process_takes_the_programs_of_the_first(tmp_path):
    folder, hits = _run(XDG_CACHE_HOME=str(tmp_path))
    assert Path(folder).parent == tmp_path / "linkjax" and hits == "0"
    assert Path(folder).stat().st_mode & 0o077 == 0  # programs are code: nobody else may write them
    assert list(Path(folder).glob("*-cache"))
    again, hits = _run(XDG_CACHE_HOME=str(tmp_path))
    assert again == folder and int(hits) >= 1


def test_a_place_that_cannot_be_written_means_no_cache_and_no_failure(tmp_path):
    (tmp_path / "file").write_text("")
    assert _run(XDG_CACHE_HOME=str(tmp_path / "file"))[0] == "None"


@pytest.fixture
def settings():
    names = ("jax_compilation_cache_dir", "jax_enable_compilation_cache")
    before = {name: getattr(jax.config, name) for name in names}
    yield jax.config.update
    for name, value in before.items():
        jax.config.update(name, value)


def test_jax_s_own_switches_come_first(settings, tmp_path):
    settings("jax_compilation_cache_dir", str(tmp_path / "mine"))
    assert compile_cache.enable() == tmp_path / "mine"
    settings("jax_enable_compilation_cache", False)
    assert compile_cache.enable() is None
