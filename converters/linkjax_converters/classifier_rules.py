"""Which tensor of a torchvision classifier is which array here, per family, and the sizes its shapes tell."""

import dataclasses
import re
from collections.abc import Callable, Mapping

from linkjax.models import alexnet, vgg
from linkjax.models.classifier_spec import ClassifierSpec
from linkjax_converters.bijection import Ignore, Rule, oi_to_io, oihw_to_hwio
from linkjax_converters.naming import HIDDEN

Shapes = Mapping[str, tuple[int, ...]]
Target = str | Callable[[re.Match[str]], str]

_IGNORED = (
    Ignore(r"(?:.*\.)?num_batches_tracked", why="counts training steps; not used with stored statistics"),
    Ignore(r"(?:.*\.)?total_(?:ops|params)", why="operation counts a profiler left behind"),
)
# IP-IRM keeps the trunk as an unnamed sequence: 0 conv1, 1 bn1, 2 relu, 3 maxpool, 4 … 7 layer1 … layer4.
_IPIRM = {"conv1": r"f\.0", "bn1": r"f\.1", "layer": r"f\.", "first": 4}
_TORCHVISION = {"conv1": "conv1", "bn1": "bn1", "layer": "layer", "first": 1}


def rules(spec: ClassifierSpec) -> tuple[Rule | Ignore, ...]:
    """Rules from a state dict's keys to the names in `Classifier(spec)`."""
    own = {"resnet": _resnet, "vgg": _vgg, "alexnet": _alexnet, "densenet": _densenet}[spec.family](spec)
    return (*own, *_dense(rf"{HIDDEN}\.(\d+)", r"head_layers.\1"), *_IGNORED)


def _is_ipirm(spec: ClassifierSpec) -> bool:
    return spec.arch.startswith("ipirm")


def fit(spec: ClassifierSpec, shapes: Shapes) -> ClassifierSpec:
    """A full-size specification with the widths and classes that the state dict's shapes tell.

    What the shapes do not tell stays as it is: the conversion then names what is missing.
    """

    def rows(key: str, default: int) -> int:
        shape = shapes.get(key, ())
        return shape[0] if shape and shape[0] > 0 else default

    def each(keys: list[str], defaults: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(rows(key, default) for key, default in zip(keys, defaults, strict=True))

    if spec.family == "resnet":
        names = _IPIRM if _is_ipirm(spec) else _TORCHVISION
        plain = names["layer"].replace("\\", "")
        stages = [f"{plain}{names['first'] + n}.0" for n in range(len(spec.widths))]
        if (spec.groups, spec.width_per_group) == (1, 64):
            widths = each([f"{stage}.conv1.weight" for stage in stages], spec.widths)
        else:  # inside, the blocks have a width of their own
            widths = tuple(
                max(rows(f"{stage}.conv3.weight", 4 * default) // 4, 1)
                for stage, default in zip(stages, spec.widths, strict=True)
            )
        classes = rows("fc.weight", spec.num_classes) if spec.num_classes else 0
        return dataclasses.replace(spec, widths=widths, num_classes=classes)
    if spec.family == "densenet":
        layer = next(
            (form for form in ("conv{}", "conv.{}") if f"{_FIRST}.{form.format(1)}.weight" in shapes), "conv{}"
        )
        growth = rows(f"{_FIRST}.{layer.format(2)}.weight", spec.growth)
        return dataclasses.replace(
            spec,
            widths=(rows("features.conv0.weight", spec.widths[0]),),
            growth=growth,
            expansion=max(rows(f"{_FIRST}.{layer.format(1)}.weight", growth * spec.expansion) // growth, 1),
            num_classes=rows("classifier.weight", spec.num_classes) if spec.num_classes else 0,
        )
    if spec.family == "vgg":
        found = vgg.positions(spec.blocks, spec.norm)
        last = [sum(spec.blocks[: stage + 1]) - 1 for stage in range(len(spec.blocks))]
        convolutions, hidden = [found[index] for index in last], (0, 3)
    else:
        convolutions, hidden = [index for index, *_ in alexnet.CONVOLUTIONS], (1, 4)
    return dataclasses.replace(
        spec,
        widths=each([f"features.{index}.weight" for index in convolutions], spec.widths),
        hidden=each([f"classifier.{index}.weight" for index in hidden], spec.hidden),
        num_classes=rows("classifier.6.weight", spec.num_classes) if spec.num_classes else 0,
    )


_FIRST = "features.denseblock1.denselayer1"


def _resnet(spec: ClassifierSpec) -> list[Rule | Ignore]:
    names = _IPIRM if _is_ipirm(spec) else _TORCHVISION
    first = names["first"]
    block = rf"{names['layer']}([{first}-{first + len(spec.blocks) - 1}])\.(\d+)"

    def at(layer: str) -> Callable[[re.Match[str]], str]:
        return lambda match: f"network.stages.{int(match[1]) - first}.{match[2]}.{match.expand(layer)}"

    found: list[Rule | Ignore] = [
        Rule(rf"{names['conv1']}\.weight", "network.conv1.kernel", oihw_to_hwio),
        *_norm(names["bn1"], "network.bn1"),
        Rule(rf"{block}\.conv(\d)\.weight", at(r"conv\3.kernel"), oihw_to_hwio),
        *_norm(rf"{block}\.bn(\d)", at(r"bn\3")),
        Rule(rf"{block}\.downsample\.0\.weight", at("downsample.conv.kernel"), oihw_to_hwio),
        *_norm(rf"{block}\.downsample\.1", at("downsample.bn")),
    ]
    if _is_ipirm(spec):
        return [
            *found,
            Ignore(r"g\..*", why="projection head of the self-supervised training; features come before it"),
        ]
    return [*found, *_dense("fc", "last")]


def _vgg(spec: ClassifierSpec) -> list[Rule | Ignore]:
    found: list[Rule | Ignore] = []
    for number, index in enumerate(vgg.positions(spec.blocks, spec.norm)):
        found += _conv(rf"features\.{index}", f"network.convs.{number}")
        if spec.norm:
            found += _norm(rf"features\.{index + 1}", f"network.norms.{number}")
    return [
        *found,
        *_dense(r"classifier\.0", "network.hidden.0"),
        *_dense(r"classifier\.3", "network.hidden.1"),
        *_dense(r"classifier\.6", "last"),
    ]


def _alexnet(spec: ClassifierSpec) -> list[Rule | Ignore]:
    found: list[Rule | Ignore] = []
    for number, (index, *_) in enumerate(alexnet.CONVOLUTIONS):
        found += _conv(rf"features\.{index}", f"network.convs.{number}")
    return [
        *found,
        *_dense(r"classifier\.1", "network.hidden.0"),
        *_dense(r"classifier\.4", "network.hidden.1"),
        *_dense(r"classifier\.6", "last"),
    ]


def _densenet(spec: ClassifierSpec) -> list[Rule | Ignore]:
    layer = r"features\.denseblock(\d+)\.denselayer(\d+)"
    transition = r"features\.transition(\d+)"

    def inside(part: str) -> Callable[[re.Match[str]], str]:
        return lambda match: f"network.blocks.{int(match[1]) - 1}.{int(match[2]) - 1}.{part}{match[3]}"

    def between(part: str) -> Callable[[re.Match[str]], str]:
        return lambda match: f"network.transitions.{int(match[1]) - 1}.{part}"

    return [
        Rule(r"features\.conv0\.weight", "network.conv0.kernel", oihw_to_hwio),
        *_norm(r"features\.norm0", "network.norm0"),
        # Old files say norm.1 and conv.2 where new ones say norm1 and conv2.
        *_norm(rf"{layer}\.norm\.?(\d)", inside("norm")),
        Rule(rf"{layer}\.conv\.?(\d)\.weight", lambda match: inside("conv")(match) + ".kernel", oihw_to_hwio),
        *_norm(rf"{transition}\.norm", between("norm")),
        Rule(rf"{transition}\.conv\.weight", between("conv.kernel"), oihw_to_hwio),
        *_norm(r"features\.norm5", "network.norm5"),
        *_dense("classifier", "last"),
    ]


def _ending(target: Target, end: str) -> Target:
    if isinstance(target, str):
        return target + end
    return lambda match: target(match) + end


def _norm(source: str, target: Target) -> list[Rule | Ignore]:
    parts = {"weight": ".scale", "bias": ".bias", "running_mean": ".mean", "running_var": ".var"}
    return [Rule(rf"{source}\.{part}", _ending(target, end)) for part, end in parts.items()]


def _conv(source: str, target: str) -> list[Rule | Ignore]:
    return [Rule(rf"{source}\.weight", f"{target}.kernel", oihw_to_hwio), Rule(rf"{source}\.bias", f"{target}.bias")]


def _dense(source: str, target: str) -> list[Rule | Ignore]:
    return [Rule(rf"{source}\.weight", f"{target}.kernel", oi_to_io), Rule(rf"{source}\.bias", f"{target}.bias")]
