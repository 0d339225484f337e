"""The few-shot segmentation network: part labels from a generator's feature maps."""

import dataclasses

import jax
from flax import nnx
from jaxtyping import Array, Float

from linkjax.errors import InputError
from linkjax.models.layers import Conv, Keys

#: Dilation of every convolution, by size.
DILATIONS = {
    "S": (1, 2, 1, 2, 1),
    "M": (1, 2, 4, 1, 2, 4, 1),
    "L": (1, 2, 4, 8, 1, 2, 4, 8, 1),
}
#: Channels between the convolutions, by size.
WIDTHS = {
    "S": (128, 64, 64, 32),
    "M": (128, 64, 64, 64, 64, 32),
    "L": (128, 64, 64, 64, 64, 64, 64, 32),
}


@dataclasses.dataclass(frozen=True)
class SegmenterSpec:
    """One segmentation network."""

    size: str  # S | M | L
    in_channels: int  # of all feature maps together
    num_parts: int  # the background is one
    widths: tuple[int, ...] = ()  # channels between the convolutions; empty: those of the size
    part_names: tuple[str, ...] = ()
    layers: tuple[str, ...] = ()  # generator layers whose maps it reads; empty: the original's, see analysis.parts
    map_size: int = 128  # side to which maps are resized before they are joined, in pixels
    margins: bool = True  # maps keep what lies beyond the picture, as in the original, and so do not lie over it

    def __post_init__(self):
        if self.size not in DILATIONS:
            raise InputError(f"expected a segmenter size of {', '.join(DILATIONS)}, found {self.size!r}")
        if not self.widths:
            object.__setattr__(self, "widths", WIDTHS[self.size])
        if len(self.widths) != len(DILATIONS[self.size]) - 1:
            raise InputError(
                f"expected {len(DILATIONS[self.size]) - 1} widths for {self.size}, found {len(self.widths)}"
            )
        if self.part_names and len(self.part_names) != self.num_parts:
            raise InputError(f"expected a name for each of {self.num_parts} parts, found {len(self.part_names)}")


class Segmenter(nnx.Module):
    """3×3 dilated convolutions with LeakyReLU 0.2 between them; the map keeps its size."""

    def __init__(self, spec: SegmenterSpec, *, rngs: nnx.Rngs):
        self.spec = spec
        self.layers = nnx.List()
        channels, keys = spec.in_channels, Keys(rngs)
        for width, dilation in zip((*spec.widths, spec.num_parts), DILATIONS[spec.size], strict=True):
            self.layers.append(Conv(channels, width, 3, padding=dilation, dilation=dilation, keys=keys))
            channels = width

    def __call__(self, features: Float[Array, "B H W C"]) -> Float[Array, "B H W P"]:
        """Scores of every part at every position, before the softmax.

        Args:
          features: the generator's maps, resized to one size and joined.
        """
        if features.ndim != 4 or features.shape[-1] != self.spec.in_channels:
            raise InputError(
                f"expected features [batch, height, width, {self.spec.in_channels}], found {tuple(features.shape)}; "
                "were they taken from the generator and layers this segmenter was trained on?"
            )
        return _segment(self, features)


@jax.jit
def _segment(model: Segmenter, x: Array) -> Array:
    for layer in model.layers[:-1]:
        x = jax.nn.leaky_relu(layer(x), 0.2)
    return model.layers[-1](x)
