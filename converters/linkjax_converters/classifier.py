"""Classifiers from PyTorch state dicts and safetensors: torchvision's architectures, and IP-IRM's ResNet-50."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.errors import InputError, shown
from linkjax.models import build
from linkjax.models.classifier import Classifier, ClassifierSpec, classifier_spec
from linkjax.storage import checkpoint, manifest
from linkjax.storage.claim import Claim
from linkjax_converters import classifier_rules, recognise
from linkjax_converters.bijection import convert
from linkjax_converters.class_names import read_class_names
from linkjax_converters.naming import HIDDEN, Canonical, canonical
from linkjax_converters.preprocessing import read_preprocessing, resolve
from linkjax_converters.state_dict import Weights, read_weights

LICENCE = (
    "The weights stay under the licence of whoever published them: torchvision is BSD-3-Clause, and weights trained on "
    "ImageNet may be bound by its terms of access (non-commercial research)."
)


def convert_classifier(
    src: Path,
    out: Path,
    arch: str,
    features: str = "penultimate",
    *,
    key: str | None = None,
    headless: bool = False,
    class_names: Path | None = None,
    preprocessing: Path | None = None,
    **flags: Any,
) -> list[str]:
    """Convert a `.pth` or `.safetensors` file into a folder that `linkjax.load` reads.

    Args:
      src: the weights.
      out: folder to make.
      arch: a name of `linkjax.models.classifier.ARCHITECTURES`; widths and classes are read from the file.
      features: penultimate, or original for the original program's r.
      key: which of a file's networks, by its key in the file or the prefix of its names; None: the one as trained.
      headless: convert the trunk alone; class scores are then not to be had.
      class_names: a file of the classes' names.
      preprocessing: a file of timm or Hugging Face that says how images are prepared.
      flags: resize, crop, interpolation, mean, std, channels, range; they come before the file.
    Returns: what was taken, what else there was and what was assumed, in sentences; the manifest says the same.
    Raises: InputError, UnsafeFileError or ConversionError, each with one message, before anything is written.
    """
    src, out = Path(src), Path(out)
    classifier_spec(arch, features)
    file = None if preprocessing is None else read_preprocessing(preprocessing)
    names = None if class_names is None else read_class_names(class_names)
    with Claim(out, resumable=False) as claim:
        weights, prefix = _read(src, key)
        found = canonical(weights.arrays, classifier_spec(arch), prefix, headless)
        notes = [*_taken(weights), *found.notes]
        own = {name: value for name in ("mean", "std") if (value := getattr(found, name)) is not None}
        how, said = resolve(flags, file, own)
        model, ignored = _fill(found, arch, features, headless)
        spec = dataclasses.replace(model.spec, preprocessing=how)
        if names is None and file is not None and len(file.class_names) == spec.num_classes:
            names = file.class_names
        if names is not None:
            spec = _named(spec, names, class_names or preprocessing)
        model.spec = spec
        notes += said
        source = {
            "file": src.name,
            "sha256": manifest.file_sha256(src),
            "architecture": arch,
            "features": features,
            "network": weights.key,
            "other_networks": list(weights.others),
            "ignored": ignored,
            "notes": notes,
            "licence": LICENCE,
        }
        checkpoint.save_model(out, model, source=source, claim=claim)
    return notes


def _read(src: Path, key: str | None) -> tuple[Weights, str | None]:
    """The weights, and the prefix of the names to take in them, if `key` is no key of the file but one of those."""
    try:
        return read_weights(src, key), None
    except InputError:
        if key is None:
            raise
        try:
            weights = read_weights(src)
        except InputError:
            weights = None
        if weights is None or not any(name.startswith(f"{key}.") for name in weights.arrays):
            raise
        return weights, key


def _taken(weights: Weights) -> list[str]:
    where = f"took the network {shown(weights.key)!r}" if weights.key else "took the network that the file is"
    if not weights.others:
        return [where] if weights.key else []
    others = ", ".join(repr(shown(name or "(the file itself)")) for name in weights.others)
    return [f"{where}; the file also holds {others}, which --key takes"]


def _named(spec: ClassifierSpec, names: tuple[str, ...], path: Path | None) -> ClassifierSpec:
    if len(names) != spec.num_classes:
        what = f"{spec.num_classes} classes" if spec.num_classes else "no head, so no classes"
        raise InputError(f"{path}: expected a name for each class, found {len(names)} names; the network has {what}")
    return dataclasses.replace(spec, class_names=names)


def classifier_from_state_dict(
    arrays: Mapping[str, np.ndarray], arch: str, features: str = "penultimate", headless: bool = False
) -> Classifier:
    """The classifier that a state dict's arrays describe, at whatever widths they have.

    Raises: ConversionError that counts all missing, unexpected and mis-shaped keys and names the first.
    """
    found = canonical(arrays, classifier_spec(arch), headless=headless)
    return _fill(found, arch, features, headless)[0]


def _fill(found: Canonical, arch: str, features: str, headless: bool) -> tuple[Classifier, dict[str, str]]:
    """The classifier, and key → why it was left out."""
    shapes = {key: tuple(array.shape) for key, array in found.arrays.items()}
    spec, targets = classifier_shapes(shapes, arch, features, headless)
    converted = convert(
        found.arrays,
        targets,
        classifier_rules.rules(spec),
        what=arch,
        guess=lambda missing: recognise.guess(arch, shapes, missing),
    )
    return build.fill(Classifier, spec, converted.arrays), found.ignored | converted.ignored


def classifier_shapes(
    shapes: Mapping[str, tuple[int, ...]], arch: str, features: str = "penultimate", headless: bool = False
) -> tuple[ClassifierSpec, dict]:
    """The specification that a state dict's shapes describe, and name → shape of its arrays."""
    spec = classifier_spec(arch, features)
    spec = dataclasses.replace(spec, num_classes=0) if headless else spec
    hidden = [name for name in shapes if name.startswith(f"{HIDDEN}.") and name.endswith(".weight")]
    head = tuple(shapes[name][0] for name in sorted(hidden, key=lambda name: int(name.split(".")[1])))
    spec = classifier_rules.fit(dataclasses.replace(spec, head=head), shapes)
    return spec, build.shapes(Classifier, spec)
