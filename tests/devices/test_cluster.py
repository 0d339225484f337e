import itertools

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from linkjax.cli import main
from linkjax.devices import cluster
from linkjax.devices.cluster import joining, lost
from linkjax.devices.cluster.joining import Job
from linkjax.errors import InputError
from linkjax.storage.arrays import Arrays, write_share

SLURM = {
    "SLURM_STEP_NUM_TASKS": "6", "SLURM_PROCID": "4", "SLURM_LOCALID": "0", "SLURM_NODEID": "2",
    "SLURM_STEP_TASKS_PER_NODE": "2(x3)",
}  # fmt: skip
OMPI = {
    "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_LOCAL_SIZE": "1",
    "OMPI_COMM_WORLD_LOCAL_RANK": "0", "OMPI_MCA_orte_hnp_uri": "4096.0;tcp://10.0.0.1:1",
}  # fmt: skip
ONE_HOST = {"OMPI_COMM_WORLD_LOCAL_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "3"}
THREE = {"coordinator": "a:1", "processes": "2", "process": "1"}


@pytest.mark.parametrize(
    ("flags", "environment", "job"),
    [
        ({}, {}, None),
        ({"processes": "1"}, SLURM, None),
        ({}, {"LINKJAX_PROCESSES": "1"}, None),
        (THREE, {}, Job("a:1", 2, 1)),
        ({"process": "0"}, {"LINKJAX_COORDINATOR": "a:1", "LINKJAX_PROCESSES": "2"}, Job("a:1", 2, 0)),
        ({"processes": "auto"}, {}, Job(None, None, None)),
        ({}, SLURM, Job(None, 6, 4, (0,), "slurm")),
        ({"coordinator": "a:1"}, SLURM, Job("a:1", 6, 4, (0,), "slurm")),
        ({}, {**SLURM, "CUDA_VISIBLE_DEVICES": "5"}, Job(None, 6, 4, (), "slurm")),
        ({}, {**SLURM, "SLURM_STEP_TASKS_PER_NODE": "1(x6)"}, Job(None, 6, 4, (), "slurm")),
        ({}, {**SLURM, "SLURM_STEP_NUM_TASKS": "1"}, None),
        ({}, {"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, None),  # a batch script, not a step of srun
        ({}, OMPI, Job(None, 4, 3, (), "ompi")),
        ({}, {**OMPI, **ONE_HOST}, Job(None, 4, 3, (3,), "ompi")),
        ({}, {"TPU_WORKER_HOSTNAMES": "a,b"}, Job(None, None, None, (), "gketpu")),
        ({}, {"TPU_WORKER_HOSTNAMES": "a"}, None),
    ],
)  # fmt: skip
def test_a_job_is_found_from_flags_variables_or_the_cluster_and_one_process_is_none(flags, environment, job):
    assert joining.find(flags, environment) == job


@pytest.mark.parametrize(
    ("flags", "environment", "said"),
    [
        ({"coordinator": "a:1"}, {}, "expected --processes and --process beside --coordinator"),
        ({"processes": "2"}, {}, "expected --coordinator and --process beside --processes"),
        ({"coordinator": "a:1", "process": "0"}, {}, "expected --processes beside --coordinator and --process"),
        ({**THREE, "process": "2"}, {}, "from 0 to 1 with --processes 2, found 2"),
        ({**THREE, "process": "-1"}, {}, "--process: expected a whole number, found '-1'"),
        ({**THREE, "processes": "two"}, {}, "--processes: expected a whole number"),
        ({**THREE, "coordinator": "a"}, {}, "--coordinator: expected HOST:PORT, found 'a'"),
        ({}, {name: value for name, value in OMPI.items() if "uri" not in name}, "add --coordinator HOST:PORT"),
    ],
)
def test_what_does_not_fit_together_is_one_sentence(flags, environment, said):
    with pytest.raises(InputError, match=said):
        joining.find(flags, environment)


def test_the_command_line_takes_the_jobs_flags_out_of_a_stages_and_refuses_half_of_them(capsys, tmp_path):
    assert joining.take_flags(["--seed", "1", "--process=0", "--processes", "2"]) == (
        {"process": "0", "processes": "2"},
        ["--seed", "1"],
    )
    assert main(["pairs", "--out", str(tmp_path / "x"), "--processes", "2"]) == 2
    assert "expected --coordinator and --process" in capsys.readouterr().err
    assert main(["pairs", "--coordinator"]) == 2
    assert "--coordinator: expected a value after it, found nothing" in capsys.readouterr().err


@given(
    processes=st.integers(1, 4),
    chunks=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    start=st.integers(0, 6),
    count=st.integers(0, 6),
    column=st.one_of(st.integers(-5, 4), st.just(slice(None)), st.just(slice(1, 4)), st.just([4, 0, 2])),
)
def test_what_all_processes_write_together_is_what_one_would_write(processes, chunks, start, count, column):
    made = [zarr.create_array({}, shape=(9, 5), chunks=chunks, dtype=np.float32, fill_value=-1.0) for _ in range(2)]
    index = (slice(start, start + count), column)
    values = np.random.default_rng(0).normal(size=np.zeros((9, 5))[index].shape).astype(np.float32)
    made[0].oindex[index] = values
    for process in range(processes):
        write_share(made[1], index, values, process, processes)
    np.testing.assert_array_equal(made[0][...], made[1][...])


def test_a_chunk_is_written_by_one_process_alone():
    for process in range(3):
        array = zarr.create_array({}, shape=(10, 4), chunks=(2, 4), dtype=np.float32, fill_value=0.0)
        write_share(array, ..., 1.0, process, 3)
        expected = np.arange(10) // 2 % 3 == process
        np.testing.assert_array_equal(array[...].all(axis=1), expected)
        np.testing.assert_array_equal(array[...].any(axis=1), expected)


class Client:
    """The runtime's, of process 0: what it was asked for."""

    def __init__(self):
        self.met, self.told = [], []

    def wait_at_barrier(self, name, timeout):
        self.met.append(name)

    def key_value_set(self, name, value):
        self.told.append(name)


def test_work_of_the_first_process_alone_reads_no_array_that_others_may_still_be_writing(monkeypatch):
    client = Client()
    monkeypatch.setattr(cluster, "_state", cluster._State(2, 0, client, itertools.count()))
    zarr_group = zarr.open_group({}, mode="w")
    zarr_group.create_array("a", shape=(4,), chunks=(1,), dtype=np.float32, fill_value=0.0)
    group = Arrays(zarr_group)
    group["a"][...] = 1.0
    for read in (lambda: group["a"][...], lambda: group["a"].rows([0, 1])):
        with pytest.raises(RuntimeError, match="read before"):
            cluster.on_first(read)
    assert group.needs_barrier and not client.met and not cluster.alone()
    np.testing.assert_array_equal(group["a"][...], [1, 0, 1, 0])  # waits for the others, whose chunks are the rest
    assert len(client.met) == 1
    assert cluster.on_first(lambda: group["a"][...].tolist()) == [1, 0, 1, 0]  # nothing written since they met
    with pytest.raises(RuntimeError, match="written by all"):
        cluster.on_first(lambda: group["a"].__setitem__(0, 2.0))
    np.testing.assert_array_equal(group["a"][...], [1, 0, 1, 0])
    assert len(client.met) == 1 and len(client.told) == 4


def test_errors_of_the_network_are_known_from_others():
    assert lost.is_network_error(ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer"))
    assert not lost.is_network_error(ValueError("expected 3 numbers, found 2"))
