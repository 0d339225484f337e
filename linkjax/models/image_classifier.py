"""The interface of image classifiers: preprocessing, and what they return."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Num, UInt8

from linkjax import numerics
from linkjax.errors import InputError
from linkjax.models.classifier_spec import Preprocessing
from linkjax.ops import resize


class Classification(NamedTuple):
    """What a classifier says about a batch of images."""

    #: [B, units], the activations that are linked to w: the input of the last layer, or the original program's r
    #: where the classifier was converted with `features="original"`.
    penultimate: Array
    #: [B, classes], before the softmax; None without a head.
    logits: Array | None
    #: Stage name as in torchvision → [B, h, w, c]; empty unless asked for.
    stages: dict[str, Array] = {}  # noqa: RUF012  (never changed)


class ImageClassifier(nnx.Module):
    """A classifier with a `spec` that says how it wants its images."""

    spec: Any

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
