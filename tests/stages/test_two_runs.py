"""Two processes, one output folder: one makes it, the other is refused in a sentence."""

import os
import subprocess
import sys

import pytest

import linkjax
from linkjax.cli import main
from linkjax.outside.label.store import Store
from linkjax.storage import artifacts, claim
from tests import compiling
from tests.stages.conftest import PAIRS, do

_COMMAND = "import sys; from tests import compiling; from linkjax.cli import main; sys.exit(main(sys.argv[1:]))"


def at_once(*arguments):
    """Exit codes and messages of the same command, started twice."""
    command = [sys.executable, "-c", _COMMAND, *map(str, arguments)]
    environment = {**os.environ, **compiling.environment(2), "PYTHONPATH": os.pathsep.join(sys.path)}
    runs = [
        subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for _ in range(2)
    ]
    ended = [(run.communicate(timeout=200)[1], run.returncode) for run in runs]
    return sorted((code, message.strip().splitlines()[-1]) for message, code in ended)


@pytest.mark.parametrize("command", ["pairs", "link"])
def test_the_second_of_two_simultaneous_runs_is_refused(world, tmp_path, command):
    out = tmp_path / "out"
    flags = [*world.models, *PAIRS] if command == "pairs" else ["--pairs", world.pairs]
    (first, _), (second, said) = at_once(command, *flags, "--out", out)
    assert (first, second) == (0, 2)
    assert "another run is writing it now" in said or "exists already" in said
    assert artifacts.Artifact(out, "pairs").summary if command == "pairs" else linkjax.load(out)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("command", ["link", "segment", "report", "convert", "evaluate"])
def test_every_command_refuses_a_folder_that_is_being_made(world, tmp_path, capsys, command):
    (tmp_path / "size.pth").write_bytes(b"not read before the folder is held")
    out = str(tmp_path / "out")
    arguments = {
        "link": ["link", "--pairs", world.pairs, "--out", out],
        "segment": ["segment", "--generator", world.generator, "--images", "none", "--masks", "none", "--out", out],
        "report": ["report", "--pairs", world.pairs, "--out", out],
        "convert": ["convert", "segmenter", str(tmp_path / "size.pth"), out, "--size", "S"],
        "evaluate": ["evaluate", *world.linked, "--out", out],
    }[command]
    with claim.Claim(tmp_path / "out") as other:
        assert main(arguments) == 2
        assert "another run is writing it now" in capsys.readouterr().err
        assert other.partial.is_dir()


def test_masks_are_painted_by_one_page_at_a_time(world, tmp_path, capsys):
    do("segment", "--generator", world.generator, "--draw", "2", "--out", tmp_path / "pictures")
    store = Store(tmp_path / "pictures", tmp_path / "masks", ("rest", "part"))
    with claim.held(store.folder, "close it first"):
        flags = ["--pictures", tmp_path / "pictures", "--masks", tmp_path / "masks", "--no-open"]
        assert main(["label", *map(str, flags)]) == 2
    assert "another run is writing it now; close it first" in capsys.readouterr().err
