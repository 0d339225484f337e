"""Synthesis: w to images, against plain PyTorch on the same random weights."""

import argparse
import gc
from typing import Any

import jax
import numpy as np

from linkjax.models import build
from linkjax.models.generator_spec import (
    GeneratorSpec,
    Progression,
    conv_flops,
    imagenet_spec,
    stem_spec,
    superres_spec,
)
from linkjax.models.stylegan_xl import Generator
from linkjax.ops.full_conv import WINOGRAD_CHANNELS
from scripts.demo.architecture import generator_spec
from scripts.speed.benchmarks import torch_side
from scripts.speed.benchmarks.machine import BYTES
from scripts.speed.benchmarks.record import Row, row
from scripts.speed.benchmarks.timing import compiled, in_turns


def tiny_spec() -> GeneratorSpec:
    """For the smoke test."""
    return stem_spec(16, 4, Progression(channel_base=256, channel_max=16, margin=4), z_dim=8, w_dim=12, num_classes=3)


def wide_spec() -> GeneratorSpec:
    """64 × 64 with a stem of 16 × 16, 208 channels falling to 26."""
    how = Progression(channel_base=2**13, channel_max=208)
    return superres_spec(stem_spec(16, 6, how, num_classes=7), 4, 5, how)


#: Case → architecture and the batch a CPU gets.
ARCHITECTURES = {
    "synthesis64": (generator_spec, 16),
    "synthesis64wide": (wide_spec, 4),
    "synthesis256": (lambda: imagenet_spec(256), 1),
}


def operations(spec: GeneratorSpec, winograd: bool) -> float:
    """Operations of an image as run: convolutions (Winograd's method takes 16 products for 4 outputs instead of 36)
    and filters (if no tap met an inserted zero)."""
    total = 0.0
    for layer in spec.layers:
        wide = layer.conv_kernel == 3 and min(layer.in_channels, layer.out_channels) >= WINOGRAD_CHANNELS
        total += conv_flops([layer]) * (4 / 9 if winograd and wide else 1.0)
        mid_h, mid_w = layer.mid_size
        full = layer.in_size + layer.conv_kernel - 1
        up, down = layer.up_taps / layer.up_factor, layer.down_taps
        work = mid_h * full * up + mid_h * mid_w * up if layer.up_taps > 1 else 0
        work += mid_h * layer.out_size * down + layer.out_size**2 * down if layer.down_taps > 1 else 0
        total += 2 * work * layer.out_channels
    return total


def traffic(spec: GeneratorSpec, weight_bytes: int, batch: int, precision: str) -> float:
    """Bytes of an image that must pass through memory at least.

    Weights once a batch (float32 read, and where they are rounded written and read again); of each layer the input, and
    what the convolution gives, written and read, and the output. The finer grid between the filters never leaves.
    """
    size = BYTES[precision]
    maps = 0
    for layer in spec.layers:
        conv_out = (layer.in_size + layer.conv_kernel - 1) ** 2 * layer.out_channels
        maps += layer.in_size**2 * layer.in_channels + 2 * conv_out + layer.out_size**2 * layer.out_channels
    return maps * size + weight_bytes * (1.0 if size == 4 else 2.0) / batch


def measure(case: str, precision: str, given: argparse.Namespace) -> list[Row]:
    """Rows of one architecture: linkjax and PyTorch at each batch, of which the best of each side is kept.

    Args:
      given: bench.py's batches, torch_batches, repeats, skip_torch and tiny.
    """
    make, usual = ARCHITECTURES[case]
    spec = tiny_spec() if given.tiny else make()
    generator = build.random(Generator, spec, 0)
    if precision != "float32":
        generator = generator.with_precision(precision)
    weights = None
    if torch_side.comparable() and not given.skip_torch:
        from tests.reference import torch_stylegan

        torch_side.set_precision(precision)
        weights = torch_side.to_device(torch_stylegan.torch_weights(generator))
    best: dict[str, Row] = {}
    tried: dict[str, dict[int, float | str]] = {}
    for batch in given.batches or [2 if given.tiny else usual]:
        theirs = weights if given.torch_batches is None or batch in given.torch_batches else None
        for found in _at_batch(case, spec, generator, theirs, precision, batch, given.repeats):
            tried.setdefault(found.side, {})[batch] = found.seconds if np.isfinite(found.seconds) else found.note
            if found.side not in best or found.seconds < best[found.side].seconds:
                best[found.side] = found
        gc.collect()
    for side, each in best.items():
        if len(tried[side]) > 1:
            each.note += f"{'; ' if each.note else ''}seconds an image by batch: {tried[side]}"
    if not given.skip_torch and not torch_side.comparable():
        best["linkjax"].note += f"; {torch_side.ABSENT}, or not for this device"
    return list(best.values())


def _at_batch(
    case: str, spec: GeneratorSpec, generator: Generator, weights: Any, precision: str, batch: int, repeats: int
) -> list[Row]:
    w = np.random.default_rng(0).normal(size=(batch, spec.w_dim)).astype(np.float32)
    device_w = jax.device_put(w)
    weight_bytes = sum(leaf.nbytes for leaf in jax.tree.leaves(generator.synthesis))
    about: dict[str, Any] = {
        "precision": precision,
        "operations": operations(spec, jax.default_backend() == "cpu"),
        "bytes": traffic(spec, weight_bytes, batch, precision),
    }
    candidates, compile_seconds, notes = {}, {}, {}
    what, failed = f"{spec.resolution}²", []
    try:
        program, compile_seconds["linkjax"] = compiled(lambda synthesis, w: synthesis(w), generator.synthesis, device_w)
        program(generator.synthesis, device_w).block_until_ready()
        candidates["linkjax"] = lambda: program(generator.synthesis, device_w)
        memory = program.memory_analysis()
        temporary = getattr(memory, "temp_size_in_bytes", 0) / 2**20
        notes["linkjax"] = f"weights {weight_bytes / 2**20:.0f} MiB, temporaries {temporary:.0f} MiB"
    except jax.errors.JaxRuntimeError as error:  # a batch too large for the device
        failed.append(Row(case, what, "linkjax", np.inf, np.inf, np.inf, 0, batch=batch, note=str(error)[:100]))
    if weights is not None:
        candidates |= _torch_candidates(weights, spec, w, precision, compile_seconds, failed, (case, what, batch))
    seconds, results = in_turns(candidates, repeats)
    rows = []
    for side, found in seconds.items():
        difference = None
        if side != "linkjax" and "linkjax" in results:
            theirs = results[side].float().cpu().numpy().transpose(0, 2, 3, 1)
            difference = float(np.abs(theirs - np.asarray(results["linkjax"])).max() / np.abs(theirs).max())
        mine = {**about, "difference": difference, "compile_seconds": compile_seconds.get(side)}
        if side != "linkjax":  # direct convolutions, and filters over inserted zeros, which are not counted
            mine["operations"] = operations(spec, winograd=False)
        rows.append(row(case, what, side, found, batch, note=notes.get(side, ""), **mine))
    return rows + failed


def _torch_candidates(
    weights: Any, spec: GeneratorSpec, w: np.ndarray, precision: str, compile_seconds: dict[str, float],
    failed: list[Row], where: tuple[str, str, int],
) -> dict[str, Any]:  # fmt: skip
    """PyTorch as it is and, on a GPU, compiled."""
    import time

    from tests.reference import torch_stylegan

    torch = torch_side.torch
    assert torch is not None
    on_device, dtype = torch.from_numpy(w).to(torch_side.device()), torch_side.dtype(precision)

    def draw(w: Any) -> Any:
        return torch_stylegan.synthesise(weights, spec, w, dtype)

    ways = {"PyTorch": draw}
    if torch_side.on_gpu():
        torch._dynamo.reset()  # it gives up on a function it has compiled for eight batches
        ways["PyTorch compiled"] = torch.compile(draw, dynamic=False)
    candidates = {}
    for name, way in ways.items():
        run = torch_side.waited(lambda way=way: way(on_device))
        start = time.perf_counter()
        try:
            if torch_side.on_gpu():
                run()
            if name != "PyTorch":
                compile_seconds[name] = time.perf_counter() - start
            candidates[name] = run
        except Exception as error:  # out of memory, or no compiler: the others are still worth having
            torch.cuda.empty_cache()
            case, what, batch = where
            failed.append(Row(case, what, name, np.inf, np.inf, np.inf, 0, batch=batch, note=repr(error)[:100]))
    return candidates
