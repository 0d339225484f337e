"""The configurations of the paper's experiments are read by the stages they are for."""

import tomllib
from pathlib import Path

import pytest

from linkjax import config
from linkjax.models.classifier_spec import ARCHITECTURES
from linkjax.stages import PIPELINE, settings_of_stages

FILES = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))
STAGES = settings_of_stages()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_experiment_gives_valid_settings_to_every_stage(path):
    for stage in PIPELINE:
        settings = config.read_toml(path, stage.name, STAGES, alone=False)
        if stage.name in ("plan", "report", "name"):  # the last needs an embedder, of which none is the paper's
            continue
        made = config.from_command_line(stage.module.Config, ["--out", "x"], settings, prog=stage.name)
        if stage.name == "pairs":
            assert len(made.classes) == len(made.class_names) and all(made.class_names)
            assert made.n_train == 5000 and made.truncation == 0.7
            classes = made.classes
        if stage.name == "segment":
            assert made.classes == classes  # the pictures that `segment --config FILE --draw 20` gives to label
        if stage.name in ("screen", "sweep"):
            assert made.directions == "kernel"  # the paper's; steer otherwise
            assert stage.module.Config(*["x"] * 5).directions == "steer"
        if stage.name == "sweep":
            assert made.range == "link" and stage.module.Config(*["x"] * 5).range == "class"
    architecture = Path(tomllib.loads(path.read_text(encoding="utf-8"))["shared"]["classifier"]).name
    assert architecture in ARCHITECTURES
    assert f"--arch {architecture}" in path.read_text(encoding="utf-8")


def test_the_papers_four_groups_and_five_classifiers_are_there():
    assert len(FILES) == 8
    assert {path.stem.split("_")[0] for path in FILES} == {"dogs", "fungi", "birds", "cars"}
    assert {path.stem.split("_", 1)[1] for path in FILES} >= {"resnet50", "vgg16", "alexnet", "densenet201"}
