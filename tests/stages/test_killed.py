"""SIGKILL at random moments of every long stage, then the same commands again: nothing differs, nothing is done twice.

A job runs the stages in turn. The test reads the notes of finished chunks on disk, kills the job a random moment after
the k-th one was written, and lets it start again, until every stage has been killed and all are there. Most are
compared with the results that all tests of the stages share, made in larger batches.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import zarr

from linkjax.storage import artifacts, manifest
from tests import compiling
from tests.stages.conftest import (
    CONGRUENCE,
    COUNTERFACTUAL,
    ENCODE,
    EVALUATE,
    LINK,
    PAIRS,
    SCREEN,
    SELECT,
    do,
    half_masks,
    notes,
)

ROOT, SEED = Path(__file__).parents[2], 7
DEADLINE = 3000  # seconds, for a machine that is busy
pytestmark = pytest.mark.timeout(3300)

#: Stage → after how many notes of finished chunks it is killed, each time it is; of trainings, after how many epochs.
#: Link and segment note none. The sweep has 7 of units, 6 of random directions, 7 of motion.
KILLS = {
    "pairs": [3, 14],
    "link": [0],
    "network": [2],
    "elastic net": [2],
    "evaluate": [4],
    "congruence": [2],
    "encode": [1],
    "pictures": [0],
    "head": [0],
    "screen": [1],
    "sweep": [2, 7],
    "select": [1],
    "counterfactual": [8],
}
COMMANDS = {"network": "link", "elastic net": "link", "pictures": "segment", "head": "segment"}
RESULTS = {"evaluate": "evaluation", "encode": "encoding", "screen": "screening", "select": "selection"}
TRAININGS, MODELS = ("network", "elastic net"), ("link", "network", "elastic net", "head")
ALONE = ("network", "elastic net", "pictures", "head", "sweep")  # that no other test makes: made once more, in one go


def commands(world, out, extra):
    """Every stage, cut into chunks as small as they get."""
    one = ["--batch-size", "1"]
    drawn = ["--generator", world.generator, "--images", out / "pictures", "--masks", extra / "masks"]
    flags = {
        "pairs": [*world.models, *PAIRS, *one],
        "link": ["--pairs", world.pairs, *LINK],
        "network": ["--pairs", world.pairs, "--method", "mlp", "--hidden", "4", "--epochs", "6"],
        "elastic net": ["--pairs", world.pairs, "--method", "elastic_net", "--alpha", "0.05", "--moments-gib", "1e-9"],
        "evaluate": [*world.linked, *EVALUATE, *one],
        "congruence": [*world.linked, "--other-link", world.network, *CONGRUENCE, *one],
        "encode": [
            *world.linked, "--evaluation", world.evaluation, "--photographs", world.photographs, *ENCODE, *one,
        ],
        "pictures": ["--generator", world.generator, "--draw", "6", *one],
        "head": [*drawn, "--folds", "2", "--suggest", "1"],
        "screen": [*world.linked, "--segmenter", world.segmenter, *SCREEN, *one],
        "sweep": [
            *world.linked, "--segmenter", world.segmenter, "--samples", "1", "--steps", "2", "--random-directions", "3",
            "--motion", "all", "--classes", "0-3", *one,
        ],
        "select": ["--sweep", world.sweep, *SELECT, *one],
        "counterfactual": [*world.linked, *COUNTERFACTUAL, *one],
    }  # fmt: skip
    return {name: [COMMANDS.get(name, name), "--out", out / name, *each] for name, each in flags.items()}


@pytest.fixture(scope="module")
def runs(world, encoding, congruence, screening, selection, tmp_path_factory):
    """(folders of uninterrupted runs, folder of the killed ones, what notes were seen of each stage)."""
    base = tmp_path_factory.mktemp("killed")
    half_masks(base / "masks")
    to_do = commands(world, base / "killed", base)
    (base / "commands.json").write_text(json.dumps([[str(word) for word in each] for each in to_do.values()]))
    environment = {
        **os.environ,
        **compiling.environment(2),  # as many devices as the tests of the stages have, so the programs are theirs
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
    }
    command = [sys.executable, str(Path(__file__).parent / "job.py"), base / "commands.json", base / "pid"]
    with (base / "log").open("w") as log, (base / "said").open("w") as said:
        job = subprocess.Popen(command, env=environment, stderr=log, stdout=said)
    try:
        seen = _kill(job, base, {name: list(after) for name, after in KILLS.items()})
        assert job.wait(DEADLINE) == 0, (base / "log").read_text()[-2000:]
    finally:
        if job.poll() is None:
            job.kill()
            os.kill(int((base / "pid").read_text()), signal.SIGKILL)
    assert (base / "said").read_text().splitlines().count("killed") == sum(map(len, KILLS.values()))
    whole = {name: Path(getattr(world, RESULTS.get(name, name))) for name in KILLS}
    for name in ALONE:
        whole[name] = base / "whole" / name
        do(*commands(world, base / "whole", base)[name])
    return whole, base / "killed", seen


def noted(out: Path, name: str) -> list[str] | None:
    """Notes of finished chunks, or the epochs that are stored; None before the stage has begun."""
    partial = manifest.partial(out)
    if name not in TRAININGS or not partial.exists():
        return notes(partial)
    try:
        stored = [int(path.name) for path in partial.glob("work/*/*") if path.name.isdigit()]
    except FileNotFoundError:  # done and cleared away while it was listed
        return noted(out, name)
    return [str(epoch + 1) for epoch in range(max(stored, default=0))]


def _kill(job: subprocess.Popen, base: Path, wanted: dict[str, list[int]]) -> dict[str, list[str]]:
    """Kill the job's child at each wanted moment; returns all notes of each stage, as last seen."""
    moments, seen, end = random.Random(SEED), {}, time.monotonic() + DEADLINE
    while job.poll() is None:
        assert time.monotonic() < end, f"still to kill: {wanted}"
        for name, after in wanted.items():
            found = noted(base / "killed" / name, name)
            if found is None:
                continue
            before = seen.get(name, [])
            assert found[: len(before)] == before, f"{name}: notes were lost"
            seen[name] = found
            if after and len(found) >= after[0]:
                time.sleep(moments.uniform(0, 0.5 if name == "head" else 0.03))
                child = int((base / "pid").read_text())
                os.kill(child, signal.SIGKILL)
                while job.poll() is None and int((base / "pid").read_text()) == child:
                    time.sleep(0.002)
                after.pop(0)
        time.sleep(0.005)
    assert not any(wanted.values()), f"not killed: {wanted}"
    return seen


def arrays(path: Path) -> dict[str, np.ndarray]:
    group = zarr.open_group(path / artifacts.DATA, mode="r")
    return {name: np.asarray(array[...]) for name, array in group.arrays()}


def files(path: Path) -> set[Path]:
    """All but those of the arrays, which are cut by the batch."""
    return {file.relative_to(path) for file in path.rglob("*") if file.is_file() and artifacts.DATA not in file.parts}


@pytest.mark.parametrize("stage", [name for name in KILLS if name not in MODELS])
def test_a_killed_and_resumed_stage_gives_the_bits_of_one_that_was_not(runs, stage):
    whole, killed, _ = runs
    expected, found = arrays(whole[stage]), arrays(killed / stage)
    assert expected.keys() == found.keys() and expected
    for name, values in expected.items():
        assert values.tobytes() == found[name].tobytes(), name
    assert manifest.read(whole[stage])["summary"] == manifest.read(killed / stage)["summary"]
    assert files(whole[stage]) == files(killed / stage)


@pytest.mark.parametrize("stage", [name for name, after in KILLS.items() if after[0] and name not in TRAININGS])
def test_no_finished_chunk_is_done_again(runs, stage):
    names = runs[2][stage]
    assert len(names) == len(set(names)) > KILLS[stage][-1]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_killed_while_it_is_fitted_is_the_model_of_a_whole_run(runs, name):
    whole, killed, _ = runs
    assert manifest.read(whole[name])["sha256"] == manifest.read(killed / name)["sha256"]
