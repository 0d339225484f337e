"""AlexNet, with torchvision's structure and names (its one-tower form)."""

import jax
from flax import nnx
from jaxtyping import Array, Float

from linkjax.models.layers import Conv, Dense, Keys
from linkjax.ops import pooling

GRID = 6  # side of the pooled map
#: Index in torchvision's `features`, kernel side, stride and padding of every convolution.
CONVOLUTIONS = ((0, 11, 4, 2), (3, 5, 1, 2), (6, 3, 1, 1), (8, 3, 1, 1), (10, 3, 1, 1))
_POOLED = (0, 3, 10)  # convolutions with a pool after their activation


class AlexNet(nnx.Module):
    """AlexNet without its last layer.

    Args:
      widths: channels of the five convolutions.
      hidden: units of the hidden fully connected layers.
    """

    def __init__(self, widths: tuple[int, ...], hidden: tuple[int, ...], *, keys: Keys):
        self.convs, self.hidden = nnx.List(), nnx.List()
        channels = 3
        for width, (_, size, stride, padding) in zip(widths, CONVOLUTIONS, strict=True):
            self.convs.append(Conv(channels, width, size, stride=stride, padding=padding, keys=keys))
            channels = width
        units = channels * GRID**2
        for width in hidden:
            self.hidden.append(Dense(units, width, keys=keys))
            units = width

    def original(self, x: Float[Array, "B H W 3"]) -> tuple[Float[Array, "B R"], dict[str, Array]]:
        """The 6×6 pooled map, flattened, and the map after every layer under torchvision's name."""
        stages = {}
        for conv, (index, *_) in zip(self.convs, CONVOLUTIONS, strict=True):
            stages[f"features.{index}"] = x = conv(x)
            stages[f"features.{index + 1}"] = x = jax.nn.relu(x)
            if index in _POOLED:
                stages[f"features.{index + 2}"] = x = pooling.max_pool(x, 3, 2)
        stages["avgpool"] = x = pooling.adaptive_avg_pool(x, GRID)
        return pooling.flatten(x), stages

    def penultimate(self, r: Float[Array, "B R"]) -> Float[Array, "B U"]:
        """The last hidden layer, after its ReLU, from the pooled map."""
        for layer in self.hidden:
            r = jax.nn.relu(layer(r))
        return r
