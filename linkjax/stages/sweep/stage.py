"""sweep: set units to values, draw, re-encode, measure."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from linkjax import numerics
from linkjax.analysis import finite
from linkjax.analysis.links import steering
from linkjax.analysis.metrics import measurements
from linkjax.analysis.units import asked, candidates, random_directions, response, sweep
from linkjax.analysis.units.selectivity import anchor_slopes
from linkjax.config import PathName, PathOrWord, positive
from linkjax.devices import memory, parallel
from linkjax.devices.progress import progress
from linkjax.errors import InputError
from linkjax.models.link import Directions
from linkjax.ops.chunked import share_of
from linkjax.report import sweep_summary
from linkjax.stages import Facts, Workload, inputs, readouts
from linkjax.stages.sweep import arrays, chunks, layers, motion, pictures, programs
from linkjax.storage import artifacts

_RANGE_ROWS = 8192  # training samples a unit's range is read from, evenly spread


@dataclasses.dataclass(frozen=True)
class Config:
    """Set each unit to values its class shows, draw, re-encode: did it move as asked, and what else changed?"""

    stage: ClassVar[str] = "sweep"  # the table of its settings in a TOML

    out: PathName
    """Folder to make."""
    generator: PathName
    """Folder of `linkjax convert generator`."""
    classifier: PathName
    """Folder of `linkjax convert classifier`."""
    pairs: PathName
    """Folder of `linkjax pairs`."""
    link: PathName
    """Folder of `linkjax link`."""
    encoding: PathName | None = None
    """Folder of `linkjax encode`: start from its photographs, of each class seen in them, instead of the test split;
    of a link of some classes, and with `classes`, of these."""
    segmenter: PathName | None = None
    """Folder of `linkjax segment` or `convert segmenter`: measures every part of the image; none: the whole image."""
    units: tuple[int, ...] | Literal["all"] = "all"
    """Units to sweep; with readouts, which of these, by their place."""
    readouts: tuple[PathOrWord, ...] = ()
    """Raise these in place of units, each linear in r: a file (.npz, .safetensors) of rows in r or of a sparse
    autoencoder, `logits`, a class (151, corgi), the difference of two (151:254), units together (u3+u17)."""
    screening: PathName | None = None
    """Folder of `linkjax screen`: what it predicts is stored beside what is measured."""
    candidates: int | None = None
    """Sweep only so many of the units: those of strongest effect in the screening; none: all of them."""
    random_directions: int = 32
    """Random directions of the same lengths, so many in r and as many in W: what a unit's effect is held against."""
    seed: int = 0
    """Of the random directions."""
    samples: int = 4
    """Anchor images per class."""
    split: Literal["test", "val"] = "test"
    """Split of the pairs that anchors are of; val: for `linkjax link --scaled-by`, so that test samples judge it."""
    classes: inputs.Classes = "link"
    """Classes to take anchors of: some ids, those the link was fitted on, or all that the pairs hold."""
    steps: int = 5
    """Values per unit, from its low to its high percentile, both included (paper: 3)."""
    range: asked.Range = "class"
    """Percentiles are those of the anchor's own class, with the anchor's own value (the untouched image) in the middle
    of an odd number of steps; or of all that the link was fitted on: the same values for every anchor (paper)."""
    low: float = 1.0
    """Percentile of the training activations that a unit starts at, 0 … 100 (paper: the minimum)."""
    high: float = 99.0
    """Percentile it ends at (paper: the maximum)."""
    definitions: measurements.Definitions = "standard"
    """Of luminance and entropy: "original" is the original program's (a third of the grey; entropy within 5 pixels)."""
    directions: Directions = "steer"
    """Steps in W that raise units: `steer`, which raise a unit by what was asked as far as w determines it, or the
    link's kernel (the paper's); see docs/directions.md."""
    layers: str | None = None
    """Rows of W+ that a step enters, one for the generator's input and one a layer: 0-9, or coarse, middle, fine by
    sampling rate, joined by commas; the others are the anchor's own. None: all."""
    mode: Literal["residual", "absolute"] = "residual"
    """Move the anchor's own w by the unit's direction, or replace it by the link's prediction (paper)."""
    side_effects: int = 5
    """Most affected other units stored per unit."""
    picture_units: int = 8
    """Units whose images are stored: those that change the picture most."""
    picture_samples: int = 3
    """Anchors per stored unit."""
    motion: Literal["pictures", "all", "none"] = "pictures"
    """How far parts move from the first step to the last: in the stored pictures, for all (two more images each), or
    not measured."""
    precision: numerics.Precision = "float32"
    """What images are drawn in; float32 is the reference. All that is used together must be of one precision."""
    nonfinite: finite.Policy = "exclude"
    """Swept images with numbers that are not finite: left out, counted and named, or the end of the run."""
    batch_size: int | Literal["auto"] = "auto"
    """Images drawn at once, over all devices, or as many as fit in memory; results do not depend on it."""

    def __post_init__(self) -> None:
        positive(samples=self.samples, side_effects=self.side_effects)
        positive(batch_size=1 if self.batch_size == "auto" else self.batch_size)
        if self.steps < 2:
            raise InputError(f"steps: expected 2 or more, found {self.steps}")
        if not 0 <= self.low < self.high <= 100:
            raise InputError(f"low, high: expected percentiles 0 ≤ low < high ≤ 100, found {self.low} and {self.high}")
        if isinstance(self.units, tuple) and (not self.units or len(set(self.units)) != len(self.units)):
            raise InputError(f"units: expected one or more different units, found {list(self.units)}")
        if self.encoding is not None and self.split != "test":
            raise InputError("split, encoding: photographs are of no split; leave one of them out")
        if self.readouts and self.directions == "kernel":
            raise InputError(readouts.NO_KERNEL)
        if self.readouts and self.mode == "absolute":
            raise InputError("readouts: the link predicts w from all units, not from them; leave --mode absolute out")
        if self.layers is not None and self.screening is not None:
            raise InputError("layers: a screening predicts steps in all rows of W+; leave --screening or --layers out")
        if min(self.picture_units, self.picture_samples, self.random_directions) < 0:
            raise InputError("picture-units, picture-samples, random-directions: expected 0 or more")
        if self.candidates is not None:
            positive(candidates=self.candidates)
            if self.screening is None:
                raise InputError(
                    "candidates: expected the folder of a screening with them, found none; add --screening"
                )


def workload(config: Config, facts: Facts) -> Workload:
    """Images and bytes, if no unit is dead."""
    classifier, classes = facts.classifier, inputs.count_classes(config.classes, facts.classes)
    responding = classifier.num_units
    if config.readouts:
        responding = readouts.count(config.readouts, responding, classifier.num_classes)
    units = responding if config.units == "all" else len(config.units)
    units = min(units, config.candidates or units)
    chosen = config.batch_size == "auto"
    batch = chunks.batch_on_cpu(facts.generator.resolution) if config.batch_size == "auto" else config.batch_size
    anchors = config.samples * classes
    images = (units + 2 * config.random_directions) * anchors * config.steps + anchors
    # A segmenter is opened when the stage runs: its parts are not known here, and ten is a usual number.
    outputs = (11 * len(measurements.METRICS) if config.segmenter else len(measurements.IMAGE_METRICS)) + 1
    shown = config.picture_units * config.picture_samples * config.steps
    moved = 2 * units * anchors * (config.motion == "all")
    disk = 4 * (images * outputs + units * (responding + classifier.num_classes))
    sums = 8 * anchors * (responding + classifier.num_classes + outputs)
    return Workload(
        images + shown + moved,
        images + shown + moved,
        disk,
        sums * min(units, chunks.units_of(batch, anchors * config.steps, facts.generator.resolution, chosen)),
        2 + (moved > 0),
    )


@numerics.float32_default()
def run(config: Config) -> None:
    """Write the sweep: metrics by (sample, unit, step, part, metric), fidelity, responses, side effects, pictures."""
    generator = inputs.model(config.generator, "generator", config.precision)
    classifier = inputs.model(config.classifier, "classifier")
    link = inputs.model(config.link, "link")
    pairs = inputs.pairs(config.pairs, generator, classifier)
    inputs.check_link(link, config.link, pairs)
    segmenter = None if config.segmenter is None else inputs.segmenter(config.segmenter, generator)
    raising = inputs.raising(link, config.link, config.directions)
    if config.layers is not None:  # a typing error need not wait for the work
        layers.mask(config.layers, generator.model.spec)
    steered = inputs.steered(link) if config.directions == "steer" else None
    named = inputs.readouts(config.readouts, classifier, link, pairs) if config.readouts else None
    units = inputs.units(config.units, pairs.summary["units"] if named is None else len(named.names))
    weights = {"generator": generator.sha256, "classifier": classifier.sha256, "link": link.sha256}
    if segmenter is not None:
        weights["segmenter"] = segmenter.sha256
    encoding = inputs.encoding(config.encoding, weights, pairs) if config.encoding else None
    of_readouts = {} if named is None else {"readouts": named.sha256}
    screening = None
    if config.screening:
        screening = inputs.screening(config.screening, weights, pairs, config.directions, of_readouts)
    optional = {"encoding": encoding, "screening": screening}
    made_from = {"pairs": pairs.id, **{role: made.id for role, made in optional.items() if made is not None}}
    made_from |= of_readouts
    if screening is not None and config.candidates is not None:
        units = inputs.candidates(screening, units, config.candidates)
    classes = inputs.classes(config.classes, link, config.link, pairs)
    anchors = inputs.anchors(pairs, encoding, config.samples, classes, config.split)
    fitted = inputs.fitted_classes(link, config.link, pairs)
    trained = {name: inputs.spread_rows(pairs, name, "train", _RANGE_ROWS, fitted) for name in ("r", "label")}
    of_anchors = inputs.rows_of_anchors(pairs, anchors["label"], encoding is not None, _RANGE_ROWS)
    seen, reading = classifier.model, None
    if named is not None and steered is not None:
        reading = readouts.reading(named, steered, trained["r"], trained["label"])
        readouts.tell(reading)
        trained, of_anchors, anchors = (reading.of(each) for each in (trained, of_anchors, anchors))
        seen, raising = reading.seen_by(seen), reading.steps
    models = (generator.model, seen, raising, None if segmenter is None else segmenter.model)
    with artifacts.Writer(
        Path(config.out),
        "sweep",
        config,
        weights,
        made_from,
        free=("batch_size", "nonfinite"),
        classes=inputs.class_names(pairs, None),
    ) as writer:
        Sweep(config, writer, (trained, of_anchors), anchors, screening, models, units, steered, reading).run()


class Sweep:
    """Sweeps units chunk by chunk; only metrics, activations and logits leave the device."""

    def __init__(
        self,
        config: Config,
        writer: artifacts.Writer,
        trained: tuple[dict[str, np.ndarray], dict[str, np.ndarray]],
        anchors: dict[str, np.ndarray],
        screening: artifacts.Artifact | None,
        models: tuple[Any, Any, Any, Any],
        units: np.ndarray,
        steered: tuple[steering.Spectrum, float] | None,
        reading: readouts.Reading | None = None,
    ):
        self.config, self.writer, self.units, self.screening = config, writer, units, screening
        self.reading = reading
        self.anchors, self.count = anchors, len(anchors["w"])
        self.mesh = parallel.mesh()
        self.classes = models[1].spec.num_classes
        segmenter = models[3]
        self.parts = (measurements.WHOLE, *(() if segmenter is None else inputs.part_names(segmenter)))
        self.metrics = measurements.metrics_of(len(self.parts) - 1, config.definitions)
        self.ranges = sweep.robust_range(jnp.asarray(trained[0]["r"]), config.low, config.high)
        # A unit that does not vary within classes has no direction, and is not swept either.
        still = np.zeros(len(units), bool)
        if config.directions == "steer":
            still = ~np.asarray(models[2].kernel[...]).any(axis=1)[units]
        self._ask(trained[1])
        # A unit that varies in none of the anchors' classes has nowhere to go.
        still |= (self.values == self.values[:, :, :1]).all(axis=(0, 2))
        self.dead = np.asarray(self.ranges.dead)[units] | still
        self.tally = finite.Tally(config.nonfinite, "swept images", ("class", "sample", "unit"))
        self.ranks = min(config.side_effects, len(self.ranges.std))
        live, std = np.flatnonzero(~self.dead), np.asarray(self.ranges.std)
        kernel = random_directions.unit_directions(models[2], self.anchors["r"], units, std)
        self.step_w = std[units] * np.linalg.norm(kernel, axis=1)
        moving = ~np.asarray(self.ranges.dead)
        walked = (config.seed, config.random_directions, moving, live, kernel)
        if steered is None:
            self.step_mahalanobis, self.walk = None, random_directions.plan_walk(*walked)
        else:
            self.step_mahalanobis = std[units] * steering.mahalanobis(steered[0], kernel)
            self.walk = random_directions.plan_steered_walk(*walked, *steered)
        self.size = 0 if config.batch_size == "auto" else parallel.round_up(config.batch_size, self.mesh)
        self.few = self.size or self.mesh.size  # anchors and pictures are not worth a program that is measured first
        self.share = share_of(models[0].spec.resolution)
        self._draw_anchors(models[0], segmenter)
        on_device = {"w": self.anchors["w"], "r": self.anchors["r"], "image": self.image}
        if config.layers is not None:
            on_device["layers"] = layers.mask(config.layers, models[0].spec)
        directions = self.walk.directions if len(self.walk.taken) else None
        read = (*models[:2], sweep.steps_of(models[2], config.mode), models[3])
        self.models = parallel.replicate((*read, directions, on_device), self.mesh)
        if not self.size:
            self.size = self._fitting_size(live)
        chosen = config.batch_size == "auto"
        whole = chunks.units_of(self.size, self.count * config.steps, models[0].spec.resolution, chosen)
        self.chunk = writer.done("units per chunk") or min(whole, len(units))
        writer.mark("units per chunk", self.chunk)
        # As many images whatever the units: one unit has as many random directions beside it as a thousand have.
        self.together = writer.done("directions per chunk") or max(1, min(whole, len(self.walk.taken)))
        writer.mark("directions per chunk", self.together)

    def _ask(self, trained: dict[str, np.ndarray]) -> None:
        """What each unit is set to around each anchor, [anchors, units, steps], and how far that is off range."""
        config, units, labels = self.config, self.units, self.anchors["label"]
        own, r = self.anchors["r"][:, units], trained["r"][:, units]
        over_all = tuple(np.asarray(end)[units] for end in (self.ranges.low, self.ranges.high))
        if config.range == "class":
            ends = asked.class_ends(r, trained["label"], labels, over_all, config.low, config.high)
            self.values = asked.values_around(ends, own, config.steps)
        else:
            ends = asked.Ends(*(np.broadcast_to(end, own.shape) for end in over_all))
            self.values = asked.values_over(ends, config.steps)
        self.off_range = sweep.off_range(self.values, own, r, trained["label"], labels)

    def _fitting_size(self, live: np.ndarray) -> int:
        if not len(live):
            return self.mesh.size
        most = chunks.batch_on_cpu(self.image.shape[1])
        enough = np.resize(live, 1 + most * self.mesh.size // (self.count * self.config.steps))
        size = memory.batch_size(self._function, self.models, self._swept(enough), self.mesh, most, self.share)
        images = (len(live) + len(self.walk.taken)) * self.count * self.config.steps
        return min(size, parallel.round_up(images, self.mesh))

    def _draw_anchors(self, generator: Any, segmenter: Any) -> None:
        models = parallel.replicate((generator, segmenter), self.mesh)
        drawn = parallel.map_items(
            programs.draw_labelled, models, {"w": self.anchors["w"]}, self.few, self.mesh, share=self.share
        )
        measure = functools.partial(
            programs.untouched, num_parts=len(self.parts) - 1, definitions=self.config.definitions
        )
        self.baseline = parallel.map_items(measure, (), drawn, self.few, self.mesh, share=self.share)
        self.image, self.labels = drawn["image"], drawn.get("labels")

    def run(self) -> None:
        """All chunks of units, all chunks of random directions, then what needs all of them."""
        sizes = arrays.Sizes(
            self.count, len(self.units), self.config.steps, len(self.parts), len(self.metrics),
            len(np.asarray(self.ranges.std)), self.classes, self.ranks, len(self.walk.taken), self.chunk,
            self.together,
            self.config.motion == "all",
        )  # fmt: skip
        arrays.make(self.writer, sizes)
        live, random = np.flatnonzero(~self.dead), np.arange(len(self.walk.taken))
        swept, walked = chunks.named("", live, self.chunk), chunks.named("random ", random, self.together)
        moved = chunks.named("motion ", live, self.chunk) if self.config.motion == "all" else []
        undone = functools.partial(chunks.undone, writer=self.writer)
        items = itertools.chain(map(self._swept, undone(swept)), map(self._walked, undone(walked)))
        a_row, of_motion = self.count * self.config.steps, self.count * 2
        images = sum(len(rows) for _, rows in swept + walked) * a_row + sum(len(rows) for _, rows in moved) * of_motion
        with progress("images", images) as advance:
            drawn = parallel.map_chunks(self._function, self.models, items, self.size, self.mesh, advance, self.share)
            for work, make, each in (
                (swept, lambda rows: self._store_swept(rows, *next(drawn)), a_row),
                (walked, lambda rows: self._store_walked(rows, next(drawn)[1]), a_row),
                (moved, lambda rows: self._measure_motion(rows, advance), of_motion),
            ):
                chunks.go_through(work, make, self.writer, self.tally, lambda rows, each=each: advance(rows * each))
        self._finish()

    def _swept(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The items of some units: all anchors and steps."""
        row, anchor, step = self._grid(len(rows))
        return {"unit": self.units[rows][row], "anchor": anchor, "value": self.values[anchor, rows[row], step]}

    def _store_swept(
        self, rows: np.ndarray, items: Mapping[str, np.ndarray], outputs: dict[str, np.ndarray]
    ) -> dict[str, Any]:
        """Store what came of them."""
        row, anchor, _ = self._grid(len(rows))
        shape = (len(rows), self.count, self.config.steps)
        group: Any = self.writer.group
        measured = outputs["metrics"].reshape(*shape, len(self.parts), len(self.metrics))
        # A slope over steps needs an angle that does not jump where it starts anew.
        outputs["metrics"] = measurements.unwrapped(measured, axis=2).reshape(len(row), -1)
        arrays.put_rows(group["measured"], rows, measured.transpose(1, 0, 2, 3, 4), axis=1)
        own = outputs["r"][np.arange(len(row)), self.units[rows][row]]
        arrays.put_rows(group["obtained"], rows, own.reshape(shape).transpose(1, 0, 2), axis=1)
        change = items["value"] - self.anchors["r"][anchor, items["unit"]]  # 0 in all steps where nothing is asked
        self._store_slopes(rows, row, anchor, change, outputs)
        return self._note(outputs, anchor, items["unit"])

    def _note(self, outputs: dict[str, np.ndarray], anchor: np.ndarray, unit: np.ndarray) -> dict[str, Any]:
        """Which items came to nothing: their anchor's class and id, and the unit or random direction."""
        return finite.note(
            finite.rows(outputs["r"]), self.anchors["label"][anchor], self.anchors["sample_id"][anchor], unit
        )

    def _store_slopes(
        self, rows: np.ndarray, row: np.ndarray, anchor: np.ndarray, asked: np.ndarray, outputs: dict[str, np.ndarray]
    ) -> None:
        padded, mask = parallel.pad(
            {"row": row, "anchor": anchor, "asked": asked, **outputs}, self.chunk * self.count * self.config.steps
        )
        sizes = {name: array.shape[1] for name, array in outputs.items()}
        sums = response.add_items(
            response.empty_sums(self.chunk, self.count, sizes),
            jnp.asarray(padded["row"]), jnp.asarray(padded["anchor"]), jnp.asarray(padded["asked"]),
            {name: jnp.asarray(padded[name]) for name in outputs}, jnp.asarray(mask),
        )  # fmt: skip
        units = jnp.asarray(np.resize(self.units[rows], self.chunk))  # rows beyond are not stored
        shape = (len(self.parts), len(self.metrics))
        results = response.unit_results(sums, units, self.ranges.std, shape, self.ranks)
        for name, values in results.items():
            arrays.put_rows(self.writer.group[name], rows, np.asarray(values)[: len(rows)], axis=0)

    def _walked(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The same along random directions."""
        row, anchor, _ = self._grid(len(rows))
        items = self._swept(self.walk.taken[rows])
        own = self.anchors["r"][anchor, items["unit"]]
        items["value"] = ((items["value"] - own) * self.walk.length[rows][row]).astype(np.float32)
        items["unit"] = (self.anchors["r"].shape[1] + rows[row]).astype(np.int32)
        return items

    def _store_walked(self, rows: np.ndarray, outputs: dict[str, np.ndarray]) -> dict[str, Any]:
        """Slopes of the metrics alone."""
        row, anchor, _ = self._grid(len(rows))
        shape = (len(rows), self.count, self.config.steps, len(self.parts), len(self.metrics))
        measured = measurements.unwrapped(outputs["metrics"].reshape(shape), axis=2)
        values = self.values[:, self.walk.taken[rows]] * self.walk.length[rows][None, :, None]
        slopes = anchor_slopes(
            jnp.asarray(values), jnp.asarray(measured.transpose(1, 0, 2, 3, 4)), jnp.ones(len(rows), jnp.float32)
        )
        arrays.put_rows(self.writer.group["random_slope"], rows, np.asarray(slopes), axis=1)
        return self._note(outputs, anchor, np.array([f"random {each}" for each in rows[row]]))

    def _measure_motion(self, rows: np.ndarray, advance: Callable[[int], None]) -> dict[str, Any]:
        """How far some units move every part, in all anchors."""
        pairs = parallel.round_up(max(1, self.size // 2), self.mesh)  # of images
        found = motion.over(
            self.models, rows, self.units, self.values, self.count, mode=self.config.mode, batch_size=pairs,
            on=self.mesh,
        )  # fmt: skip
        arrays.put_rows(self.writer.group["motion"], rows, found.swapaxes(0, 1), axis=1)
        advance(2 * len(rows) * self.count)
        return {"count": 0, "named": []}  # these images were counted when they were swept

    def _grid(self, rows: int) -> tuple[np.ndarray, ...]:
        """Row, anchor and step of every item of some rows."""
        grid = np.meshgrid(np.arange(rows), np.arange(self.count), np.arange(self.config.steps), indexing="ij")
        return tuple(index.ravel().astype(np.int32) for index in grid)

    @property
    def _function(self) -> Callable[..., Any]:
        return functools.partial(programs.draw_items, mode=self.config.mode, definitions=self.config.definitions)

    def _finish(self) -> None:
        group: Any = self.writer.group
        put = self.writer.put
        fidelity, side = group["fidelity"][...], group["side_effect"][:, :1]
        cautions = sweep.cautions(self.off_range, fidelity, group["fidelity_se"][...])
        arrays.put_names(self.writer, self.units, self.values, self.anchors, self.parts, self.metrics)
        if self.reading is not None:
            self.reading.store(self.writer, self.units)
        put("unit_std", ("unit_out",), np.asarray(self.ranges.std))
        put("flag", ("unit",), self.dead.astype(np.int8), meanings="0 fine, 1 dead: not swept")
        put("off_range", ("unit",), self.off_range, long_name="share of asked values its class never shows in training")
        put("caution", ("unit",), cautions, meanings="1 mostly off range, 2 fidelity surely outside 0.5 … 1.5, 3 both")
        put("step_w", ("unit",), self.step_w.astype(np.float32), long_name="length of the step in W per σ of the unit")
        if self.step_mahalanobis is not None:
            text = "length of the step per σ of the unit, in standard deviations of w within classes"
            put("step_mahalanobis", ("unit",), self.step_mahalanobis.astype(np.float32), long_name=text)
        if len(self.walk.taken):
            put("random_space", ("direction",), self.walk.space, meanings="0 r, 1 W")
            put("random_unit", ("direction",), self.units[self.walk.taken], long_name="unit whose steps it takes")
        predicted = self._predicted()
        if predicted is not None:
            put("predicted", ("unit", "part", "metric"), predicted, long_name="effect by the screening, per σ")
        put("baseline", ("sample", "part", "metric"), self.baseline)
        if self.labels is not None:
            put("baseline_labels", ("sample", "y", "x"), self.labels)
        change = list(self.metrics).index("change")
        strength = finite.finite_mean(group["measured"][:, :, [0, self.config.steps - 1], 0, change], (0, 2))
        shown = pictures.choose(strength, self.dead, self.count, self.config.picture_units, self.config.picture_samples)
        made = pictures.store(
            self.writer, self.models, shown, self.units, self.values, mode=self.config.mode, batch_size=self.few,
            on=self.mesh,
        )  # fmt: skip
        if made and self.config.motion != "none":
            motion.store_pictures(self.writer, made, len(self.parts) - 1, self.few, self.mesh)
        drawn = made["finite"].size if made else 0
        all_moved = self.config.motion == "all"
        if all_moved:
            motion.store_means(self.writer)
        live = ~self.dead
        drawn += int(live.sum()) * self.count * (self.config.steps + 2 * all_moved)
        drawn += len(self.walk.taken) * self.count * self.config.steps + self.count
        summary = {
            "mode": self.config.mode,
            "directions": self.config.directions,
            "range": self.config.range,
            "layers": self.config.layers,
            "steps": self.config.steps,
            "samples": self.count,
            "units": len(self.units),
            **({} if self.reading is None else self.reading.summary()),
            "parts": len(self.parts) - 1,
            "dead_units": int(self.dead.sum()),
            "still_share": float((self.values == self.values[:, :, :1]).all(axis=2)[:, live].mean())
            if live.any()
            else None,
            "cautioned_units": int((cautions > 0)[live].sum()),
            "off_range_units": int(((cautions & 1) > 0)[live].sum()),
            "disobedient_units": int(((cautions & 2) > 0)[live].sum()),
            "random_directions": len(self.walk.taken) // 2,
            "prediction_rank_correlation": None
            if predicted is None
            else candidates.agreement(
                predicted, group["effect"][...], measurements.spread(self.baseline, tuple(self.metrics))
            ),
            "batch_size": self.size,
            "images": drawn,
            **sweep_summary.of_units(fidelity[live], side[live]),
            **self.tally.summary(),
        }
        self.writer.finish(summary)
        self.tally.tell()
        sweep_summary.tell(summary)

    def _predicted(self) -> np.ndarray | None:
        """The screening's effects of the swept units, by this sweep's parts and metrics."""
        if self.screening is None:
            return None
        data = self.screening.open()
        names = tuple(artifacts.names(data, name) for name in ("part", "metric"))
        effect = self.screening.read(data, "effect")[self.units]
        found = candidates.matched(effect, (names[0], names[1]), (self.parts, tuple(self.metrics)))
        if self.config.definitions == "original":  # what a screening calls luminance is another quantity
            found[..., [list(self.metrics).index(name) for name in measurements.ORIGINAL_METRICS]] = np.nan
        return found
