import dataclasses
import tomllib
from typing import Literal

import pytest

from linkjax import config
from linkjax.errors import InputError

STAGES = {"pairs": ["out", "classes", "n_train", "note"], "sweep": ["out", "steps", "classes"]}


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
    stages = {"pairs": [field.name for field in dataclasses.fields(Config)]}
    settings = config.read_toml(path, "pairs", stages)
    again = config.from_command_line(Config, ["--out", "x"], settings, prog="linkjax pairs")
    assert again == made
    assert tomllib.loads(path.read_text(encoding="utf-8"))["pairs"]["rate"] == 1e-7


def test_a_wrong_flag_exits_with_2(capsys):
    with pytest.raises(SystemExit) as stop:
        config.from_command_line(Config, ["--out", "x", "--n-train", "many"], {}, prog="linkjax pairs")
    assert stop.value.code == 2
    assert "many" in capsys.readouterr().err
