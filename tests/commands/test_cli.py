import importlib.metadata

import pytest

from linkjax.cli import main
from linkjax.stages import PIPELINE


@pytest.mark.parametrize("stage", PIPELINE, ids=lambda stage: stage.name)
def test_every_stage_explains_its_flags_with_defaults(stage, capsys):
    assert main([stage.name, "--help"]) == 0
    said = capsys.readouterr().out
    assert "--out" in said and "default" in said
    assert "(no description)" not in said
    assert all(flag in said for flag in ("--config", "--coordinator", "--processes", "--process "))


def test_a_whole_run_has_the_flags_of_every_stage(capsys):
    assert main(["run", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(flag in said for flag in ("--config", "--coordinator", "--processes", "--process "))


def test_help_of_every_command_that_is_no_stage_exits_with_0(capsys):
    for command in (
        "convert",
        "convert generator",
        "convert classifier",
        "convert module",
        "convert segmenter",
        "atlas",
        "demo",
        "doctor",
        "label",
    ):
        assert main([*command.split(), "--help"]) == 0
    assert main(["convert"]) == 2


def test_help_lists_every_stage_and_no_command_is_wrong_use(capsys):
    assert main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(stage.name in said for stage in PIPELINE) and "convert generator" in said
    assert main([]) == 2


def test_the_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == importlib.metadata.version("linkjax")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pear"], "did you mean 'pairs'"),
        (["pairs", "--config"], "a TOML file after it"),
        (["pairs", "--config", "nowhere.toml", "--out", "x"], "cannot read"),
        (["pairs", "--generator", "nowhere", "--classifier", "nowhere", "--out", "x"], "nothing there"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_missing_required_flag_is_wrong_use(capsys):
    assert main(["pairs"]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_failure_of_the_machine_is_exit_code_1(monkeypatch, capsys):
    from linkjax.stages import link

    def full(config):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(link, "run", full)
    assert main(["link", "--pairs", "x", "--out", "y"]) == 1
    assert "No space left on device" in capsys.readouterr().err
