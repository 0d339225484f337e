"""The linear segmentation head: part labels from a generator's feature maps by one 1×1 projection per layer."""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from linkjax.errors import InputError
from linkjax.ops.conv import cropped_dense, project
from linkjax.ops.resize import resize


@dataclasses.dataclass(frozen=True)
class LinearSegmenterSpec:
    """One linear head, for the generator whose layers it names."""

    layers: tuple[str, ...]  # generator layers it reads, margins cropped
    channels: tuple[int, ...]  # of each of them
    resolution: int  # side of the label maps in pixels: the image's
    num_parts: int  # the background is one
    part_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers or len(self.layers) != len(self.channels) or len(set(self.layers)) != len(self.layers):
            raise InputError(
                f"expected different layers with their channels, found {list(self.layers)} and {list(self.channels)}"
            )
        if self.num_parts < 2 or self.resolution < 1:
            raise InputError(
                f"expected two parts or more and a resolution above 0, found {self.num_parts} and {self.resolution}"
            )
        if self.part_names and len(self.part_names) != self.num_parts:
            raise InputError(f"expected a name for each of {self.num_parts} parts, found {len(self.part_names)}")


class LinearSegmenter(nnx.Module):
    """scores = bias + Σ_layer resize(x_layer · kernel_layer).

    A 1×1 projection commutes with resizing, so that each layer is projected at its own size, where it has few pixels,
    and only `num_parts` channels are ever resized: the joined maps of the imagenet256 architecture, 25 407 channels at
    256 × 256, are never made. What training standardises is folded into kernels and bias.
    """

    def __init__(self, spec: LinearSegmenterSpec, *, rngs: nnx.Rngs) -> None:
        del rngs  # zeros until filled: a linear head is solved for, not initialised
        self.spec = spec
        self.kernels = nnx.Dict(
            {
                name: nnx.Param(jnp.zeros((channels, spec.num_parts), jnp.float32))
                for name, channels in zip(spec.layers, spec.channels, strict=True)
            }
        )
        self.bias = nnx.Param(jnp.zeros((spec.num_parts,), jnp.float32))

    def __call__(
        self, features: Mapping[str, Float[Array, "B h w C"]], margins: tuple[int, ...] = ()
    ) -> Float[Array, "B H W P"]:
        """Scores of every part at every pixel of the image, before the softmax.

        Args:
          features: {layer: [B, h, w, c]}, as `generator.synthesis(w, features=spec.layers)` gives them; others are
            not read.
          margins: pixels on each side of each layer's maps that are not of the image, in the order of `spec.layers`;
            none: they are cropped already. What the head crops itself need not be copied first.
        Errors: InputError if a layer is missing or has other channels.
        """
        spec = self.spec
        wrong = [
            f"{name}: {list(features[name].shape) if name in features else 'missing'}"
            for name, channels in zip(spec.layers, spec.channels, strict=True)
            if name not in features or features[name].ndim != 4 or features[name].shape[-1] != channels
        ]
        if wrong:
            raise InputError(
                f"these features are not of the generator this segmenter was trained on ({'; '.join(wrong[:3])}); "
                "give it that generator's, or train one on this generator with linkjax segment"
            )
        margins = margins or (0,) * len(spec.layers)
        return _segment(self, {name: features[name] for name in spec.layers}, margins)


def linear_scores(
    kernels: Mapping[str, Float[Array, "C P"]],
    bias: Float[Array, "P"],
    features: Mapping[str, Float[Array, "B h w C"]],
    size: int,
    product: Callable[[Array, Array, int], Array] = cropped_dense,
    margins: tuple[int, ...] = (),
) -> Float[Array, "B size size P"]:
    """bias + Σ_layer resize(x_layer · kernel_layer), bilinear with half-pixel centres; not compiled by itself.

    Layers of one size are summed before they are resized, once for all of them.

    Args:
      product: how maps are cropped and projected.
      margins: of each layer; none: there are none.
    """
    by_size: dict[tuple[int, ...], Array] = {}
    for (name, kernel), margin in zip(kernels.items(), margins or (0,) * len(kernels), strict=True):
        projected = product(features[name], kernel, margin)
        here = projected.shape[1:3]
        by_size[here] = by_size[here] + projected if here in by_size else projected
    resized = [resize(projected, size, size) for projected in by_size.values()]
    total = sum(resized[1:], resized[0])
    return total + bias[None, None, None, :]


@functools.partial(jax.jit, static_argnames="margins")
def _segment(model: LinearSegmenter, features: dict[str, Array], margins: tuple[int, ...]) -> Array:
    kernels = {name: model.kernels[name][...] for name in model.spec.layers}
    return linear_scores(kernels, model.bias[...], features, model.spec.resolution, project, margins)
