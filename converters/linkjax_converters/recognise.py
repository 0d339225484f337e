"""Which known architecture a state dict's names and shapes are those of, and what is wrong with those that fit none."""

import re
from collections.abc import Mapping

from linkjax.models import alexnet, vgg
from linkjax.models.classifier_spec import ARCHITECTURES, ClassifierSpec

Shapes = Mapping[str, tuple[int, ...]]


def recognise(shapes: Shapes) -> str | None:
    """The architecture with the blocks that these names have; None if it is no known one."""
    for arch, spec in ARCHITECTURES.items():
        if {"resnet": _resnet, "vgg": _vgg, "alexnet": _alexnet, "densenet": _densenet}[spec.family](spec, shapes):
            return arch
    return None


def guess(arch: str, shapes: Shapes, missing: list[str]) -> str:
    """A sentence on why weights do not fit an architecture, and what to do; empty if nothing is known."""
    if missing and all(name.startswith("last.") for name in missing):
        return "only the last layer is missing: --headless converts the trunk, without class scores"
    found = recognise(shapes)
    if found is not None and found != arch:
        return f"the names and shapes are those of {found}: try --arch {found}"
    firsts = ("conv1.weight", "features.0.weight", "conv0.weight")
    if found is None and not any(name.endswith(firsts) for name in shapes):
        return "the names are those of no architecture here (--help lists them)"
    if found is None:
        return "the numbers of blocks are those of no architecture here, or layers were added"
    return ""


def _count(pattern: str, shapes: Shapes) -> int:
    return len({match[1] for name in shapes if (match := re.fullmatch(pattern, name))})


def _resnet(spec: ClassifierSpec, shapes: Shapes) -> bool:
    irm = spec.arch.startswith("ipirm")
    stage, first = (r"f\.", 4) if irm else ("layer", 1)
    blocks = tuple(_count(rf"{stage}{first + n}\.(\d+)\.conv1\.weight", shapes) for n in range(len(spec.blocks)))
    one = f"f.{first}.0" if irm else f"layer{first}.0"
    last = shapes.get(f"{one}.conv3.weight")
    if blocks != spec.blocks or (last is not None) != (spec.expansion == 4):
        return False
    if last is None or len(last) != 4:
        return True
    kernel, planes = shapes.get(f"{one}.conv2.weight", ()), last[0] // 4
    inside = planes * spec.width_per_group // 64 * spec.groups
    return len(kernel) == 4 and last[1] == inside == kernel[0] and kernel[1] * spec.groups == inside


def _vgg(spec: ClassifierSpec, shapes: Shapes) -> bool:
    found = {int(match[1]) for name, shape in shapes.items() if len(shape) == 4
             and (match := re.fullmatch(r"features\.(\d{1,3})\.weight", name))}  # fmt: skip
    return found == set(vgg.positions(spec.blocks, spec.norm))


def _alexnet(spec: ClassifierSpec, shapes: Shapes) -> bool:
    return all(len(shapes.get(f"features.{index}.weight", ())) == 4 for index, *_ in alexnet.CONVOLUTIONS)


def _densenet(spec: ClassifierSpec, shapes: Shapes) -> bool:
    layers = tuple(
        _count(rf"features\.denseblock{n}\.denselayer(\d+)\.conv\.?1\.weight", shapes)
        for n in range(1, len(spec.blocks) + 1)
    )
    stem = shapes.get("features.conv0.weight", (0,))[0]
    grown = shapes.get("features.denseblock1.denselayer1.conv2.weight") or shapes.get(
        "features.denseblock1.denselayer1.conv.2.weight", (1,)
    )
    return layers == spec.blocks and stem * spec.growth == grown[0] * spec.widths[0]
