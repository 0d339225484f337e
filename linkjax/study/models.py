"""The models of one study, together."""

import dataclasses
from typing import Any

import jax

from linkjax.errors import InputError


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, repr=False)
class Study:
    """A generator, a classifier, the link between them, and a segmenter of the generator's images; a pytree.

    Args:
      generator, classifier, link: as `linkjax.load` gives them, or `linkjax.fit_link`.
      segmenter: what parts are measured by; None: whole images alone.
    Raises: InputError if they do not fit together.
    """

    generator: Any
    classifier: Any
    link: Any
    segmenter: Any = None

    def __post_init__(self) -> None:
        if not all(hasattr(model, "spec") for model in (self.generator, self.classifier, self.link)):
            return  # jax rebuilds pytrees of whatever it traces
        found = (self.link.spec.units, self.link.spec.w_dim)
        wanted = (self.classifier.spec.num_units, self.generator.spec.w_dim)
        if found != wanted:
            raise InputError(
                f"expected a link of {wanted[0]} units of the classifier to {wanted[1]} values of the generator's w, "
                f"found one of {found[0]} to {found[1]}; fit it on pairs of these models"
            )
        if self.segmenter is not None:
            from linkjax.analysis.metrics import parts

            parts.check_fit(self.generator.spec, self.segmenter.spec)

    def __repr__(self) -> str:
        generator, classifier, link = (model.spec for model in (self.generator, self.classifier, self.link))
        lines = [
            f"generator   {generator.resolution}², w of {generator.w_dim}, {generator.num_classes or 'no'} classes",
            f"classifier  {classifier.num_units} units, {classifier.num_classes or 'no'} classes",
            f"link        {link.method}, {'with' if link.steered else 'without'} directions that raise units",
        ]
        if self.segmenter is not None:
            parts = self.segmenter.spec
            names = ", ".join(parts.part_names or ()) or "without names"
            lines.append(f"segmenter   {parts.num_parts} parts: {names}")
        return "Study\n  " + "\n  ".join(lines)
