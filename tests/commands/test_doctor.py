import re

import numpy as np
import pytest

from linkjax import cli
from linkjax.commands import doctor

COMPILED = "as shipped"


@pytest.fixture(scope="module")
def measured():
    return doctor.measure()


def test_the_self_check_gives_the_stored_numbers(measured):
    errors = doctor.deviations(measured)
    assert errors.keys() == measured.keys()
    assert all(doctor.sample(measured[name]).size == len(stored) for name, stored in doctor.STORED.items())
    assert max(errors.values()) <= doctor.TOLERANCE / 5


def test_weights_of_tf32_s_precision_are_noticed(monkeypatch):
    def short(x):
        """Ten bits after the point, as TF32 keeps."""
        scale = 2.0 ** (np.floor(np.log2(np.maximum(np.abs(x), 1e-30))) - 10)
        return (np.round(x / scale) * scale).astype(np.float32)

    fixed = doctor._fixed
    monkeypatch.setattr(doctor, "_fixed", lambda *args: short(fixed(*args)))
    errors = doctor.deviations(doctor.measure())
    for name in ("w", "images", "r", "scores"):
        assert errors[name] > doctor.TOLERANCE, name


def test_the_command_prints_the_installation_and_ends_well(measured, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "measure", lambda: measured)
    assert cli.main(["doctor"]) == 0
    said = capsys.readouterr().out
    for part in (
        "linkjax ",
        "jax ",
        "devices",
        "8 ×",
        "highest precision",
        "GiB",
        "compile cache",
        "free in",
        "1 process",
        "passed",
    ):
        assert part in said, part


@pytest.mark.parametrize("wrong", [lambda x: x * 1.001, lambda x: x * np.nan], ids=["off", "not finite"])
def test_a_number_that_is_off_is_named_with_exit_code_1(measured, wrong, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "measure", lambda: measured | {"images": wrong(measured["images"])})
    assert cli.main(["doctor"]) == 1
    captured = capsys.readouterr()
    assert re.search(r"OFF\s+images", captured.out)
    assert "off in images" in captured.err and captured.err.count("\n") == 1


def test_the_command_takes_no_flags(capsys):
    assert cli.main(["doctor", "--fast"]) == 2
    assert "no flags" in capsys.readouterr().err
    assert cli.main(["doctor", "--help"]) == 0
    assert "self-check" in capsys.readouterr().out
