"""Photographs of sorts, in the formats and odd shapes people have."""

from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, height: int = 40, width: int = 60) -> np.ndarray:
    """A smooth coloured pattern, uint8 [height, width, 3]."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3)).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))


def folder(root: Path, count: int = 12, groups: tuple[str, ...] = ("class 0", "Class_1", "others")) -> Path:
    """Photographs in subfolders, and files that are none."""
    for index in range(count):
        where = root / groups[index % len(groups)]
        where.mkdir(parents=True, exist_ok=True)
        image = picture(index, 40 + 3 * index, 90 - 4 * index)
        Image.fromarray(image).save(where / f"{index:02d}.{('jpg', 'png', 'webp')[index % 3]}")
    (root / "readme.txt").write_text("not a photograph")
    (root / ".hidden.jpg").write_bytes(b"of a file browser")
    return root
