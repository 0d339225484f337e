"""segment: part labels of generated images, from a few masks drawn by hand."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from linkjax import numerics
from linkjax.analysis import finite
from linkjax.analysis.metrics import parts
from linkjax.analysis.pairs import latents, named_latents
from linkjax.analysis.segmenters import drawing as training
from linkjax.analysis.segmenters import labelling, overlap
from linkjax.analysis.segmenters.few_shot import FewShotTraining
from linkjax.analysis.segmenters.segmentation import LinearTraining
from linkjax.analysis.segmenters.trainers import FewShotTrainer, LinearHeadTrainer
from linkjax.config import PathName, positive
from linkjax.devices import cluster, drawing, parallel
from linkjax.devices.progress import progress
from linkjax.errors import InputError, LinkjaxError
from linkjax.models.generator_spec import GeneratorSpec
from linkjax.ops.chunked import share_of
from linkjax.ops.resize import resize_nearest
from linkjax.outside import masks
from linkjax.outside.masks.overlay import Panel, sheet
from linkjax.stages import inputs
from linkjax.storage import artifacts, checkpoint
from linkjax.storage.claim import Claim

Trainer = LinearHeadTrainer | FewShotTrainer

OVERLAYS = "overlays"  # folder of a segmenter with pictures, masks and predictions
PICTURES = "pictures"  # the kind of what --draw writes
_SAMPLES = 3 << 30  # sample ids of pictures to label: those that no split of the pairs owns
_HOW = """Pictures to label, drawn by `linkjax segment --draw`.

Make a mask for each of as many pictures in images/ as you like (5 are a start, 20 are plenty), of the same name and
size, in a folder of their own:

  000000.png    indexed or grey: the pixel's value is its part, 0 the background, 255 not labelled
  000000.npy    the same as an array of whole numbers
  000000.json   labelme
  all.json      one COCO file for all pictures (polygons or run lengths); then alone in its folder

`linkjax label` paints such masks. Beside them lies parts.txt, a part's name on each line, the background first (labelme
and COCO know the names themselves). Parts drawn later lie over parts drawn earlier. Then

  linkjax segment --generator GENERATOR --images THIS_FOLDER --masks MASKS --out SEGMENTER
"""


@dataclasses.dataclass(frozen=True)
class Config:
    """Learn part labels from a few masks. First `--draw 20` makes pictures to label; then `--images`, `--masks`."""

    stage: ClassVar[str] = "segment"  # the table of its settings in a TOML

    out: PathName
    """Folder to make: pictures to label with --draw, else a segmenter that `linkjax.load` reads."""
    generator: PathName
    """Folder of `linkjax convert generator`."""
    draw: int = 0
    """Draw so many pictures to label, and stop there."""
    images: PathName | None = None
    """Folder that an earlier --draw made."""
    masks: PathName | None = None
    """Folder of masks named as the pictures (indexed PNG, NPY, labelme JSON), or one COCO JSON."""
    part_names: tuple[str, ...] = ()
    """Names by label, the background first; else from parts.txt beside the masks, or from the masks."""
    head: Literal["linear", "S", "M", "L"] = "linear"
    """One projection per layer, or the original's few-shot network of a size."""
    layers: tuple[str, ...] = ()
    """Layers of the generator to read; none named: all for linear, the original's for the few-shot network."""
    folds: int = 5
    """Folds by which the overlap with held-out masks is measured; fewer if there are fewer masks."""
    suggest: int = 10
    """How many of the unlabelled pictures to suggest for labelling next."""
    overlays: int = 24
    """Pictures stored with their masks and predictions, at most."""
    weight_decay: float = 1e-3
    """linear: penalty on the squared weights of standardised features."""
    balance: float = 0.0
    """linear: 0 every pixel counts the same, 1 every part."""
    iterations: int = 100
    """linear: steps of L-BFGS at most."""
    train_size: int = 64
    """linear: features and masks finer than this many pixels a side are averaged down to it for training."""
    epochs: int = 100
    """Few-shot: passes over the images (original: 100)."""
    map_size: int = 128
    """Few-shot: side to which all maps are resized (original: 128)."""
    margins: bool = False
    """Few-shot: keep what lies beyond the picture in the maps, as the original did, which shifts them against it."""
    classes: tuple[int, ...] | Literal["all"] = "all"
    """--draw: class ids, drawn in turn."""
    truncation: float = 0.7
    """--draw: ψ towards the class's mean w, 0 … 1."""
    seed: int = 0
    """Random seed of pictures, folds and weights."""
    precision: numerics.Precision = "float32"
    """What images are drawn in; float32 is the reference. Artifacts used together must have the same precision."""
    nonfinite: finite.Policy = "exclude"
    """Pictures with numbers that are not finite: left out, counted and named, or the end of the run."""
    batch_size: int = 8
    """Images drawn at once, over all devices; results do not depend on it."""

    def __post_init__(self) -> None:
        positive(batch_size=self.batch_size, map_size=self.map_size)
        for name in ("draw", "suggest", "overlays", "seed"):
            if getattr(self, name) < 0:
                raise InputError(f"{name}: expected 0 or more, found {getattr(self, name)}")
        if self.folds < 2:
            raise InputError(f"folds: expected 2 or more, found {self.folds}")
        if not 0 <= self.truncation <= 1:
            raise InputError(f"truncation: expected a number from 0 to 1, found {self.truncation}")


@numerics.float32_default()
def run(config: Config) -> None:
    """Draw pictures to label, or train on their masks."""
    if config.draw and (config.images or config.masks):
        raise InputError("draw: expected either --draw, or --images and --masks; label what was drawn first")
    if not config.draw and not (config.images and config.masks):
        raise InputError(
            "images, masks: expected the folder of pictures and their masks; make pictures to label with --draw 20"
        )
    if config.draw:
        _draw(config)
        return
    with Claim(Path(config.out), resumable=False) as claim:
        _train(config, claim)


def _draw(config: Config) -> None:
    generator = inputs.model(config.generator, "generator", config.precision)
    spec = generator.model.spec
    classes = _classes(config, spec.num_classes)
    label, sample_id = classes[np.arange(config.draw) % len(classes)], _SAMPLES + np.arange(config.draw)
    weights = {"generator": generator.sha256}
    with artifacts.Writer(Path(config.out), PICTURES, config, weights, free=("batch_size", "nonfinite")) as writer:
        items = {"z": named_latents(config.seed, label, sample_id, spec.z_dim), "label": label}
        step = functools.partial(latents, truncation=config.truncation)
        mesh = parallel.mesh()
        size, model = parallel.round_up(config.batch_size, mesh), parallel.replicate(generator.model, mesh)
        w = parallel.map_items(step, model, items, size, mesh, share=share_of(spec.resolution))
        with progress("pictures drawn", config.draw) as advance:
            drawn = {"w": w, **drawing.drawn(model, w, size, mesh, advance)}
        good, tally = drawn.pop("finite"), finite.Tally(config.nonfinite, "pictures")
        tally.add(finite.note(good, label, sample_id))
        if not good.any():
            raise LinkjaxError(f"no picture is left: {tally.describe()}; look at the generator's weights")
        drawn, label, sample_id = {name: each[good] for name, each in drawn.items()}, label[good], sample_id[good]
        cluster.on_first(lambda: _save_pictures(writer.partial, drawn["image"]))
        writer.put("w", ("sample", "w"), drawn["w"])
        writer.put("label", ("sample",), label)
        writer.put("sample_id", ("sample",), sample_id)
        count = len(label)
        shape = {"resolution": spec.resolution, "w_dim": spec.w_dim}
        writer.finish({"pictures": count, **shape, **tally.summary()})
    tally.print_summary()
    print(f"{count} pictures in {Path(config.out) / 'images'}; {Path(config.out) / 'README.txt'} says what to do")


def _save_pictures(folder: Path, images: np.ndarray) -> None:
    (folder / "images").mkdir(exist_ok=True)
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / "images" / f"{_stem(number)}.png")
    (folder / "README.txt").write_text(_HOW, encoding="utf-8")


def _train(config: Config, claim: Claim) -> None:
    out = Path(config.out)
    assert config.images is not None and config.masks is not None  # Config has seen to it
    generator = inputs.model(config.generator, "generator", config.precision)
    pictures = artifacts.Artifact(Path(config.images), PICTURES)
    artifacts.check_weights(pictures.manifest, "generator", generator.sha256, f"the pictures in {config.images}")
    artifacts.check_precision(pictures.manifest, inputs.precision_name(generator), f"the pictures in {config.images}")
    stems = [_stem(number) for number in range(pictures.summary["pictures"])]
    read = masks.read(Path(config.masks), stems, generator.model.spec.resolution, config.part_names)
    w, rows = pictures.read("w"), np.array([stems.index(stem) for stem in read.labels])
    labels, trainer = np.stack(list(read.labels.values())), _trainer(config, generator.model.spec, read.part_names)
    labelled = np.array(list(read.labels))

    step = functools.partial(training.draw_features, trainer=trainer)
    drawn = _over(step, (generator.model,), {"w": w[rows]}, config.batch_size, "labelled pictures")
    good, tally = drawn.pop("finite"), finite.Tally(config.nonfinite, "labelled pictures", ("picture",))
    tally.add(finite.note(good, labelled))
    if not good.any():
        raise LinkjaxError(f"no labelled picture is left: {tally.describe()}; look at the generator's weights")
    drawn, labels, labelled = jax.tree.map(lambda each: each[good], drawn), labels[good], labelled[good].tolist()
    measured, predicted = _held_out(config, trainer, drawn["maps"], labels)
    model, ended = trainer.train(drawn["maps"], labels)
    # Others are drawn only to be suggested.
    rest = np.setdiff1d(np.arange(len(w)), rows) if config.suggest else np.zeros(0, int)
    others = _over(training.draw_labels, (generator.model, model), {"w": w[rest]}, config.batch_size, "other pictures")
    if len(rest):  # what has no certainty is nothing to label
        known = np.isfinite(others["uncertainty"])
        rest, others = rest[known], jax.tree.map(lambda each: each[known], others)
    chosen = labelling.suggest(others["uncertainty"], w[rest], w[rows], config.suggest) if len(rest) else rest
    suggestions = [stems[row] for row in rest[chosen]]

    source = {
        "config": dataclasses.asdict(config),
        "weights": {"generator": generator.sha256},
        "pictures": pictures.id,
        "labelled": labelled,
        "warnings": read.warnings(),
        "masks": {"blank": read.blank, "absent_parts": read.absent, "other_files": len(read.others)},
        **tally.summary(),
        "training": ended,
        "overlap": measured,
        "suggestions": suggestions,
    }
    sheets = {}
    for stem, image, truth, guess in list(zip(labelled, drawn["image"], labels, predicted, strict=True))[
        : config.overlays
    ]:
        held = "predicted, held out" if measured["folds"] else "predicted"
        panels = (Panel(stem, image), Panel("mask", image, truth), Panel(held, image, guess))
        sheets[f"labelled_{stem}.png"] = sheet(panels, read.part_names)
    for row in chosen[: max(0, config.overlays - len(sheets))]:
        panels = (
            Panel(stems[rest[row]], others["image"][row]),
            Panel("predicted", others["image"][row], others["labels"][row]),
        )
        sheets[f"suggested_{stems[rest[row]]}.png"] = sheet(panels, read.part_names)
    checkpoint.save_model(
        out,
        model,
        source=source,
        files=functools.partial(_save_sheets, sheets),
        claim=claim,
        precision=inputs.precision_name(generator),
    )
    tally.print_summary()
    for said in read.warnings():
        print(said)
    _print(read.part_names, measured, suggestions, out)


def _trainer(config: Config, generator: GeneratorSpec, names: tuple[str, ...]) -> Trainer:
    if config.head == "linear":
        training = LinearTraining(config.weight_decay, config.balance, config.iterations, size=config.train_size)
        return LinearHeadTrainer(parts.linear_spec(generator, names, config.layers), training)
    spec = parts.few_shot_spec(generator, config.head, names, config.layers, config.map_size, config.margins)
    return FewShotTrainer(spec, FewShotTraining(config.epochs), config.seed)


def _held_out(config: Config, trainer: Trainer, maps: Any, labels: np.ndarray) -> tuple[dict[str, Any], np.ndarray]:
    """Overlap by part over all folds and in each, and the held-out labels at the pictures' size."""
    size, num_parts, count = labels.shape[1], trainer.spec.num_parts, len(labels)
    if count < 2:
        return {"folds": 0, "size": trainer.size, "iou": None, "mean": None, "mean_of_folds": []}, np.zeros_like(labels)
    fold = overlap.folds_of(count, min(config.folds, count), config.seed)
    truth, predicted = trainer.held_out(maps, labels, fold)
    counts = [
        np.asarray(overlap.confusion(jnp.asarray(truth[fold == k]), jnp.asarray(predicted[fold == k]), num_parts))
        for k in np.unique(fold)
    ]
    iou = overlap.intersection_over_union(np.sum(counts, axis=0))
    measured = {
        "folds": len(counts),
        "size": trainer.size,
        "iou": _plain(iou),
        "mean": overlap.mean_of_parts(iou),
        "mean_of_folds": [overlap.mean_of_parts(overlap.intersection_over_union(each)) for each in counts],
        "pixels": np.sum(counts, axis=(0, 2)).tolist(),
        "images": [int((labels == part).any(axis=(1, 2)).sum()) for part in range(num_parts)],
        "confusion": np.sum(counts, axis=0).tolist(),
    }
    enlarged = resize_nearest(jnp.asarray(predicted)[..., None], size, size)[..., 0]
    return measured, np.asarray(enlarged)


def _over(step: Callable[..., Any], models: Any, items: Mapping[str, np.ndarray], batch_size: int, what: str) -> Any:
    """A program over all items, batch by batch; what it gives, joined."""
    mesh, count = parallel.mesh(), len(next(iter(items.values())))
    if not count:
        return None
    with progress(what, count) as advance:
        models = parallel.replicate(models, mesh)
        share = share_of(models[0].spec.resolution)
        return parallel.map_items(step, models, items, parallel.round_up(batch_size, mesh), mesh, advance, share)


def _classes(config: Config, known: int) -> np.ndarray:
    """The classes to draw in turn; −1 alone for an unconditional generator."""
    if not known:
        if config.classes != "all":
            raise InputError("classes: this generator is unconditional and takes none; leave --classes out")
        return np.array([-1], np.int32)
    wanted = range(known) if config.classes == "all" else config.classes
    outside = [label for label in wanted if not 0 <= label < known]
    if outside or not wanted:
        raise InputError(f"classes: expected ids from 0 to {known - 1}, found {outside[:5] or 'none'}")
    return np.array(wanted, np.int32)


def _stem(number: int) -> str:
    return f"{number:06d}"


def _plain(values: Any) -> list[float | None]:
    return [None if math.isnan(value) else float(value) for value in values]


def _save_sheets(sheets: Mapping[str, Image.Image], folder: Path) -> None:
    (folder / OVERLAYS).mkdir()
    for name, image in sheets.items():
        image.save(folder / OVERLAYS / name)


def _print(names: tuple[str, ...], measured: Mapping[str, Any], suggestions: list[str], out: Path) -> None:
    console = Console(highlight=False)
    if measured["folds"]:
        table = Table(title=f"overlap with held-out masks, {measured['folds']} folds", title_justify="left")
        for column in ("part", "IoU", "masks with it"):
            table.add_column(column, justify="left" if column == "part" else "right")
        for name, value, count in zip(names, measured["iou"], measured["images"], strict=True):
            table.add_row(name, "–" if value is None else f"{value:.3f}", str(count))
        table.add_row("mean", "–" if measured["mean"] is None else f"{measured['mean']:.3f}", "")
        console.print(table)
    else:
        console.print("one mask alone cannot be held out: label more pictures to learn how well this works")
    if suggestions:
        console.print(f"label next: {', '.join(suggestions)}", soft_wrap=True)
    console.print(f"overlays in {out / OVERLAYS}", soft_wrap=True)
