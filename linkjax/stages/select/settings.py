"""The settings of `linkjax select`."""

import dataclasses
from typing import ClassVar, Literal

from linkjax.analysis.units import (
    selection,
)
from linkjax.config import PathName, positive
from linkjax.errors import InputError

_VALUES = ("zero", "mean")  # what an ablated unit is set to


@dataclasses.dataclass(frozen=True)
class Config:
    """Rank units by what they change in which part: effects with intervals, tested, with their doubles named."""

    stage: ClassVar[str] = "select"  # the table of its settings in a TOML

    out: PathName
    """Folder to make: arrays, selected.csv and selected.parquet."""
    sweep: PathName
    """Folder of `linkjax sweep`."""
    link: PathName | None = None
    """Folder of `linkjax link`; none: the one the sweep was made with."""
    pairs: PathName | None = None
    """Folder of `linkjax pairs`; none: the one the sweep was made with."""
    classifier: PathName | None = None
    """Folder of `linkjax convert classifier`; none: the one the sweep was made with."""
    query: str | None = None
    """Which units: "ear.area > 0 and fidelity > 0.5"; none: all with a significant effect."""
    fdr: float = 0.05
    """Expected share of false discoveries among the units found, for each measurement, 0 … 1."""
    against: tuple[Literal["sign", "r", "w"], ...] | None = None
    """Null distributions an effect must beat: random sign flips of anchors (sign), random mixtures of units raised as
    far (r), random directions as long in W (w). None: sign and w, and along the kernel r too."""
    draws: int = 1000
    """Resamples of classes and anchors, for intervals."""
    flips: int = 10000
    """Random flips of the anchors' signs, for p-values of the sign-flip test; with so few anchors that there are no
    more ways to flip them (14 by default), every way is taken once."""
    level: float = 0.95
    """Of the intervals, 0 … 1."""
    cosine: float = 0.9
    """Units of one cluster have at least this |cosine|, 0 … 1: of their directions in W; along steering directions of
    what w says of them within classes, which is the correlation of their predictions by w."""
    ablation: bool = True
    """Set each unit to 0 and to its mean, and look at logits and accuracy; no images are drawn."""
    ablation_samples: int = 20
    """Test samples per class to ablate in, at most."""
    seed: int = 0
    """Of resamples and sign flips."""
    batch_size: int = 64
    """Units worked on at once, over all devices; results do not depend on it."""

    def __post_init__(self) -> None:
        positive(draws=self.draws, flips=self.flips, batch_size=self.batch_size, ablation_samples=self.ablation_samples)
        for name, value in (("fdr", self.fdr), ("level", self.level)):
            if not 0 < value < 1:
                raise InputError(f"{name}: expected a share above 0 and below 1, found {value}")
        if not 0 < self.cosine <= 1:
            raise InputError(f"cosine: expected a number above 0 and at most 1, found {self.cosine}")
        if self.against is not None and not self.against:
            raise InputError(f"against: expected one or more of {', '.join(selection.AGAINST)}, found none")
