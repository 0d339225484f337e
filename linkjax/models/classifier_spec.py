"""What defines a classifier besides its weights: architecture, sizes, features, preprocessing."""

import dataclasses
import difflib
import math
import typing
from typing import Any, Literal

from linkjax.errors import InputError
from linkjax.models import alexnet, densenet, vgg
from linkjax.ops.resize import Interpolation, shorter_side

#: How r is had from a layer's value: mean or max over positions, the first token, the mean of all others, or all of it.
Pool = Literal["mean", "max", "cls", "tokens", "none"]
FAMILIES = ("resnet", "vgg", "alexnet", "densenet")


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """From images to a classifier's input; the defaults are those of torchvision's ImageNet models."""

    resize: int | None = 256  # shorter side in pixels; None: as it is
    crop: int | None = 224  # side of the central square in pixels; None: all of it
    mean: tuple[float, ...] = (
        0.485,
        0.456,
        0.406,
    )  # of pixels in `value_range`, per channel in the order of `channels`
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    quantise: bool = True  # round to bytes first, as if the image had been saved and read again
    interpolation: Interpolation = "bilinear"  # of the resize, by Pillow's name
    squash: bool = False  # resize both sides to `resize`, whatever the shape of the image
    channels: Literal["rgb", "bgr"] = "rgb"  # order in which the network takes them
    value_range: tuple[float, float] = (0.0, 1.0)  # what the bytes 0 and 255 are before mean and std

    def __post_init__(self):
        if self.resize is not None and self.crop is not None and self.crop > self.resize:
            raise InputError(f"expected a crop no larger than the resized image ({self.resize}), found {self.crop}")
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise InputError("expected a mean and a positive std for each of 3 channels")
        if not all(map(math.isfinite, (*self.mean, *self.std, *self.value_range))):
            raise InputError("expected finite numbers for mean, std and range")
        if any(side is not None and side < 1 for side in (self.resize, self.crop)):
            raise InputError("expected resize and crop of at least 1 pixel")
        if self.squash and self.resize is None:
            raise InputError("expected a size to resize both sides to, found none")
        if self.interpolation not in typing.get_args(Interpolation):
            raise InputError(
                f"interpolation: expected {', '.join(typing.get_args(Interpolation))}, found {self.interpolation!r}"
            )
        if self.channels not in ("rgb", "bgr"):
            raise InputError(f"channels: expected rgb or bgr, found {self.channels!r}")
        if len(self.value_range) != 2 or not self.value_range[0] < self.value_range[1]:
            raise InputError(f"range: expected two numbers, the smaller one first, found {self.value_range}")

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after the resize, before the crop."""
        if self.resize is None:
            return height, width
        return (self.resize, self.resize) if self.squash else shorter_side(height, width, self.resize)

    @property
    def input_size(self) -> int | None:
        """Side of what the classifier sees, in pixels; None where the images decide."""
        return self.crop


@dataclasses.dataclass(frozen=True)
class ClassifierSpec:
    """One classifier; `classifier_spec` gives those of torchvision by name."""

    arch: str  # name, as in ARCHITECTURES for torchvision's; free for others
    family: str  # resnet | vgg | alexnet | densenet
    widths: tuple[int, ...]  # channels per stage (densenet: of the first convolution alone)
    blocks: tuple[int, ...] = ()  # blocks, convolutions or layers per stage
    hidden: tuple[int, ...] = ()  # units of the hidden fully connected layers (vgg, alexnet)
    expansion: int = 4  # resnet: channels out of a block / inside (1: basic blocks); densenet: bottleneck / growth
    growth: int = 0  # densenet: channels each layer adds
    norm: bool = False  # vgg: batch normalisation
    num_classes: int = 1000  # 0: no head
    features: Literal["penultimate", "original"] = "penultimate"  # original: all but the last child module, flattened
    preprocessing: Preprocessing = Preprocessing()
    groups: int = 1  # resnet: of the 3×3 convolutions of bottleneck blocks
    width_per_group: int = 64  # resnet: channels inside a bottleneck block, per group and per 64 of the width
    head: tuple[int, ...] = ()  # units of the hidden layers of a head that has more than one layer
    class_names: tuple[str, ...] = ()  # of the classes, in order; empty: not known

    def __post_init__(self):
        if self.family not in FAMILIES:
            raise InputError(f"expected a family of {', '.join(FAMILIES)}, found {self.family!r}")
        if self.features not in ("penultimate", "original"):
            raise InputError(f"expected features penultimate or original, found {self.features!r}")
        if self.num_classes < 0 or not self.widths:
            raise InputError("expected widths, and a number of classes of at least 0")
        if self.class_names and len(self.class_names) != self.num_classes:
            raise InputError(f"expected a name for each of {self.num_classes} classes, found {len(self.class_names)}")

    @property
    def penultimate_units(self) -> int:
        """Length of the input of the last layer."""
        return self.head[-1] if self.head else self.pooled_units

    @property
    def pooled_units(self) -> int:
        """Length of what the network gives its head."""
        if self.family == "resnet":
            return self.widths[-1] * self.expansion
        if self.family == "densenet":
            return densenet.channels_out(self.widths[0], self.blocks, self.growth)
        return self.hidden[-1]

    @property
    def num_units(self) -> int:
        """Length of what the classifier gives as r.

        Raises: InputError for a DenseNet's original features where the input size is open.
        """
        if self.features == "penultimate":
            return self.penultimate_units
        if self.family == "resnet":
            return self.pooled_units
        if self.family == "densenet":
            side = self.preprocessing.input_size
            if side is None:
                raise InputError("a DenseNet's original features have a length at a stated input size (crop) only")
            for _ in range(2):  # stem convolution and pool: windows centred on every second pixel
                side = (side - 1) // 2 + 1
            return self.pooled_units * (side // 2 ** (len(self.blocks) - 1)) ** 2
        grid = vgg.GRID if self.family == "vgg" else alexnet.GRID
        return self.widths[-1] * grid**2


def _resnet(arch: str, blocks: tuple[int, ...], expansion: int, **others: Any) -> ClassifierSpec:
    return ClassifierSpec(arch, "resnet", (64, 128, 256, 512), blocks, expansion=expansion, **others)


def _vgg(arch: str, blocks: tuple[int, ...], norm: bool) -> ClassifierSpec:
    return ClassifierSpec(arch, "vgg", (64, 128, 256, 512, 512), blocks, hidden=(4096, 4096), norm=norm)


def _densenet(arch: str, blocks: tuple[int, ...], growth: int = 32, stem: int = 64) -> ClassifierSpec:
    return ClassifierSpec(arch, "densenet", (stem,), blocks, growth=growth)


_VGG_BLOCKS = {
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}

#: Full-size architectures: torchvision's names, and IP-IRM's ResNet-50, which has no head.
ARCHITECTURES: dict[str, ClassifierSpec] = {
    spec.arch: spec
    for spec in (
        _resnet("resnet18", (2, 2, 2, 2), 1),
        _resnet("resnet34", (3, 4, 6, 3), 1),
        _resnet("resnet50", (3, 4, 6, 3), 4),
        _resnet("resnet101", (3, 4, 23, 3), 4),
        _resnet("resnet152", (3, 8, 36, 3), 4),
        _resnet("wide_resnet50_2", (3, 4, 6, 3), 4, width_per_group=128),
        _resnet("wide_resnet101_2", (3, 4, 23, 3), 4, width_per_group=128),
        _resnet("resnext50_32x4d", (3, 4, 6, 3), 4, groups=32, width_per_group=4),
        _resnet("resnext101_32x8d", (3, 4, 23, 3), 4, groups=32, width_per_group=8),
        _resnet("resnext101_64x4d", (3, 4, 23, 3), 4, groups=64, width_per_group=4),
        _resnet("ipirm_resnet50", (3, 4, 6, 3), 4, num_classes=0),
        *(_vgg(name, blocks, False) for name, blocks in _VGG_BLOCKS.items()),
        *(_vgg(f"{name}_bn", blocks, True) for name, blocks in _VGG_BLOCKS.items()),
        ClassifierSpec("alexnet", "alexnet", (64, 192, 384, 256, 256), hidden=(4096, 4096)),
        _densenet("densenet121", (6, 12, 24, 16)),
        _densenet("densenet161", (6, 12, 36, 24), growth=48, stem=96),
        _densenet("densenet169", (6, 12, 32, 32)),
        _densenet("densenet201", (6, 12, 48, 32)),
    )
}


def classifier_spec(arch: str, features: str = "penultimate") -> ClassifierSpec:
    """The full-size specification of an architecture.

    Raises: InputError that lists the known names, nearest first, for another.
    """
    if arch not in ARCHITECTURES:
        near = difflib.get_close_matches(arch, ARCHITECTURES, n=1, cutoff=0.4)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise InputError(f"unknown architecture {arch!r}{hint}; known are {', '.join(ARCHITECTURES)}")
    return dataclasses.replace(ARCHITECTURES[arch], features=features)
