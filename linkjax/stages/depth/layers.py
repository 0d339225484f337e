"""Which layers of a classifier are looked at, and how many units each has; told without an image."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linkjax.analysis.spaces import depth
from linkjax.models import build, registry

_MOST = 12  # layers looked at, where none are named


def layers_of(classifier: Any) -> tuple[str, ...]:
    """The outermost modules, and the members of outermost lists, whose values can be a vector; at most 12, evenly."""
    program = getattr(classifier.spec, "program", None)
    if program is None:
        return _stages(classifier)
    known: dict[str, str] = {}  # node → the shortest path that names it
    for path, node in program.layers().items():
        parts, shape = path.split("."), program.by_name[node].shape
        outermost = len(parts) == 1 or (len(parts) == 2 and parts[1].isdigit())
        vector = 2 <= len(shape) <= 4 and shape[0].batch and not any(side.batch for side in shape[1:])
        if outermost and vector and node not in (program.result, classifier.spec.layer):
            known[node] = min(known.get(node, path), path, key=len)
    names = list(known.values())
    some = np.unique(np.linspace(0, len(names) - 1, min(_MOST, len(names))).round().astype(int)) if names else ()
    return tuple(names[place] for place in some)


def _stages(classifier: Any) -> tuple[str, ...]:
    """Names of the stages that can be a vector, in the order in which they are computed."""
    names: list[str] = []  # noted while tracing: what JAX returns has the order of its keys

    def seen(model: Any, x: jax.Array) -> None:
        maps = model.network.original(x)[1]
        names.extend(name for name, value in maps.items() if value.ndim in (2, 3, 4))

    jax.eval_shape(seen, classifier, _image(classifier))
    return tuple(names)


def units_of(classifier: Any, layers: tuple[str, ...], pool: depth.Pool) -> dict[str, int]:
    """Units of each layer in order, the classifier's own r last.

    Args:
      classifier: a model, or one of `build.abstract`.
    Raises: InputError for layers that it does not have, or that cannot be a vector.
    """
    seen = functools.partial(depth.layers_of_images, layers=layers, pool=pool)
    found = jax.eval_shape(seen, classifier, _image(classifier))
    return {name: found[name].shape[1] for name in (*layers, depth.OWN)}


def _image(classifier: Any) -> jax.ShapeDtypeStruct:
    """An image that the classifier takes."""
    spec = classifier.spec
    any_side = spec.preprocessing.input_size or 64
    height, width = spec.program.side if hasattr(spec, "program") else (any_side, any_side)
    return jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)


def abstract(spec: Any) -> Any:
    """The classifier of a spec, in shapes without memory."""
    kind = "graph_classifier" if hasattr(spec, "program") else "classifier"
    return build.abstract(registry.classes(kind)[0], spec)
