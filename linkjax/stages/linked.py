"""Stages that read a link: the settings that name their inputs, and these inputs opened and checked."""

import dataclasses
from typing import NamedTuple

from linkjax import numerics
from linkjax.config import PathName
from linkjax.errors import InputError
from linkjax.stages import inputs
from linkjax.storage import artifacts


@dataclasses.dataclass(frozen=True)
class Linked:
    """Settings of every stage that reads a link."""

    out: PathName
    """Folder to make."""
    generator: PathName
    """Folder of `linkjax convert generator`."""
    classifier: PathName
    """Folder of `linkjax convert classifier`."""
    pairs: PathName
    """Folder of `linkjax pairs`."""
    link: PathName
    """Folder of `linkjax link`."""
    precision: numerics.Precision = "float32"
    """What images are drawn in; float32 is the reference. Artifacts used together must have the same precision."""


class Opened(NamedTuple):
    """Models and pairs that belong together."""

    generator: inputs.Model
    classifier: inputs.Model
    link: inputs.Model
    pairs: artifacts.Artifact

    @property
    def weights(self) -> dict[str, str]:
        """Role → SHA-256 of the models' weights."""
        return {role: getattr(self, role).sha256 for role in ("generator", "classifier", "link")}


def opened(config: Linked, needs_classes: bool = False) -> Opened:
    """Load the models and open the pairs.

    Args:
      needs_classes: refuse a classifier without a class head.
    Raises: InputError if they do not belong together.
    """
    generator = inputs.model(config.generator, "generator", config.precision)
    classifier = inputs.model(config.classifier, "classifier")
    if needs_classes and not classifier.model.spec.num_classes:
        raise InputError(f"the classifier in {config.classifier} has no class head, so no class to flip")
    link = inputs.model(config.link, "link")
    pairs = inputs.pairs(config.pairs, generator, classifier)
    inputs.check_link(link, config.link, pairs)
    return Opened(generator, classifier, link, pairs)
