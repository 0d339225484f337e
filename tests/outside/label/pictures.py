"""A folder of pictures as `linkjax segment --draw` writes it, without a generator."""

import dataclasses
from pathlib import Path

import numpy as np
from PIL import Image

from linkjax.storage import artifacts

SIZE = 16


@dataclasses.dataclass(frozen=True)
class Config:
    out: str


def pictures(folder: Path, count: int = 2) -> Path:
    rng = np.random.default_rng(0)
    with artifacts.Writer(folder, "pictures", Config(str(folder)), {"generator": "a1" * 32}) as writer:
        (writer.partial / "images").mkdir()
        for number in range(count):
            image = rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8)
            Image.fromarray(image).save(writer.partial / "images" / f"{number:06d}.png")
        writer.finish({"pictures": count, "resolution": SIZE, "w_dim": 4})
    return folder
