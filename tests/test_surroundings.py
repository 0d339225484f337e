"""What a command finds around it must neither stop it nor end in a traceback."""

import io
import os
import subprocess
import sys

import jax
import pytest

from linkjax import compile_cache, surroundings
from linkjax.config import read_toml
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
