"""Images and the parts in them, in one program: a generator's feature maps through a segmentation head."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from linkjax import numerics
from linkjax.errors import InputError
from linkjax.models.generator_spec import GeneratorSpec
from linkjax.models.linear_segmenter import LinearSegmenter, LinearSegmenterSpec
from linkjax.models.segmenter import Segmenter, SegmenterSpec
from linkjax.models.stylegan_xl import Generator, layer_outputs
from linkjax.ops.chunked import map_in_cache
from linkjax.ops.resize import resize, resize_nearest


@jax.jit
def draw_with_parts(
    generator: Generator, segmenter: Segmenter | LinearSegmenter, w: Float[Array, "B W"] | Float[Array, "B N W"]
) -> tuple[Float[Array, "B H W 3"], Float[Array, "B H W P"]]:
    """Images about [-1, 1] and the scores of their parts; labels are `jnp.argmax(scores, axis=-1)`.

    Differentiable in w. The few-shot network works at its own `map_size`; its scores are resized, bilinearly.

    Args:
      w: [B, w_dim] for all layers, or [B, num_ws, w_dim].
    Errors: InputError if the segmenter was trained on the features of another generator.
    Numerics: within one compiled program a feature map lives until it is projected, not longer; memory is that of
      synthesis and a few maps of `num_parts` channels. With the few-shot network all maps are joined: 4 · map_size² ·
      in_channels bytes an image (0.83 GiB for the imagenet256 architecture, as in the original).
    """
    w = jnp.asarray(w, jnp.float32)
    return map_in_cache(_draw, (generator, segmenter), w, generator.spec.bytes_at_once)


class Drawn(NamedTuple):
    """Images as a reader sees them, and the parts in them."""

    pixels: jax.Array  # [N, H, W, 3] bytes, as `numerics.to_uint8` makes them
    finite: jax.Array  # [N] bool: whether all values of the image were, which its bytes do not show
    labels: jax.Array | None  # [N, H, W], the part of each pixel; None without a segmenter
    images: jax.Array | None  # [N, H, W, 3] about [-1, 1]; None unless asked for


@functools.partial(jax.jit, static_argnames="images")
def draw_pixels(
    generator: Any, segmenter: Segmenter | LinearSegmenter | None, w: Float[Array, "B W"], images: bool = False
) -> Drawn:
    """Images as bytes, and the part of each pixel: that of the largest score of `draw_with_parts`.

    Args:
      images: also give them as they were drawn; static.
    Numerics: on a CPU a share of the batch is turned into bytes and labels before the next is drawn: scores, and float
      images unless asked for, are never in memory for the whole batch.
    """
    if segmenter is None:
        return _as_pixels(generator.synthesis(w), None, images)
    draw = functools.partial(_draw_pixels, with_images=images)
    return map_in_cache(draw, (generator, segmenter), jnp.asarray(w, jnp.float32), generator.spec.bytes_at_once)


def draw_and_classify(
    generator: Any, classifier: Any, segmenter: Any | None, w: Float[Array, "B W"]
) -> tuple[Drawn, Any]:
    """`draw_pixels`, and what a classifier says of the images; NaN of one that is not finite, as of its values.

    A classifier that rounds to bytes is given these: the same numbers, and a quarter of the memory to read.
    """
    drawn = draw_pixels(generator, segmenter, w, images=not classifier.reads_bytes)
    said = classifier(classifier.preprocess(drawn.pixels if drawn.images is None else drawn.images))
    return drawn, jax.tree.map(lambda each: jnp.where(drawn.finite[:, None], each, jnp.nan), said)


def _draw_pixels(models: tuple[Generator, Segmenter | LinearSegmenter], w: Array, with_images: bool) -> Drawn:
    images, scores = _draw(models, w)
    return _as_pixels(images, jnp.argmax(scores, axis=-1).astype(jnp.int32), with_images)


def _as_pixels(images: Array, labels: Array | None, with_images: bool) -> Drawn:
    finite = jnp.isfinite(images).all((1, 2, 3))
    return Drawn(numerics.to_uint8(images), finite, labels, images if with_images else None)


def _draw(models: tuple[Generator, Segmenter | LinearSegmenter], w: Array) -> tuple[Array, Array]:
    generator, segmenter = models
    if isinstance(segmenter, LinearSegmenter):
        check_fit(generator.spec, segmenter.spec)
        images, maps = generator.synthesis(w, features=segmenter.spec.layers, margins=True)
        return images, segmenter(maps, tuple(_margin(generator.spec, name) for name in segmenter.spec.layers))
    images, maps = features_for(generator, segmenter.spec, w)
    return images, resize(segmenter(maps), images.shape[1], images.shape[2])


def features_for(
    generator: Generator, spec: SegmenterSpec | LinearSegmenterSpec, w: Float[Array, "B W"] | Float[Array, "B N W"]
) -> tuple[Float[Array, "B H W 3"], Any]:
    """Images, and what a segmenter of this spec takes: maps by layer, or all maps resized and joined.

    The few-shot network's maps are resized by nearest neighbour. With `spec.margins` they are those of the original,
    which kept the margins: what lies at its place in the map is not at its place in the picture.

    Errors: InputError if the generator does not have those layers and channels.
    """
    check_fit(generator.spec, spec)
    if isinstance(spec, LinearSegmenterSpec):
        return generator.synthesis(w, features=spec.layers)
    outputs = layer_outputs(generator.synthesis, jnp.asarray(w, jnp.float32))
    joined = []
    for name in few_shot_layers(generator.spec, spec):
        maps = outputs[name]
        if not spec.margins:
            margin = _margin(generator.spec, name)
            maps = maps[:, margin : maps.shape[1] - margin, margin : maps.shape[2] - margin]
        joined.append(resize_nearest(maps, spec.map_size, spec.map_size))
    images = outputs[generator.spec.layer_names[-1]] * generator.spec.output_scale
    return images, jnp.concatenate(joined, axis=-1)


def few_shot_layers(generator: GeneratorSpec, spec: SegmenterSpec) -> tuple[str, ...]:
    """The layers a few-shot network reads: its own list, or the original's: the input, then every second layer.

    For the imagenet256 architecture the original's have 13 588 channels.
    """
    return spec.layers or ("input", *generator.layer_names[1::2])


def check_fit(generator: GeneratorSpec, spec: SegmenterSpec | LinearSegmenterSpec) -> None:
    """Check that a generator has the layers and channels a segmenter was trained on.

    Raises: InputError if not.
    """
    channels = {"input": generator.input_channels, **{layer.name: layer.out_channels for layer in generator.layers}}
    if isinstance(spec, LinearSegmenterSpec):
        wanted = dict(zip(spec.layers, spec.channels, strict=True))
        wrong = [name for name, count in wanted.items() if name == "input" or channels.get(name) != count]
        if wrong:
            raise InputError(
                f"this segmenter reads layer {wrong[0]} with {wanted[wrong[0]]} channels, which this generator does "
                "not have; give it the generator it was trained on"
            )
        if spec.resolution != generator.resolution:
            raise InputError(
                f"this segmenter labels images of {spec.resolution} pixels, this generator draws "
                f"{generator.resolution}; give it the generator it was trained on"
            )
        return
    names = few_shot_layers(generator, spec)
    unknown = [name for name in names if name not in channels]
    found = sum(channels.get(name, 0) for name in names)
    if unknown or found != spec.in_channels:
        raise InputError(
            f"this segmenter reads {spec.in_channels} channels of layers {', '.join(names[:3])}, …, of which this "
            f"generator has {found}; give it the generator it was trained on"
        )


def linear_spec(
    generator: GeneratorSpec, part_names: tuple[str, ...], layers: tuple[str, ...] = ()
) -> LinearSegmenterSpec:
    """The linear head that reads all layers of a generator, or those named.

    Errors: InputError for a layer the generator does not have.
    """
    channels = {layer.name: layer.out_channels for layer in generator.layers}
    unknown = [name for name in layers if name not in channels]
    if unknown:
        raise InputError(f"no layer named {unknown[0]}; this generator has {', '.join(channels)}")
    chosen = layers or generator.layer_names
    counts = tuple(channels[name] for name in chosen)
    return LinearSegmenterSpec(tuple(chosen), counts, generator.resolution, len(part_names), part_names)


def few_shot_spec(
    generator: GeneratorSpec,
    size: str,
    part_names: tuple[str, ...],
    layers: tuple[str, ...] = (),
    map_size: int = 128,
    margins: bool = False,
) -> SegmenterSpec:
    """A few-shot network for a generator, on the original's layers or those named; margins are cropped unless asked.

    Errors: InputError for a layer the generator does not have.
    """
    channels = {"input": generator.input_channels, **{layer.name: layer.out_channels for layer in generator.layers}}
    unknown = [name for name in layers if name not in channels]
    if unknown:
        raise InputError(f"no layer named {unknown[0]}; this generator has {', '.join(channels)}")
    chosen = layers or ("input", *generator.layer_names[1::2])
    count = sum(channels[name] for name in chosen)
    return SegmenterSpec(
        size, count, len(part_names), part_names=part_names, layers=chosen, map_size=map_size, margins=margins
    )


def _margin(generator: GeneratorSpec, name: str) -> int:
    if name == "input":
        return max(0, (generator.input_size - int(generator.input_sampling_rate)) // 2)
    return next(layer.margin for layer in generator.layers if layer.name == name)
