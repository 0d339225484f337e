"""ResNet, wide and grouped ones too, with torchvision's structure and names (a bottleneck's stride on its 3×3)."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from linkjax.errors import InputError
from linkjax.models.layers import BatchNorm, Conv, Keys
from linkjax.ops import pooling

# Random nets have no statistics to normalise with: small branches keep activations from doubling with every block.
_BRANCH_SCALE = 0.25


class BasicBlock(nnx.Module):
    """x + two 3×3 convolutions of it (ResNet-18, -34)."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, how: tuple[int, int] = (1, 64), *, keys: Keys):
        if how != (1, 64):
            raise InputError("basic blocks have no groups and no width of their own; expected bottleneck blocks")
        self.conv1 = Conv(in_channels, width, 3, stride=stride, padding=1, bias=False, keys=keys)
        self.bn1 = BatchNorm(width)
        self.conv2 = Conv(width, width, 3, padding=1, bias=False, keys=keys)
        self.bn2 = BatchNorm(width, scale=_BRANCH_SCALE)
        self.downsample = _downsample(in_channels, width, stride, keys)

    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B h w O"]:
        """The sum, after its ReLU."""
        y = jax.nn.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return jax.nn.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nnx.Module):
    """x + a 3×3 convolution between two 1×1 ones (ResNet-50 and deeper; ResNeXt; Wide ResNet).

    Args:
      how: groups of the 3×3 convolution, and channels of each per 64 of `width`.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, how: tuple[int, int] = (1, 64), *, keys: Keys):
        groups, width_per_group = how
        inside = width * width_per_group // 64 * groups
        self.conv1 = Conv(in_channels, inside, 1, bias=False, keys=keys)
        self.bn1 = BatchNorm(inside)
        self.conv2 = Conv(inside, inside, 3, stride=stride, padding=1, groups=groups, bias=False, keys=keys)
        self.bn2 = BatchNorm(inside)
        self.conv3 = Conv(inside, width * 4, 1, bias=False, keys=keys)
        self.bn3 = BatchNorm(width * 4, scale=_BRANCH_SCALE)
        self.downsample = _downsample(in_channels, width * 4, stride, keys)

    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B h w O"]:
        """The sum, after its ReLU."""
        y = jax.nn.relu(self.bn1(self.conv1(x)))
        y = jax.nn.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return jax.nn.relu(y + (x if self.downsample is None else self.downsample(x)))


class Downsample(nnx.Module):
    """The shortcut where a block changes resolution or width."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, keys: Keys):
        self.conv = Conv(in_channels, out_channels, 1, stride=stride, bias=False, keys=keys)
        self.bn = BatchNorm(out_channels)

    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B h w O"]:
        """The shortcut's part of the sum."""
        return self.bn(self.conv(x))


def _downsample(in_channels: int, out_channels: int, stride: int, keys: Keys) -> Downsample | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return Downsample(in_channels, out_channels, stride, keys=keys)


class ResNet(nnx.Module):
    """ResNet without its last layer: images to pooled features.

    Args:
      widths: channels of the convolutions inside the blocks, per stage; the stem has the first.
      blocks: blocks per stage.
      expansion: 4 for bottleneck blocks, which put out 4 · width channels; 1 for basic ones.
      how: of bottleneck blocks, the groups of their 3×3 convolutions and channels of each per 64 of the width;
        (1, 64): ungrouped, of the width itself.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        expansion: int,
        how: tuple[int, int] = (1, 64),
        *,
        keys: Keys,
    ):
        block = Bottleneck if expansion == 4 else BasicBlock
        self.conv1 = Conv(3, widths[0], 7, stride=2, padding=3, bias=False, keys=keys)
        self.bn1 = BatchNorm(widths[0])
        self.stages = nnx.List()
        channels = widths[0]
        for stage, (width, count) in enumerate(zip(widths, blocks, strict=True)):
            layers = nnx.List()
            for index in range(count):
                layers.append(block(channels, width, 2 if stage > 0 and index == 0 else 1, how, keys=keys))
                channels = width * block.expansion
            self.stages.append(layers)

    def original(self, x: Float[Array, "B H W 3"]) -> tuple[Float[Array, "B U"], dict[str, Array]]:
        """The pooled features, and the map after every stage under torchvision's name."""
        stages = {}
        stages["conv1"] = x = self.conv1(x)
        stages["bn1"] = x = self.bn1(x)
        stages["relu"] = x = jax.nn.relu(x)
        stages["maxpool"] = x = pooling.max_pool(x, 3, 2, 1)
        for number, layers in enumerate(self.stages, 1):
            for layer in layers:
                x = layer(x)
            stages[f"layer{number}"] = x
        stages["avgpool"] = x = jnp.mean(x, axis=(1, 2), keepdims=True)
        return x[:, 0, 0, :], stages

    def penultimate(self, r: Float[Array, "B U"]) -> Float[Array, "B U"]:
        """The same: the head is one layer."""
        return r
