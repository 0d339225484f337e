"""Two processes of two devices, on loopback, against the one process of two that made `world`."""

import itertools
import json
import signal
import time

import numpy as np
import pytest
from PIL import Image

import linkjax
from linkjax.cli import main
from linkjax.storage import artifacts, checkpoint, manifest
from tests import processes, tolerances
from tests.stages import photographs as photographs_of
from tests.stages.conftest import (
    CONGRUENCE,
    COUNTERFACTUAL,
    DEPTH,
    ENCODE,
    EVALUATE,
    LINK,
    LOCAL,
    NETWORK,
    PAIRS,
    SCREEN,
    SELECT,
    SWEEP,
    assert_same_bits,
    do,
)

STREAMED = ["--method", "elastic_net", "--alpha", "0.05", "--moments-gib", "1e-9"]
GROUPS = ["--groups", "0,1", "2-4", "--method", "ridge"]
ODD = ["--unreadable", "skip", "--pictures", "0"]
COMPARE = ["--split", "train", "--draws", "20", "--shuffles", "20"]
TRAINED = ["--folds", "2", "--suggest", "0"]


def assert_same(path, world_path, kind):
    """All arrays equal to the bit; returns both results."""
    assert_same_bits(path, world_path, kind)
    return artifacts.Artifact(path, kind), artifacts.Artifact(world_path, kind)


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Photographs of which one cannot be read in the half of each process, in both batches."""
    root = photographs_of.folder(tmp_path_factory.mktemp("odd"), 7, groups=("others",))
    for index in (1, 2, 5):
        next(root.glob(f"others/{index:02d}.*")).write_bytes(b"damaged")
    return root


@pytest.fixture(scope="module")
def together(world, photographs, odd, segmenter, network, tmp_path_factory):
    """Every stage in two processes that go on from each other's files."""
    folder = tmp_path_factory.mktemp("together")
    models, pairs, link = world.models, str(folder / "pairs"), str(folder / "link")
    # With the link of `world`: one of two processes is its like to rounding only, and what follows would be too.
    linked = [*models, "--pairs", pairs, "--link", world.link]
    pictures = [str(folder / "pictures")]
    halves = np.repeat(np.repeat([[1, 2]], 8, axis=1), 16, axis=0).astype(np.uint8)
    masks = [folder / "masks" / f"{row:06d}.png" for row in range(2)]
    masks[0].parent.mkdir()
    for path, mask in zip(masks, (halves, halves.T), strict=True):
        Image.fromarray(mask).save(path)
    drawn = ["segment", "--generator", world.generator, "--images", *pictures, "--masks", folder / "masks"]
    seen = ["--evaluation", world.evaluation, "--photographs", photographs]
    ended = processes.run_together(
        [
            ["pairs", *models, "--out", pairs, *PAIRS[:-1], "12"],
            ["link", "--pairs", pairs, "--out", link, *LINK],
            ["evaluate", *linked, "--out", folder / "evaluation", *EVALUATE],
            ["sweep", *linked, "--out", folder / "sweep", *SWEEP],
            ["sweep", *linked, "--out", folder / "local", *LOCAL, "--motion", "none", "--batch-size", "24"],
            ["counterfactual", *linked, "--out", folder / "counterfactual", *COUNTERFACTUAL],
            ["segment", "--generator", world.generator, "--draw", "3", "--out", *pictures],
            ["report", "--pairs", pairs, "--link", link, "--out", folder / "report"],
            ["encode", *linked, "--out", folder / "encoding", *seen, *ENCODE, "--batch-size", "4"],
            ["encode", *linked, "--out", folder / "skipping", *ODD, "--photographs", odd, "--batch-size", "4"],
            ["screen", *linked, "--segmenter", segmenter, "--out", folder / "screening", *SCREEN, "--batch-size", "4"],
            ["select", "--sweep", world.sweep, "--out", folder / "selection", *SELECT, "--batch-size", "32"],
            ["link", "--pairs", pairs, "--out", folder / "network", *NETWORK],
            ["congruence", *linked, "--other-link", network, "--out", folder / "congruence", *CONGRUENCE],
            ["plan", *world.models, "--out", folder / "plan"],
            ["link", "--pairs", pairs, "--out", folder / "streamed", *STREAMED],
            ["link", "--pairs", pairs, "--out", folder / "groups", *GROUPS],
            [*drawn, "--out", folder / "head", *TRAINED],
            ["depth", *models, "--pairs", pairs, *DEPTH, "--out", folder / "depth", "--batch-size", "24"],
            ["compare", "--pairs", pairs, "--other-pairs", pairs, *COMPARE, "--out", folder / "side_by_side"],
        ],
        processes.job(),
    )
    assert [each.code for each in ended] == [0, 0], ended
    return folder, ended


@pytest.mark.parametrize("kind", ["pairs", "evaluation", "sweep", "counterfactual"])
def test_two_processes_give_the_numbers_of_one(world, together, kind):
    made, one = assert_same(together[0] / kind, getattr(world, kind), kind)
    assert made.manifest["device"]["count"] == 4 and made.manifest["weights"] == one.manifest["weights"]


def test_two_processes_take_the_steps_of_one_in_every_sample(together, local):
    assert_same(together[0] / "local", local, "sweep")


@pytest.mark.parametrize("kind", ["encoding", "screening", "selection", "congruence"])
def test_two_processes_give_the_numbers_of_one_in_the_other_stages(together, kind, request):
    made, one = assert_same(together[0] / kind, request.getfixturevalue(kind), kind)
    assert made.manifest["device"]["count"] == 4 and made.summary == one.summary


def test_two_processes_say_how_deep_a_link_reaches_as_one_does(together, reached):
    made, one = assert_same(together[0] / "depth", reached, "depth")
    assert made.manifest["device"]["count"] == 4 and made.summary == one.summary


def test_two_processes_compare_networks_as_one_does(world, together, tmp_path):
    do("compare", "--pairs", world.pairs, "--other-pairs", world.pairs, *COMPARE, "--out", tmp_path / "one")
    made, one = assert_same(together[0] / "side_by_side", tmp_path / "one", "side_by_side")
    assert made.manifest["device"]["count"] == 4 and made.summary == one.summary


def test_photographs_that_cannot_be_read_are_named_whichever_process_decodes_them(world, together, odd, tmp_path):
    do("encode", *world.linked, "--out", tmp_path / "one", *ODD, "--photographs", odd, "--batch-size", "8")
    made, one = assert_same(together[0] / "skipping", tmp_path / "one", "encoding")
    assert made.summary == one.summary and len(made.summary["unreadable"]) == 3
    command = ["encode", *world.linked, "--out", str(tmp_path / "stop"), "--photographs", str(odd), "--batch-size", "4"]
    ended = processes.run_together([command], processes.job())
    assert [each.code for each in ended] == [2, 2], ended
    assert "linkjax: process 0 of 2: others/01.png: expected a photograph" in ended[0].err and ended[1].err == ""


def test_each_process_prepares_the_items_of_its_own_devices_alone():
    program = (
        "import sys; from linkjax.devices import cluster, parallel; from linkjax.devices.cluster import joining\n"
        "cluster.join(joining.find({})); own = parallel.own_items(8, parallel.mesh()).astype(int).tolist()\n"
        "print(cluster.gathered(own), file=sys.stderr); sys.exit(cluster.leave(0))"
    )
    running = [processes.start(["-c", program], environment) for environment in processes.job()]
    said = {processes.ended(process).err.strip() for process in running}
    assert said == {str([[1, 1, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1, 1]])}


def test_the_network_of_two_processes_is_that_of_one(world, together, network):
    """Gradients and moments are summed in another order."""
    pairs = artifacts.Artifact(world.pairs, "pairs")
    r = pairs.read("r")
    found, expected = (np.asarray(linkjax.load(path)(r)) for path in (together[0] / "network", network))
    assert np.abs(found - expected).max() < tolerances.STAGE_DEVICES * np.abs(expected).max()


def test_the_streamed_elastic_net_of_two_processes_is_that_of_one(world, together, tmp_path):
    """Steps are taken on gradients that are summed in another order."""
    do("link", "--pairs", world.pairs, "--out", tmp_path / "streamed", *STREAMED)
    pairs = artifacts.Artifact(world.pairs, "pairs")
    r = pairs.read("r")
    found, expected = (np.asarray(linkjax.load(path / "streamed")(r)) for path in (together[0], tmp_path))
    assert np.abs(found - expected).max() < tolerances.STAGE_DEVICES * np.abs(expected).max()
    assert np.ptp(expected, axis=0).max() > 0.01 * np.abs(expected).max()  # units have a say


def test_a_head_trained_from_masks_by_two_processes_is_that_of_one(world, together, tmp_path):
    folder = together[0]
    inputs = ["--generator", world.generator, "--images", folder / "pictures", "--masks", folder / "masks"]
    do("segment", *inputs, "--out", tmp_path / "head", *TRAINED, "--batch-size", "16")
    two, one = (manifest.read(path / "head") for path in (folder, tmp_path))
    assert two["sha256"] == one["sha256"] and two["source"]["overlap"] == one["source"]["overlap"]


def test_two_processes_measure_a_plan_together(together):
    found = json.loads((together[0] / "plan" / "plan.json").read_text())
    assert found["measured"]["devices"] == 4 and found["measured"]["seconds_per_image"] > 0


def test_the_link_of_two_processes_is_that_of_one(world, together):
    """Each sums its own pairs, so the order of float64 additions differs."""
    made, one = (checkpoint.load_model(path)[0] for path in (together[0] / "link", world.folder / "link"))
    for name in ("kernel", "bias"):
        found, expected = (np.asarray(getattr(link, name)[...]) for link in (made, one))
        assert np.abs(found - expected).max() <= tolerances.STAGE_LINK * np.abs(expected).max()


def test_the_links_of_groups_of_two_processes_are_those_of_one(world, together, tmp_path):
    do("link", "--pairs", world.pairs, "--out", tmp_path / "groups", *GROUPS)
    for name in ("group_0", "group_1"):
        found, expected = (
            np.asarray(linkjax.load(path / "groups" / name).kernel[...]) for path in (together[0], tmp_path)
        )
        assert np.abs(found - expected).max() <= tolerances.STAGE_LINK * np.abs(expected).max()


def test_only_the_first_process_prints_and_no_output_is_left_unfinished(together):
    folder, (zeroth, first) = together
    assert "pairs kept, acceptance" in zeroth.out and "Gloo" not in zeroth.out + zeroth.err
    assert first.out == "" and first.err == ""
    assert (
        len(list((folder / "pictures" / "images").glob("*.png"))) == 3 and (folder / "report" / "index.html").exists()
    )
    assert not list(folder.glob("*.partial")) and not list(folder.rglob("lock"))
    assert zeroth.out.count("compiles in") == 1  # the plan's table
    lines = (folder / "encoding" / "photographs.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 21 and (folder / "selection" / "selected.parquet").exists()


def open_mpi(index):
    return {
        "OMPI_MCA_orte_hnp_uri": f"{4096 * (processes.free_port() % 1000)}.0;tcp://127.0.0.1:34911",
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_RANK": str(index),
        "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
        "OMPI_COMM_WORLD_LOCAL_RANK": str(index),
    }


def slurm(index, job):
    return {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_NTASKS": "2",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_STEP_TASKS_PER_NODE": "2",
        "SLURM_PROCID": str(index),
        "SLURM_LOCALID": str(index),
        "SLURM_NODEID": "0",
    }


def _ranked(index):
    return {name: value for name, value in open_mpi(index).items() if name.endswith("RANK")}


#: Jobs of two processes that lose one: what they run, and which process is killed. A network is trained in products
#: that both processes take part in; the others meet when they fetch and at notes.
VICTIMS = {"pairs": 1, "pairs again": 0, "sweep": 1, "network": 0}
LONG_NETWORK = ["--method", "mlp", "--hidden", "4", "--epochs", "30"]


def _broken_command(job, world, out):
    flags = {
        "pairs": [*world.models, *PAIRS[:-1], "4"],
        "pairs again": [*world.models, *PAIRS[:-1], "4"],
        "sweep": [*world.linked, *SWEEP, "--batch-size", "4"],
        "network": ["--pairs", world.pairs, *LONG_NETWORK],
    }
    stage = {"network": "link"}.get(job, job.split()[0])
    return [stage, "--out", str(out), *flags[job]]


def _begun(job, out):
    """Whether a second chunk is noted, or an epoch kept."""
    if job == "network":
        return any(path.name.isdigit() for path in manifest.partial(out).glob("work/mlp/*"))
    notes = manifest.partial(out) / "done.jsonl"
    return notes.exists() and notes.read_bytes().count(b"\n") > 1


@pytest.fixture(scope="module")
def broken_off(world, tmp_path_factory):
    """Jobs of two processes begin; one process of each is killed after the first note.

    Side by side, for the others wait before they give up. By job: the folder, how the other ended, and when.
    """
    started = open_mpi(0)  # of the second job, which finds itself by Open MPI's variables
    environments = {job: processes.job() for job in VICTIMS} | {"pairs again": [started, {**started, **_ranked(1)}]}
    outs = {job: tmp_path_factory.mktemp("killed") / job.split()[0] for job in VICTIMS}
    running, killed, ended = {}, {}, {}
    for job, out in outs.items():
        command = ["-m", "linkjax.cli", *_broken_command(job, world, out)]
        running[job] = [processes.start(command, each) for each in environments[job]]

    def kill_those_begun():
        for job, out in outs.items():
            if job not in killed and _begun(job, out):
                running[job][VICTIMS[job]].send_signal(signal.SIGKILL)
                killed[job] = time.monotonic()
        return len(killed) == len(outs)

    try:
        processes.wait_until(kill_those_begun)
        for job, out in outs.items():
            survivor = processes.ended(running[job][1 - VICTIMS[job]])
            ended[job] = out, survivor, time.monotonic() - killed[job]
            assert processes.ended(running[job][VICTIMS[job]]).code == -signal.SIGKILL
            assert not out.exists() and manifest.partial(out).exists()
    finally:
        for process in itertools.chain(*running.values()):
            process.kill()
    return ended


@pytest.mark.parametrize("job", VICTIMS)
def test_when_one_of_two_is_killed_the_other_says_so_within_a_minute(broken_off, job):
    _, survivor, seconds = broken_off[job]
    assert survivor.code == 1 and seconds < 60, survivor
    [line] = [line for line in survivor.err.splitlines() if line.startswith("linkjax: ")]
    assert f"process {VICTIMS[job]} of 2 stopped answering; the same command goes on where it was" in line
    assert "Traceback" not in survivor.err and "Check failure" not in survivor.err


@pytest.mark.parametrize(("job", "batch"), [("pairs", PAIRS[-1:]), ("sweep", ["4"])])
def test_one_process_goes_on_with_what_two_began(world, broken_off, job, batch):
    out = broken_off[job][0]
    do(*_broken_command(job, world, out)[:-1], *batch)
    assert_same(out, getattr(world, job), job)


def test_one_process_goes_on_with_the_network_that_two_began_to_train(world, broken_off, tmp_path):
    out = broken_off["network"][0]
    do(*_broken_command("network", world, out))
    do(*_broken_command("network", world, tmp_path / "whole"))
    pairs = artifacts.Artifact(world.pairs, "pairs")
    r = pairs.read("r")
    found, expected = (np.asarray(linkjax.load(path)(r)) for path in (out, tmp_path / "whole"))
    assert np.abs(found - expected).max() < tolerances.STAGE_DEVICES * np.abs(expected).max()


def test_killed_once_more_two_go_on_with_what_one_did(world, broken_off, killed_after):
    """The two that go on find themselves by Slurm's variables."""
    out = broken_off["pairs again"][0]
    killed_after(12)
    command = ["pairs", *world.models, "--out", str(out), *PAIRS]
    assert main(command) == 1
    job = processes.free_port()
    ended = processes.run_together([command], [slurm(0, job), slurm(1, job)])
    assert [each.code for each in ended] == [0, 0], ended
    assert_same(out, world.pairs, "pairs")


def test_an_error_is_said_by_the_process_that_has_it_and_ends_both(world):
    command = ["pairs", *world.models, "--out", world.pairs, *PAIRS]
    ended = processes.run_together([command], processes.job())
    assert [each.code for each in ended] == [2, 2], ended
    assert "linkjax: process 0 of 2: " in ended[0].err and "exists already" in ended[0].err
    assert ended[0].err.count("\n") == 1 and ended[1].err == ""
