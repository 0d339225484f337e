"""Compiled programs kept on disk between runs: the command line turns this on, a notebook may call `enable`.

JAX's own switches come first: with `JAX_COMPILATION_CACHE_DIR` it lies where they say, and
`JAX_ENABLE_COMPILATION_CACHE=false` turns it off.
"""

import hashlib
import os
import platform
from pathlib import Path

import jax

_MOST_BYTES = 4 * 2**30  # beyond, the programs not used for longest go
_LEAST_SECONDS = 0.3  # of compilation; what is compiled faster is not worth a file


def enable() -> Path | None:
    """Keep compiled programs in `$XDG_CACHE_HOME/linkjax` (else `~/.cache/linkjax`), one folder per kind of processor.

    Programs are native code: whoever can write there can run code as you, and a program made on one processor may not
    run on another, so a home directory shared by different machines has a folder for each kind.

    Returns: the folder; None if the cache is off, if there is no home directory, or if the folder cannot be written or
      belongs to somebody else than this user and the administrator.
    """
    if not jax.config.jax_enable_compilation_cache:  # pyright: ignore[reportAttributeAccessIssue]
        return None
    chosen = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if chosen:
        return Path(chosen)
    try:
        caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = caches / "linkjax" / _processor()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError):  # RuntimeError: no HOME, and the user is in no list of users
        return None
    if not (os.access(folder, os.W_OK) and _own(folder)):
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    if _user_has_a_name():
        jax.config.update("jax_compilation_cache_max_size", _MOST_BYTES)
    else:  # with a limit JAX asks for the names of files' owners, and keeps nothing where there is none
        _trim(folder, _MOST_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _LEAST_SECONDS)
    return folder


def _own(folder: Path) -> bool:
    """Whether only this user and the administrator could have put programs there, as far as the owner tells."""
    return not hasattr(os, "getuid") or folder.stat().st_uid in (os.getuid(), 0)


def _user_has_a_name() -> bool:
    """Not so of a user id without an entry in the list of users, as containers are often given."""
    try:
        import pwd
    except ImportError:  # Windows, where JAX does not ask
        return True
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return False
    return True


def _trim(folder: Path, most_bytes: int) -> None:
    """Remove the oldest programs beyond a size; what another process has removed meanwhile is passed over."""
    kept = 0
    found = [(file, file.stat()) for file in folder.glob("*-cache") if file.exists()]
    for file, about in sorted(found, key=lambda each: each[1].st_mtime, reverse=True):
        kept += about.st_size
        if kept > most_bytes:
            file.unlink(missing_ok=True)


def _processor() -> str:
    """Names the kind of processor: its instruction set, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:12]}"
