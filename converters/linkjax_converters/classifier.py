"""Classifiers from PyTorch state dicts: torchvision's architectures, and IP-IRM's ResNet-50."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from linkjax import checkpoint, manifest
from linkjax.claim import Claim
from linkjax.models import build
from linkjax.models.classifier import Classifier, ClassifierSpec, classifier_spec
from linkjax_converters import classifier_rules
from linkjax_converters.bijection import convert
from linkjax_converters.state_dict import read_state_dict

LICENCE = (
    "The weights stay under the licence of whoever published them: torchvision is BSD-3-Clause, and weights trained on "
    "ImageNet may be bound by its terms of access (non-commercial research)."
)


def convert_classifier(src: Path, out: Path, arch: str, features: str = "penultimate") -> None:
    """Convert a `.pth` state dict into a folder that `linkjax.load` reads.

    Args:
      src: the state dict.
      out: folder to make.
      arch: a name of `linkjax.models.classifier.ARCHITECTURES`; widths and classes are read from the file.
      features: penultimate, or original for the original program's r.
    Raises: InputError, UnsafeFileError or ConversionError, each with one message, before anything is written.
    """
    src, out = Path(src), Path(out)
    classifier_spec(arch, features)
    with Claim(out, resumable=False) as claim:
        model = classifier_from_state_dict(read_state_dict(src), arch, features)
        source = {
            "file": src.name,
            "sha256": manifest.file_sha256(src),
            "architecture": arch,
            "features": features,
            "licence": LICENCE,
        }
        checkpoint.save_model(out, model, source=source, claim=claim)


def classifier_from_state_dict(
    arrays: Mapping[str, np.ndarray], arch: str, features: str = "penultimate"
) -> Classifier:
    """The classifier that a state dict's arrays describe, at whatever widths they have.

    Raises: ConversionError that lists all missing, unexpected and mis-shaped keys.
    """
    spec, targets = classifier_shapes({key: tuple(array.shape) for key, array in arrays.items()}, arch, features)
    return build.fill(Classifier, spec, convert(arrays, targets, classifier_rules.rules(spec), what=arch).arrays)


def classifier_shapes(
    shapes: Mapping[str, tuple[int, ...]], arch: str, features: str = "penultimate"
) -> tuple[ClassifierSpec, dict]:
    """The specification that a state dict's shapes describe, and name → shape of its arrays."""
    spec = classifier_rules.fit(classifier_spec(arch, features), shapes)
    return spec, build.shapes(Classifier, spec)
