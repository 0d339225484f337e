"""Imported networks beside PyTorch: largest errors of numbers and gradients, time to compile and to run.

    python scripts/measure_modules.py [--out docs/figures/modules.json] [--only NAME …] [--no-speed]

Networks of timm (pip install timm), and the hand-written ResNet-50, with random weights and statistics. Errors are of
the largest value, in float32: of class scores, and of the gradient of a random sum of them for the images; beside them
PyTorch's own from float64. Speed is of 4 images, all cores, the best of several runs of each program in turns, PyTorch
plain and through torch.compile where a compiler is installed; what is not timed is compiled quickly. A network takes
half a minute to two minutes on 2 cores.
"""

import argparse
import copy
import gc
import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(1, str(Path(__file__).parents[1] / "converters"))

from linkjax.models import build as models
from linkjax.models.graph.classifier import GraphClassifier
from linkjax.storage import manifest
from linkjax_converters.classifier import classifier_from_state_dict
from linkjax_converters.graph.build import build
from linkjax_converters.graph.export import export
from linkjax_converters.graph.imported import specification
from tests.reference import torch_classifiers

NETWORKS = (
    "resnet18", "resnet50", "resnext50_32x4d", "seresnet18", "convnext_atto", "convnextv2_atto", "convnext_tiny",
    "efficientnet_b0", "efficientnetv2_rw_t", "mobilenetv3_small_050", "regnety_002", "ghostnet_050", "repvgg_a0",
    "densenet121", "vgg11_bn", "inception_v3", "vit_tiny_patch16_224", "vit_small_patch16_224",
    "deit3_small_patch16_224", "vit_small_patch16_dinov3", "eva02_tiny_patch14_224", "swin_tiny_patch4_window7_224",
    "mixer_s32_224", "resmlp_12_224", "poolformer_s12", "fastvit_t8", "mobilevit_xxs", "edgenext_xx_small",
    "pvt_v2_b0", "levit_128s", "hand-written resnet50",
)  # fmt: skip
#: Those that are timed: the issue's three, the hand-written one, and one of each other kind.
TIMED = (
    "resnet50", "hand-written resnet50", "convnext_tiny", "vit_small_patch16_224", "efficientnet_b0",
    "swin_tiny_patch4_window7_224",
)  # fmt: skip
IMAGES, RUNS = 4, 5
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def network_of(name: str) -> tuple[torch.nn.Module, int]:
    """A network of timm with random weights that all matter, and the side of its images."""
    import timm

    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            torch.nn.init.normal_(module.running_mean, 0, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.8, 1.2)
    for value in network.parameters():
        if not value.detach().any() or value.detach().abs().max() < 1e-3:  # a head of zeros, scales of 1e-6
            torch.nn.init.normal_(value, 0, 0.02 if value.ndim > 1 else 0.1)
    return network, network.default_cfg["input_size"][1]


def imported(name: str) -> tuple[torch.nn.Module, Any, int, dict[str, Any]]:
    """The network in PyTorch and in linkjax, its side, and what the import took."""
    if name.startswith("hand-written"):
        arch = name.split()[1]
        network = torch_classifiers.randomise(torch_classifiers.build(arch), seed=0)
        arrays = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
        return network, classifier_from_state_dict(arrays, arch), 224, {}
    network, side = network_of(name)
    start = time.perf_counter()
    exported = export(network, (side, side))
    seconds = time.perf_counter() - start
    made = build(exported, (side, side))
    spec = specification(made.program, made.program.result, None, headless=False, arch=name)
    arrays = {f"weights.{key}": array for key, array in made.arrays.items()}
    facts = {
        "operations": len(made.program.nodes),
        "kinds": len({node.operation for node in made.program.nodes}),
        "graph_bytes": len(made.program.text),
        "export_s": seconds,
    }
    return network, models.fill(GraphClassifier, spec, arrays), side, facts


def relative(found: Any, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())


def measure(name: str, speed: bool) -> dict[str, Any]:
    network, model, side, row = imported(name)
    row["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(model))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((IMAGES, side, side, 3)).astype(np.float32)
    row |= errors(network, model, x[:2], rng)
    return row | (timed(network, model, x) if speed and name in TIMED else {})


def to_torch(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def errors(network: torch.nn.Module, model: Any, x: np.ndarray, rng: np.random.Generator) -> dict[str, float]:
    """linkjax's distance from PyTorch, and PyTorch's own from itself in float64."""
    weights = rng.standard_normal(network(to_torch(x)).shape).astype(np.float32)

    def in_pytorch(network: torch.nn.Module, dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
        given = to_torch(x).to(dtype).requires_grad_()
        logits = network(given)
        (logits * torch.from_numpy(weights).to(dtype)).sum().backward()
        return logits.detach().numpy(), given.grad.numpy().transpose(0, 2, 3, 1)  # pyright: ignore[reportOptionalMemberAccess]

    def scored(x: jax.Array, model: Any) -> tuple[jax.Array, jax.Array]:
        logits = model(x).logits
        return (logits * weights).sum(), logits

    both = jax.jit(jax.grad(scored, has_aux=True), compiler_options=QUICK)
    slope, logits = both(jnp.asarray(x), model)
    plain, exact = in_pytorch(network, torch.float32), in_pytorch(copy.deepcopy(network).double(), torch.float64)
    return {
        "forward_error": relative(logits, plain[0]),
        "gradient_error": relative(slope, plain[1]),
        "forward_error_of_pytorch": relative(plain[0], exact[0]),
        "gradient_error_of_pytorch": relative(plain[1], exact[1]),
    }


def timed(network: torch.nn.Module, model: Any, x: np.ndarray) -> dict[str, float]:
    """Seconds to compile; milliseconds an image, in turns."""
    start = time.perf_counter()
    program = jax.jit(lambda model, x: model(x).logits).lower(model, x).compile()
    seconds = time.perf_counter() - start
    given = to_torch(x)
    rivals: dict[str, Callable[[], Any]] = {
        "linkjax_ms": lambda: program(model, x).block_until_ready(),
        "pytorch_ms": lambda: network(given),
    }
    try:
        compiled = torch.compile(network)
        with torch.no_grad():
            compiled(given)
        rivals["torch_compile_ms"] = lambda: compiled(given)
    except Exception as error:  # no C++ compiler, or a network it does not take
        print(f"  torch.compile: {type(error).__name__}", file=sys.stderr)
    best = dict.fromkeys(rivals, float("inf"))
    with torch.no_grad():
        for _ in range(RUNS):
            for key, go in rivals.items():
                start = time.perf_counter()
                go()
                best[key] = min(best[key], (time.perf_counter() - start) / IMAGES * 1e3)
    return {"compile_s": seconds, **best}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="+", default=NETWORKS)
    parser.add_argument("--no-speed", action="store_true")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    import timm

    content: dict[str, Any] = {"versions": manifest.versions() | {"torch": torch.__version__, "timm": timm.__version__}}
    content["device"] = f"{os.cpu_count()} cores, {jax.devices()[0].device_kind}"
    rows = content["networks"] = {}
    if given.out and given.out.exists():  # a part of them again
        rows |= json.loads(given.out.read_text())["networks"]
    for name in given.only:
        try:
            rows[name] = measure(name, not given.no_speed)
        except Exception as error:
            rows[name] = {"failed": f"{type(error).__name__}: {error}"[:400]}
        print(name, json.dumps(rows[name], default=lambda value: round(value, 9)), flush=True)
        if given.out:
            given.out.write_text(json.dumps(content, indent=1) + "\n")
        jax.clear_caches()
        gc.collect()


if __name__ == "__main__":
    main()
