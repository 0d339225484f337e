"""A classifier whose activations are readouts of its r."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from linkjax.models.image_classifier import Classification
from linkjax.ops.conv import dense


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Readouts:
    """K readouts: max(r · weights + bias, floor); a pytree."""

    weights: Array  # [units, K]
    bias: Array  # [K]
    floor: Array  # [K]; −∞ for what is linear, 0 for a latent behind a ReLU

    def __call__(self, r: Float[Array, "N units"]) -> Float[Array, "N K"]:
        """Values of activations; NaN where these are."""
        values = dense(jnp.asarray(r, jnp.float32), self.weights, self.bias)
        return jnp.maximum(values, self.floor[None])


@dataclasses.dataclass(frozen=True)
class ReadSpec:
    """The part of a classifier's spec that is asked for where units are readouts."""

    num_units: int
    num_classes: int


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ReadClassifier:
    """A classifier of which `penultimate` are readouts of its own; logits stay as they are. A pytree."""

    classifier: Any
    readouts: Readouts

    @property
    def spec(self) -> ReadSpec:
        """How many readouts and classes there are."""
        return ReadSpec(self.readouts.weights.shape[1], self.classifier.spec.num_classes)

    @property
    def reads_bytes(self) -> bool:
        """As the classifier."""
        return self.classifier.reads_bytes

    def preprocess(self, images: Array) -> Array:
        """As the classifier's own."""
        return self.classifier.preprocess(images)

    def __call__(self, x: Float[Array, "B H W 3"]) -> Classification:
        """Readouts and class scores of preprocessed images."""
        seen = self.classifier(x)
        return Classification(self.readouts(seen.penultimate), seen.logits)
