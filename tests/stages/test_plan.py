import json

import pytest

from linkjax.cli import main
from linkjax.stages import plan
from linkjax.storage import artifacts
from tests.stages.conftest import SWEEP, do


def test_the_plan_counts_what_the_stages_then_draw(world, tmp_path, capsys):
    experiment = tmp_path / "experiment.toml"
    experiment.write_text(
        f'[shared]\ngenerator = "{world.generator}"\nclassifier = "{world.classifier}"\n'
        "[pairs]\nn_train = 24\nn_val = 8\nn_test = 8\nbatch_size = 8\n"
        "[sweep]\nsamples = 1\nsteps = 3\npicture_units = 2\npicture_samples = 2\nrandom_directions = 4\n"
        "[depth]\nsamples = 400\n"
    )
    do("plan", "--config", experiment, "--out", tmp_path / "plan")
    assert "compiles in" in capsys.readouterr().out
    found = json.loads((tmp_path / "plan" / "plan.json").read_text())
    assert found["stages"]["pairs"]["images"] == 200
    assert found["stages"]["evaluate"]["images"] > 40
    assert found["stages"]["depth"]["images"] == 200
    sweep = artifacts.Artifact(world.sweep, "sweep").summary
    dead = sweep["dead_units"] * sweep["samples"] * sweep["steps"]
    assert found["stages"]["sweep"]["images"] == sweep["images"] + dead
    assert found["measured"]["seconds_per_image"] > 0 and found["measured"]["device_bytes"] > 0
    assert SWEEP[:4] == ["--samples", "1", "--steps", "3"]  # the sweep planned is the sweep run


def test_counting_alone_needs_no_run(world, capsys):
    do("plan", *world.models, "--no-measure")
    assert "30,000" in capsys.readouterr().out.replace("\u202f", ",")


def test_architectures_are_planned_by_name_before_there_are_weights(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    do("plan", "--generator", "imagenet16", "--classifier", "resnet18", "--no-measure", "--out", "plan")
    said = capsys.readouterr().out
    assert "planned for the architecture imagenet16, with random weights" in said
    found = json.loads((tmp_path / "plan" / "plan.json").read_text())["stages"]["pairs"]
    assert found["images"] == 1000 * 6000 and found["bytes_on_disk"] == 4 * (512 + 512) * 1000 * 6000
    (tmp_path / "some.toml").write_text('[shared]\ngenerator = "w/imagenet16"\nclassifier = "w/resnet18"\n')
    do("plan", "--config", "some.toml", "--no-measure")
    assert "no weights in w/resnet18 yet: planned for the architecture resnet18" in capsys.readouterr().out
    assert main(["plan", "--generator", "imagenet16", "--classifier", "resnet17", "--no-measure"]) == 2
    assert "did you mean 'resnet1" in capsys.readouterr().err


def test_a_plan_without_models_says_what_to_give(capsys):
    assert main(["plan"]) == 2
    assert "give --generator" in capsys.readouterr().err


@pytest.mark.parametrize(("seconds", "said"), [(3, "3 s"), (600, "10 min"), (7200, "2.0 h"), (200000, "2.3 days")])
def test_durations_read_well(seconds, said):
    assert plan.duration(seconds) == said
