"""Sweep end to end, screening and part metrics, on the embedded world: what they cost beside bare synthesis."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import linkjax
from linkjax import numerics
from linkjax.analysis.metrics import measurements, parts
from linkjax.analysis.metrics.regions import measure_region_batch
from linkjax.analysis.units import screening, sweep
from linkjax.demo.bundle import open_bundle
from linkjax.models import build
from linkjax.models.classifier import Classifier, classifier_spec
from linkjax.models.generator_spec import imagenet_spec
from linkjax.models.linear_segmenter import LinearSegmenter
from linkjax.models.link import Link, LinkSpec
from linkjax.models.stylegan_xl import Generator
from linkjax.stages import pairs as pairs_stage
from linkjax.stages import sweep as sweep_stage
from linkjax.stages.link import stage as link_stage
from linkjax.storage import checkpoint, manifest
from scripts.speed.benchmarks import torch_side
from scripts.speed.benchmarks.encode import counted
from scripts.speed.benchmarks.record import Row, row
from scripts.speed.benchmarks.synthesis import operations, traffic
from scripts.speed.benchmarks.timing import Seconds, compiled, in_turns
from tests.reference.compilations import compilations


class World:
    """The embedded world's models, loaded."""

    def __init__(self) -> None:
        bundle = open_bundle()
        stored = {"generator": "generator", "classifier": "breeds", "segmenter": "segmenter"}
        self.paths = {role: bundle.path(name) for role, name in stored.items()}
        self.generator, self.classifier, self.segmenter = (linkjax.load(path) for path in self.paths.values())


class RandomWorld:
    """The imagenet256 architecture and ResNet-50 with random weights, and a head for ten parts that is zero.

    In files, where a folder is given.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.generator = build.random(Generator, imagenet_spec(256), 0)
        self.classifier = build.random(Classifier, classifier_spec("resnet50"), 1)
        names = tuple(f"part {i}" for i in range(10))
        self.segmenter = build.random(LinearSegmenter, parts.linear_spec(self.generator.spec, names), 2)
        models = {"generator": self.generator, "classifier": self.classifier, "segmenter": self.segmenter}
        self.paths = {role: str(folder / role) for role in models} if folder else {}
        source: dict[str, Any] = {"file": "random weights"}
        for role, path in self.paths.items():
            if role == "segmenter":
                source["weights"] = {"generator": manifest.read(Path(self.paths["generator"]))["sha256"]}
            checkpoint.save_model(Path(path), models[role], source=source)


def work(world: Any, batch: int, precision: str) -> dict[str, dict[str, float]]:
    """Operations of an image, and bytes that must pass through memory at least: of synthesis, and of all of a sweep.

    A sweep adds the head's products with the maps, the classifier, and one product of a picture's parts with its
    twelve sums; of memory the classifier's weights, once a batch.
    """
    generator, classifier, segmenter = world.generator, world.classifier, world.segmenter
    spec, heads = generator.spec, segmenter.spec
    synthesis = {
        "operations": operations(spec, jax.default_backend() == "cpu"),
        "bytes": traffic(spec, _weights(generator.synthesis), batch, precision),
    }
    inside = {layer.name: (layer.out_size - 2 * layer.margin) ** 2 for layer in spec.layers}
    products = sum(inside[name] * count for name, count in zip(heads.layers, heads.channels, strict=True))
    x = jax.eval_shape(classifier.preprocess, jax.ShapeDtypeStruct((1, spec.resolution, spec.resolution, 3), jnp.uint8))
    rest = counted(lambda c, x: c(x), classifier, x)
    rest += 2.0 * heads.num_parts * (products + 12 * spec.resolution**2)
    return {
        "synthesis": synthesis,
        "all of a sweep": {
            "operations": synthesis["operations"] + rest,
            "bytes": synthesis["bytes"] + _weights(classifier) / batch,
        },
    }


def _weights(model: Any) -> int:
    return sum(leaf.nbytes for leaf in jax.tree.leaves(model))


def program(
    repeats: int, batches: list[int], precision: str, full_size: bool = False, skip_torch: bool = False
) -> list[Row]:
    """The one program of a sweep, and its parts, against synthesis at the same batch: is the rest below 15 %?"""
    world = RandomWorld() if full_size else World()
    case = "sweep256" if full_size else "sweep"
    batch = max(batches) if batches else 1 if full_size else 16
    generator, classifier, segmenter = world.generator, world.classifier, world.segmenter
    if precision != "float32":
        generator = generator.with_precision(precision)
    rng = np.random.default_rng(0)
    z = rng.normal(size=(batch, generator.spec.z_dim)).astype(np.float32)
    w = generator.mapping(z, np.arange(batch) % 10)
    images = generator.synthesis(w)
    x = classifier.preprocess(images)
    r = classifier(x).penultimate
    spec = LinkSpec(r.shape[1], w.shape[1], "ols")
    link = build.fill(Link, spec, {"kernel": np.zeros((r.shape[1], w.shape[1]), np.float32), "bias": np.asarray(w[0])})
    unit, value, pixels = jnp.arange(batch), jnp.ones(batch, jnp.float32), numerics.to_uint8(images)
    floats = pixels.astype(jnp.float32) / 255.0
    labels = jnp.argmax(parts.draw_with_parts(generator, segmenter, w)[1], axis=-1)
    count = segmenter.spec.num_parts

    def step(models: Any, w: Any, r: Any, pixels: Any, unit: Any, value: Any) -> Any:
        generator, classifier, link, segmenter = models
        found = sweep.sweep_step(generator, classifier, link, w, r, pixels, unit, value, segmenter=segmenter)
        return found.r, found.logits, found.metrics

    models = (generator, classifier, link, segmenter)
    programs = {
        "synthesis": (lambda g, w: g.synthesis(w), generator, w),
        "synthesis and parts": (parts.draw_with_parts, generator, segmenter, w),
        "classifier": (lambda c, images: c(c.preprocess(images)), classifier, images),
        "metrics": (lambda a, b, labels: measurements.measure(a, b, labels, count), floats, floats, labels),
        "all of a sweep": (step, models, w, r, pixels, unit, value),
    }
    made = {name: (*compiled(*each), each[1:]) for name, each in programs.items()}
    calls = 1 if full_size else 8  # a sweep runs batch after batch: the first finds no memory and no cache warm

    def several(run: Any, arguments: Any) -> Any:
        for _ in range(calls):
            result = run(*arguments)
        return result

    timed, _ = in_turns({name: (lambda run=run, a=a: several(run, a)) for name, (run, _, a) in made.items()}, repeats)
    found = {
        name: Seconds(each.median / calls, each.least / calls, each.processor / calls, each.all)
        for name, each in timed.items()
    }
    about = work(world, batch, precision)
    rows = [
        row(case, f"program: {name}", "linkjax", seconds, batch, compile_seconds=made[name][1], precision=precision,
            **about.get(name, {}))
        for name, seconds in found.items()
    ]  # fmt: skip
    bare, all_of_it = found["synthesis"], found["all of a sweep"]
    rows[-1].note = (
        f"synthesis is {100 * bare.median / all_of_it.median:.1f} % of the time by medians, "
        f"{100 * bare.least / all_of_it.least:.1f} % by the best, {100 * bare.processor / all_of_it.processor:.1f} % "
        "of processor time"
    )
    if torch_side.comparable() and not skip_torch:
        rows += _plain_sweep(models, (w, r, pixels, unit, value), rows[-1], repeats)
    return rows


def _plain_sweep(models: Any, given: tuple[Any, ...], ours: Row, repeats: int) -> list[Row]:
    """The same step in PyTorch; after the others, whose ratios are near 1 and would feel its threads."""
    from tests.reference import torch_sweep

    torch = torch_side.torch
    assert torch is not None
    torch_side.set_precision(ours.precision)
    theirs = torch_sweep.to_device(torch_sweep.models_of(*models), torch_side.device())
    w, r, pixels, unit, value = (torch.from_numpy(np.array(each)).to(torch_side.device()) for each in given)
    arguments = (w, r, pixels.permute(0, 3, 1, 2).contiguous(), unit.long(), value)

    def draw(*arguments: Any) -> Any:
        return torch_sweep.step(theirs, *arguments, torch_side.dtype(ours.precision))

    ways = {"PyTorch": draw}
    if torch_side.on_gpu():
        torch._dynamo.reset()
        ways["PyTorch compiled"] = torch.compile(draw, dynamic=False)
    candidates = {side: torch_side.waited(lambda way=way: way(*arguments)) for side, way in ways.items()}
    found, _ = in_turns(candidates, min(repeats, 3))
    return [
        row(ours.case, ours.what, side, seconds, ours.batch, precision=ours.precision)
        for side, seconds in found.items()
    ]


def stage(
    units: int, samples: int, repeats: int, full_size: bool = False, precision: Any = "float32", train: int = 60
) -> tuple[list[Row], dict[str, Any]]:
    """The whole stage, files and all, in turns with bare synthesis of as many images; and what each run compiles."""
    compiled_by: dict[str, int] = {}
    classes, on_cpu = 2 if full_size else 10, jax.default_backend() == "cpu"
    # at 64² what the stage chooses by itself: 64 on a CPU, all that fits up to 256 elsewhere
    batch = (1 if on_cpu else 16) if full_size else 64 if on_cpu else 256
    with tempfile.TemporaryDirectory() as folder:

        def place(name: str) -> str:
            return str(Path(folder) / name)

        world = RandomWorld(Path(folder)) if full_size else World()
        models = {"generator": world.paths["generator"], "classifier": world.paths["classifier"]}
        drawn = {"n_train": 3 if full_size else train, "n_val": 1, "n_test": samples, "keep": "all"}
        chosen = pairs_stage.Config(
            out=place("pairs"), **models, **drawn, classes=tuple(range(classes)), precision=precision,
            batch_size=batch if full_size else 50,
        )  # fmt: skip
        pairs_stage.run(chosen)
        link_stage.run(link_stage.Config(out=place("link"), pairs=place("pairs"), method="ridge", alphas=(1.0,)))
        made: dict[str, Any] = {
            "precision": precision,
            **models,
            "pairs": place("pairs"),
            "link": place("link"),
            "segmenter": world.paths["segmenter"],
        }
        runs = iter(range(1000))

        def whole() -> None:
            number = next(runs)
            with compilations() as names:
                sweep_stage.run(
                    sweep_stage.Config(
                        out=place(f"sweep{number}"), **made, units=tuple(range(units)), samples=samples, steps=5,
                        picture_units=0, random_directions=0, batch_size=batch if full_size else "auto",
                    )
                )  # fmt: skip
            compiled_by[f"run {number + 1}"] = len(names)

        draw = jax.jit(lambda generator, w: generator.synthesis(w))
        generator = world.generator.with_precision(precision)
        z = np.zeros((batch, world.generator.spec.z_dim), np.float32)
        w = generator.mapping(z, np.arange(batch) % classes)
        images = units * samples * classes * 5 + samples * classes

        def bare() -> None:
            for _ in range(-(-images // batch)):
                drawn = draw(generator, w)
            drawn.block_until_ready()

        found, _ = in_turns({"synthesis": bare, "the stage": whole}, repeats)
    case = "sweep256" if full_size else "sweep"
    counts = work(world, batch, precision)
    about = {"synthesis": counts["synthesis"], "the stage": counts["all of a sweep"]}
    rows = [
        row(case, f"stage: {name}", "linkjax", seconds, images, precision=precision, **about[name])
        for name, seconds in found.items()
    ]
    bare_seconds, seconds = found["synthesis"], found["the stage"]
    rows[-1].note = (
        f"{images} images; {100 * bare_seconds.median / seconds.median:.1f} % of bare synthesis' throughput by "
        f"medians, {100 * bare_seconds.least / seconds.least:.1f} % by the best, opening models and writing files "
        f"included ({100 * bare_seconds.processor / seconds.processor:.1f} % of processor time); "
        f"programs compiled: {compiled_by}"
    )
    return rows, {"programs compiled by the sweep stage": compiled_by}


def screened(repeats: int, tiny: bool, skip_torch: bool = False) -> list[Row]:
    """All units' derivatives at one anchor, in forward and reverse mode, and one gradient in w, against PyTorch's.

    Operations are those of syntheses: one, and one for every product with the Jacobian or with its transpose, which
    takes each layer's convolution with other maps; a gradient is one such product. Bytes likewise.
    """
    world = World()
    generator, segmenter = world.generator, world.segmenter
    w = generator.mapping(np.ones((1, generator.spec.z_dim), np.float32), np.zeros(1, np.int32))
    aim = jax.random.normal(jax.random.key(0), generator.synthesis(w).shape)
    basis = jnp.eye(generator.spec.w_dim)
    rows = []
    gradient, compile_s = compiled(
        lambda generator, w: jax.grad(lambda w: jnp.sum(generator.synthesis(w) * aim))(w), generator, w
    )
    draw, _ = compiled(lambda generator, w: generator.synthesis(w), generator, w)
    candidates: dict[str, Callable[[], Any]] = {
        "one synthesis|linkjax": lambda: draw(generator, w),
        "gradient in w|linkjax": lambda: gradient(generator, w),
    }
    compare = torch_side.comparable() and not skip_torch
    if compare:
        from tests.reference import torch_stylegan

        torch = torch_side.torch
        torch_side.set_precision("float32")
        weights = torch_side.to_device(torch_stylegan.torch_weights(generator))
        their_w = torch.from_numpy(np.array(w)).to(torch_side.device())
        their_aim = torch.from_numpy(np.array(aim)).permute(0, 3, 1, 2).to(torch_side.device())

        def their_gradient() -> Any:
            start = their_w.clone().requires_grad_()
            (torch_stylegan.synthesise(weights, generator.spec, start) * their_aim).sum().backward()
            if torch_side.on_gpu():
                torch.cuda.synchronize()
            return start.grad

        candidates["gradient in w|PyTorch"] = their_gradient
    found, results = in_turns(candidates, repeats)
    one = work(world, 1, "float32")["synthesis"]

    def times(syntheses: int) -> dict[str, float]:
        return {name: value * syntheses for name, value in one.items()}

    for name, seconds in found.items():
        what, side = name.split("|")
        about: dict[str, Any] = times(2 if what == "gradient in w" else 1)
        if name == "gradient in w|linkjax":
            about["compile_seconds"] = compile_s
        if side == "PyTorch":
            expected = results[name].cpu().numpy()
            about["difference"] = float(
                np.abs(np.asarray(results["gradient in w|linkjax"]) - expected).max() / np.abs(expected).max()
            )
        rows.append(row("screening", what, side, seconds, 1, **about))
    modes = [("forward", generator.spec.w_dim)]
    modes += [] if tiny else [("reverse", screening.SUMS * segmenter.spec.num_parts)]
    for mode, products in modes:
        run, compile_s = compiled(
            lambda g, s, w, basis, mode=mode: screening.derivatives(g, s, w, basis, mode),
            generator,
            segmenter,
            w,
            basis,
        )
        seconds, _ = in_turns({"": lambda run=run: run(generator, segmenter, w, basis)}, 1 if tiny else repeats)
        note = f"{seconds[''].median / found['one synthesis|linkjax'].median:.0f} syntheses, however many units"
        what = f"all units, one anchor: {products} {mode} products"
        about = {**times(1 + products), "compile_seconds": compile_s, "note": note}
        rows.append(row("screening", what, "linkjax", seconds[""], 1, **about))
    if compare and not tiny:
        rows.append(_plain_screening(world, w, rows[-1].what))
    return rows


def _plain_screening(world: World, w: Any, what: str) -> Row:
    """The same derivatives in PyTorch, once: a backward pass for each sum of each part."""
    from tests.reference import torch_sweep

    torch, units = torch_side.torch, world.classifier.spec.penultimate_units
    assert torch is not None
    link = build.random(Link, LinkSpec(units, w.shape[1], "ols"), 0)  # not read
    models = torch_sweep.models_of(world.generator, world.classifier, link, world.segmenter)
    models = torch_sweep.to_device(models, torch_side.device())
    start = torch.from_numpy(np.array(w)).to(torch_side.device())

    def run() -> Any:
        found = torch_sweep.sums_and_slopes(models, start, screening.TEMPERATURE, screening.TRIM)
        if torch_side.on_gpu():
            torch.cuda.synchronize()
        return found

    found, _ = in_turns({"": run}, 1)
    return row("screening", what, "PyTorch", found[""], 1)


def regions(repeats: int, tiny: bool) -> list[Row]:
    """Part metrics of byte-valued pictures, against plain NumPy loops over pictures and parts."""
    from tests.reference import region_loops

    count, side, num_parts, few = (2, 32, 3, 1) if tiny else (64, 256, 10, 8)
    images, labels = scenes(count, side, num_parts)
    given = jnp.asarray(images.astype(np.float32) / np.float32(255)), jnp.asarray(labels)
    run, compile_s = compiled(lambda a, b: measure_region_batch(a, b, num_parts), *given)
    found, results = in_turns({"": lambda: run(*given)}, repeats)
    start = time.perf_counter(), time.process_time()
    pairs = zip(images[:few], labels[:few], strict=True)
    expected = [region_loops.measure(image, label, num_parts) for image, label in pairs]
    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    area = np.stack([each["area"] for each in expected])
    difference = float(np.abs(np.asarray(results[""].area)[:few] - area).max() / area.max())
    what = f"{side}², {num_parts} parts"
    loops = Seconds(wall, wall, processor, [wall])
    return [
        row("regions", what, "linkjax", found[""], count, compile_seconds=compile_s, bytes=side * side * 16.0),
        row("regions", what, "NumPy loops", loops, few, difference=difference),
    ]


def scenes(count: int, side: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Byte images of smooth colour with noise, and labels that are the nearest of some random points."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:side, :side]
    points = rng.uniform(0, side, (count, 3 * parts, 2))
    labels = np.empty((count, side, side), np.int32)
    for label, point in zip(labels, points, strict=True):
        distance = [(y - py) ** 2 + (x - px) ** 2 for py, px in point]
        label[...] = np.argmin(distance, axis=0) % parts
    colours = rng.integers(0, 256, (count, parts, 3))
    images = np.stack([colour[label] for colour, label in zip(colours, labels, strict=True)])
    return np.clip(images + rng.normal(0, 20, images.shape), 0, 255).astype(np.uint8), labels
