"""The stages, in the order in which data flows through them. Stages talk through artifacts, never by import."""

import importlib
from types import ModuleType
from typing import Any, NamedTuple


class Stage(NamedTuple):
    """A row of the pipeline: a module of this package with a `Config` and a `run(config)`."""

    name: str
    does: str
    reads: tuple[str, ...]
    writes: str

    @property
    def module(self) -> ModuleType:
        """The stage's module, imported now."""
        return importlib.import_module(f"linkjax.stages.{self.name}")


class Facts(NamedTuple):
    """What a stage's `workload` may know: the models' specs, and what the pairs stage was asked for."""

    generator: Any
    classifier: Any
    classes: int
    test_samples: int  # of all classes
    fitted_samples: int  # to fit on and to choose by, of all classes


class Workload(NamedTuple):
    """What a stage will do with given settings: counted before it runs, by the stage's own `workload`."""

    images: int  # drawn by the generator and encoded by the classifier, at least
    most_images: int  # … at most
    bytes_on_disk: int
    bytes_on_host: int  # arrays held in memory beside the models
    programs: int  # compiled programs with the generator in them


def settings_of_stages() -> dict[str, type]:
    """Stage → its settings, a dataclass."""
    return {stage.name: stage.module.Config for stage in PIPELINE}


PIPELINE = (
    Stage("plan", "count images, measure memory and time of the stages before running them", ("models",), "a table"),
    Stage("pairs", "sample z → w → image → r, keep what the classifier recognises", ("models",), "pairs"),
    Stage("link", "fit r → w from streamed moments", ("pairs",), "link"),
    Stage(
        "evaluate",
        "hold the link against held-out pairs, in W and after re-encoding",
        ("models", "pairs", "link"),
        "evaluation",
    ),
    Stage(
        "congruence",
        "ask whether r and W have the same semantic order, and whether straight lines stay straight",
        ("models", "pairs", "link"),
        "congruence",
    ),
    Stage(
        "depth",
        "fit and measure links of several layers of one classifier, from one pass over the images",
        ("models", "pairs"),
        "depth",
    ),
    Stage(
        "encode",
        "show photographs to the classifier, link and draw what it sees, compare",
        ("models", "pairs", "link", "evaluation", "photographs"),
        "encoding",
    ),
    Stage(
        "segment",
        "learn part labels of generated images from a few masks; --draw makes the pictures to label",
        ("models", "masks"),
        "segmenter",
    ),
    Stage(
        "screen",
        "first-order effect of every unit on every part, from derivatives",
        ("models", "pairs", "link", "segmenter"),
        "screening",
    ),
    Stage("sweep", "set units to values, draw, re-encode, measure", ("models", "pairs", "link"), "sweep"),
    Stage(
        "select",
        "rank units for a query: effects tested against nulls, FDR-controlled, near-duplicates grouped",
        ("pairs", "link", "sweep", "classifier"),
        "selection",
    ),
    Stage(
        "name",
        "words for what raising units adds to pictures, and for the pictures in which they are high",
        ("models", "pairs", "link", "sweep", "embedder"),
        "names",
    ),
    Stage(
        "counterfactual",
        "shift r until the drawn image flips its class; follow the way there, its boundary, units and parts",
        ("models", "pairs", "link", "segmenter"),
        "counterfactual",
    ),
    Stage(
        "compare",
        "match units of classifiers that saw the same images, shared and private; their similarity and counterfactuals",
        ("pairs", "sweep", "counterfactual"),
        "side_by_side",
    ),
    Stage(
        "report",
        "one page with tables and pictures, from stored results only",
        ("results",),
        "report",
    ),
)
