"""A classifier of another JAX program (Flax, Equinox, a plain function), as one of linkjax's."""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from linkjax.errors import InputError
from linkjax.models.build import Buffer
from linkjax.models.classifier_spec import Preprocessing
from linkjax.models.hashing import arrays_sha256
from linkjax.models.image_classifier import Classification, ImageClassifier


@dataclasses.dataclass(frozen=True)
class ForeignSpec:
    """What a foreign classifier is besides its function and weights."""

    arch: str  # what it is called
    num_units: int
    num_classes: int  # 0: no class scores
    preprocessing: Preprocessing
    class_names: tuple[str, ...] = ()  # of the classes, in order; empty: not known

    #: As for other classifiers: the activations are never the original program's.
    features: ClassVar[str] = "penultimate"


class Foreign(ImageClassifier):
    """A classifier that is a function of weights and images; it goes wherever linkjax takes a classifier in memory.

    Args:
      function: (weights, images [B, h, w, 3] as `preprocess` gives them) → (r [B, units], logits [B, classes] or None);
        pure, so that it can be compiled, and each image for itself. Products of which it does not say how
        exact they are have the highest precision, as all others here.
      weights: a pytree of arrays, whatever the program keeps them in.
      head: (weights, r [B, units]) → logits [B, classes], the rest of the network; what works by class scores of
        changed activations (counterfactuals, ablations) needs it.
      preprocessing: from generated images to `function`'s.
      side: of the images that `function` sees, in pixels; None: what the preprocessing crops to.
      name: what it is called.
      class_names: of the classes, in order.
    Raises: InputError if the function does not give what is expected of it; it is traced, not run.
    """

    def __init__(
        self,
        function: Callable[[Any, Array], tuple[Array, Array | None]],
        weights: Any,
        *,
        head: Callable[[Any, Array], Array] | None = None,
        preprocessing: Preprocessing = Preprocessing(),  # noqa: B008 - frozen
        side: int | None = None,
        name: str = "foreign",
        class_names: tuple[str, ...] = (),
    ):
        leaves, self.structure = jax.tree.flatten(weights)
        self.function, self.rest = function, head
        self.weights = nnx.List([Buffer(jnp.asarray(leaf)) for leaf in leaves])
        units, classes = self._traced(weights, side or preprocessing.input_size)
        if class_names and len(class_names) != classes:
            raise InputError(f"expected a name for each of {classes} classes, found {len(class_names)}")
        self.spec = ForeignSpec(name, units, classes, preprocessing, class_names)

    def _traced(self, weights: Any, side: int | None) -> tuple[int, int]:
        """Units and classes that the functions give."""
        if side is None:
            raise InputError("expected the side of the images that the function sees: side, or a crop of preprocessing")
        images = jax.ShapeDtypeStruct((2, side, side, 3), jnp.float32)
        made = jax.eval_shape(self.function, weights, images)
        if not (isinstance(made, tuple | list) and len(made) == 2 and getattr(made[0], "ndim", 0) == 2):
            raise InputError("expected (r [batch, units], logits [batch, classes] or None) from the function")
        r, logits = made
        if len(r) != 2 or (logits is not None and (logits.ndim != 2 or len(logits) != 2)):
            raise InputError(f"expected a row for each image, found r of {r.shape} of 2 images")
        if self.rest is not None and logits is not None:
            again = jax.eval_shape(self.rest, weights, r)
            if again.shape != logits.shape:
                raise InputError(f"expected logits of {logits.shape} from the head, found {again.shape}")
        return r.shape[1], 0 if logits is None else logits.shape[1]

    @property
    def sha256(self) -> str:
        """SHA-256 of the weights, in the order of their pytree."""
        return arrays_sha256({f"{place:06}": np.asarray(leaf) for place, leaf in enumerate(self.weights)})

    def __call__(self, x: Float[Array, "B H W 3"], stages: bool = False) -> Classification:
        """Activations and class scores of preprocessed images; there are no stages."""
        return _classify(self, x)

    def head(self, r: Float[Array, "B units"]) -> Float[Array, "B classes"]:
        """Class scores from activations r alone.

        Raises: InputError if none was given.
        """
        if self.rest is None or not self.spec.num_classes:
            raise InputError(f"{self.spec.arch} has no way from r to class scores: expected a head")
        return _head(self, r)

    @property
    def head_kernel(self) -> None:
        """The head is any function, so there are no weights to read."""
        return None


def _restored(model: Foreign) -> Any:
    return jax.tree.unflatten(model.structure, [variable[...] for variable in model.weights])


@jax.jit
def _classify(model: Foreign, x: Array) -> Classification:
    with jax.default_matmul_precision("highest"):
        return Classification(*model.function(_restored(model), x))


@jax.jit
def _head(model: Foreign, r: Array) -> Array:
    assert model.rest is not None
    with jax.default_matmul_precision("highest"):
        return model.rest(_restored(model), r)
