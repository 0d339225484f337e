"""PyTorch, where it is installed: on the same kind of device, without TF32 unless asked, and waited for."""

from collections.abc import Callable
from typing import Any

import jax

try:
    import torch
except ImportError:
    torch = None

#: Named in the tables where a side is missing.
ABSENT = "PyTorch is not installed"


def on_gpu() -> bool:
    """Whether PyTorch can use the GPU that JAX uses."""
    return torch is not None and torch.cuda.is_available() and jax.default_backend() == "gpu"


def device() -> str:
    """Where its tensors go."""
    return "cuda" if on_gpu() else "cpu"


def comparable() -> bool:
    """Whether there is a PyTorch on the kind of device that JAX runs on."""
    return torch is not None and (on_gpu() or jax.default_backend() == "cpu")


def dtype(precision: str) -> Any:
    """The tensors' type."""
    assert torch is not None
    return {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision, torch.float32)


def set_precision(precision: str) -> None:
    """TF32 only where it is what is measured: PyTorch's convolutions take it by default."""
    assert torch is not None
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"


def waited(function: Callable[[], Any]) -> Callable[[], Any]:
    """The same, done when it returns, and without a tape."""
    assert torch is not None

    def run() -> Any:
        with torch.inference_mode():
            result = function()
        if on_gpu():
            torch.cuda.synchronize()
        return result

    return run


def to_device(tree: dict[str, Any]) -> dict[str, Any]:
    """Weights on the device, in float32 as linkjax's: each convolution rounds its own."""
    return {key: value.to(device()) for key, value in tree.items()}


def matrix_seconds(side: int, precision: str, repeats: int) -> float:
    """Of one matrix product."""
    from scripts.speed.benchmarks.timing import in_turns

    assert torch is not None
    set_precision(precision)
    a = torch.randn(side, side, device=device()).to(dtype(precision))
    return in_turns({"": waited(lambda: a @ a)}, repeats)[0][""].least
