"""The settings of `linkjax name`."""

import dataclasses
from typing import ClassVar, Literal

from linkjax.config import PathName, positive
from linkjax.errors import InputError


@dataclasses.dataclass(frozen=True)
class Config:
    """Name units by words: what raising each adds to pictures, and what is in the pictures in which it is high."""

    stage: ClassVar[str] = "name"  # the table of its settings in a TOML

    out: PathName
    """Folder to make: arrays and names.csv."""
    sweep: PathName
    """Folder of `linkjax sweep`, of this version or later."""
    embedder: PathName
    """Folder of `linkjax convert embedder`."""
    words: PathName | None = None
    """File of other words with vectors of the same text tower (.npz: word, vector, neutral); none: those in the
    embedder's folder."""
    parts: tuple[str, ...] = ()
    """Name too what raising a unit does to these parts alone, each cut out of pictures by the segmenter: ear, tail."""
    segmenter: PathName | None = None
    """Folder of the segmenter, for parts; none: the one the sweep was made with."""
    generator: PathName | None = None
    """Folder of the generator; none: the one the sweep was made with."""
    classifier: PathName | None = None
    """Folder of the classifier that a sweep of readouts was made with; none: the one it names."""
    link: PathName | None = None
    """Folder of the link; none: the one the sweep was made with."""
    pairs: PathName | None = None
    """Folder of the pairs; none: those the sweep was made with."""
    encoding: PathName | None = None
    """Folder of `linkjax encode`, of a sweep of photographs; none: the one the sweep was made with."""
    samples: int | None = None
    """Anchors per class, at most those of the sweep; none: all of them."""
    images: int = 1000
    """Samples of the pairs, spread over all, drawn again and shown to the embedder, for the names by observation; 0:
    none."""
    top: int = 100
    """Pictures in which a unit is highest that its name by observation is of, at most a tenth of the images."""
    fdr: float = 0.05
    """Expected share of false names among the names, for each way of naming, 0 … 1."""
    draws: int = 10000
    """Random directions, and random lists of pictures, that a name is held against."""
    seed: int = 0
    """Of these."""
    batch_size: int | Literal["auto"] = "auto"
    """Images drawn at once, over all devices; results do not depend on it."""

    def __post_init__(self) -> None:
        positive(draws=self.draws, top=self.top, samples=1 if self.samples is None else self.samples)
        positive(batch_size=1 if self.batch_size == "auto" else self.batch_size)
        if self.images < 0:
            raise InputError(f"images: expected 0 or more, found {self.images}")
        if not 0 < self.fdr < 1:
            raise InputError(f"fdr: expected a share above 0 and below 1, found {self.fdr}")
        if len(set(self.parts)) < len(self.parts):
            raise InputError(f"parts: expected different parts, found {', '.join(self.parts)}")
