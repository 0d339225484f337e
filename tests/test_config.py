import dataclasses
import tomllib
from pathlib import Path
from typing import Literal

import pytest

from linkjax import config
from linkjax.errors import InputError
from linkjax.stages import PIPELINE


@dataclasses.dataclass(frozen=True)
class Config:
    """A stage."""

    out: str
    """Folder to make."""
    classes: tuple[int, ...] | Literal["all"] = "all"
    n_train: int = 3
    note: str = ""
    rate: float = 0.5
    quick: bool = False
    names: tuple[str, ...] = ()
    maybe: float | None = None
    pairs: config.PathName | None = None


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Another stage."""

    out: config.PathName
    steps: int = 3
    classes: tuple[int, ...] = ()
    readouts: tuple[config.PathOrWord, ...] = ()


STAGES = {"pairs": Config, "sweep": Sweep}


def write(tmp_path, text):
    path = tmp_path / "experiment.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_flags_beat_the_file_and_the_file_beats_the_defaults(tmp_path):
    path = write(tmp_path, "[shared]\nclasses = [4, 5]\n[pairs]\nn_train = 7\nnote = 'from the file'\n")
    settings = config.read_toml(path, "pairs", STAGES)
    made = config.from_command_line(Config, ["--out", "x", "--n-train", "9"], settings, prog="linkjax pairs")
    assert made == Config(out="x", classes=(4, 5), n_train=9, note="from the file")


def test_a_shared_key_reaches_only_stages_that_have_it(tmp_path):
    path = write(tmp_path, "[shared]\nclasses = [4]\nsteps = 5\n")
    assert config.read_toml(path, "pairs", STAGES) == {"classes": [4]}
    assert config.read_toml(path, "sweep", STAGES) == {"classes": [4], "steps": 5}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pears]\n", "did you mean 'pairs'"),
        ("[pairs]\nn_trian = 1\n", "did you mean 'n_train'"),
        ("[shared]\nclases = [1]\n", "did you mean 'classes'"),
        ("classes = [1]\n", r"put it under \[shared\]"),
        ("[pairs\n", "expected TOML"),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path, text, said):
    with pytest.raises(InputError, match=said):
        config.read_toml(write(tmp_path, text), "pairs", STAGES)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.toml: cannot read"):
        config.read_toml(tmp_path / "nowhere.toml", "pairs", STAGES)


def test_resolved_settings_can_be_fed_back(tmp_path):
    made = Config(
        out="x", classes=(1, 2), note='quotes " and \\ and\nnewline, ü', rate=1e-7, quick=True, names=("a b",)
    )
    path = tmp_path / "config.toml"
    config.write_toml(path, "pairs", made)
    settings = config.read_toml(path, "pairs", STAGES)
    again = config.from_command_line(Config, ["--out", "x"], settings, prog="linkjax pairs")
    assert again == made
    assert tomllib.loads(path.read_text(encoding="utf-8"))["pairs"]["rate"] == 1e-7


def test_a_wrong_flag_exits_with_2(capsys):
    with pytest.raises(SystemExit) as stop:
        config.from_command_line(Config, ["--out", "x", "--n-train", "many"], {}, prog="linkjax pairs")
    assert stop.value.code == 2
    assert "many" in capsys.readouterr().err


def test_folders_in_a_file_count_from_the_file_and_those_of_flags_do_not(tmp_path, monkeypatch):
    (tmp_path / "configs").mkdir()
    (tmp_path / "elsewhere").mkdir()
    path = write(tmp_path / "configs", '[shared]\npairs = "../runs/pairs"\n[pairs]\nnote = "../runs"\n')
    monkeypatch.chdir(tmp_path / "elsewhere")
    settings = config.read_toml(path, "pairs", STAGES)
    assert settings == {"pairs": str(tmp_path / "runs" / "pairs"), "note": "../runs"}
    monkeypatch.chdir(tmp_path)
    assert config.read_toml(Path("configs/experiment.toml"), "pairs", STAGES)["pairs"] == "runs/pairs"
    made = config.from_command_line(Config, ["--out", "x", "--pairs", "here"], settings, prog="linkjax pairs")
    assert made.pairs == "here"


def test_what_is_written_beside_a_result_names_the_same_folders_wherever_both_are_moved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("runs/pairs", "runs/link.partial"):
        (tmp_path / name).mkdir(parents=True)
    config.write_toml(Path("runs/link.partial/config.toml"), "pairs", Config(out="runs/link", pairs="runs/pairs"))
    (tmp_path / "runs").rename(tmp_path / "moved")
    read = config.read_toml(Path("moved/link.partial/config.toml"), "pairs", STAGES)["pairs"]
    assert Path(read).resolve() == tmp_path / "moved" / "pairs"


def test_words_of_a_list_that_name_files_count_from_the_toml_file_and_others_stay(tmp_path, monkeypatch):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "probes.npz").write_bytes(b"")
    path = write(tmp_path / "there", '[sweep]\nreadouts = ["logits", "0:1", "probes.npz"]\n')
    monkeypatch.chdir(tmp_path)
    settings = config.read_toml(Path("there/experiment.toml"), "sweep", STAGES)
    assert settings == {"readouts": ["logits", "0:1", "there/probes.npz"]}
    made = config.from_command_line(Sweep, ["--out", "x"], settings, prog="linkjax sweep")
    config.write_toml(path, "sweep", made)
    monkeypatch.chdir(tmp_path / "there")
    again = config.read_toml(Path(path.name), "sweep", STAGES)
    assert again["readouts"] == ["logits", "0:1", "probes.npz"]


def test_dots_behind_a_link_to_a_folder_lead_where_the_system_says(tmp_path, monkeypatch):
    (tmp_path / "deep" / "configs").mkdir(parents=True)
    (tmp_path / "configs").symlink_to(tmp_path / "deep" / "configs")
    write(tmp_path / "deep" / "configs", '[pairs]\npairs = "../runs"\n')
    monkeypatch.chdir(tmp_path)
    read = config.read_toml(Path("configs/experiment.toml"), "pairs", STAGES)["pairs"]
    assert Path(read).resolve() == tmp_path / "deep" / "runs"


def test_a_file_of_another_stage_alone_is_named_as_such(tmp_path):
    path = write(tmp_path, "[pairs]\nn_train = 2\n")
    with pytest.raises(InputError, match=r"settings of sweep or \[shared\] ones, found only those of pairs"):
        config.read_toml(path, "sweep", STAGES)
    assert config.read_toml(path, "sweep", STAGES, alone=False) == {}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["0-3", "12"], (0, 1, 2, 3, 12)),
        (["1,2,3"], (1, 2, 3)),
        (["7", "0-1,4"], (7, 0, 1, 4)),
        (["5"], (5,)),
        (["all"], "all"),
    ],
)
def test_numbers_of_a_list_may_be_ranges_and_joined_by_commas(words, found, tmp_path):
    made = config.from_command_line(Config, ["--out", "0-3", "--classes", *words], {}, prog="linkjax pairs")
    assert (made.classes, made.out) == (found, "0-3")
    joined = config.from_command_line(Config, ["--out", "x", "--classes=0-1,4"], {}, prog="linkjax pairs")
    assert joined.classes == (0, 1, 4)
    path = write(tmp_path, f"[pairs]\nclasses = {words}\n")
    settings = config.read_toml(path, "pairs", STAGES)
    assert config.from_command_line(Config, ["--out", "x"], settings, prog="linkjax pairs").classes == found


@pytest.mark.parametrize("word", ["9-0", "0-99999999999"])
def test_a_range_that_is_none_is_one_sentence(word):
    with pytest.raises(InputError, match="--classes: expected a range from its lower number"):
        config.from_command_line(Config, ["--out", "x", "--classes", word], {}, prog="linkjax pairs")


@pytest.mark.parametrize("stage", PIPELINE, ids=lambda stage: stage.name)
def test_the_settings_of_a_stage_name_the_table_that_the_command_line_reads(stage):
    assert stage.module.Config.stage == stage.name
