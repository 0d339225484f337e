"""Imported networks beside PyTorch: largest errors of numbers and gradients, time to compile and to run.

    python scripts/numerics/measure_modules.py [--out FILE] [--only NAME …] [--no-speed] [--side 128]
    python scripts/numerics/measure_modules.py --no-speed --kinks --side 224 --only ghostnet_050 [--out FILE]
    python scripts/numerics/measure_modules.py --no-errors --eager --images 8 --side 224 --only resnet50 … [--out FILE]

Networks of timm (pip install timm), and the hand-written ResNet-50, with random weights and statistics. Errors are of
the largest value, in float32: of class scores, of the gradient of a random sum of them for the images, and the worst of
a dozen layers between; of both programs from each other, and of each from PyTorch in float64. Networks without a fixed
side are shown images of --side. Speed is of --images at once, all cores, the best of several runs of each program in
turns, PyTorch plain and through torch.compile where a compiler is installed; beside it the processor time of both, all
threads together, and how many others waited for the cores. What is not timed is compiled quickly. A network takes half
a minute to two minutes on 2 cores.
"""

import argparse
import copy
import gc
import itertools
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(1, str(Path(__file__).parents[2] / "converters"))

from linkjax.models import build as models
from linkjax.models.graph.classifier import GraphClassifier
from linkjax.models.graph.program import Side
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
#: Networks of one side that do not say so.
FIXED = ("vit_", "deit", "eva", "swin", "mixer", "resmlp", "levit", "inception")
RUNS, LAYERS = 9, 12
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def network_of(name: str, side: int) -> tuple[torch.nn.Module, int]:
    """A network of timm with random weights that all matter, and the side of its images: its own if that is fixed."""
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
    fixed = network.default_cfg.get("fixed_input_size") or name.startswith(FIXED)
    return network, network.default_cfg["input_size"][1] if fixed else side


def imported(name: str, side: int) -> tuple[torch.nn.Module, Any, int, dict[str, Any]]:
    """The network in PyTorch and in linkjax, its side, and what the import took."""
    if name.startswith("hand-written"):
        arch = name.split()[1]
        network = torch_classifiers.randomise(torch_classifiers.build(arch), seed=0)
        arrays = {key: tensor.numpy() for key, tensor in network.state_dict().items()}
        return network, classifier_from_state_dict(arrays, arch), side, {}
    network, side = network_of(name, side)
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


def measure(name: str, given: argparse.Namespace) -> dict[str, Any]:
    network, model, side, row = imported(name, given.side)
    row["parameters"] = sum(leaf.size for leaf in jax.tree.leaves(model))
    rng = np.random.default_rng(0)
    x = rng.standard_normal((given.images, side, side, 3)).astype(np.float32)
    row |= {} if given.no_errors else errors(network, model, x[:2], rng)
    row |= kinks(network, model, x[:2]) if given.kinks else {}
    return row | (timed(network, model, x, given.eager) if not given.no_speed and name in TIMED else {})


def to_torch(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


class Outputs(NamedTuple):
    """Of one program, as it gives them."""

    logits: np.ndarray
    gradient: np.ndarray  # as the images
    layers: dict[str, np.ndarray]


def errors(network: torch.nn.Module, model: Any, x: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    """Distances of linkjax from PyTorch, and of both from PyTorch in float64."""
    twice = copy.deepcopy(network).double()  # before it keeps what it computed
    with torch.no_grad():
        weights = rng.standard_normal(network(to_torch(x)).shape).astype(np.float32)
    taps = layers_of(network, model, x)
    ours = in_linkjax(model, x, weights, taps)
    plain = in_pytorch(network, x, weights, taps, torch.float32)
    exact = in_pytorch(twice, x, weights, taps, torch.float64)
    found: dict[str, Any] = {"side": x.shape[1], "layers": len(ours.layers)}
    for said, one, other in (("", ours, plain), ("_from_float64", ours, exact), ("_of_pytorch", plain, exact)):
        found[f"forward_error{said}"] = relative(one.logits, other.logits)
        found[f"gradient_error{said}"] = relative(one.gradient, other.gradient)
        if ours.layers:
            found[f"layer_error{said}"] = max(apart(one.layers[tap], other.layers[tap]) for tap in ours.layers)
    return found


def in_linkjax(model: Any, x: np.ndarray, weights: np.ndarray, taps: tuple[str, ...]) -> Outputs:
    given = {"taps": taps} if taps else {}

    def scored(x: jax.Array, model: Any) -> tuple[jax.Array, Any]:
        found = model(x, **given)
        return (found.logits * weights).sum(), (found.logits, found.stages)

    both = jax.jit(jax.grad(scored, has_aux=True), compiler_options=QUICK)
    slope, (logits, stages) = both(jnp.asarray(x), model)
    return Outputs(np.asarray(logits), np.asarray(slope), {tap: np.asarray(stages[tap]) for tap in taps})


def in_pytorch(
    network: torch.nn.Module, x: np.ndarray, weights: np.ndarray, taps: tuple[str, ...], dtype: torch.dtype
) -> Outputs:
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        network.get_submodule(tap).register_forward_hook(
            lambda module, given, out, tap=tap: seen.__setitem__(tap, out.detach().clone())
        )
        for tap in taps
    ]
    given = to_torch(x).to(dtype).requires_grad_()
    logits = network(given)
    for hook in hooks:
        hook.remove()
    (logits * torch.from_numpy(weights).to(dtype)).sum().backward()
    assert given.grad is not None
    layers = {tap: value.numpy() for tap, value in seen.items()}
    return Outputs(logits.detach().numpy(), given.grad.numpy().transpose(0, 2, 3, 1), layers)


def layers_of(network: torch.nn.Module, model: Any, x: np.ndarray) -> tuple[str, ...]:
    """Layers evenly spread over an imported network, of those that give one value, once, in both."""
    if not isinstance(model, GraphClassifier):
        return ()
    program, calls = model.spec.program, dict[str, list[Any]]()
    hooks = [
        module.register_forward_hook(lambda module, given, out, name=name: calls.setdefault(name, []).append(out))
        for name, module in network.named_modules()
    ]
    with torch.no_grad():
        network(to_torch(x))
    for hook in hooks:
        hook.remove()

    def the_same(tap: str) -> bool:
        out = calls.get(tap, [])
        shape = tuple(side.of(len(x)) for side in program.find(tap).shape)
        by_image = program.find(tap).shape[:1] == (Side(1, True),)  # not windows of all images
        return len(out) == 1 and isinstance(out[0], torch.Tensor) and tuple(out[0].shape) == shape and by_image

    known = [tap for tap in program.layers() if the_same(tap)]
    return tuple(known[place] for place in np.unique(np.linspace(0, len(known) - 1, LAYERS).astype(int)))


def kinks(network: torch.nn.Module, model: Any, x: np.ndarray) -> dict[str, Any]:
    """Of the values that ReLUs take in: how many have another sign than in float64, and the largest of these.

    A gradient jumps there: one such value moves it by far more than rounding does. Those of PyTorch are counted too.
    """
    relus = (torch.nn.ReLU, torch.nn.ReLU6, torch.nn.Hardsigmoid, torch.nn.Hardswish)
    names = {id(module): name for name, module in network.named_modules()}
    order: list[str] = []
    hooks = [
        module.register_forward_hook(lambda module, given, out: order.append(names[id(module)]))
        for module in network.modules()
        if not list(module.children())
    ]
    with torch.no_grad():
        network(to_torch(x))
    for hook in hooks:
        hook.remove()
    known = model.spec.program.layers()
    before = [a for a, b in itertools.pairwise(order) if isinstance(network.get_submodule(b), relus)]
    taps = tuple(tap for tap in dict.fromkeys(before) if order.count(tap) == 1 and tap in known)
    weights = np.zeros((len(x), 1), np.float32)
    ours = in_linkjax(model, x, weights, taps).layers
    plain, exact = (
        {tap: np.moveaxis(value, 1, -1) for tap, value in in_pytorch(each, x, weights, taps, dtype).layers.items()}
        for each, dtype in ((network, torch.float32), (copy.deepcopy(network).double(), torch.float64))
    )
    found: dict[str, Any] = {"layers_before_kinks": len(taps), "values": sum(value.size for value in exact.values())}
    for who, theirs in (("linkjax", ours), ("pytorch", plain)):
        sizes = [np.abs(exact[tap])[(theirs[tap] > 0) != (exact[tap] > 0)] / np.abs(exact[tap]).max() for tap in taps]
        other = np.concatenate(sizes) if sizes else np.zeros(0)
        found[f"signs_of_{who}"] = {"other": int(other.size), "largest": float(other.max(initial=0.0))}
    return found


def apart(found: np.ndarray, expected: np.ndarray) -> float:
    """`relative` of a layer's value: a map of ours lies with its channels last, or as it is."""
    ways = [expected] if expected.ndim != 4 else [expected, expected.transpose(0, 2, 3, 1)]
    return min(relative(found, way) for way in ways if way.shape == found.shape)


def timed(network: torch.nn.Module, model: Any, x: np.ndarray, eager: bool) -> dict[str, float]:
    """Seconds to compile; milliseconds an image, in turns."""
    start = time.perf_counter()
    program = jax.jit(lambda model, x: model(x).logits).lower(model, x).compile()
    seconds = time.perf_counter() - start
    given = to_torch(x)
    rivals: dict[str, Callable[[], Any]] = {
        "linkjax_ms": lambda: program(model, x).block_until_ready(),
        "pytorch_ms": lambda: network(given),
    }
    also: dict[str, float] = {}
    if not eager:
        try:
            compiled, start = torch.compile(network), time.perf_counter()
            with torch.no_grad():
                compiled(given)
            also["torch_compile_s"] = time.perf_counter() - start
            rivals["torch_compile_ms"] = lambda: compiled(given)
        except Exception as error:  # no C++ compiler, or a network it does not take
            print(f"  torch.compile: {type(error).__name__}", file=sys.stderr)
    best = dict.fromkeys((*rivals, *(f"{key}_of_processor" for key in rivals)), float("inf"))
    with torch.no_grad():
        for _ in range(RUNS):
            for key, go in rivals.items():
                start = time.perf_counter(), time.process_time()
                go()
                took = time.perf_counter() - start[0], time.process_time() - start[1]
                for name, each in zip((key, f"{key}_of_processor"), took, strict=True):
                    best[name] = min(best[name], each / len(x) * 1e3)
    return {
        "images": len(x),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "compile_s": seconds,
        **also,
        **best,
    }


def processor() -> str:
    """What lscpu calls the processor."""
    lines = subprocess.run(["lscpu"], capture_output=True, text=True).stdout.splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("Model name")), "unknown processor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--only", nargs="+", default=NETWORKS)
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--no-errors", action="store_true")
    parser.add_argument("--kinks", action="store_true", help="count the signs before ReLUs that rounding turns")
    parser.add_argument("--eager", action="store_true", help="without torch.compile")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    import timm

    content: dict[str, Any] = {"versions": manifest.versions() | {"torch": torch.__version__, "timm": timm.__version__}}
    content["device"] = f"{os.cpu_count()} cores, {processor()}"
    rows = content["networks"] = {}
    if given.out and given.out.exists():  # a part of them again
        rows |= json.loads(given.out.read_text())["networks"]
    for name in given.only:
        try:
            rows[name] = measure(name, given)
        except Exception as error:
            rows[name] = {"failed": f"{type(error).__name__}: {error}"[:400]}
        print(name, json.dumps(rows[name], default=lambda value: round(value, 9)), flush=True)
        if given.out:
            given.out.write_text(json.dumps(content, indent=1) + "\n")
        jax.clear_caches()
        gc.collect()


if __name__ == "__main__":
    main()
