"""Pictures to label and their masks on disk; what the page may read and write."""

import os
import re
from pathlib import Path

import numpy as np
from PIL import Image

from linkjax.errors import InputError
from linkjax.outside.masks import raster
from linkjax.outside.masks.overlay import colour_of, palette
from linkjax.outside.masks.read import NAMES_FILE, names_file
from linkjax.storage import artifacts

UNLABELLED = 255  # in stored masks and on the page
_MOST_PARTS = 64


class Store:
    """Masks of a folder of pictures made by `linkjax segment --draw`: indexed PNG, written whole or not at all.

    Args:
      pictures: the folder of pictures.
      folder: where masks lie; made if missing.
      part_names: by label, the background first; those of `parts.txt` in the folder if none are given.
      unpainted: label of what nobody has painted, the background's (0) or `UNLABELLED`.
    Raises: InputError if there are no names, or other names than the masks there were drawn with.
    """

    def __init__(self, pictures: Path, folder: Path, part_names: tuple[str, ...] = (), unpainted: int = 0):
        found = artifacts.Artifact(Path(pictures), "pictures")
        self.pictures, self.unpainted = found, unpainted
        self.images, self.folder = found.path / "images", Path(folder).absolute()
        self.size = int(found.summary["resolution"])
        self.stems = tuple(f"{number:06d}" for number in range(found.summary["pictures"]))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"{self.folder}: cannot make this folder ({error.strerror}); give another") from None
        self.part_names = self._names(part_names)
        self._painted: dict[str, tuple[int, bool]] = {}  # stem → time of change, whether a part is painted

    def _names(self, given: tuple[str, ...]) -> tuple[str, ...]:
        file = self.folder / NAMES_FILE
        there = names_file(self.folder)
        if given and there and given != there:
            raise InputError(
                f"part-names: the masks in {self.folder} were drawn with {', '.join(there)}; give these, none, or "
                "another folder"
            )
        names = given or there
        if not names:
            raise InputError("part-names: expected the parts, the background first: --part-names background ear tail")
        if (
            not 2 <= len(names) <= _MOST_PARTS
            or len(set(names)) != len(names)
            or any(not name.strip() for name in names)
        ):
            raise InputError(f"part-names: expected from 2 to {_MOST_PARTS} different names, found {list(names)}")
        if not there:
            file.write_text("\n".join(names) + "\n", encoding="utf-8")
        return names

    def parts(self) -> list[dict[str, object]]:
        """Name and colour of every part, by label."""
        colours = [(0, 0, 0), *(colour_of(label) for label in range(1, len(self.part_names)))]
        return [{"name": name, "colour": colour} for name, colour in zip(self.part_names, colours, strict=True)]

    def labelled(self, stem: str) -> bool:
        """Whether a picture's mask says anything: a part is painted, or background where that is not the default."""
        file = self._mask(stem)
        if not file.is_file():
            return False
        changed = file.stat().st_mtime_ns
        if self._painted.get(stem, (0, False))[0] != changed:
            try:
                painted = bool((self.labels(stem) >= (0 if self.unpainted else 1)).any())
            except InputError:
                painted = True  # damaged: the page says so when it is opened
            self._painted[stem] = (changed, painted)
        return self._painted[stem][1]

    def picture(self, stem: str) -> bytes:
        """The picture as PNG.

        Raises: KeyError if there is none of this name.
        """
        return (self.images / f"{self.known(stem)}.png").read_bytes()

    def read(self, stem: str) -> bytes | None:
        """Labels row by row, a byte each; None if the picture has no mask.

        Raises: InputError if the mask there is damaged.
        """
        if not self._mask(self.known(stem)).is_file():
            return None
        labels = self.labels(stem)
        return np.where(labels < 0, UNLABELLED, labels).astype(np.uint8).tobytes()

    def write(self, stem: str, content: bytes) -> None:
        """Store labels as an indexed PNG; no file for a picture where nothing is painted, as after a stroke's undo.

        Raises: InputError if they are not of the picture's size, or not of these parts.
        """
        self.known(stem)
        labels = np.frombuffer(content, np.uint8)
        if labels.size != self.size**2:
            raise InputError(f"expected {self.size**2} labels, found {labels.size}")
        unknown = labels[(labels >= len(self.part_names)) & (labels != UNLABELLED)]
        if unknown.size:
            raise InputError(f"expected labels from 0 to {len(self.part_names) - 1}, found {unknown[0]}")
        if (labels == self.unpainted).all():
            self.remove(stem)
            return
        image = Image.fromarray(labels.reshape(self.size, self.size))
        image.putpalette(palette())
        temporary = self.folder / f".{stem}.new"
        image.save(temporary, format="PNG")
        os.replace(temporary, self._mask(stem))

    def remove(self, stem: str) -> None:
        """Forget a picture's mask."""
        self._mask(self.known(stem)).unlink(missing_ok=True)

    def labels(self, stem: str) -> np.ndarray:
        """The mask of a picture that has one: [size, size], −1 where nothing is labelled.

        Raises: InputError if it is damaged, or of other parts.
        """
        labels = raster.read_painted(self._mask(stem), self.size)
        if labels.max() >= len(self.part_names):
            raise InputError(f"{self._mask(stem)}: expected labels of these parts, found {labels.max()}")
        return labels

    def _mask(self, stem: str) -> Path:
        return self.folder / f"{stem}.png"

    def known(self, stem: str) -> str:
        """The name, which becomes part of a path, if it is one of a picture.

        Raises: KeyError if it is none.
        """
        if not re.fullmatch(r"\d{6}", stem) or stem not in self.stems:
            raise KeyError(stem)
        return stem
