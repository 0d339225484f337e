"""What a command finds around it must neither stop it nor end in a traceback."""

import io
import os
import subprocess
import sys

import jax
import pytest

from linkjax.cli import READER_LEFT, main
from linkjax.config import read_toml
from linkjax.devices import compile_cache, surroundings
from linkjax.errors import InputError
from linkjax.stages import settings_of_stages


def test_a_terminal_without_unicode_gets_question_marks(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    with pytest.raises(UnicodeEncodeError):
        print("R² per σ")
    surroundings.forgive_streams()
    print("R² per σ", flush=True)
    assert written.getvalue().endswith(b"R? per ?\n")


@pytest.mark.parametrize("command", ["--help", "convert --help"])
def test_a_reader_that_leaves_ends_a_command_without_a_word(command):
    reading, writing = os.pipe()
    os.close(reading)
    program = f"import sys; from linkjax.cli import main; sys.exit(main({command.split()}))"
    ended = subprocess.run([sys.executable, "-c", program], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert ended.stderr == b"" and ended.returncode in (0, 141)


def test_a_stage_whose_reader_left_stops_as_other_programs_do(monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    unread = open(writing, "w")  # noqa: SIM115 - closed below, where its flush goes nowhere
    monkeypatch.setattr(sys, "stdout", unread)

    def prints(config):
        print("x" * 100_000)

    monkeypatch.setattr("linkjax.stages.link.run", prints)
    assert main(["link", "--pairs", "x", "--out", "y"]) == READER_LEFT
    unread.close()


def test_a_broken_pipe_that_is_not_the_readers_is_a_failure(monkeypatch, capsys):
    def fails(config):
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("linkjax.stages.link.run", fails)
    assert main(["link", "--pairs", "x", "--out", "y"]) == 1
    assert "Broken pipe" in capsys.readouterr().err


def test_without_a_home_directory_there_is_no_compile_cache(monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(compile_cache.Path, "home", homeless)
    before = jax.config.jax_compilation_cache_dir
    try:
        jax.config.update("jax_compilation_cache_dir", None)
        assert compile_cache.enable() is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


def test_a_user_without_a_name_has_a_cache_that_is_trimmed_without_asking_for_owners(tmp_path, monkeypatch):
    for number in range(4):
        (tmp_path / f"{number}-cache").write_bytes(bytes(100))
        os.utime(tmp_path / f"{number}-cache", (number, number))
    compile_cache._trim(tmp_path, 250)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["2-cache", "3-cache"]
    pwd = pytest.importorskip("pwd", reason="no list of users on this system")
    monkeypatch.setattr(pwd, "getpwuid", lambda _: {}["nobody"])
    assert not compile_cache._user_has_a_name()


def test_debugging_of_nans_is_left_out_and_said(capsys):
    jax.config.update("jax_debug_nans", True)
    try:
        surroundings.allow_nans()
        assert not jax.config.jax_debug_nans
    finally:
        jax.config.update("jax_debug_nans", False)
    assert "JAX_DEBUG_NANS is not heeded" in capsys.readouterr().err


def test_a_device_that_is_not_there_is_one_sentence_and_exit_code_2():
    program = "import sys; from linkjax.cli import main; sys.exit(main(['doctor']))"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env={**os.environ, "JAX_PLATFORMS": "cuda"}
    )
    said = ended.stderr.strip().splitlines()
    assert ended.returncode == 2, ended.stderr
    assert said[-1].startswith("linkjax: JAX_PLATFORMS=cuda: expected such a device, found cpu alone")
    assert "Traceback" not in ended.stderr


def test_a_configuration_saved_on_windows_is_read(tmp_path):
    file = tmp_path / "experiment.toml"
    file.write_bytes(b'\xef\xbb\xbf[pairs]\r\ngenerator = "weights"\r\n')
    assert read_toml(file, "pairs", settings_of_stages()) == {"generator": str(tmp_path / "weights")}
    file.write_bytes('[pairs]\ngenerator = "weights"\n'.encode("utf-16"))
    with pytest.raises(InputError, match="expected TOML"):
        read_toml(file, "pairs", settings_of_stages())
