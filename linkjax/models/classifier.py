"""Image classifiers: preprocessing, the activations that are linked, and the class scores."""

import functools

import jax
from flax import nnx
from jaxtyping import Array, Float

from linkjax.errors import InputError
from linkjax.models.alexnet import AlexNet
from linkjax.models.classifier_spec import ARCHITECTURES, ClassifierSpec, Preprocessing, classifier_spec
from linkjax.models.densenet import DenseNet
from linkjax.models.image_classifier import Classification, ImageClassifier
from linkjax.models.layers import Dense, Keys
from linkjax.models.resnet import ResNet
from linkjax.models.vgg import VGG
from linkjax.ops.chunked import CLASSIFIED, map_shares

__all__ = ["ARCHITECTURES", "Classification", "Classifier", "ClassifierSpec", "Preprocessing", "classifier_spec"]


class Classifier(ImageClassifier):
    """A converted or random-weight classifier of `spec`; calls are compiled, and may stand in compiled functions."""

    def __init__(self, spec: ClassifierSpec, *, rngs: nnx.Rngs):
        self.spec = spec
        keys = Keys(rngs)
        self.network = _network(spec, keys)
        if spec.head:  # a head of several layers: all but the last, each with a ReLU
            sizes = zip((spec.pooled_units, *spec.head), spec.head, strict=False)
            self.head_layers = nnx.List([Dense(inputs, outputs, keys=keys) for inputs, outputs in sizes])
        self.last = Dense(spec.penultimate_units, spec.num_classes, keys=keys) if spec.num_classes else None

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

    @property
    def head_kernel(self) -> Float[Array, "units classes"] | None:
        """The last layer's weights where r is its input, so that class scores are linear in r; None elsewhere."""
        return None if self.last is None or self.spec.features == "original" else self.last.kernel[...]


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
