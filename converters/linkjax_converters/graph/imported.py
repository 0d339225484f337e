"""A `GraphClassifier` from a PyTorch network, held against PyTorch before anyone relies on it."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from linkjax.errors import InputError, LinkjaxError
from linkjax.models import build as models
from linkjax.models.classifier_spec import Pool
from linkjax.models.graph import interpret, reference
from linkjax.models.graph.classifier import GraphClassifier, GraphSpec, pooled
from linkjax.models.graph.operations import Value
from linkjax.models.graph.program import Program, Side
from linkjax.models.graph.view import view
from linkjax_converters.graph.build import Built, build
from linkjax_converters.graph.export import export, values

_EXAMPLES, _SEED = 2, 0


@dataclasses.dataclass(frozen=True)
class Imported:
    """An imported classifier, and what PyTorch makes of a few images."""

    model: GraphClassifier
    reference: dict[str, np.ndarray]
    errors: dict[str, float]  # of the largest value


def import_module(
    network: Any,
    side: tuple[int, int],
    *,
    layer: str | None = None,
    pool: Pool | None = None,
    headless: bool = False,
    **fields: Any,
) -> Imported:
    """The network as a classifier of linkjax.

    Args:
      network: a `torch.nn.Module`: images [B, 3, height, width] → class scores [B, n] (headless: features).
      side: height and width.
      layer: whose value is r; None: the input of the last layer.
      pool: how r is had from it; needed where it has positions.
      headless: there are no class scores; without a layer, what the network gives is r.
      fields: others of `GraphSpec`.
    Raises: ConversionError for what cannot be imported; LinkjaxError if the numbers are not PyTorch's.
    """
    exported = export(network, side)
    built = build(exported, side)
    spec = specification(built.program, layer, pool, headless, **fields)
    model = models.fill(GraphClassifier, spec, {f"weights.{name}": array for name, array in built.arrays.items()})
    kept = _reference(network, exported, built, spec)
    errors = reference.deviations(model, kept)
    worst = max(errors.values())
    if not worst <= reference.TOLERANCE:
        raise LinkjaxError(
            f"the imported network gives other numbers than PyTorch ({worst:.1e} of the largest value, expected at "
            f"most {reference.TOLERANCE:.0e}); nothing was written. Please report the network"
        )
    return Imported(model, kept, errors)


def specification(
    program: Program, layer: str | None, pool: Pool | None, headless: bool, arch: str = "imported", **fields: Any
) -> GraphSpec:
    """What is r, and what are the class scores.

    Raises: InputError where that must be said.
    """
    result = program.by_name[program.result]
    if not headless and (len(result.shape) != 2 or result.shape[0] != Side(1, True)):
        raise InputError(
            f"expected class scores [batch, n] from the network, found {_words(result.shape)}; wrap it so that it "
            "gives them, or give --headless and --layer"
        )
    name = program.find(layer).name if layer else result.name if headless else _before_last(program)
    node = program.by_name[name]
    axes = interpret.channel_axes(program, (name,))
    if name not in axes:
        raise InputError(f"the layer {layer or name} has one number an image; expected one of several")
    if pool is None:
        if len(node.shape) > 2:
            raise InputError(
                f"the layer {layer or name} gives {_words(node.shape)}: say how r is had from it, with --pool mean, "
                + "max, "
                + ("cls, tokens or none" if len(node.shape) == 3 else "or none")
            )
        pool = "none"
    classes = 0 if headless else result.shape[1].count
    return GraphSpec(arch, program, name, axes[name], pool, classes, **fields)


def _before_last(program: Program) -> str:
    """The input of the last layer, if that is linear."""
    node = program.by_name[program.result]
    taken = dict(node.arguments).get("input")
    if node.operation != "linear" or not isinstance(taken, Value) or taken.name not in program.by_name:
        raise InputError(
            f"the network ends in {node.operation}, not in a linear layer: say which layer is r with --layer "
            "(--list-layers names all)"
        )
    return taken.name


def _reference(network: Any, exported: Any, built: Built, spec: GraphSpec) -> dict[str, np.ndarray]:
    """Images of random numbers, r by the exported graph and class scores by the network itself, in PyTorch."""
    import torch

    made = np.random.default_rng(_SEED).standard_normal((_EXAMPLES, *built.program.side, 3)).astype(np.float32)
    images = torch.from_numpy(np.ascontiguousarray(made.transpose(0, 3, 1, 2)))
    source = built.source[spec.layer]
    found = values(exported, images, (source,))[source].float().numpy()
    kept = {"images": made, "r": np.asarray(pooled(view(jnp.asarray(found)), spec.channels, spec.pool))}
    if spec.num_classes:
        with torch.no_grad():
            kept["logits"] = network(images).float().numpy()
    return kept


def layers(program: Program) -> list[str]:
    """A line for each module: its path, and the shape of what it gives."""
    return [f"{path}  {_words(program.by_name[name].shape)}" for path, name in program.layers().items()]


def _words(shape: tuple[Side, ...]) -> str:
    sides = (
        "batch" if side == Side(1, True) else f"{side.count} × batch" if side.batch else str(side.count)
        for side in shape
    )
    return "[" + ", ".join(sides) + "]"
