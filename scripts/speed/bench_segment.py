"""Segmentation heads: memory an image at full size, and how well a head trained from 20 pictures finds parts.

    python scripts/speed/bench_segment.py memory [--resolution 64|256]
    python scripts/speed/bench_segment.py training --generator FOLDER [--pictures 20] [--test 200]
    python scripts/speed/bench_segment.py time --generator FOLDER [--batch 16] [--repeats 40]

memory: compiles synthesis alone, with the linear head, and with the few-shot network on the imagenet256 architecture
(or a 64² one), and prints what XLA plans to hold at once beside weights and inputs; nothing is drawn. training: FOLDER
is the demo world's generator, whose pictures the renderer labels exactly. time: processor seconds of drawing with and
without parts, in turns, which other work on the machine does not move much.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

import linkjax
from linkjax.analysis.metrics import parts
from linkjax.analysis.segmenters import overlap, segmentation
from linkjax.demo import factors, world
from linkjax.models import build
from linkjax.models.generator_spec import GeneratorSpec, Progression, imagenet_spec, stem_spec
from linkjax.models.linear_segmenter import LinearSegmenter
from linkjax.models.segmenter import Segmenter
from linkjax.models.stylegan_xl import Generator

MIB = 2**20


def planned(function, *arguments) -> tuple[float, float, float]:
    """MiB of temporaries and of outputs, and seconds to compile."""
    start = time.perf_counter()
    memory = jax.jit(function).lower(*arguments).compile().memory_analysis()
    seconds = time.perf_counter() - start
    return memory.temp_size_in_bytes / MIB, memory.output_size_in_bytes / MIB, seconds


def architecture(resolution: int) -> GeneratorSpec:
    if resolution == 256:
        return imagenet_spec(256)
    return stem_spec(resolution, 8, Progression(channel_base=2**13, channel_max=208), num_classes=7)


def memory(resolution: int, few_shot: bool) -> None:
    spec = architecture(resolution)
    names = world.PARTS
    generator = build.abstract(Generator, spec)
    w = jax.ShapeDtypeStruct((1, spec.w_dim), jnp.float32)
    linear = build.abstract(LinearSegmenter, parts.linear_spec(spec, names))
    rows = {
        "synthesis alone": planned(lambda g, w: g.synthesis(w), generator, w),
        "with the linear head": planned(parts.draw_with_parts, generator, linear, w),
    }
    if few_shot:
        joined = parts.few_shot_spec(spec, "S", names, map_size=resolution)
        network = build.abstract(Segmenter, joined)
        rows["with the few-shot network S"] = planned(parts.draw_with_parts, generator, network, w)
    table = Table(title=f"{resolution}², one image, {len(names)} parts: planned by XLA, MiB", title_justify="left")
    for column in ("", "temporaries", "outputs", "more than synthesis", "compile, s"):
        table.add_column(column, justify="left" if not column else "right")
    base = sum(rows["synthesis alone"][:2])
    for name, (temporary, output, seconds) in rows.items():
        more = temporary + output - base
        table.add_row(name, f"{temporary:.1f}", f"{output:.1f}", f"{more:.1f}", f"{seconds:.1f}")
    maps = 4 * sum((layer.out_size - 2 * layer.margin) ** 2 * layer.out_channels for layer in spec.layers) / MIB
    table.caption = f"all feature maps at their own size, margins cropped: {maps:.0f} MiB"
    Console(width=110).print(table)


def training(folder: str, pictures: int, test: int) -> None:
    generator = linkjax.load(folder)
    spec = parts.linear_spec(generator.spec, world.PARTS)
    how = segmentation.LinearTraining()

    def draw(seed: int, count: int):
        z, breed = factors.sample(jax.random.key(seed), count)
        w = generator.mapping(z, breed)
        labels = world.render(factors.factors_of(z, breed)).labels
        return {
            name: np.asarray(maps) for name, maps in generator.synthesis(w, features=spec.layers)[1].items()
        }, labels

    maps, labels = draw(11, pictures)
    targets = segmentation.training_targets(labels, spec.num_parts, how.size)
    start = time.perf_counter()
    head = jax.block_until_ready(segmentation.train_linear(maps, targets, jnp.ones(pictures, bool), how))
    seconds = time.perf_counter() - start
    segmenter = segmentation.linear_segmenter(spec, head)
    counts = np.zeros((spec.num_parts, spec.num_parts), np.int64)
    for seed in range(test // 20):
        fresh, truth = draw(1000 + seed, 20)
        counts += np.asarray(overlap.confusion(truth, jnp.argmax(segmenter(fresh), axis=-1), spec.num_parts))
    fold = overlap.folds_of(pictures, 5)
    held = overlap.confusion(
        jnp.asarray(segmentation.target_labels(targets)),
        jnp.asarray(segmentation.held_out_labels(maps, targets, fold, how)),
        spec.num_parts,
    )
    iou, folded = (overlap.intersection_over_union(np.asarray(each)) for each in (counts, held))
    table = Table(title=f"linear head from {pictures} pictures, {seconds:.1f} s with compilation", title_justify="left")
    for column in ("part", f"IoU on {20 * (test // 20)} fresh pictures", "IoU by 5 folds"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name, one, other in zip((*world.PARTS, "mean"), (*iou, iou.mean()), (*folded, folded.mean()), strict=True):
        table.add_row(name, f"{one:.3f}", f"{other:.3f}")
    Console(width=110).print(table)


def turns(folder: str, batch: int, repeats: int) -> None:
    generator = linkjax.load(folder)
    spec = parts.linear_spec(generator.spec, world.PARTS)
    arrays = {name: np.ones(shape.shape, np.float32) for name, shape in build.shapes(LinearSegmenter, spec).items()}
    head = build.fill(LinearSegmenter, spec, arrays)
    w = np.random.default_rng(0).normal(size=(batch, generator.spec.w_dim)).astype(np.float32)
    alone = jax.jit(lambda generator, w: generator.synthesis(w))
    jobs = {
        "images": lambda: jax.block_until_ready(alone(generator, w)),
        "images and parts": lambda: jax.block_until_ready(parts.draw_with_parts(generator, head, w)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for repeat in range(repeats + 1):
        for name, job in jobs.items():
            start = time.process_time()
            job()
            if repeat:  # the first compiles
                seconds[name].append(time.process_time() - start)
    middle = {name: 1e3 * float(np.median(each)) / batch for name, each in seconds.items()}
    for name, milliseconds in middle.items():
        print(f"{name}: {milliseconds:.2f} ms of processor time an image")
    print(f"parts cost {100 * (middle['images and parts'] / middle['images'] - 1):.0f} % more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    jobs = parser.add_subparsers(dest="job", required=True)
    first = jobs.add_parser("memory")
    first.add_argument("--resolution", type=int, default=256, choices=(64, 256))
    first.add_argument("--few-shot", action="store_true", help="the few-shot network too")
    second = jobs.add_parser("training")
    second.add_argument("--generator", required=True)
    second.add_argument("--pictures", type=int, default=20)
    second.add_argument("--test", type=int, default=200)
    third = jobs.add_parser("time")
    third.add_argument("--generator", required=True)
    third.add_argument("--batch", type=int, default=16)
    third.add_argument("--repeats", type=int, default=40)
    given = parser.parse_args()
    if given.job == "memory":
        memory(given.resolution, given.few_shot)
    elif given.job == "time":
        turns(given.generator, given.batch, given.repeats)
    else:
        training(given.generator, given.pictures, given.test)


if __name__ == "__main__":
    main()
