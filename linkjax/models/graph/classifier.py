"""A classifier that was imported as a graph of operations, any of whose layers can be r."""

import dataclasses
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from linkjax.errors import InputError
from linkjax.models.build import Buffer
from linkjax.models.classifier_spec import Pool, Preprocessing
from linkjax.models.graph import interpret
from linkjax.models.graph.operations import Leaf, Value
from linkjax.models.graph.program import Program, Side, Stored, read_file
from linkjax.models.graph.view import View
from linkjax.models.image_classifier import Classification, ImageClassifier
from linkjax.models.layers import Keys
from linkjax.ops.chunked import CLASSIFIED, map_shares


@dataclasses.dataclass(frozen=True)
class GraphSpec:
    """One imported classifier."""

    arch: str  # where it came from
    program: Program
    layer: str  # the node whose value is r, once pooled
    channels: int  # the axis of that value that counts units
    pool: Pool = "none"
    num_classes: int = 0  # 0: no class scores
    preprocessing: Preprocessing = Preprocessing()  # noqa: RUF009 - frozen
    class_names: tuple[str, ...] = ()  # of the classes, in order; empty: not known

    #: Fields that are files of their own beside the manifest: file name, and what reads it.
    FILES: ClassVar[dict[str, tuple[str, Callable[[Path], Any]]]] = {"program": ("graph.json", read_file)}
    #: As for other classifiers: the activations are never the original program's.
    features: ClassVar[str] = "penultimate"

    def __post_init__(self):
        shape = self.shape
        if shape[:1] != (Side(1, True),) or any(side.batch for side in shape[1:]):
            raise InputError(f"the layer {self.layer} has no values image by image, so it cannot be r")
        if not 1 <= self.channels < len(shape):
            raise InputError(f"the layer {self.layer} has {len(shape)} axes, none of which is {self.channels}")
        if self.pool not in get_args(Pool):
            raise InputError(f"pool: expected {', '.join(get_args(Pool))}, found {self.pool!r}")
        if self.pool in ("cls", "tokens") and (len(shape) != 3 or self.channels != 2):
            raise InputError(f"pool {self.pool}: expected a layer of tokens, found {self.layer} of {_words(shape)}")
        if self.pool == "tokens" and shape[1].count < 2:
            raise InputError(f"pool tokens: expected several tokens, found {self.layer} of {_words(shape)}")
        result = self.program.by_name[self.program.result].shape
        if self.num_classes and result != (Side(1, True), Side(self.num_classes)):
            raise InputError(f"expected {self.num_classes} class scores an image, found {_words(result)}")
        if self.class_names and len(self.class_names) != self.num_classes:
            raise InputError(f"expected a name for each of {self.num_classes} classes, found {len(self.class_names)}")

    @property
    def shape(self) -> tuple[Side, ...]:
        """Shape of the layer's value, before it is pooled."""
        return self.program.find(self.layer).shape

    @property
    def num_units(self) -> int:
        """Length of r."""
        if self.pool == "none":
            return math.prod(side.count for side in self.shape[1:])
        return self.shape[self.channels].count

    @property
    def penultimate_units(self) -> int:
        """Length of r."""
        return self.num_units

    @property
    def identity(self) -> str:
        """What makes the numbers besides the arrays."""
        return f"{self.program.sha256} {self.layer} {self.channels} {self.pool}"

    @functools.cached_property
    def closed(self) -> bool:
        """Whether class scores follow from r alone."""
        return self.pool == "none" and interpret.depends(self.program, self.program.result, (self.layer,))

    @functools.cached_property
    def last(self) -> str | None:
        """Name of the matrix by which r becomes class scores; None where there is more to do."""
        node = self.program.by_name[self.program.result]
        given = dict(node.arguments)
        direct = node.operation == "linear" and given["input"] == Value(self.layer) and self.pool == "none"
        return given["weight"].name if direct and isinstance(given["weight"], Leaf) else None


class GraphClassifier(ImageClassifier):
    """An imported classifier: weights as leaves, every layer as an output on request; calls are compiled."""

    def __init__(self, spec: GraphSpec, *, rngs: nnx.Rngs):
        self.spec = spec
        keys = Keys(rngs)
        self.weights = nnx.Dict({array.name: _random(array, keys) for array in spec.program.arrays})

    def __call__(self, x: Float[Array, "B H W 3"], stages: bool = False, taps: tuple[str, ...] = ()) -> Classification:
        """Activations and class scores of preprocessed images.

        Args:
          x: what `preprocess` gives, of the size the network was exported for.
          stages: also return what every outermost module gives.
          taps: layers whose values to return too, by path of a module or name of a node, in `stages`: maps as
            [B, h, w, c], tokens as [B, n, c].
        """
        names = tuple(name for name in self.spec.program.layers() if "." not in name) if stages else ()
        return _classify(self, x, (*names, *taps))

    def head(self, r: Float[Array, "B units"], images: Float[Array, "B H W 3"] | None = None) -> Array:
        """Class scores [B, classes] from activations r: the rest of the network.

        Where r is pooled, or others pass the layer by, scores depend on more than r: then what r differs by from the
        images' own is added to the layer's value, at every position that is pooled, and the network runs on from there.

        Args:
          images: preprocessed, those that r was had from before it was changed; where `spec.closed` not needed.
        Raises: InputError if the classifier has no head, or if images are needed and not given.
        """
        if not self.spec.num_classes:
            raise InputError(f"{self.spec.arch} has no class scores: expected a classifier with a head")
        if images is None and not self.spec.closed:
            raise InputError(
                f"r is {self.spec.pool} of the layer {self.spec.layer}, from which class scores do not follow alone: "
                "expected the images that it was had from; convert with the penultimate layer to do without"
            )
        return _head(self, r, None if self.spec.closed else images)

    @property
    def head_kernel(self) -> Float[Array, "units classes"] | None:
        """The last layer's weights where r is its input, so that class scores are linear in r; None elsewhere."""
        name = self.spec.last
        if name is None or not self.spec.num_classes:
            return None
        order = next(array.order for array in self.spec.program.arrays if array.name == name)
        return View(self.weights[name][...], order).laid((1, 0))


def _random(array: Stored, keys: Keys) -> nnx.Variable:
    """Weights of variance 2 / inputs, ones and zeros elsewhere."""
    scale = math.sqrt(2 / max(1, math.prod(array.shape[:-1])))
    if array.dtype == "float32" and len(array.shape) > 1:
        values = jax.random.normal(next(keys), array.shape, jnp.float32) * scale
    else:
        values = jnp.zeros(array.shape, array.dtype)
    return nnx.Param(values) if array.trained else Buffer(values)


def _words(shape: tuple[Side, ...]) -> str:
    return "[" + ", ".join(str(side.count) if not side.batch else "batch" for side in shape) + "]"


@functools.partial(jax.jit, static_argnames="taps")
def _classify(model: GraphClassifier, x: Array, taps: tuple[str, ...]) -> Classification:
    return map_shares(functools.partial(_classified, taps=taps), model, x, CLASSIFIED)


def _arrays(model: GraphClassifier) -> dict[str, Array]:
    return {name: variable[...] for name, variable in model.weights.items()}


def _classified(model: GraphClassifier, x: Array, taps: tuple[str, ...]) -> Classification:
    spec = model.spec
    nodes = {tap: spec.program.find(tap) for tap in taps}
    for tap, node in nodes.items():
        if node.shape[:1] != (Side(1, True),):
            raise InputError(f"the layer {tap} has no values image by image")
    wanted = (spec.layer, spec.program.result, *(node.name for node in nodes.values()))
    found = interpret.run(spec.program, _arrays(model), x, wanted)
    logits = found[spec.program.result].plain() if spec.num_classes else None
    maps = {tap: as_it_lies(found[node.name]) for tap, node in nodes.items()}
    return Classification(pooled(found[spec.layer], spec.channels, spec.pool), logits, maps)


@jax.jit
def _head(model: GraphClassifier, r: Array, images: Array | None) -> Array:
    spec, arrays = model.spec, _arrays(model)
    wanted = (spec.program.result,)
    if images is None:
        given = {spec.layer: unpooled(r, tuple(side.of(len(r)) for side in spec.shape), spec.channels)}
        return interpret.run(spec.program, arrays, None, wanted, given=given)[spec.program.result].plain()

    def edit(value: View) -> View:
        return moved(value, r - pooled(value, spec.channels, spec.pool), spec.channels, spec.pool)

    edits = {spec.layer: edit}
    return interpret.run(spec.program, arrays, images, wanted, edits=edits)[spec.program.result].plain()


def as_it_lies(value: View) -> Array:
    """A value with its images first, and as it lies else: channels last."""
    return jnp.moveaxis(value.array, value.axis(0), 0)


def _channels_last(rank: int, channels: int) -> tuple[int, ...]:
    """How a value lies as [B, positions …, units], where its axis `channels` counts units."""
    return tuple(rank - 1 if axis == channels else axis - (axis > channels) for axis in range(rank))


def pooled(value: View, channels: int, pool: Pool) -> Float[Array, "B units"]:
    """r from a layer's value."""
    x = value.laid(_channels_last(value.rank, channels))
    if pool == "cls":
        return x[:, 0]
    if pool == "none":
        return x.reshape(len(x), -1)
    inside = tuple(range(1, x.ndim - 1))
    if pool == "max":
        return jnp.max(x, axis=inside)
    return jnp.mean(x[:, 1:] if pool == "tokens" else x, axis=inside)


def unpooled(r: Float[Array, "B units"], shape: tuple[int, ...], channels: int) -> View:
    """The layer's value of this shape from which `pooled` takes all as r."""
    inside = [size for axis, size in enumerate(shape) if axis not in (0, channels)]
    return View(r.reshape(shape[0], *inside, shape[channels]), _channels_last(len(shape), channels))


def moved(value: View, by: Float[Array, "B units"], channels: int, pool: Pool) -> View:
    """The layer's value with something added, at every position that is pooled, so that its r moves by just that."""
    if pool == "none":
        step = unpooled(by, value.shape, channels)
        return View(value.laid(step.order) + step.array, step.order)
    order = _channels_last(value.rank, channels)
    x = value.laid(order)
    step = by.reshape(by.shape[0], *(1,) * (x.ndim - 2), by.shape[1])
    if pool == "cls":
        x = jnp.concatenate([x[:, :1] + step, x[:, 1:]], axis=1)
    elif pool == "tokens":
        x = jnp.concatenate([x[:, :1], x[:, 1:] + step], axis=1)
    else:
        x = x + step
    return View(x, order)
