"""A sweep chunk by chunk: units, then random directions, then the summary."""

import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from linkjax.analysis import finite
from linkjax.analysis.links import steering
from linkjax.analysis.metrics import measurements
from linkjax.analysis.units import asked, candidates, random_directions, response, sweep
from linkjax.analysis.units.selectivity import anchor_slopes
from linkjax.devices import memory, parallel
from linkjax.devices.progress import progress
from linkjax.ops.chunked import share_of
from linkjax.report import sweep_summary
from linkjax.stages import inputs, layers, readouts
from linkjax.stages.sweep import arrays, chunks, local, motion, pictures, programs
from linkjax.stages.sweep.settings import Config
from linkjax.storage import artifacts


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
        embedder: Any = None,
    ):
        self.config, self.writer, self.units, self.screening = config, writer, units, screening
        self.reading = reading
        self.anchors, self.count = anchors, len(anchors["w"])
        self.tally = finite.Tally(config.nonfinite, "swept images", ("class", "sample", "unit"))
        self.mesh = parallel.mesh()
        self.classes = models[1].spec.num_classes
        segmenter = models[3]
        self.parts = (measurements.WHOLE, *(() if segmenter is None else inputs.part_names(segmenter)))
        self.metrics = measurements.metrics_of(len(self.parts) - 1, config.definitions)
        self.ranges = sweep.robust_range(jnp.asarray(trained[0]["r"]), config.low, config.high)
        # A unit that does not vary within classes has no direction, and is not swept either.
        still = np.zeros(len(units), bool)
        if config.directions != "kernel":
            still = ~np.any(np.asarray(models[2].kernel[...]), axis=1)[units]
        on_device: dict[str, Any] = {}
        self.features = 0 if embedder is None else embedder.spec.num_units
        if embedder is not None:
            on_device["embedder"] = embedder
        if config.layers is not None:
            on_device["layers"] = layers.mask(config.layers, models[0].spec)
        self.size = 0 if config.batch_size == "auto" else parallel.round_up(config.batch_size, self.mesh)
        self.few = self.size or self.mesh.size  # anchors and pictures are not worth a program that is measured first
        self.local = None
        if config.directions == "local" and steered is not None:
            self.local = self._local(models, steered, on_device.get("layers"))
        self._ask(trained[1])
        # A unit that varies in none of the anchors' classes has nowhere to go.
        still |= (self.values == self.values[:, :, :1]).all(axis=(0, 2))
        self.dead = np.asarray(self.ranges.dead)[units] | still
        self.ranks = min(config.side_effects, len(self.ranges.std))
        live, std = np.flatnonzero(~self.dead), np.asarray(self.ranges.std)
        self._plan_random(models[2], live, std, steered)
        self.share = share_of(models[0].spec.resolution)
        self._draw_anchors(models[0], segmenter)
        on_device |= {"w": self.anchors["w"], "r": self.anchors["r"], "image": self.image}
        directions = self.random.directions if len(self.random.template_unit) and self.local is None else None
        link, directions = sweep.steps_of(models[2], config.mode, directions)
        self.models = parallel.replicate((*models[:2], link, models[3], directions, on_device), self.mesh)
        if not self.size:
            self.size = self._fitting_size(live)
        chosen = config.batch_size == "auto"
        whole = chunks.units_of(self.size, self.count * config.steps, models[0].spec.resolution, chosen)
        self.chunk = writer.done("units per chunk") or min(whole, len(units))
        writer.mark("units per chunk", self.chunk)
        self.summed = max(whole, self.chunk)  # sums of a few units are those of a chunk: the same programs
        # As many images whatever the units: one unit has as many random directions beside it as a thousand have.
        self.together = writer.done("directions per chunk") or max(1, min(whole, len(self.random.template_unit)))
        writer.mark("directions per chunk", self.together)

    def _local(self, models: Any, steered: Any, rows: np.ndarray | None) -> local.Local:
        """Steps of every anchor, from its slopes; those whose slopes are not finite are counted and have none."""
        axes = steering.leading_axes(steered[0].to_w @ steered[0].to_w.T, self.config.local_share)
        seen = models[1] if self.reading is None else models[1].classifier
        change = local.slopes((models[0], seen), self.anchors["w"], axes, rows, self.few, self.mesh)
        labels, ids = self.anchors["label"], self.anchors["sample_id"]
        self.tally.add(finite.note(finite.rows(change), labels, ids, np.full(len(ids), "slopes")))
        return local.solve(steered, axes, change, self.units, self.reading)

    def _plan_random(self, link: Any, live: np.ndarray, std: np.ndarray, steered: Any) -> None:
        """How long the units' steps are, and the random directions beside them."""
        config, units, moving = self.config, self.units, ~np.asarray(self.ranges.dead)
        drawn = (config.seed, config.random_directions, moving, live)
        self.step_mahalanobis = self.random_along = self.random_step = None
        if self.local is not None:
            each = np.where(self.local.known, np.linalg.norm(self.local.steer, axis=2), np.nan)
            self.step_w = std[units] * finite.finite_mean(each)
            self.step_mahalanobis = std[units] * self.local.mean_length
            self.random, self.random_along = local.plan_random_steps(*drawn, self.local)
            return
        kernel = random_directions.unit_directions(link, self.anchors["r"], units, std)
        self.step_w = std[units] * np.linalg.norm(kernel, axis=1)
        if steered is None:
            self.random = random_directions.plan_random_steps(*drawn, kernel)
        else:
            self.step_mahalanobis = std[units] * steering.mahalanobis(steered[0], kernel)
            common = inputs.shared(steered).directions if config.directions == "own" else None
            self.random = random_directions.plan_steered_steps(*drawn, kernel, *steered, shared=common)
        rows = getattr(link, "kernel", None)
        self.random_step = random_directions.steps_in_w(self.random, None if rows is None else np.asarray(rows[...]))

    def _ask(self, trained: dict[str, np.ndarray]) -> None:
        """What each unit is set to around each anchor, [anchors, units, steps], and how far that is off range."""
        config, units, labels = self.config, self.units, self.anchors["label"]
        own, r = self.anchors["r"][:, units], trained["r"][:, units]
        over_all = (np.asarray(self.ranges.low)[units], np.asarray(self.ranges.high)[units])
        if config.range == "class":
            ends = asked.class_ends(r, trained["label"], labels, over_all, config.low, config.high)
            self.values = asked.values_around(ends, own, config.steps)
        else:
            ends = asked.Ends(*(np.broadcast_to(end, own.shape) for end in over_all))
            self.values = asked.values_over(ends, config.steps)
        if self.local is not None:  # a unit stays where an anchor has no step for it
            self.values = np.where(self.local.known[..., None], self.values, own[..., None]).astype(np.float32)
        self.off_range = sweep.off_range(self.values, own, r, trained["label"], labels)

    def _fitting_size(self, live: np.ndarray) -> int:
        if not len(live):
            return self.mesh.size
        most = chunks.batch_on_cpu(self.image.shape[1])
        enough = np.resize(live, 1 + most * self.mesh.size // (self.count * self.config.steps))
        size = memory.batch_size(self._function, self.models, self._swept(enough), self.mesh, most, self.share)
        images = (len(live) + len(self.random.template_unit)) * self.count * self.config.steps
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
            len(np.asarray(self.ranges.std)), self.classes, self.ranks, len(self.random.template_unit), self.chunk,
            self.together,
            self.config.motion == "all", self.features,
        )  # fmt: skip
        arrays.make(self.writer, sizes)
        live, random = np.flatnonzero(~self.dead), np.arange(len(self.random.template_unit))
        swept, along_random = chunks.split("", live, self.chunk), chunks.split("random ", random, self.together)
        moved = chunks.split("motion ", live, self.chunk) if self.config.motion == "all" else []
        remaining = functools.partial(chunks.remaining, writer=self.writer)
        items = itertools.chain(map(self._swept, remaining(swept)), map(self._swept_random, remaining(along_random)))
        a_row, of_motion = self.count * self.config.steps, self.count * 2
        images = (
            sum(len(rows) for _, rows in swept + along_random) * a_row + sum(len(rows) for _, rows in moved) * of_motion
        )
        with progress("images", images) as advance:
            drawn = parallel.map_chunks(self._function, self.models, items, self.size, self.mesh, advance, self.share)
            for work, make, each in (
                (swept, lambda rows: self._store_swept(rows, *next(drawn)), a_row),
                (along_random, lambda rows: self._store_random(rows, next(drawn)[1]), a_row),
                (moved, lambda rows: self._measure_motion(rows, advance), of_motion),
            ):
                chunks.run(work, make, self.writer, self.tally, lambda rows, each=each: advance(rows * each))
        self._finish()

    def _swept(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The items of some units: all anchors and steps."""
        row, anchor, step = self._grid(len(rows))
        found = {"unit": self.units[rows][row], "anchor": anchor, "value": self.values[anchor, rows[row], step]}
        return found if self.local is None else {**found, "along": self.local.steer[anchor, rows[row]]}

    def _store_swept(
        self, rows: np.ndarray, items: Mapping[str, np.ndarray], outputs: dict[str, np.ndarray]
    ) -> dict[str, Any]:
        """Store what came of them."""
        row, anchor, _ = self._grid(len(rows))
        shape = (len(rows), self.count, self.config.steps)
        group = self.writer.group
        self._store_embedded("embedding_change", rows, outputs)
        measured = outputs["metrics"].reshape(*shape, len(self.parts), len(self.metrics))
        # A slope over steps needs an angle that does not jump where it starts anew.
        outputs["metrics"] = measurements.unwrapped(measured, axis=2).reshape(len(row), -1)
        group["measured"].put_rows(rows, measured.transpose(1, 0, 2, 3, 4), axis=1)
        own = outputs["r"][np.arange(len(row)), self.units[rows][row]]
        group["obtained"].put_rows(rows, own.reshape(shape).transpose(1, 0, 2), axis=1)
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
            {"row": row, "anchor": anchor, "asked": asked, **outputs}, self.summed * self.count * self.config.steps
        )
        sizes = {name: array.shape[1] for name, array in outputs.items()}
        sums = response.add_items(
            response.empty_sums(self.summed, self.count, sizes),
            jnp.asarray(padded["row"]), jnp.asarray(padded["anchor"]), jnp.asarray(padded["asked"]),
            {name: jnp.asarray(padded[name]) for name in outputs}, jnp.asarray(mask),
        )  # fmt: skip
        units = jnp.asarray(np.resize(self.units[rows], self.summed))  # rows beyond are not stored
        shape = (len(self.parts), len(self.metrics))
        results = response.unit_results(sums, units, self.ranges.std, shape, self.ranks, len(rows))
        for name, values in results.items():
            self.writer.group[name].put_rows(rows, np.asarray(values)[: len(rows)], axis=0)

    def _store_embedded(self, name: str, rows: np.ndarray, outputs: dict[str, np.ndarray]) -> None:
        """Store what changed in the embedding from the first step to the last, and take embeddings out of `outputs`."""
        if self.features:
            seen = outputs.pop("embedded").reshape(len(rows), self.count, self.config.steps, self.features)
            self.writer.group[name].put_rows(rows, seen[:, :, -1] - seen[:, :, 0], axis=0)

    def _swept_random(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The same along random directions."""
        row, anchor, _ = self._grid(len(rows))
        items = self._swept(self.random.template_unit[rows])
        own = self.anchors["r"][anchor, items["unit"]]
        items["value"] = ((items["value"] - own) * self.random.length[rows][row]).astype(np.float32)
        items["unit"] = (self.anchors["r"].shape[1] + rows[row]).astype(np.int32)
        if self.random_along is not None:
            items["along"] = self.random_along[anchor, rows[row]]
        return items

    def _store_random(self, rows: np.ndarray, outputs: dict[str, np.ndarray]) -> dict[str, Any]:
        """Slopes of the metrics, and changes of embeddings."""
        row, anchor, _ = self._grid(len(rows))
        self._store_embedded("random_embedding_change", rows, outputs)
        shape = (len(rows), self.count, self.config.steps, len(self.parts), len(self.metrics))
        measured = measurements.unwrapped(outputs["metrics"].reshape(shape), axis=2)
        values = self.values[:, self.random.template_unit[rows]] * self.random.length[rows][None, :, None]
        slopes = anchor_slopes(
            jnp.asarray(values), jnp.asarray(measured.transpose(1, 0, 2, 3, 4)), jnp.ones(len(rows), jnp.float32)
        )
        self.writer.group["random_slope"].put_rows(rows, np.asarray(slopes), axis=1)
        return self._note(outputs, anchor, np.array([f"random {each}" for each in rows[row]]))

    def _measure_motion(self, rows: np.ndarray, advance: Callable[[int], None]) -> dict[str, Any]:
        """How far some units move every part, in all anchors."""
        pairs = parallel.round_up(max(1, self.size // 2), self.mesh)  # of images
        found = motion.over(
            self.models, rows, self.units, self.values, self.count, mode=self.config.mode, batch_size=pairs,
            mesh=self.mesh, along=None if self.local is None else self.local.steer,
        )  # fmt: skip
        self.writer.group["motion"].put_rows(rows, found.swapaxes(0, 1), axis=1)
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
        group = self.writer.group
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
        if self.local is not None:
            text = "change of w per unit of activation, of each sample; zeros where it has no step for the unit"
            put("local_steer", ("sample", "unit", "w"), self.local.steer, long_name=text)
        if self.step_mahalanobis is not None:
            text = "length of the step per σ of the unit, in standard deviations of w within classes"
            put("step_mahalanobis", ("unit",), self.step_mahalanobis.astype(np.float32), long_name=text)
        if len(self.random.template_unit):
            put("random_space", ("direction",), self.random.space, meanings="0 r, 1 W")
            put(
                "random_unit",
                ("direction",),
                self.units[self.random.template_unit],
                long_name="unit whose steps it takes",
            )
            if self.random_step is not None:
                text = "change of w along a random direction, per activation of the unit whose steps it takes"
                put("random_step", ("direction", "w"), self.random_step, long_name=text)
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
            mesh=self.mesh, along=None if self.local is None else self.local.steer,
        )  # fmt: skip
        if made and self.config.motion != "none":
            motion.store_pictures(self.writer, made, len(self.parts) - 1, self.few, self.mesh)
        drawn = made["finite"].size if made else 0
        all_moved = self.config.motion == "all"
        if all_moved:
            motion.store_means(self.writer)
        live = ~self.dead
        drawn += int(live.sum()) * self.count * (self.config.steps + 2 * all_moved)
        drawn += len(self.random.template_unit) * self.count * self.config.steps + self.count
        drawn += 0 if self.local is None else 2 * self.local.axes.shape[1] * self.count
        summary = {
            "mode": self.config.mode,
            "directions": self.config.directions,
            "range": self.config.range,
            "layers": self.config.layers,
            **({} if self.local is None else self.local.summary()),
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
            "random_directions": len(self.random.template_unit) // 2,
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
        self.tally.print_summary()
        sweep_summary.print_summary(summary)

    def _predicted(self) -> np.ndarray | None:
        """The screening's effects of the swept units, by this sweep's parts and metrics."""
        if self.screening is None:
            return None
        data = self.screening.open()
        names = tuple(artifacts.names(data, name) for name in ("part", "metric"))
        effect = self.screening.read("effect")[self.units]
        found = candidates.matched(effect, (names[0], names[1]), (self.parts, tuple(self.metrics)))
        if self.config.definitions == "original":  # what a screening calls luminance is another quantity
            found[..., [list(self.metrics).index(name) for name in measurements.ORIGINAL_METRICS]] = np.nan
        return found
