"""Encode: images to activations (preprocessing and network), against Pillow and plain PyTorch layers."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from linkjax.models import build
from linkjax.models.classifier import Classifier, classifier_spec
from linkjax.ops import resize
from scripts.speed.benchmarks import torch_side
from scripts.speed.benchmarks.record import Row, row
from scripts.speed.benchmarks.timing import compiled, in_turns

#: Architecture → batch on a CPU.
ARCHITECTURES = {"resnet50": 8, "alexnet": 4, "vgg16": 4, "densenet201": 4}


def original_preprocess(images: np.ndarray, model: Classifier) -> Any:
    """Bytes, Pillow's resize and crop one image at a time, normalised: what the original runs."""
    torch = torch_side.torch
    assert torch is not None
    how, batch = model.spec.preprocessing, []
    for image in np.clip((images + 1) * 127.5, 0, 255).astype(np.uint8):
        height, width = resize.shorter_side(*image.shape[:2], how.resize)
        scaled = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        top, left = resize.crop_start(height, how.crop), resize.crop_start(width, how.crop)
        batch.append(torch.from_numpy(scaled[top : top + how.crop, left : left + how.crop].copy()))
    pixels = torch.stack(batch).permute(0, 3, 1, 2).float() / 255
    ready = (pixels - torch.tensor(how.mean).view(3, 1, 1)) / torch.tensor(how.std).view(3, 1, 1)
    return ready.to(torch_side.device())


def models(arch: str) -> tuple[Classifier, Any]:
    """Both sides with the same random weights, or linkjax's alone."""
    if not torch_side.comparable():
        return build.random(Classifier, classifier_spec(arch), 0), None
    from linkjax_converters.classifier import classifier_from_state_dict
    from tests.reference import torch_classifiers

    plain = torch_classifiers.randomise(torch_classifiers.build(arch), seed=0)
    state = {key: value.numpy() for key, value in plain.state_dict().items()}
    return classifier_from_state_dict(state, arch), plain.to(torch_side.device())


def measure(arch: str, batches: list[int], repeats: int, skip_torch: bool, tiny: bool) -> list[Row]:
    """Rows of one architecture, at 256² pictures."""
    model, plain = models(arch)
    plain = None if skip_torch else plain
    batch = max(batches) if batches else 1 if tiny else ARCHITECTURES[arch]
    images = np.random.default_rng(0).uniform(-1, 1, (batch, 256, 256, 3)).astype(np.float32)
    ours = jnp.asarray(images)
    x = model.preprocess(ours)
    prepare, prepare_s = compiled(lambda model, images: model.preprocess(images), model, ours)
    network, network_s = compiled(lambda model, x: model(x), model, x)
    both, both_s = compiled(lambda model, images: model(model.preprocess(images)), model, ours)
    candidates: dict[str, Callable[[], Any]] = {
        "preprocessing|linkjax": lambda: prepare(model, ours),
        "network|linkjax": lambda: network(model, x),
        "both|linkjax": lambda: both(model, ours),
    }
    if plain is not None:
        torch = torch_side.torch
        torch_side.set_precision("float32")
        theirs = original_preprocess(images, model)
        sides = {"PyTorch": plain}
        if torch_side.on_gpu():
            sides["PyTorch compiled"] = torch.compile(plain)
        candidates["preprocessing|Pillow"] = lambda: original_preprocess(images, model)
        for side, run in sides.items():
            candidates[f"network|{side}"] = torch_side.waited(lambda run=run: run(theirs))
            candidates[f"both|{side}"] = torch_side.waited(lambda run=run: run(original_preprocess(images, model)))
    found, results = in_turns(candidates, repeats)
    count = counted(lambda model, x: model(x), model, x)
    operations = {"network": count, "both": count, "preprocessing": 0.0}
    compile_seconds = {"preprocessing": prepare_s, "network": network_s, "both": both_s}
    rows = []
    for name, seconds in found.items():
        what, side = name.split("|")
        about: dict[str, Any] = {}
        if side == "linkjax":
            about = {"operations": operations[what] / batch, "compile_seconds": compile_seconds[what]}
            about["bytes"] = weights_and_pictures(model, batch) if what != "preprocessing" else 2 * ours[0].nbytes
        elif what == "network":
            logits, expected = np.asarray(results["network|linkjax"].logits), results[name].cpu().numpy()
            about = {"difference": float(np.abs(logits - expected).max() / np.abs(expected).max())}
        rows.append(row("preprocessing" if what == "preprocessing" else "encode", f"{arch}: {what}", side, seconds,
                        batch, **about))  # fmt: skip
    return rows


def counted(function: Callable[..., Any], *arguments: Any) -> float:
    """Operations as XLA counts them before it puts a library's convolutions in place of its own."""
    cost: Any = jax.jit(function).lower(*arguments).cost_analysis() or {}
    return cost.get("flops", 0.0)


def weights_and_pictures(model: Any, batch: int) -> float:
    """Bytes of an image that must pass through memory at least, if no map did."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(model)) / batch + 4 * 224 * 224 * 3
