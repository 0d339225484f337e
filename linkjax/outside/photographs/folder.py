"""A folder of photographs; its subfolders name groups."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from linkjax.errors import InputError
from linkjax.outside.photographs.decode import Item
from linkjax.storage import manifest

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", ".ppm")


class Folder:
    """The image files below a folder, in the order of their paths.

    Hidden files and files with other suffixes are passed over and counted in `others`; a link without a suffix that
    leads nowhere is a file that cannot be read.

    Args:
      path: the folder; symbolic links below it are followed.
      samples: at most so many, evenly spread over the sorted paths; 0 for all.
    Raises: InputError if there is no such folder, if it cannot be read, or if there is no image file in it.
    """

    def __init__(self, path: str | Path, samples: int = 0):
        self.path = Path(path).expanduser().absolute()
        if not self.path.is_dir():
            found = "a file" if self.path.exists() else "nothing there"
            raise InputError(f"{self.path}: expected a folder of photographs, found {found}")
        names, self.others = _find(self.path)
        if not names:
            seen = f"only {self.others} of another kind" if self.others else "none"
            raise InputError(
                f"{self.path}: expected files of photographs ({', '.join(SUFFIXES[:4])}, …) in it, found {seen}"
            )
        if 0 < samples < len(names):
            names = [names[row] for row in np.unique(np.linspace(0, len(names) - 1, samples).round().astype(int))]
        self.names = names
        first = [_shown(name.parts[0]) if len(name.parts) > 1 else None for name in names]
        self.groups = tuple(sorted({each for each in first if each is not None}))
        self.numbered = False  # whether a group's place is its class id
        place = {group: index for index, group in enumerate(self.groups)}
        self._group = [-1 if each is None else place[each] for each in first]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def identity(self) -> str:
        """Changes when a file is added, removed, renamed or resized, or its time of change moves."""
        states = [_state(self.path / name) for name in self.names]
        rows = [(str(name), state.st_size, state.st_mtime_ns) for name, state in zip(self.names, states, strict=True)]
        return manifest.fingerprint(rows)

    def name(self, row: int | np.integer) -> str:
        """A photograph's path below the folder; bytes that are no UTF-8 escaped."""
        return _shown(str(self.names[row]))

    def items(self, rows: Sequence[int] | np.ndarray) -> Iterator[Item]:
        """The photographs in some rows."""
        for row in rows:
            yield Item(self.name(row), self.path / self.names[row], self._group[row])


def _shown(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _state(path: Path) -> os.stat_result:
    """Of a link whose file is not there, or that leads to itself, that of the link: it is read as unreadable later."""
    try:
        return path.stat()
    except OSError:
        return path.lstat()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _leads_nowhere(path: Path) -> bool:
    """A link whose file is not there, as data sets under version control have them: what it was nobody knows."""
    return path.is_symlink() and not os.path.exists(path)


def _find(root: Path) -> tuple[list[Path], int]:
    """Image files below `root`, relative to it and sorted, and how many other files there are."""
    found: list[Path] = []
    others = 0
    waiting, seen = [root], {root.resolve()}
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            raise InputError(
                f"{folder}: cannot be read ({error.strerror}); change its permissions, or move it"
            ) from None
        for entry in entries:
            path = folder / entry.name
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                if path.resolve() not in seen:  # a link may lead back up
                    seen.add(path.resolve())
                    waiting.append(path)
            elif path.suffix.lower() in SUFFIXES or (not path.suffix and _leads_nowhere(path)):
                found.append(path.relative_to(root))
            else:
                others += 1
    return sorted(found, key=str), others
