"""What training programs put around a classifier's weights: prefixes, copies, normalisers, heads of several layers.

`canonical` gives every tensor of the network torchvision's own name; what it dropped, and why, it says.
"""

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from linkjax.errors import ConversionError, shown
from linkjax.models.classifier_spec import ClassifierSpec
from linkjax_converters.state_dict import is_secondary

#: Under torchvision's names, the last layer of each family, and what other programs call it.
_HEADS = {
    "resnet": ("fc", "last_linear", "classifier", "head", "linear"),
    "densenet": ("classifier", "last_linear", "fc", "head", "linear"),
    "vgg": ("classifier.6",),
    "alexnet": ("classifier.6",),
}
#: The first tensor of each family's trunk.
_FIRST = {"resnet": "conv1.weight", "densenet": "features.conv0.weight", "vgg": "features.0.weight"}
_FIRST |= {"alexnet": "features.0.weight", "ipirm": "f.0.weight"}
#: A name for the hidden layers of a head, which torchvision's networks do not have.
HIDDEN = "linkjax_head"
_MEANS, _STDS = ("mean", "new_mean", "image_mean", "pixel_mean"), ("std", "new_std", "image_std", "pixel_std")


@dataclasses.dataclass
class Canonical:
    """A network's arrays under torchvision's names."""

    arrays: dict[str, np.ndarray]
    hidden: int = 0  # hidden layers of its head
    ignored: dict[str, str] = dataclasses.field(default_factory=dict)  # key in the file → why it was left out
    notes: list[str] = dataclasses.field(default_factory=list)
    mean: tuple[float, ...] | None = None  # of a normaliser that the file holds
    std: tuple[float, ...] | None = None


def canonical(
    arrays: Mapping[str, np.ndarray], spec: ClassifierSpec, key: str | None = None, headless: bool = False
) -> Canonical:
    """Strip what all of a network's names share, find its head, and say what else lay in the file.

    Args:
      key: the prefix of the network to take, where several fit; None: the one as trained.
      headless: leave the last layer out.
    Raises: ConversionError where several networks fit equally well.
    """
    prefix = _prefix(arrays, spec, key)
    found = Canonical({name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)})
    if prefix:
        found.notes.append(f"the names begin with {shown(prefix)}, which was dropped")
        _outside(arrays, prefix, found)
    if not spec.arch.startswith("ipirm"):
        _head(found, spec, headless)
    return found


def _prefix(arrays: Mapping[str, np.ndarray], spec: ClassifierSpec, key: str | None) -> str:
    """What stands before the names of the network that is taken."""
    first = _FIRST["ipirm" if spec.arch.startswith("ipirm") else spec.family]
    before = [name.removesuffix(first) for name in arrays if name == first or name.endswith(f".{first}")]
    if key is not None and f"{key}." in before:
        return f"{key}."
    # A block's own conv1 ends alike: where one prefix goes on another, the shorter one is the network's.
    before = [each for each in before if not re.search(r"(?:^|\.)layer\d+\.\d+\.$", each)]
    if key is not None:
        raise ConversionError(
            f"these weights hold no network under {shown(key)}; the names of networks begin with "
            f"{shown(', '.join(map(repr, before)) or 'nothing known', 200)}"
        )
    if not before or "" in before:
        return ""
    several = [each for each in before if not is_secondary(each)] or before
    if len(several) > 1:
        raise ConversionError(
            f"these weights hold {len(several)} networks, under {shown(', '.join(several), 200)}; say which with "
            f"--key, such as --key {several[0].rstrip('.')}"
        )
    return several[0]


def _outside(arrays: Mapping[str, np.ndarray], prefix: str, found: Canonical) -> None:
    """What does not lie under the prefix: copies, a normaliser, other networks."""
    groups: dict[str, list[str]] = {}
    parent = prefix[: prefix.rstrip(".").rfind(".") + 1]
    for name in arrays:
        if name.startswith(prefix):
            continue
        last = name.rpartition(".")[2]
        if arrays[name].size == 3 and last in (*_MEANS, *_STDS):
            values = tuple(round(float(value), 7) for value in arrays[name].ravel())
            found.mean, found.std = (values, found.std) if last in _MEANS else (found.mean, values)
            found.ignored[name] = "a normaliser's numbers, kept as preprocessing"
            continue
        rest = name.removeprefix(parent)
        groups.setdefault((parent if name.startswith(parent) else "") + rest.partition(".")[0], []).append(name)
    for group, names in groups.items():
        same = 0
        for name in names:
            parts = name.split(".")
            ends = (".".join(parts[start:]) for start in range(1, len(parts)))
            own = next((each for each in ends if each in found.arrays), None)
            same += own is not None and np.array_equal(found.arrays[own], arrays[name])
        normaliser = all(arrays[name].size == 3 for name in names)
        copy = same and same >= sum(arrays[name].size != 3 for name in names)
        why = (
            f"a copy of the same weights under {shown(group)}"
            if copy
            else ("a normaliser's numbers" if normaliser else f"lies outside {shown(prefix)}")
        )
        found.ignored |= dict.fromkeys(names, why)
        found.notes.append(f"left out: {shown(group)} ({len(names)} tensors{', a copy of the same weights' * copy})")


def _head(found: Canonical, spec: ClassifierSpec, headless: bool) -> None:
    """Name the last layer as torchvision does, and those before it `HIDDEN`."""
    own = _HEADS[spec.family][0]
    name = next((head for head in _HEADS[spec.family] if any(key.startswith(f"{head}.") for key in found.arrays)), own)
    inside = [key for key in found.arrays if key.startswith(f"{name}.")]
    if headless:
        for key in inside:
            del found.arrays[key]
            found.ignored[key] = "the head, left out as asked"
        return
    layers = sorted(
        int(match[1])
        for key in inside
        if (match := re.fullmatch(rf"{re.escape(name)}\.(\d{{1,3}})\.weight", key)) and found.arrays[key].ndim == 2
    )
    if layers:
        for place, layer in enumerate(layers):
            new = own if layer == layers[-1] else f"{HIDDEN}.{place}"
            _rename(found.arrays, f"{name}.{layer}", new)
        found.hidden = len(layers) - 1
        if found.hidden:
            found.notes.append(
                f"its head has {len(layers)} layers ({', '.join(f'{name}.{layer}' for layer in layers)}), with a ReLU "
                "assumed between them: penultimate units r are the last layer's input"
            )
    elif name != own:
        _rename(found.arrays, name, own)
    weight = found.arrays.get(f"{own}.weight")
    if weight is not None and weight.ndim == 2 and f"{own}.bias" not in found.arrays:
        found.arrays[f"{own}.bias"] = np.zeros(len(weight), np.float32)
        found.notes.append("its last layer has no bias: 0 was put in its place")


def _rename(arrays: dict[str, np.ndarray], old: str, new: str) -> None:
    for part in ("weight", "bias"):
        if f"{old}.{part}" in arrays:
            arrays[f"{new}.{part}"] = arrays.pop(f"{old}.{part}")
