"""VGG, with torchvision's structure and names, with or without batch normalisation."""

import jax
from flax import nnx
from jaxtyping import Array, Float

from linkjax.models.layers import BatchNorm, Conv, Dense, Keys
from linkjax.ops import pooling

GRID = 7  # side of the pooled map


def positions(blocks: tuple[int, ...], norm: bool) -> tuple[int, ...]:
    """Index of every convolution in torchvision's `features`, which counts norms, activations and pools too."""
    found, index = [], 0
    for count in blocks:
        for _ in range(count):
            found.append(index)
            index += 3 if norm else 2
        index += 1
    return tuple(found)


class VGG(nnx.Module):
    """VGG without its last layer.

    Args:
      widths: channels per stage.
      blocks: convolutions per stage; a stage ends with a pool.
      hidden: units of the hidden fully connected layers.
      norm: a batch normalisation after each convolution.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        blocks: tuple[int, ...],
        hidden: tuple[int, ...],
        norm: bool,
        *,
        keys: Keys,
    ):
        self.blocks, self.norm = blocks, norm
        self.convs, self.norms, self.hidden = nnx.List(), nnx.List(), nnx.List()
        channels = 3
        for width, count in zip(widths, blocks, strict=True):
            for _ in range(count):
                self.convs.append(Conv(channels, width, 3, padding=1, keys=keys))
                if norm:
                    self.norms.append(BatchNorm(width))
                channels = width
        units = channels * GRID**2
        for width in hidden:
            self.hidden.append(Dense(units, width, keys=keys))
            units = width

    def original(self, x: Float[Array, "B H W 3"]) -> tuple[Float[Array, "B R"], dict[str, Array]]:
        """The 7×7 pooled map, flattened, and the map after every layer under torchvision's name."""
        stages = {}
        starts = iter(positions(self.blocks, self.norm))
        layers = iter(range(len(self.convs)))
        for count in self.blocks:
            index = 0
            for _ in range(count):
                index, layer = next(starts), next(layers)
                stages[f"features.{index}"] = x = self.convs[layer](x)
                if self.norm:
                    index += 1
                    stages[f"features.{index}"] = x = self.norms[layer](x)
                stages[f"features.{index + 1}"] = x = jax.nn.relu(x)
            stages[f"features.{index + 2}"] = x = pooling.max_pool(x, 2, 2)
        stages["avgpool"] = x = pooling.adaptive_avg_pool(x, GRID)
        return pooling.flatten(x), stages

    def penultimate(self, r: Float[Array, "B R"]) -> Float[Array, "B U"]:
        """The last hidden layer, after its ReLU, from the pooled map."""
        for layer in self.hidden:
            r = jax.nn.relu(layer(r))
        return r
