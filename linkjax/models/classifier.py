"""Image classifiers: preprocessing, the activations that are linked, and the class scores."""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Num, UInt8

from linkjax import numerics
from linkjax.errors import InputError
from linkjax.models.alexnet import AlexNet
from linkjax.models.classifier_spec import ARCHITECTURES, ClassifierSpec, Preprocessing, classifier_spec
from linkjax.models.densenet import DenseNet
from linkjax.models.layers import Dense, Keys
from linkjax.models.resnet import ResNet
from linkjax.models.vgg import VGG
from linkjax.ops import resize
from linkjax.ops.chunked import CLASSIFIED, map_shares

__all__ = ["ARCHITECTURES", "Classification", "Classifier", "ClassifierSpec", "Preprocessing", "classifier_spec"]


class Classification(NamedTuple):
    """What a classifier says about a batch of images."""

    #: [B, units], the activations that are linked to w: the input of the last layer, or the original program's r
    #: where the classifier was converted with `features="original"`.
    penultimate: Array
    #: [B, classes], before the softmax; None without a head.
    logits: Array | None
    #: Stage name as in torchvision → [B, h, w, c]; empty unless asked for.
    stages: dict[str, Array] = {}  # noqa: RUF012  (never changed)


class Classifier(nnx.Module):
    """A converted or random-weight classifier of `spec`; calls are compiled, and may stand in compiled functions."""

    def __init__(self, spec: ClassifierSpec, *, rngs: nnx.Rngs):
        self.spec = spec
        keys = Keys(rngs)
        self.network = _network(spec, keys)
        if spec.head:  # a head of several layers: all but the last, each with a ReLU
            sizes = zip((spec.pooled_units, *spec.head), spec.head, strict=False)
            self.head_layers = nnx.List([Dense(inputs, outputs, keys=keys) for inputs, outputs in sizes])
        self.last = Dense(spec.penultimate_units, spec.num_classes, keys=keys) if spec.num_classes else None

    @property
    def reads_bytes(self) -> bool:
        """Whether `preprocess` rounds images to bytes first, so that to give it these is the same."""
        return self.spec.preprocessing.quantise

    def preprocess(self, images: Num[Array, "B H W 3"], differentiable: bool = False) -> Float[Array, "B h w 3"]:
        """Generated images as the classifier's input: bytes → resize → centre crop → (x − mean) / std.

        x are the bytes in the classifier's own range (x / 255 for most) and order of channels.

        Args:
          images: values in [-1, 1]; or bytes.
          differentiable: leave out the roundings, whose gradient is zero, and stay in the middle of what they give.
        Numerics: bit for bit the original's bytes (truncation, then Pillow's resize); see `linkjax.ops.resize`.
        """
        if images.ndim != 4 or images.shape[-1] != 3:
            raise InputError(f"expected images [batch, height, width, 3], found {tuple(images.shape)}")
        return _preprocess(images, self.spec.preprocessing, differentiable)

    def normalise(self, images: UInt8[Array, "B h w 3"]) -> Float[Array, "B h w 3"]:
        """The last step of `preprocess` alone, (x − mean) / std, for bytes already resized and cropped."""
        return _preprocess(
            images, dataclasses.replace(self.spec.preprocessing, resize=None, crop=None, squash=False), False
        )

    def __call__(self, x: Float[Array, "B H W 3"], stages: bool = False) -> Classification:
        """Activations and class scores of preprocessed images.

        Args:
          x: what `preprocess` gives.
          stages: also return the map after every stage, under torchvision's name.
        """
        if x.ndim != 4 or x.shape[-1] != 3:
            raise InputError(f"expected preprocessed images [batch, height, width, 3], found {tuple(x.shape)}")
        return _classify(self, x, stages)

    def head(self, r: Float[Array, "B units"]) -> Float[Array, "B classes"]:
        """Class scores from activations r alone: the rest of the network.

        Raises: InputError if the classifier has no head.
        """
        if self.last is None:
            raise InputError(f"{self.spec.arch} has no class scores: expected a classifier with a head")
        return _head(self, r)


@functools.partial(jax.jit, static_argnames=("preprocessing", "differentiable"))
def _preprocess(images: Array, preprocessing: Preprocessing, differentiable: bool) -> Array:
    exact = preprocessing.quantise and not differentiable
    if images.dtype == jnp.uint8:
        values = images if exact else images.astype(jnp.float32)
    elif exact:
        values = numerics.to_uint8(images)
    else:
        # Truncation to bytes takes away half a level on average.
        half = 0.5 if preprocessing.quantise else 0.0
        values = jnp.clip((images.astype(jnp.float32) + 1.0) * 127.5 - half, 0.0, 255.0)
    height, width = preprocessing.resized(*images.shape[1:3])
    resized = resize.resize_bytes if exact else resize.resize
    values = resized(values, height, width, preprocessing.crop, preprocessing.interpolation).astype(jnp.float32)
    if preprocessing.channels == "bgr":
        values = values[..., ::-1]
    low, high = preprocessing.value_range
    values = values / (255.0 / (high - low))
    values = values + low if low else values
    mean, std = (
        np.asarray(constant, np.float32)[None, None, None] for constant in (preprocessing.mean, preprocessing.std)
    )
    seen = (values - mean) / std
    if images.dtype == jnp.uint8:
        return seen
    # Bytes know no NaN: an image that is not finite would be seen as partly black, and pass for a sample.
    known = jnp.all(jnp.isfinite(images), axis=(1, 2, 3), keepdims=True)
    return jnp.where(known, seen, jnp.nan)


@functools.partial(jax.jit, static_argnames="stages")
def _classify(model: Classifier, x: Array, stages: bool) -> Classification:
    return map_shares(functools.partial(_classified, stages=stages), model, x, CLASSIFIED)


def _classified(model: Classifier, x: Array, stages: bool) -> Classification:
    r, maps = model.network.original(x)
    hidden = _before_last(model, r)
    logits = None if model.last is None else model.last(hidden)
    return Classification(r if model.spec.features == "original" else hidden, logits, maps if stages else {})


def _before_last(model: Classifier, r: Array) -> Array:
    """The input of the last layer, from the network's own output."""
    hidden = model.network.penultimate(r)
    for layer in model.head_layers if model.spec.head else ():
        hidden = jax.nn.relu(layer(hidden))
    return hidden


@jax.jit
def _head(model: Classifier, r: Array) -> Array:
    hidden = _before_last(model, r) if model.spec.features == "original" else r
    return model.last(hidden)  # pyright: ignore[reportOptionalCall]


def _network(spec: ClassifierSpec, keys: Keys) -> ResNet | VGG | AlexNet | DenseNet:
    if spec.family == "resnet":
        return ResNet(spec.widths, spec.blocks, spec.expansion, (spec.groups, spec.width_per_group), keys=keys)
    if spec.family == "vgg":
        return VGG(spec.widths, spec.blocks, spec.hidden, spec.norm, keys=keys)
    if spec.family == "alexnet":
        return AlexNet(spec.widths, spec.hidden, keys=keys)
    return DenseNet(spec.widths[0], spec.blocks, spec.growth, spec.expansion, keys=keys)
