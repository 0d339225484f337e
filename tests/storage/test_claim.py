import fcntl
import os
import subprocess
import sys

import filelock
import pytest

from linkjax.errors import InputError
from linkjax.storage import claim, manifest
from linkjax.storage.claim import Claim


@pytest.mark.parametrize("resumable", [True, False])
def test_a_folder_is_made_by_one_run_at_a_time_and_then_is_there(tmp_path, resumable):
    path = tmp_path / "out"
    with Claim(path, resumable) as mine:
        with pytest.raises(InputError, match="another run is writing it now"):
            Claim(path, not resumable)
        (mine.partial / "file").write_text("x")
        mine.publish()
    assert [file.name for file in path.iterdir()] == ["file"]
    with pytest.raises(InputError, match="exists already"):
        Claim(path, resumable)
    assert not manifest.partial(path).exists()


def test_what_cannot_be_resumed_is_removed_when_it_fails_and_when_it_was_killed(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(OSError, match="disk"), Claim(path, resumable=False) as mine:
        raise OSError("disk")
    assert not mine.partial.exists()
    with Claim(path) as mine:
        (mine.partial / "folder").mkdir()
        (mine.partial / "folder" / "half").write_text("x")
    with Claim(path, resumable=False) as mine:
        assert [file.name for file in mine.partial.iterdir()] == [claim.LOCK]


def test_an_unfinished_run_that_could_be_resumed_is_not_removed_by_another_command(tmp_path):
    with Claim(tmp_path / "out") as mine:
        (mine.partial / claim.RUN).write_text("{}")
    with pytest.raises(InputError, match="another unfinished run lies here"):
        Claim(tmp_path / "out", resumable=False)
    assert (mine.partial / claim.RUN).exists()


@pytest.mark.parametrize("moment", ["before the lock is opened", "before it is taken"])
def test_who_comes_while_the_folder_gets_its_name_is_refused(tmp_path, monkeypatch, moment):
    """The other run finishes between this one's look at the folder and its lock."""
    path = tmp_path / "out"
    first = Claim(path)
    owner, name = (filelock.FileLock, "acquire") if "opened" in moment else (fcntl, "flock")
    given = getattr(owner, name)

    def late(*args):
        monkeypatch.setattr(owner, name, given)
        first.publish()
        return given(*args)

    monkeypatch.setattr(owner, name, late)
    with pytest.raises(InputError, match="exists already"):
        Claim(path)
    assert path.is_dir() and not manifest.partial(path).exists()


def test_work_is_kept_when_something_else_took_the_name(tmp_path):
    path = tmp_path / "out"
    with Claim(path) as mine:
        (mine.partial / "file").write_text("x")
        path.mkdir()
        (path / "other").write_text("y")
        with pytest.raises(InputError, match="made by someone else meanwhile"):
            mine.publish()
    assert (mine.partial / "file").exists() and [file.name for file in path.iterdir()] == ["other"]


def test_without_locks_it_goes_on_and_says_so(tmp_path, monkeypatch, capsys):
    def none(*_):
        raise OSError(claim.errno.ENOLCK, os.strerror(claim.errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    with Claim(tmp_path / "out") as mine:
        mine.publish()
    assert "without locks" in capsys.readouterr().err and (tmp_path / "out").is_dir()


def test_a_folder_that_exists_is_held_by_one_run(tmp_path):
    with claim.held(tmp_path, "wait"), pytest.raises(InputError, match="another run is writing it now; wait"):
        claim.held(tmp_path, "wait").__enter__()
    with claim.held(tmp_path, "wait"):
        pass
    assert not list(tmp_path.iterdir())


def test_models_can_be_loaded_where_there_is_no_fcntl():
    """As on Windows."""
    program = "import sys; sys.modules['fcntl'] = None; import linkjax.storage.loading, linkjax.storage.artifacts"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
