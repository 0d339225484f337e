"""The classifiers in plain PyTorch layers, under torchvision's names: what parity and speed are measured against."""

import re
from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional as F

RESNETS = {
    "resnet18": ((2, 2, 2, 2), 1),
    "resnet34": ((3, 4, 6, 3), 1),
    "resnet50": ((3, 4, 6, 3), 4),
    "resnet101": ((3, 4, 23, 3), 4),
    "resnet152": ((3, 8, 36, 3), 4),
}
#: Groups of the 3×3 convolutions, and channels of each per 64 of the width.
INSIDE = {
    "wide_resnet50_2": (1, 128),
    "wide_resnet101_2": (1, 128),
    "resnext50_32x4d": (32, 4),
    "resnext101_32x8d": (32, 8),
    "resnext101_64x4d": (64, 4),
}
RESNETS |= {name: ((3, 4, 23 if "101" in name else 6, 3), 4) for name in INSIDE}
VGGS = {"vgg11": (1, 1, 2, 2, 2), "vgg13": (2, 2, 2, 2, 2), "vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}
DENSENETS = {
    "densenet121": ((6, 12, 24, 16), 32, 64),
    "densenet161": ((6, 12, 36, 24), 48, 96),
    "densenet169": ((6, 12, 32, 32), 32, 64),
    "densenet201": ((6, 12, 48, 32), 32, 64),
}
ARCHITECTURES = (*RESNETS, *VGGS, *(f"{name}_bn" for name in VGGS), "alexnet", *DENSENETS)


def build(arch: str, divisor: int = 1, classes: int = 1000) -> nn.Module:
    """A network of `arch` with every width divided."""
    if arch in RESNETS:
        widths = [64 * 2**stage // divisor for stage in range(4)]
        return ResNet(*RESNETS[arch], widths, classes, INSIDE.get(arch, (1, 64)))
    if arch.startswith("vgg"):
        return vgg(VGGS[arch.removesuffix("_bn")], arch.endswith("_bn"), divisor, classes)
    if arch == "alexnet":
        return alexnet(divisor, classes)
    blocks, growth, stem = DENSENETS[arch]
    return DenseNet(blocks, growth // divisor, stem // divisor, classes)


def randomise(model: nn.Module, seed: int) -> nn.Module:
    """Weights and statistics that make every parameter matter, in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if not tensor.dtype.is_floating_point:
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var"):
            tensor.copy_(1 + 0.3 * noise.clamp(-2, 2))
        elif tensor.ndim == 1:
            tensor.copy_(0.1 * noise + (1.0 if name.endswith("weight") else 0.0))
        else:
            tensor.copy_(noise * (2 / tensor[0].numel()) ** 0.5)
    return model.eval()


def copy_of(classifier) -> nn.Module:
    """linkjax's ResNet with a head, in eval mode: the converter's rules backwards."""
    from linkjax.models import build as leaves_of
    from linkjax_converters import classifier_rules
    from linkjax_converters.bijection import Rule

    spec = classifier.spec
    model = ResNet(spec.blocks, spec.expansion, spec.widths, spec.num_classes)
    leaves = leaves_of.leaves(classifier)
    for key, tensor in model.state_dict().items():
        found = ((rule, re.fullmatch(rule.pattern, key)) for rule in classifier_rules.rules(spec))
        rule, match = next((rule, match) for rule, match in found if match)
        if isinstance(rule, Rule):
            rule.layout(tensor.numpy())[...] = leaves[rule.name(match)]  # the layout is a view of the tensor
    return model.eval()


class Block(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int, expansion: int, inside=(1, 64)):
        super().__init__()
        groups, per_group = inside
        narrow = width * per_group // 64 * groups
        sizes = ((3, stride), (3, 1)) if expansion == 1 else ((1, 1), (3, stride), (1, 1))
        self.count, channels = len(sizes), inputs
        for index, (size, step) in enumerate(sizes, 1):
            out = width * expansion if index == len(sizes) else narrow
            parts = groups if index == 2 else 1
            setattr(self, f"conv{index}", nn.Conv2d(channels, out, size, step, size // 2, groups=parts, bias=False))
            setattr(self, f"bn{index}", nn.BatchNorm2d(out))
            channels = out
        if stride != 1 or inputs != channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        y = x
        for index in range(1, self.count + 1):
            y = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(y))
            y = F.relu(y) if index < self.count else y
        return F.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class ResNet(nn.Module):
    def __init__(self, blocks, expansion: int, widths, classes: int, inside=(1, 64)):
        super().__init__()
        channels = widths[0]
        self.conv1 = nn.Conv2d(3, channels, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        for stage, (count, width) in enumerate(zip(blocks, widths, strict=True)):
            layers = []
            for index in range(count):
                stride = 2 if stage and not index else 1
                layers.append(Block(channels, width, stride, expansion, inside))
                channels = width * expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(channels, classes)

    def penultimate(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3))

    def forward(self, x):
        return self.fc(self.penultimate(x))


class Convolutional(nn.Module):
    """`features`, an adaptive mean, `classifier`."""

    def __init__(self, features, classifier, grid: int):
        super().__init__()
        self.features, self.classifier, self.grid = features, classifier, grid

    def forward(self, x):
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), self.grid).flatten(1))


def vgg(blocks, norm: bool, divisor: int, classes: int) -> Convolutional:
    layers, channels = [], 3
    for count, full in zip(blocks, (64, 128, 256, 512, 512), strict=True):
        for _ in range(count):
            layers.append(nn.Conv2d(channels, full // divisor, 3, padding=1))
            channels = full // divisor
            layers += [nn.BatchNorm2d(channels)] * norm + [nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
    hidden = 4096 // divisor
    head = nn.Sequential(
        nn.Linear(channels * 49, hidden), nn.ReLU(), nn.Dropout(),
        nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, classes),
    )  # fmt: skip
    return Convolutional(nn.Sequential(*layers), head, 7)


def alexnet(divisor: int, classes: int) -> Convolutional:
    a, b, c, d, e, hidden = (width // divisor for width in (64, 192, 384, 256, 256, 4096))
    features = nn.Sequential(
        nn.Conv2d(3, a, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(a, b, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2),
        nn.Conv2d(b, c, 3, padding=1), nn.ReLU(), nn.Conv2d(c, d, 3, padding=1), nn.ReLU(),
        nn.Conv2d(d, e, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    )  # fmt: skip
    head = nn.Sequential(
        nn.Dropout(), nn.Linear(e * 36, hidden), nn.ReLU(),
        nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, classes),
    )  # fmt: skip
    return Convolutional(features, head, 6)


class DenseLayer(nn.Module):
    def __init__(self, channels: int, growth: int):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), nn.Conv2d(channels, 4 * growth, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(4 * growth), nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)

    def forward(self, x):
        y = self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))
        return torch.cat([x, y], 1)


class DenseNet(nn.Module):
    def __init__(self, blocks, growth: int, stem: int, classes: int):
        super().__init__()
        parts = OrderedDict(conv0=nn.Conv2d(3, stem, 7, 2, 3, bias=False), norm0=nn.BatchNorm2d(stem))
        parts |= {"relu0": nn.ReLU(), "pool0": nn.MaxPool2d(3, 2, 1)}
        channels = stem
        for number, count in enumerate(blocks, 1):
            layers = OrderedDict()
            for index in range(1, count + 1):
                layers[f"denselayer{index}"] = DenseLayer(channels, growth)
                channels += growth
            parts[f"denseblock{number}"] = nn.Sequential(layers)
            if number < len(blocks):
                transition = OrderedDict(norm=nn.BatchNorm2d(channels), relu=nn.ReLU())
                transition["conv"] = nn.Conv2d(channels, channels // 2, 1, bias=False)
                transition["pool"] = nn.AvgPool2d(2)
                parts[f"transition{number}"] = nn.Sequential(transition)
                channels //= 2
        parts["norm5"] = nn.BatchNorm2d(channels)
        self.features, self.classifier = nn.Sequential(parts), nn.Linear(channels, classes)

    def forward(self, x):
        return self.classifier(F.relu(self.features(x)).mean((2, 3)))
