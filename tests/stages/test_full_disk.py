"""A disk without room: one sentence, exit code 1, nothing lost, and the same command goes on when there is room.

A real one, a small tmpfs, where the tests may mount; and everywhere a limit on the size of a file, which makes the
same system calls fail half-way.
"""

import contextlib
import gc
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import linkjax
from linkjax.cli import main
from linkjax.storage import artifacts, manifest
from tests.stages.conftest import PAIRS, do, half_masks


@contextlib.contextmanager
def no_file_above(size: int):
    """The kernel cuts files off there."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def small_disk(tmp_path):
    """An empty disk of 2 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a disk here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def fill(disk: Path, leave: int) -> Path:
    filler = disk / "filler"
    status = os.statvfs(disk)
    filler.write_bytes(b"\0" * (status.f_bavail * status.f_frsize - leave))
    return filler


def failed(capsys, *arguments) -> str:
    assert main([str(argument) for argument in arguments]) == 1
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert message.startswith("linkjax: ") and "make" in message
    return message


def read(path):
    made = artifacts.Artifact(path, "pairs")
    return {name: made.read(name) for name in ("w", "r", "label", "sample_id", "prediction")}


def done(path):
    return (manifest.partial(path) / "done.jsonl").read_text()


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


@pytest.fixture
def collected(settled):
    """Orbax leaves event loops of a save that failed; Python complains when it collects them: here, not later."""
    yield
    gc.collect()


FLAGS = [*PAIRS[:-1], "8"]  # batches of 8 make several chunks; on one device each is one share
pytestmark = pytest.mark.usefixtures("one_device")


def test_a_run_that_found_the_disk_full_goes_on_when_there_is_room(world, small_disk, tmp_path, capsys):
    out, command = small_disk / "pairs", ["pairs", *world.models, *FLAGS, "--out"]
    do(*command, tmp_path / "whole")
    filler = fill(small_disk, leave=76 * 1024)
    assert "no room on the disk" in failed(capsys, *command, out)
    assert not out.exists()
    notes = done(out)
    assert notes.count("\n") > 1  # some work was done
    filler.unlink()
    do(*command, out)
    same(read(out), read(tmp_path / "whole"))


def test_a_file_cut_off_by_the_system_is_the_same_as_a_full_disk(world, tmp_path, capsys):
    command = ["pairs", *world.models, *FLAGS, "--out"]
    with no_file_above(3000):  # room for notes and small chunks, not for all activations
        message = failed(capsys, *command, tmp_path / "pairs")
    assert "File too large" in message
    notes = done(tmp_path / "pairs")
    assert notes.count("\n") > 1
    do(*command, tmp_path / "pairs")
    do(*command, tmp_path / "whole")
    same(read(tmp_path / "pairs"), read(tmp_path / "whole"))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_model_is_written_whole_or_not_at_all(world, small_disk, collected, capsys):
    filler, out = fill(small_disk, leave=20 * 1024), small_disk / "link"
    assert "no room on the disk" in failed(capsys, "link", "--pairs", world.pairs, "--out", out)
    assert sorted(path.name for path in small_disk.iterdir()) == ["filler", "link.partial"]
    filler.unlink()
    do("link", "--pairs", world.pairs, "--out", out)
    linkjax.load(out)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_model_file_cut_off_by_the_system_is_named(world, tmp_path, collected, capsys):
    with no_file_above(200):
        failed(capsys, "link", "--pairs", world.pairs, "--out", tmp_path / "link")
    assert not (tmp_path / "link").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_segmenter_leaves_nothing_and_is_made_again(world, small_disk, tmp_path, collected, capsys):
    do("segment", "--generator", world.generator, "--draw", "4", "--out", tmp_path / "pictures")
    command = ["segment", "--generator", world.generator, "--images", tmp_path / "pictures", "--folds", "2"]
    command += ["--masks", half_masks(tmp_path / "masks"), "--out"]
    do(*command, tmp_path / "whole")
    filler = fill(small_disk, leave=12 * 1024)
    assert "no room on the disk" in failed(capsys, *command, small_disk / "segmenter")
    assert [path.name for path in small_disk.iterdir()] == ["filler"]
    filler.unlink()
    do(*command, small_disk / "segmenter")
    assert manifest.read(small_disk / "segmenter")["sha256"] == manifest.read(tmp_path / "whole")["sha256"]


def test_a_disk_that_cannot_be_written_is_refused_before_any_work(world, small_disk, capsys):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    for command in (["pairs", *world.models], ["link", "--pairs", world.pairs]):
        assert main([*command, "--out", str(small_disk / "out")]) == 2
        assert "cannot write here (Read-only file system); give another --out" in capsys.readouterr().err


def test_a_compile_cache_without_room_costs_time_and_nothing_else(tmp_path):
    code = """
import resource, jax, linkjax.devices.compile_cache
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
assert linkjax.devices.compile_cache.enable() is not None
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
print(jax.jit(lambda x: (x @ x).sum())(jax.numpy.ones((64, 64))))
"""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR")
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0 and run.stdout == "262144.0\n", run
    assert "File too large" in run.stderr  # it was tried
