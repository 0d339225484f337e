"""DenseNet, with torchvision's structure and names."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from linkjax.models.layers import BatchNorm, Conv, Keys
from linkjax.ops import pooling


def channels_out(stem: int, blocks: tuple[int, ...], growth: int) -> int:
    """Channels of the last map: every layer adds `growth`, every transition but the missing last one halves."""
    channels = stem
    for number, count in enumerate(blocks):
        channels = (channels // 2 if number else channels) + count * growth
    return channels


class DenseLayer(nnx.Module):
    """The new channels of one layer: norm, ReLU, 1×1 convolution, norm, ReLU, 3×3 convolution."""

    def __init__(self, in_channels: int, growth: int, expansion: int, *, keys: Keys):
        self.norm1 = BatchNorm(in_channels)
        self.conv1 = Conv(in_channels, expansion * growth, 1, bias=False, keys=keys)
        self.norm2 = BatchNorm(expansion * growth)
        self.conv2 = Conv(expansion * growth, growth, 3, padding=1, bias=False, keys=keys)

    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B H W G"]:
        """The channels to append to x."""
        y = self.conv1(jax.nn.relu(self.norm1(x)))
        return self.conv2(jax.nn.relu(self.norm2(y)))


class Transition(nnx.Module):
    """Norm, ReLU, a 1×1 convolution to half the channels, and a 2×2 mean."""

    def __init__(self, in_channels: int, *, keys: Keys):
        self.norm = BatchNorm(in_channels)
        self.conv = Conv(in_channels, in_channels // 2, 1, bias=False, keys=keys)

    def __call__(self, x: Float[Array, "B H W I"]) -> Float[Array, "B h w O"]:
        """Half the size, half the channels."""
        return pooling.avg_pool(self.conv(jax.nn.relu(self.norm(x))), 2, 2)


class DenseNet(nnx.Module):
    """DenseNet without its last layer.

    Args:
      stem: channels of the first convolution.
      blocks: layers per block.
      growth: channels each layer adds.
      expansion: channels between a layer's convolutions / growth.
    """

    def __init__(self, stem: int, blocks: tuple[int, ...], growth: int, expansion: int, *, keys: Keys):
        self.conv0 = Conv(3, stem, 7, stride=2, padding=3, bias=False, keys=keys)
        self.norm0 = BatchNorm(stem)
        self.blocks, self.transitions = nnx.List(), nnx.List()
        channels = stem
        for number, count in enumerate(blocks):
            if number:
                self.transitions.append(Transition(channels, keys=keys))
                channels //= 2
            layers = nnx.List()
            for _ in range(count):
                layers.append(DenseLayer(channels, growth, expansion, keys=keys))
                channels += growth
            self.blocks.append(layers)
        self.norm5 = BatchNorm(channels)

    def original(self, x: Float[Array, "B H W 3"]) -> tuple[Float[Array, "B R"], dict[str, Array]]:
        """The last map before ReLU and pooling, flattened, and the map after every stage under torchvision's name."""
        stages = {}
        stages["features.conv0"] = x = self.conv0(x)
        stages["features.norm0"] = x = self.norm0(x)
        stages["features.relu0"] = x = jax.nn.relu(x)
        stages["features.pool0"] = x = pooling.max_pool(x, 3, 2, 1)
        for number, layers in enumerate(self.blocks):
            if number:
                stages[f"features.transition{number}"] = x = self.transitions[number - 1](x)
            for layer in layers:
                x = jnp.concatenate([x, layer(x)], axis=-1)
            stages[f"features.denseblock{number + 1}"] = x
        stages["features.norm5"] = x = self.norm5(x)
        return pooling.flatten(x), stages

    def penultimate(self, r: Float[Array, "B R"]) -> Float[Array, "B U"]:
        """Mean over positions of the ReLU of the last map."""
        channels = self.norm5.scale.shape[0]
        return jnp.mean(jax.nn.relu(r.reshape(r.shape[0], channels, -1)), axis=-1)
