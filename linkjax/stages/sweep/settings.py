"""The settings of `linkjax sweep`, and how many images they draw."""

import dataclasses
from typing import ClassVar, Literal

from linkjax.analysis import finite
from linkjax.analysis.metrics import measurements
from linkjax.analysis.units import asked
from linkjax.config import PathName, PathOrWord, positive
from linkjax.errors import InputError
from linkjax.models.link import SweepDirections
from linkjax.stages import Facts, Workload, inputs, readouts
from linkjax.stages.linked import Linked
from linkjax.stages.sweep import chunks


@dataclasses.dataclass(frozen=True)
class Config(Linked):
    """Set each unit to values its class shows, draw, re-encode: did it move as asked, and what else changed?"""

    stage: ClassVar[str] = "sweep"  # the table of its settings in a TOML

    encoding: PathName | None = None
    """Folder of `linkjax encode`: start from its photographs, of each class seen in them, instead of the test split;
    of a link of some classes, and with `classes`, of these."""
    segmenter: PathName | None = None
    """Folder of `linkjax segment` or `convert segmenter`: measures every part of the image; none: the whole image."""
    embedder: PathName | None = None
    """Folder of `linkjax convert embedder`: is shown every image too, so that `linkjax name` need draw none again."""
    units: tuple[int, ...] | Literal["all"] = "all"
    """Units to sweep; with readouts, which of these, by their place."""
    readouts: tuple[PathOrWord, ...] = ()
    """Raise these in place of units, each linear in r: a file (.npz, .safetensors) of rows in r or of a sparse
    autoencoder, `logits`, a class (151, corgi), the difference of two (151:254), units together (u3+u17)."""
    screening: PathName | None = None
    """Folder of `linkjax screen`: what it predicts is stored beside what is measured."""
    candidates: int | None = None
    """Sweep only so many of the units: those of strongest effect in the screening; none: all of them."""
    random_directions: int = 32
    """Random directions of the same lengths, so many in r and as many in W: what a unit's effect is held against."""
    seed: int = 0
    """Of the random directions."""
    samples: int = 4
    """Anchor images per class."""
    split: Literal["test", "val"] = "test"
    """Split of the pairs that anchors are of; val: for `linkjax link --scaled-by`, so that test samples judge it."""
    classes: inputs.Classes = "link"
    """Classes to take anchors of: some ids, those the link was fitted on, or all that the pairs hold."""
    steps: int = 5
    """Values per unit, from its low to its high percentile, both included (paper: 3)."""
    range: asked.Range = "class"
    """Percentiles are those of the anchor's own class, with the anchor's own value (the untouched image) in the middle
    of an odd number of steps; or of all that the link was fitted on: the same values for every anchor (paper)."""
    low: float = 1.0
    """Percentile of the training activations that a unit starts at, 0 … 100 (paper: the minimum)."""
    high: float = 99.0
    """Percentile it ends at (paper: the maximum)."""
    definitions: measurements.Definitions = "standard"
    """Of luminance and entropy: "original" is the original program's (a third of the grey; entropy within 5 pixels)."""
    directions: SweepDirections = "steer"
    """Steps in W that raise units: `steer`, which raise a unit by what was asked as far as w determines it; `own`, what
    is left of these without what many units share; `local`, of every anchor its own, from its slopes of r; or the
    link's kernel (the paper's). See docs/directions.md."""
    local_share: float = 0.99
    """Of local directions: slopes are measured along as many principal directions of w as have this share of its
    variance within classes, 0 … 1; twice as many images an anchor."""
    layers: str | None = None
    """Rows of W+ that a step enters, one for the generator's input and one a layer: 0-9, or coarse, middle, fine by
    sampling rate, joined by commas; the others are the anchor's own. None: all."""
    mode: Literal["residual", "absolute"] = "residual"
    """Move the anchor's own w by the unit's direction, or replace it by the link's prediction (paper)."""
    side_effects: int = 5
    """Most affected other units stored per unit."""
    picture_units: int = 8
    """Units whose images are stored: those that change the picture most."""
    picture_samples: int = 3
    """Anchors per stored unit."""
    motion: Literal["pictures", "all", "none"] = "pictures"
    """How far parts move from the first step to the last: in the stored pictures, for all (two more images each), or
    not measured."""
    nonfinite: finite.Policy = "exclude"
    """Swept images with numbers that are not finite: left out, counted and named, or the end of the run."""
    batch_size: int | Literal["auto"] = "auto"
    """Images drawn at once, over all devices, or as many as fit in memory; results do not depend on it."""

    def __post_init__(self) -> None:
        positive(samples=self.samples, side_effects=self.side_effects)
        positive(batch_size=1 if self.batch_size == "auto" else self.batch_size)
        if self.steps < 2:
            raise InputError(f"steps: expected 2 or more, found {self.steps}")
        if not 0 <= self.low < self.high <= 100:
            raise InputError(f"low, high: expected percentiles 0 ≤ low < high ≤ 100, found {self.low} and {self.high}")
        if isinstance(self.units, tuple) and (not self.units or len(set(self.units)) != len(self.units)):
            raise InputError(f"units: expected one or more different units, found {list(self.units)}")
        if self.encoding is not None and self.split != "test":
            raise InputError("split, encoding: photographs are of no split; leave one of them out")
        if self.readouts and self.directions in readouts.NOT_ALONG:
            raise InputError(readouts.NOT_ALONG[self.directions])
        if not 0 < self.local_share <= 1:
            raise InputError(f"local-share: expected a share above 0 and at most 1, found {self.local_share}")
        if self.directions == "local" and self.mode == "absolute":
            raise InputError("directions local: they start at the anchor's own w; leave --mode absolute out")
        if self.directions == "local" and self.screening is not None:
            raise InputError(
                "directions local: a screening has one step of a unit for all samples; leave --screening out, or take "
                "--directions steer"
            )
        if self.readouts and self.mode == "absolute":
            raise InputError("readouts: the link predicts w from all units, not from them; leave --mode absolute out")
        if self.layers is not None and self.screening is not None:
            raise InputError("layers: a screening predicts steps in all rows of W+; leave --screening or --layers out")
        if min(self.picture_units, self.picture_samples, self.random_directions) < 0:
            raise InputError("picture-units, picture-samples, random-directions: expected 0 or more")
        if self.candidates is not None:
            positive(candidates=self.candidates)
            if self.screening is None:
                raise InputError(
                    "candidates: expected the folder of a screening with them, found none; add --screening"
                )


def workload(config: Config, facts: Facts) -> Workload:
    """Images and bytes, if no unit is dead."""
    classifier, classes = facts.classifier, inputs.count_classes(config.classes, facts.classes)
    responding = classifier.num_units
    if config.readouts:
        responding = readouts.count(config.readouts, responding, classifier.num_classes)
    units = responding if config.units == "all" else len(config.units)
    units = min(units, config.candidates or units)
    chosen = config.batch_size == "auto"
    batch = chunks.batch_on_cpu(facts.generator.resolution) if config.batch_size == "auto" else config.batch_size
    anchors = config.samples * classes
    images = (units + 2 * config.random_directions) * anchors * config.steps + anchors
    local = config.directions == "local"
    images += local * 2 * facts.generator.w_dim * anchors  # at most: the plan does not know w's covariance
    # A segmenter is opened when the stage runs: its parts are not known here, and ten is a usual number.
    outputs = (11 * len(measurements.METRICS) if config.segmenter else len(measurements.IMAGE_METRICS)) + 1
    shown = config.picture_units * config.picture_samples * config.steps
    moved = 2 * units * anchors * (config.motion == "all")
    disk = 4 * (images * outputs + units * (responding + classifier.num_classes))
    disk += 4 * local * anchors * units * facts.generator.w_dim
    sums = 8 * anchors * (responding + classifier.num_classes + outputs)
    return Workload(
        images + shown + moved,
        images + shown + moved,
        disk,
        sums * min(units, chunks.units_of(batch, anchors * config.steps, facts.generator.resolution, chosen)),
        2 + (moved > 0),
    )
