"""The launchers start what they say, with stand-ins for the programs that clusters have."""

import os
import subprocess
from pathlib import Path

import pytest

LAUNCH = Path(__file__).parents[2] / "scripts" / "launch"


@pytest.fixture
def launch(tmp_path):
    """Runs a launcher where mpirun, srun and gcloud print their arguments, one a line."""
    for name in ("mpirun", "srun", "gcloud"):
        (tmp_path / name).write_text('#!/bin/sh\nprintf "%s\\n" "$(basename "$0")" "$@"\n')
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SLURM_SUBMIT_DIR": "/shared"}
    environment.pop("LINKJAX_PORT", None)

    def run(script, *arguments):
        command = ["bash", str(LAUNCH / script), *map(str, arguments)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)

    return run


def test_one_host_starts_a_process_for_each_gpu_and_fails_if_one_does(launch):
    told = 'echo "$CUDA_VISIBLE_DEVICES $LINKJAX_PROCESS $LINKJAX_PROCESSES $LINKJAX_COORDINATOR"'
    done = launch("one_host.sh", 3, "sh", "-c", told)
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"{index} {index} 3 127.0.0.1:55600" for index in range(3)]
    assert launch("one_host.sh", 2, "sh", "-c", "exit $((LINKJAX_PROCESS * 7))").returncode == 7


def test_open_mpi_starts_one_on_each_host_and_names_the_first(launch, tmp_path):
    (tmp_path / "hosts.txt").write_text("# two hosts\n\nnode-a slots=8\nnode-b slots=8\n")
    done = launch("open_mpi.sh", tmp_path / "hosts.txt", "linkjax", "pairs", "--out", "a folder")
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()
    assert words[0] == "mpirun" and words[-4:] == ["linkjax", "pairs", "--out", "a folder"]
    assert "ppr:1:node" in words and "LINKJAX_COORDINATOR=node-a:55600" in words


def test_slurm_starts_the_stage_with_every_word_as_given(launch):
    done = launch("slurm.sbatch", "pairs", "--out", "a folder")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["srun", "--kill-on-bad-exit=1", "linkjax", "pairs", "--out", "a folder"]


def test_a_tpu_pod_runs_the_stage_on_all_workers_with_every_word_quoted(launch):
    done = launch("tpu_pod.sh", "slice", "zone", "pairs", "--out", "a folder")
    assert done.returncode == 0, done.stderr
    words = done.stdout.splitlines()
    assert words[:6] == ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "slice"] and "--worker=all" in words
    assert words[-1].strip() == r"--command=linkjax pairs --out a\ folder --processes auto"
