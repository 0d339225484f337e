"""The settings of `linkjax counterfactual`, and how many images they draw."""

import dataclasses
from typing import ClassVar, Literal

from linkjax.analysis import finite
from linkjax.analysis.counterfactuals import minimal
from linkjax.config import PathName, positive
from linkjax.errors import InputError
from linkjax.stages import Facts, Workload, inputs
from linkjax.stages.linked import Linked

COVARIANCE_UNITS = 8192  # units beyond which a covariance would not fit: 0.5 GB in float64
#: What `--methods` names, as the recipe of `analysis.counterfactuals.minimal`; the original's is not of that kind.
MINIMAL: dict[str, tuple[minimal.Penalty, minimal.Through]] = {
    "closed_form": ("l2", "plane"),
    "closed_form_whitened": ("whitened", "plane"),
    "head_l1": ("l1", "head"),
    "head_l2": ("l2", "head"),
    "head_whitened": ("whitened", "head"),
    "image_l1": ("l1", "image"),
    "image_l2": ("l2", "image"),
    "image_whitened": ("whitened", "image"),
}
Method = Literal[
    "original", "closed_form", "closed_form_whitened", "head_l1", "head_l2", "head_whitened",
    "image_l1", "image_l2", "image_whitened",
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config(Linked):
    """Search the shift s of r for which the image of link(relu(r − s)) is classified as a target (paper's recipe)."""

    stage: ClassVar[str] = "counterfactual"  # the table of its settings in a TOML

    classifier: PathName
    """Folder of `linkjax convert classifier`; it must have a class head."""
    encoding: PathName | None = None
    """Folder of `linkjax encode`: start from its photographs, of each class seen in them, instead of the test split."""
    samples: int = 4
    """Samples per origin class, from the test split."""
    origins: inputs.Classes = "link"
    """Classes to start from: some of the pairs', those the link was fitted on, or all that the pairs hold."""
    targets: inputs.Classes = "link"
    """Classes to reach, each from every sample of another class, as the classifier numbers them: any that its head
    knows, or what it calls those of the link or of the pairs."""
    methods: tuple[Method, ...] = ("original",)
    """One or more: the paper's recipe; the least change that flips the drawn image, small in absolute values (l1), in
    length (l2) or in standard deviations of the training activations (whitened), through the head or through the
    image, which draws and differentiates many more; or the closed form for the plane between two classes."""
    step_size: float = 0.5
    """Of plain gradient descent on the shift (paper: 0.5)."""
    origin_weight: float = 0.6
    """Of the origin's logit in the loss (paper: 0.6)."""
    similarity_weight: float = 10.0
    """Of the cosine in W in the loss (paper: 10)."""
    max_steps: int = 2000
    """Gradient steps at most (paper: 2000)."""
    check_every: int = 1
    """Steps between classifications of the image (paper: 1)."""
    start: Literal["uniform", "zero"] = "uniform"
    """First shift: uniform in [0, 1) per unit (paper), or none, which finds nearer counterfactuals."""
    seed: int = 0
    """Random seed of the uniform start."""
    rounds: int = 12
    """Least changes: margins tried, each with one image classified; the last ones bisect."""
    iterations: int = 40
    """Least changes through the head: proximal steps a round."""
    image_iterations: int = 6
    """Least changes through the image: proximal steps a round, each about the work of three images."""
    shrinkage: float | None = None
    """Of the training activations' covariance towards a sphere, above 0 and at most 1; none: Ledoit and Wolf's."""
    nonfinite: finite.Policy = "exclude"
    """Searches with numbers that are not finite: left out, counted and named, or the end of the run."""
    segmenter: PathName | None = None
    """Folder of `linkjax segment` or `convert segmenter`: which parts changed; none: the whole image alone."""
    path_points: int = 9
    """Points from a sample (t = 0) to its counterfactual (t = 1), drawn and classified again; 0: no paths."""
    path_beyond: int = 4
    """Points beyond the counterfactual, as far from each other: the far side of the boundary."""
    top_units: int = 10
    """Units that change most, named for each search; those that recur in a pair of classes are its transition units."""
    fdr: float = 0.05
    """Rate of false discoveries among the transition units of a pair, at most."""
    pictures: int = 12
    """Start and end images stored."""
    batch_size: int = 16
    """Searches side by side, over all devices; results do not depend on it."""

    def __post_init__(self) -> None:
        positive(samples=self.samples, batch_size=self.batch_size, step_size=self.step_size, max_steps=self.max_steps,
                 check_every=self.check_every, rounds=self.rounds, iterations=self.iterations,
                 image_iterations=self.image_iterations, top_units=self.top_units)  # fmt: skip
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise InputError(f"methods: expected one or more, each once, found {list(self.methods)}")
        if self.shrinkage is not None and not 0 < self.shrinkage <= 1:
            raise InputError(f"shrinkage: expected a number above 0 and at most 1, found {self.shrinkage}")
        if self.segmenter is not None and not self.path_points:
            raise InputError("segmenter: parts are measured at the ends of paths, found none; raise --path-points")
        if not 0 < self.fdr < 1:
            raise InputError(f"fdr: expected a number between 0 and 1, found {self.fdr}")
        if min(self.pictures, self.path_points, self.path_beyond) < 0 or self.path_points == 1:
            raise InputError(
                "pictures, path-points, path-beyond: expected 0 or more, and no path of 1 point, found "
                f"{self.pictures}, {self.path_points} and {self.path_beyond}"
            )


def workload(config: Config, facts: Facts) -> Workload:
    """Images and bytes: one image a search of the paper's recipe at least; at most, if no search ends early."""
    origins = inputs.count_classes(config.origins, facts.classes)
    targets = len(config.targets) if isinstance(config.targets, tuple) else facts.classes
    each = config.samples * origins * max(targets - 1, 1)
    least = most = 0
    for method in config.methods:
        if method == "original":
            least, most = least + 1, most + config.max_steps // config.check_every + 1
        else:  # a gradient through the image is about the work of three images
            derived = 3 * (config.image_iterations + 1) if method.startswith("image") else 0
            images = 1 + config.rounds * (1 + derived)
            least, most = least + images, most + images
    points = config.path_points and config.path_points + config.path_beyond
    least, most = (images + points * len(config.methods) for images in (least, most))
    drawn = (2 + len(config.methods)) * config.pictures
    row = 4 * (2 * facts.classifier.num_units + facts.generator.w_dim + 14 * points)
    on_host = 3 * 8 * facts.classifier.num_units**2 if facts.classifier.num_units <= COVARIANCE_UNITS else 0
    searches = each * len(config.methods)
    programs = len(config.methods) + (config.pictures > 0) + (points > 0)
    return Workload(each * least + drawn, each * most + drawn, searches * row, on_host, programs)
