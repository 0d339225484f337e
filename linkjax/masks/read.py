"""Finding masks, telling their formats apart, and checking that they fit the pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from linkjax.errors import InputError
from linkjax.masks import coco, drawing, labelme, raster

#: A text file beside the masks with a part's name on each line, in the order of the labels.
NAMES_FILE = "parts.txt"
_MOST_PARTS = 200


class Masks(NamedTuple):
    """Labelled pictures."""

    labels: dict[str, np.ndarray]  # picture's file stem → [size, size] int64; −1: not labelled
    part_names: tuple[str, ...]  # by label; the background is the first


def read(path: Path, pictures: Sequence[str], size: int, part_names: Sequence[str] = ()) -> Masks:
    """All masks in a folder, or in one COCO file.

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
    files = [path] if path.is_file() else sorted(each for each in path.iterdir() if _is_mask(each))
    folder = path if path.is_dir() else path.parent
    wanted = tuple(part_names) or _names_file(folder)
    if not files:
        raise InputError(f"{path}: expected masks (.png, .npy, .json), found none")
    contents = {file: drawing.read_json(file, "a mask") for file in files if file.suffix == ".json"}
    whole = [file for file, content in contents.items() if "annotations" in content]
    if whole:
        if len(files) > 1:
            raise InputError(f"{path}: expected one COCO file alone, found {len(files)} masks; name it with --masks")
        labels, names = coco.read(whole[0], contents[whole[0]], size, wanted)
    else:
        names = wanted or _names_of(contents)
        labels = {}
        for file in files:
            if file.stem in labels:
                raise InputError(f"{path}: expected one mask for picture {file.stem}, found two of different formats")
            labels[file.stem] = _read_one(file, contents.get(file), size, names)
    return _checked(path, labels, pictures, names)


def _is_mask(file: Path) -> bool:
    return file.is_file() and file.suffix in (".png", ".npy", ".json") and not file.name.startswith(".")


def _read_one(file: Path, content: Any, size: int, names: Sequence[str]) -> np.ndarray:
    if content is not None:
        return labelme.read(file, content, size, names)
    return raster.read_png(file, size) if file.suffix == ".png" else raster.read_npy(file, size)


def _names_of(contents: dict[Path, Any]) -> tuple[str, ...]:
    found = [name for file, content in contents.items() for name in labelme.names(file, content)]
    return drawing.names_from(sorted(found)) if contents else ()


def _names_file(folder: Path) -> tuple[str, ...]:
    file = folder / NAMES_FILE
    if not file.is_file():
        return ()
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError):
        raise InputError(f"{file}: expected a text file with a part's name on each line") from None
    return tuple(line.strip() for line in lines if line.strip())


def _checked(path: Path, labels: dict[str, np.ndarray], pictures: Sequence[str], names: tuple[str, ...]) -> Masks:
    strangers = sorted(set(labels) - set(pictures))
    if strangers:
        raise InputError(
            f"{path}: expected masks named as the pictures ({pictures[0]}, …), found {strangers[0]!r}, which is none"
        )
    largest = max(int(each.max()) for each in labels.values())
    if largest < 1 and not names:
        raise InputError(f"{path}: expected parts besides the background (labels 1, 2, …), found none")
    if not names:
        if largest >= _MOST_PARTS:
            raise InputError(
                f"{path}: expected labels 0, 1, 2, … (255: not labelled), found {largest}; if these are grey levels, "
                "number the parts instead"
            )
        names = ("background", *(f"part {label}" for label in range(1, largest + 1)))
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
    return Masks(dict(sorted(labels.items())), names)
