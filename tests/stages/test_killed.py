"""SIGKILL at random moments of every long stage, then the same commands again: nothing differs, nothing is done twice.

A job runs the stages in turn. The test reads the notes of finished chunks on disk, kills the job a random moment after
the k-th one was written, and lets it start again, until every stage has been killed and all are there.
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

import linkjax
from linkjax.storage import artifacts, checkpoint, manifest
from tests import compiling, worlds
from tests.stages.conftest import half_masks, notes
from tests.stages.photographs import folder

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
    "congruence": [3],
    "encode": [1],
    "pictures": [0],
    "head": [0],
    "screen": [2],
    "sweep": [3, 16],
    "select": [2],
    "counterfactual": [8],
}
COMMANDS = {"network": "link", "elastic net": "link", "pictures": "segment", "head": "segment"}
TRAININGS, MODELS = ("network", "elastic net"), ("link", "network", "elastic net", "head")


def commands(world, out, extra):
    """Every stage, cut into chunks as small as they get."""
    one, inputs = ["--batch-size", "1"], [*world.models, "--pairs", world.pairs, "--link", world.link]
    segmenter = ["--segmenter", str(extra / "segmenter")]
    flags = {
        "pairs": [*world.models, "--n-train", "8", "--n-val", "2", "--n-test", "2", "--max-attempts", "200", *one],
        "link": ["--pairs", world.pairs, "--rows", "16"],
        "network": ["--pairs", world.pairs, "--method", "mlp", "--hidden", "4", "--epochs", "6"],
        "elastic net": [
            "--pairs", world.pairs, "--method", "elastic_net", "--alpha", "0.05", "--moments-gib", "1e-9",
        ],
        "evaluate": [*inputs, "--shuffled-samples", "20", "--pictures", "2", *one],
        "congruence": [*inputs, "--paths", "8", "--steps", "3", "--draws", "50", "--permutations", "50", *one],
        "encode": [*inputs, "--photographs", str(extra / "photographs"), "--pictures", "2", *one],
        "pictures": ["--generator", world.generator, "--draw", "6", *one],
        "head": [
            "--generator", world.generator, "--images", f"{out}/pictures", "--masks", str(extra / "masks"), "--folds",
            "2", "--suggest", "1",
        ],
        "screen": [*inputs, *segmenter, "--samples", "4", *one],
        "sweep": [
            *inputs, *segmenter, "--samples", "1", "--steps", "2", "--random-directions", "3", "--motion", "all",
            "--classes", "0-3", *one,
        ],
        "select": ["--sweep", f"{out}/sweep", "--draws", "100", "--flips", "100", *one],
        "counterfactual": [*inputs, "--samples", "1", "--max-steps", "20", "--pictures", "2", "--origins", "0-2", *one],
    }  # fmt: skip
    return [[COMMANDS.get(name, name), "--out", f"{out}/{name}", *each] for name, each in flags.items()]


@pytest.fixture(scope="module")
def runs(world, tmp_path_factory):
    """(folder of an uninterrupted run, folder of a killed one, what notes were seen of each stage)."""
    base = tmp_path_factory.mktemp("killed")
    folder(base / "photographs", 20)
    segmenter = worlds.segmenter(linkjax.load(world.generator), ("rest", "part", "other"))
    checkpoint.save_model(base / "segmenter", segmenter, source={})
    half_masks(base / "masks")
    to_do = [command for out in ("whole", "killed") for command in commands(world, base / out, base)]
    (base / "commands.json").write_text(json.dumps(to_do))
    environment = {
        **os.environ,
        "XLA_FLAGS": compiling.xla_flags(),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",  # a child that starts again compiles nothing
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
    return base / "whole", base / "killed", seen


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


@pytest.mark.parametrize("stage", [name for name in KILLS if name not in MODELS])
def test_a_killed_and_resumed_stage_gives_the_bits_of_one_that_was_not(runs, stage):
    whole, killed, _ = runs
    expected, found = arrays(whole / stage), arrays(killed / stage)
    assert expected.keys() == found.keys() and expected
    for name, values in expected.items():
        assert values.tobytes() == found[name].tobytes(), name
    summaries = [manifest.read(path / stage)["summary"] for path in (whole, killed)]
    assert summaries[0] == summaries[1]
    files = {path.relative_to(whole / stage) for path in (whole / stage).rglob("*") if path.is_file()}
    assert files == {path.relative_to(killed / stage) for path in (killed / stage).rglob("*") if path.is_file()}


@pytest.mark.parametrize("stage", [name for name, after in KILLS.items() if after[0] and name not in TRAININGS])
def test_no_finished_chunk_is_done_again(runs, stage):
    names = runs[2][stage]
    assert len(names) == len(set(names)) > KILLS[stage][-1]


@pytest.mark.parametrize("name", MODELS)
def test_a_model_killed_while_it_is_fitted_is_the_model_of_a_whole_run(runs, name):
    whole, killed, _ = runs
    assert manifest.read(whole / name)["sha256"] == manifest.read(killed / name)["sha256"]
