"""An exclusive lock on an output folder being made: held by one run, released when the run ends, however it ends."""

import contextlib
import errno
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import filelock

from linkjax.devices import cluster
from linkjax.errors import InputError
from linkjax.storage import manifest as manifests

LOCK = "lock"
RUN = "run.json"  # in the folder of a run that can be resumed: what run it is
_HELD = ".lock"  # in a folder that exists already, while it is held
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)  # some network file systems know none


class Claim:
    """A folder being made at `partial`, which `publish` gives its name; a context manager.

    The lock is the system's: it ends with the process, so a killed run leaves none behind. Of several processes the
    first takes it for all.

    Args:
      path: the folder to make; must not exist.
      resumable: what an earlier run left there is kept; else it is removed, now and when this one fails.
    Raises: InputError if the folder exists, cannot be made, or is being made by another run.
    """

    def __init__(self, path: Path, resumable: bool = True):
        self.path = Path(path).absolute()
        self.partial = manifests.partial(self.path)
        self.resumable = resumable
        self._lock = _lock(self.partial / LOCK)
        cluster.on_first(self._open)

    def _open(self) -> None:
        must_be_new(self.path)
        try:
            self.partial.mkdir(parents=True, exist_ok=True)
            (self.partial / LOCK).touch()
        except OSError as error:
            raise InputError(f"{self.path}: cannot write here ({error.strerror}); give another --out") from None
        try:
            self._take()
            must_be_new(self.path)  # another run may have finished it meanwhile
            if not self.resumable:
                self._empty()
        except InputError:
            self._lock.release()
            if self.path.exists():  # then the folder beside it is of no run, and was made a moment ago
                (self.partial / LOCK).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    self.partial.rmdir()
            raise

    def publish(self) -> None:
        """Give the folder its name: from here on it is whole.

        Raises: InputError if something of that name was made meanwhile; the work is kept.
        """
        cluster.on_first(self._publish)

    def _publish(self) -> None:
        if os.name == "nt":  # Windows renames no folder in which a file is open
            self.release()
        try:
            os.rename(self.partial, self.path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise
            raise InputError(
                f"{self.path} was made by someone else meanwhile; move it away and repeat this command, which has kept "
                f"its work in {self.partial.name}"
            ) from None
        # The lock goes last: whoever waits for it finds the finished folder.
        (self.path / LOCK).unlink(missing_ok=True)
        self.release()

    def release(self) -> None:
        """Let another run have it."""
        self._lock.release()

    def __enter__(self) -> "Claim":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock.is_locked and not self.resumable:
            shutil.rmtree(self.partial, ignore_errors=True)
        self.release()

    def _take(self) -> None:
        try:
            self._lock.acquire()
        except filelock.Timeout:  # held by another run, or gone with it a moment ago
            must_be_new(self.path)
            raise InputError(_BUSY.format(path=self.path)) from None
        except FileNotFoundError:  # the other run gave the folder its name between two lines
            must_be_new(self.path)
            raise
        except (OSError, NotImplementedError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            print(
                f"linkjax: {self.path.parent} is on a file system without locks, so that a second run into "
                f"{self.path.name} would not be noticed",
                file=sys.stderr,
            )

    def _empty(self) -> None:
        if (self.partial / RUN).exists():
            raise InputError(
                f"{self.partial}: another unfinished run lies here; repeat its command to resume it, remove "
                "the folder, or give another --out"
            )
        for leftover in self.partial.iterdir():
            if leftover.name != LOCK:
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()


_BUSY = "{path}: another run is writing it now; wait for it, or give another --out"


@contextlib.contextmanager
def held(folder: Path, advice: str) -> Iterator[None]:
    """Lock a folder that exists for this process.

    Raises: InputError if another one has it.
    """
    path = folder / _HELD
    lock = _lock(path)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise InputError(f"{folder}: another run is writing it now; {advice}") from None
    except (OSError, NotImplementedError):
        pass  # a file system without locks
    try:
        yield
    finally:
        if lock.is_locked:
            path.unlink(missing_ok=True)
        lock.release()


def must_be_new(path: Path) -> None:
    """Refuse to overwrite what is there; asked before the work, and again before writing.

    Raises: InputError if `path` exists.
    """
    if Path(path).exists():
        raise InputError(f"{path} exists already; give another --out, or remove it first")


def _lock(path: Path) -> filelock.BaseFileLock:
    """A lock of the system on a file: had at once or not at all, and given up with the process."""
    return filelock.FileLock(path, timeout=0, thread_local=False)
