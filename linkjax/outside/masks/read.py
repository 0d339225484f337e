"""Find masks, recognise their formats, and check that they fit the pictures."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from linkjax.errors import InputError
from linkjax.outside.masks import coco, labelme, parsing, raster

#: A text file beside the masks with a part's name on each line, in the order of the labels.
NAMES_FILE = "parts.txt"
_SUFFIXES = (".png", ".npy", ".json")
_MOST_PARTS = 200
_NAMED = 5  # files, parts and pictures named in one sentence, at most


class Masks(NamedTuple):
    """Labelled pictures: those in whose masks something is painted."""

    labels: dict[str, np.ndarray]  # picture's file stem → [size, size] int64; −1: not labelled
    part_names: tuple[str, ...]  # by label; the background is the first
    blank: tuple[str, ...] = ()  # pictures whose masks hold nothing but the background: not labelled
    absent: tuple[str, ...] = ()  # parts that no mask holds
    others: tuple[str, ...] = ()  # files of other kinds beside the masks

    def warnings(self) -> list[str]:
        """What a user should know of these masks, a sentence each."""
        said = []
        if self.absent:
            said.append(f"no mask holds {_list(self.absent)}: nothing will be found of it")
        if self.blank:
            said.append(f"nothing is painted in the mask of {_list(self.blank)}: not counted as labelled")
        if self.others:
            said.append(f"{len(self.others)} files of other kinds beside the masks passed over: {_list(self.others)}")
        return said


def read(path: Path, pictures: Sequence[str], size: int, part_names: Sequence[str] = ()) -> Masks:
    """All masks in a folder, or in one COCO file.

    A picture whose mask holds nothing but the background counts as not labelled, unless a shape says so ("background").

    Args:
      path: a folder with masks named as the pictures, or with one COCO JSON; or that file.
      pictures: stems of the pictures' file names, such as "000123".
      size: side of the pictures in pixels.
      part_names: names by label; without them those of `parts.txt` beside the masks, else what the masks say.
    Raises: InputError with one sentence on the first thing that does not fit.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: expected a folder of masks, found nothing there")
    files, others = _files(path)
    wanted = tuple(part_names) or names_file(path if path.is_dir() else path.parent)
    if not files:
        seen = f"only {len(others)} files of other kinds ({_list(others)})" if others else "none"
        raise InputError(f"{path}: expected masks (.png, .npy, .json), found {seen}")
    contents = {file: parsing.read_json(file, "a mask") for file in files if file.suffix.lower() == ".json"}
    whole = [file for file, content in contents.items() if "annotations" in content]
    if whole:
        if len(files) > 1:
            raise InputError(f"{path}: expected one COCO file alone, found {len(files)} masks; name it with --masks")
        labels, names = coco.read(whole[0], contents[whole[0]], size, wanted)
        blank = []
    else:
        names = wanted or _names_of(contents)
        labels, blank = _read_each(path, files, contents, size, names)
    return _checked(path, Masks(labels, names, tuple(blank), (), others), pictures)


def names_file(folder: Path) -> tuple[str, ...]:
    """Part names in `parts.txt` of a folder, one a line; none if there is no such file.

    Raises: InputError if it is no text in UTF-8.
    """
    file = folder / NAMES_FILE
    if not file.is_file():
        return ()
    lines = re.split("\r\n|\r|\n", parsing.read_text(file, "a text with a part's name on each line"))
    return tuple(line.strip() for line in lines if line.strip())


def _files(path: Path) -> tuple[list[Path], tuple[str, ...]]:
    """Masks, and the names of files that are none; hidden ones do not count."""
    if path.is_file():
        return ([path], ()) if path.suffix.lower() in _SUFFIXES else ([], (path.name,))
    found = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
    masks = [each for each in found if each.suffix.lower() in _SUFFIXES]
    return masks, tuple(each.name for each in found if each not in masks and each.name != NAMES_FILE)


def _read_each(
    path: Path, files: Sequence[Path], contents: Mapping[Path, Any], size: int, names: Sequence[str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Labels of every file in which something is painted, and the stems of the others."""
    labels: dict[str, np.ndarray] = {}
    blank: list[str] = []
    palettes: dict[Path, raster.Palette] = {}
    for file in files:
        if file.stem in labels or file.stem in blank:
            raise InputError(f"{path}: expected one mask for picture {file.stem}, found two of different formats")
        if file in contents:
            found = labelme.read(file, contents[file], size, names)
        elif file.suffix.lower() == ".npy":
            found = raster.read_npy(file, size)
        else:
            found, palette = raster.read_indexed(file, size)
            if palette is not None:
                palettes[file] = palette
        if found is None or (file not in contents and found.max() == 0):
            blank.append(file.stem)
        else:
            labels[file.stem] = found
    raster.check_palettes(palettes)
    return labels, blank


def _names_of(contents: Mapping[Path, Any]) -> tuple[str, ...]:
    found = [name for file, content in contents.items() for name in labelme.names(file, content)]
    return parsing.names_from(sorted(found)) if contents else ()


def _checked(path: Path, found: Masks, pictures: Sequence[str]) -> Masks:
    labels, names = found.labels, found.part_names
    strangers = sorted({*labels, *found.blank} - set(pictures))
    if strangers:
        raise InputError(
            f"{path}: expected masks named as the pictures ({pictures[0]}, …), found {strangers[0]!r}, which is none"
        )
    occurring: set[int] = set().union(*(np.unique(each).tolist() for each in labels.values()))
    largest = max(occurring, default=0)
    names = names or _numbered(path, occurring)
    if len(names) < 2 or len(set(names)) != len(names):
        raise InputError(f"part-names: expected two different names or more, the background first, found {list(names)}")
    for stem, each in sorted(labels.items()):
        if int(each.max()) >= len(names):
            raise InputError(
                f"{path}: expected labels from 0 to {len(names) - 1} in the mask of {stem}, found {int(each.max())}; "
                "name all parts with --part-names"
            )
        if (each < 0).all():
            raise InputError(f"{path}: expected labelled pixels in the mask of {stem}, found none; remove the mask")
    if largest < 1:
        raise InputError(
            f"{path}: expected parts besides the background (labels 1, 2, …), found none in the masks of "
            f"{_list(sorted({*labels, *found.blank}))}"
        )
    absent = tuple(name for label, name in enumerate(names) if label and label not in occurring)
    return found._replace(labels=dict(sorted(labels.items())), part_names=names, absent=absent)


def _numbered(path: Path, occurring: set[int]) -> tuple[str, ...]:
    """Names of parts that nobody named: numbers up to the largest label."""
    largest, count = max(occurring, default=0), len([label for label in occurring if label > 0])
    if largest < 1:
        raise InputError(f"{path}: expected parts besides the background (labels 1, 2, …), found none")
    if largest >= _MOST_PARTS or 2 * count < largest:
        raise InputError(
            f"{path}: expected labels 0, 1, 2, … (255: not labelled), found {largest}, and {count} labels in all; if "
            f"these are grey levels, number the parts instead; if not, name all parts in {NAMES_FILE}"
        )
    return ("background", *(f"part {label}" for label in range(1, largest + 1)))


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
