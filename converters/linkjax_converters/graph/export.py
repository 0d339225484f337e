"""`torch.export` of an image classifier, for any number of images."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

from linkjax.errors import ConversionError

#: Images of the example; PyTorch takes lengths of 0 and 1 for constants.
_EXAMPLES = 2


def export(network: Any, side: tuple[int, int]) -> Any:
    """The network's graph of operations, as PyTorch's modules call them, for any number of images.

    Args:
      network: a `torch.nn.Module` of images [B, 3, height, width], in evaluation mode.
      side: height and width.
    Raises: ConversionError with what PyTorch says, where it has no such graph.
    """
    import torch

    example = (torch.zeros(_EXAMPLES, 3, *side),)
    batch = torch.export.Dim("batch", min=1, max=1 << 16)
    network = network.eval().float().cpu()
    with _quiet(), torch.no_grad():
        try:
            exported = torch.export.export(network, example, dynamic_shapes=({0: batch},))
        except Exception as error:  # PyTorch raises many kinds; to a user they are one
            raise ConversionError(
                f"torch.export has no graph of this network, for images {side[0]}×{side[1]} and any number of them: "
                f"{_words(error)}"
            ) from error
        return exported.run_decompositions({})


def _words(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines)[:600]}"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without PyTorch's account of how it exports."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def values(exported: Any, images: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Values of some nodes of an exported graph, by PyTorch.

    Args:
      images: tensor [B, 3, height, width].
    """
    import torch
    from torch.export.graph_signature import InputKind

    found: dict[str, Any] = {}

    class Run(torch.fx.Interpreter):
        def run_node(self, n: Any) -> Any:
            made = super().run_node(n)
            if n.name in names:
                found[n.name] = made
            return made

    inputs = []
    for spec in exported.graph_signature.input_specs:
        if spec.kind == InputKind.USER_INPUT:
            inputs.append(images)
        else:
            held = exported.state_dict if spec.target in exported.state_dict else exported.constants
            inputs.append(held[spec.target])
    with torch.no_grad():
        Run(exported.graph_module, garbage_collect_values=True).run(*inputs)
    return found
