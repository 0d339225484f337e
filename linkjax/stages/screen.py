"""screen: the first-order effect of every unit on every metric of every part, by derivatives."""

import dataclasses
import functools
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from linkjax import numerics
from linkjax.analysis import finite
from linkjax.analysis.metrics import measurements
from linkjax.analysis.units import candidates, screening, sweep
from linkjax.config import PathName, PathOrWord, positive
from linkjax.devices import parallel
from linkjax.devices.progress import progress
from linkjax.errors import InputError
from linkjax.models.link import Directions
from linkjax.ops.chunked import share_of
from linkjax.stages import inputs, readouts
from linkjax.stages.linked import Linked, opened
from linkjax.storage import artifacts

_RANGE_ROWS = 8192  # training samples a unit's range is read from, evenly spread
_CHUNK = 4  # batches between two notes of what is done, at least: a chunk is whole classes
_DERIVED = 1  # images differentiated together on a CPU: 12 take 7 % less each, where there are so many
_SHOWN = 5  # strongest effects printed
_UNITS = {
    "area": "pixel", "area_share": "share", "luminance": "byte", "lightness": "L*", "red_green": "a*",
    "yellow_blue": "b*", "centroid_y": "pixel", "centroid_x": "pixel", "height": "pixel", "width": "pixel",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config(Linked):
    """First-order effect of every unit on every part: derivatives of soft part metrics times the units' steps in W."""

    stage: ClassVar[str] = "screen"  # the table of its settings in a TOML

    link: PathName
    """Folder of `linkjax link`; a linear one for `--directions kernel`."""
    segmenter: PathName | None = None
    """Folder of `linkjax segment`, of the same generator."""
    directions: Directions = "steer"
    """Steps in W that raise units: `steer`; `own`, what is left of these without what many units share; or the link's
    kernel (the paper's). Candidates are swept along them."""
    readouts: tuple[PathOrWord, ...] = ()
    """Raise these in place of units, as `linkjax sweep --readouts`."""
    samples: int = 8
    """Anchor images per class, from the test split."""
    classes: inputs.Classes = "link"
    """Classes to take anchors of: some ids, those the link was fitted on, or all that the pairs hold."""
    temperature: float = screening.TEMPERATURE
    """Of the softmax that shares pixels among parts; a linear head is calibrated at 1, its borders are wider at 2."""
    places: int = 1
    """Points differentiated for each anchor: the anchor itself, and others where a sweep of random units would lead."""
    seed: int = 0
    """Of these other places."""
    products: Literal["fewest", "reverse", "forward"] = "fewest"
    """Products with the Jacobian from the side of the metrics, from the side of w, or whichever are fewer."""
    path_units: int = 0
    """Also integrate along the sweep's path for so many units, those of strongest effect; 0 for none."""
    path_points: int = 3
    """Points on each path."""
    path_samples: int = 1
    """Anchors per class for the paths."""
    low: float = 1.0
    """Percentile of the activations the link was fitted on that a path starts at, 0 … 100."""
    high: float = 99.0
    """Percentile it ends at."""
    nonfinite: finite.Policy = "exclude"
    """Anchors with numbers that are not finite: left out, counted and named, or the end of the run."""
    batch_size: int = 4
    """Images differentiated at once, over all devices; results do not depend on it."""

    def __post_init__(self) -> None:
        positive(samples=self.samples, temperature=self.temperature, batch_size=self.batch_size,
                 places=self.places, path_points=self.path_points, path_samples=self.path_samples)  # fmt: skip
        if self.readouts and self.directions in readouts.NOT_ALONG:
            raise InputError(readouts.NOT_ALONG[self.directions])
        if self.path_units < 0:
            raise InputError(f"path-units: expected 0 or more, found {self.path_units}")
        if self.path_samples > self.samples:
            raise InputError(f"path-samples: expected at most samples ({self.samples}), found {self.path_samples}")
        if not 0 <= self.low < self.high <= 100:
            raise InputError(f"low, high: expected percentiles 0 ≤ low < high ≤ 100, found {self.low} and {self.high}")


def differentiate(
    models: tuple[Any, ...], items: dict[str, jax.Array], mode: screening.Mode, temperature: float
) -> dict[str, jax.Array]:
    """w → metrics of the parts, and what each unit does to them."""
    generator, segmenter, directions, coefficients = models
    found = screening.derivatives(generator, segmenter, items["w"], directions, mode, temperature)
    return {"metrics": found.metrics, "effect": screening.unit_effects(found.slopes, coefficients),
            "finite": found.finite}  # fmt: skip


def integrate(
    models: tuple[Any, ...], items: dict[str, jax.Array], points: int, temperature: float
) -> dict[str, jax.Array]:
    """(w, unit, ends of its path) → mean derivative along the path."""
    generator, segmenter, kernel = models
    effect = screening.path_effects(
        generator, segmenter, items["w"], kernel[items["unit"]], items["low"], items["high"], points, temperature
    )
    return {"effect": effect}


@numerics.float32_default()
def run(config: Config) -> None:
    """Write effects by class and over all anchors (unit, part, metric), per standard deviation of the unit."""
    loaded = opened(config)
    generator, classifier, link, pairs = loaded
    raising = inputs.raising(link, config.link, config.directions)
    if link.manifest["kind"] != "link" and config.directions == "kernel":
        raise InputError(
            f"{config.link} is not a linear link, so no kernel gives all units at once; screen with one, or without "
            "--directions kernel"
        )
    if config.segmenter is None:
        raise InputError("segmenter: expected the folder of a segmenter, found none; make one with linkjax segment")
    segmenter = inputs.segmenter(config.segmenter, generator)
    weights = loaded.weights
    weights["segmenter"] = segmenter.sha256
    anchors = inputs.first_of_each_class(
        pairs, "test", config.samples, inputs.classes(config.classes, link, config.link, pairs)
    )
    fitted = inputs.fitted_classes(link, config.link, pairs)
    trained = {name: inputs.spread_rows(pairs, name, "train", _RANGE_ROWS, fitted) for name in ("r", "label")}
    made_from, reading = {"pairs": pairs.id}, None
    if config.readouts:
        named = inputs.readouts(config.readouts, classifier, link, pairs)
        reading = readouts.reading(named, inputs.steered(link), trained["r"], trained["label"])
        readouts.print_summary(reading)
        made_from["readouts"] = named.sha256
        trained, anchors, raising = reading.of(trained), reading.of(anchors), reading.steps
    with artifacts.Writer(
        Path(config.out),
        "screening",
        config,
        weights,
        made_from,
        free=("batch_size", "nonfinite"),
        classes=inputs.class_names(pairs, None),
    ) as writer:
        Screening(config, writer, trained["r"], anchors, generator.model, segmenter.model, raising, reading).run()


class Screening:
    """Differentiates anchors chunk by chunk, and keeps sums by class alone."""

    def __init__(
        self,
        config: Config,
        writer: artifacts.Writer,
        trained: np.ndarray,
        anchors: dict[str, np.ndarray],
        generator: Any,
        segmenter: Any,
        link: Any,
        reading: readouts.Reading | None = None,
    ):
        self.config, self.writer, self.reading = config, writer, reading
        self.mesh = parallel.mesh()
        self.size = parallel.round_up(config.batch_size, self.mesh)
        self.share = share_of(generator.spec.resolution, _DERIVED)
        self.names = segmenter.spec.part_names or tuple(f"part {i}" for i in range(segmenter.spec.num_parts))
        self.ranges = sweep.robust_range(jnp.asarray(trained), config.low, config.high)
        self.anchors = anchors
        self.labels = self.anchors["label"][:: config.samples]
        self.kernel = np.asarray(link.kernel[...])
        self.plan = screening.choose_products(self.kernel, len(self.names), config.products)
        scaled = self.plan.coefficients * np.asarray(self.ranges.std)[:, None]
        on_device = (generator, segmenter, jnp.asarray(self.plan.directions), jnp.asarray(scaled))
        self.models = parallel.replicate(on_device, self.mesh)
        self.tally = finite.Tally(config.nonfinite, "anchors, in their image or its derivatives,")
        self.places = self._places()
        whole = -(-self.size * _CHUNK // (config.samples * config.places))
        self.chunk = writer.done("classes per chunk") or min(whole, len(self.labels))
        writer.mark("classes per chunk", self.chunk)

    def run(self) -> None:
        """All classes, then what needs all of them."""
        self._make_arrays()
        function = functools.partial(differentiate, mode=self.plan.mode, temperature=self.config.temperature)
        with progress("anchors", len(self.places)) as advance:
            for start in range(0, len(self.labels), self.chunk):
                classes = slice(start, min(start + self.chunk, len(self.labels)))
                rows = slice(classes.start * self.config.samples, classes.stop * self.config.samples)
                note = self.writer.done(f"{start}")
                if note is None:
                    found = self._map(function, self.models, {"w": np.concatenate(self.places[rows])})
                    known: np.ndarray = np.asarray(found["finite"].reshape(-1, self.config.places).all(axis=1))
                    found["effect"][~np.repeat(known, self.config.places)] = np.nan
                    self._store(classes, rows, found)
                    note = finite.note(known, *(self.anchors[name][rows] for name in ("label", "sample_id")))
                    self.writer.mark(f"{start}", note)
                self.tally.add(note)
                advance(rows.stop - rows.start)
        self._finish()

    def _places(self) -> np.ndarray:
        """Where derivatives are taken, [anchors, places, w_dim]: at the anchor, then at random units' random values.

        A derivative at one point is that of few border pixels; its mean over places where a sweep draws is nearer to
        what a sweep finds there. An anchor's places depend on the seed, its class and its number alone.
        """
        w, r = self.anchors["w"], self.anchors["r"]
        live = np.flatnonzero(~np.asarray(self.ranges.dead))
        low, high = np.asarray(self.ranges.low), np.asarray(self.ranges.high)
        places = np.repeat(w[:, None], self.config.places, axis=1)
        if len(live):
            for row, key in enumerate(zip(self.anchors["label"], self.anchors["sample_id"], strict=True)):
                rng = np.random.default_rng([self.config.seed, *(int(part) for part in key)])
                unit = rng.choice(live, self.config.places - 1)
                value = low[unit] + (high - low)[unit] * rng.random(len(unit), np.float32)
                places[row, 1:] += (value - r[row, unit])[:, None] * self.kernel[unit]
        return places

    def _map(self, function: Any, models: Any, items: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return parallel.map_items(function, models, items, self.size, self.mesh, share=self.share)

    def _make_arrays(self) -> None:
        shape = (len(self.labels), len(self.kernel), len(self.names), len(screening.METRICS))
        dims, make = ("class", "unit", "part", "metric"), self.writer.array
        for name, what in (("class_effect", "mean"), ("class_effect_std", "standard deviation")):
            text = f"{what} over a class's anchors of the change of a metric per σ of the unit"
            make(name, dims, shape, np.float32, (1, *shape[1:]), long_name=text)
        make("class_count", ("class", "part", "metric"), (shape[0], *shape[2:]), np.int32, (1, *shape[2:]))
        baseline = (len(self.anchors["w"]), *shape[2:])
        make("baseline", ("sample", "part", "metric"), baseline, np.float32)

    def _store(self, classes: slice, rows: slice, found: dict[str, np.ndarray]) -> None:
        group = self.writer.group
        shape = (-1, self.config.samples, self.config.places, *found["effect"].shape[1:])
        effect = finite.finite_mean(found["effect"].reshape(shape), axis=2)
        group["class_effect"][classes] = finite.finite_mean(effect, axis=1)
        group["class_effect_std"][classes] = finite.finite_std(effect, axis=1)
        # A part is there or not, whatever the unit.
        group["class_count"][classes] = np.isfinite(effect[:, :, 0]).sum(axis=1)
        group["baseline"][rows] = found["metrics"][:: self.config.places]

    def _finish(self) -> None:
        group = self.writer.group
        put, dims = self.writer.put, ("unit", "part", "metric")
        effect, error = _over_classes(
            group["class_effect"][...], group["class_effect_std"][...], group["class_count"][...][:, None]
        )
        put("effect", dims, effect.astype(np.float32), long_name="mean over anchors, per σ of the unit")
        put("effect_se", dims, error.astype(np.float32), long_name="its standard error over anchors")
        put("unit", ("unit",), np.arange(len(effect), dtype=np.int32))
        put("unit_std", ("unit",), np.asarray(self.ranges.std))
        if self.reading is not None:
            self.reading.store(self.writer, np.arange(len(effect)))
        dead = np.asarray(self.ranges.dead)
        put("flag", ("unit",), dead.astype(np.int8), meanings="0 fine, 1 dead: hardly varies")
        put("class_id", ("class",), self.labels)
        put("label", ("sample",), self.anchors["label"])
        put("sample_id", ("sample",), self.anchors["sample_id"])
        put("part", ("part",), self.names)
        put("metric", ("metric",), screening.METRICS, units=[_UNITS.get(name, "") for name in screening.METRICS])
        spread = measurements.spread(group["baseline"][...], screening.METRICS)
        scaled = np.where(dead[:, None, None], np.nan, effect / spread[None])
        paths = self._paths(scaled, dead)
        strongest = self._strongest(scaled, candidates.strength(effect, spread, error), dead)
        summary = {
            "directions": self.config.directions,
            "units": len(effect),
            **({} if self.reading is None else self.reading.summary()),
            "dead_units": int(dead.sum()),
            "samples": len(self.anchors["w"]),
            "products": self.plan.mode,
            "places": self.config.places,
            "products_per_anchor": self.plan.count * self.config.places,
            "path_items": paths,
            "strongest": strongest,
            **self.tally.summary(),
        }
        self.writer.finish(summary)
        self.tally.print_summary()
        products = f"{summary['products_per_anchor']} {self.plan.mode} products for each"
        print(f"{len(effect)} units, {summary['samples']} anchors, {products}")
        for row in strongest:
            which = f"unit {row['unit']}" if self.reading is None else self.reading.named.names[row["unit"]]
            print(f"{which}: {row['part']} {row['metric']} {row['effect']:+.3g} sd per sd")

    def _strongest(self, scaled: np.ndarray, strength: np.ndarray, dead: np.ndarray) -> list[dict[str, Any]]:
        """Of the units of largest effects altogether the effect that is surely largest, in spreads among anchors."""
        flat = strength.reshape(len(scaled), -1)
        rows = []
        for unit in np.argsort(-np.where(dead, -1.0, np.square(flat).sum(axis=1)), kind="stable")[:_SHOWN]:
            part, metric = divmod(int(flat[unit].argmax()), len(screening.METRICS))
            value = float(scaled[unit, part, metric])
            if np.isfinite(value):
                rows.append({"unit": int(unit), "part": self.names[part], "metric": screening.METRICS[metric],
                             "effect": value})  # fmt: skip
        return rows

    def _paths(self, scaled: np.ndarray, dead: np.ndarray) -> int:
        """Mean derivatives along the path a sweep would take, for the units of strongest effect; how many paths."""
        count = min(self.config.path_units, int((~dead).sum()))
        if not count:
            return 0
        size = np.nan_to_num(np.abs(scaled)).reshape(len(scaled), -1).max(axis=1)
        units = np.sort(np.argsort(-np.where(dead, -1.0, size), kind="stable")[:count]).astype(np.int32)
        place = np.arange(len(self.anchors["w"])) % self.config.samples
        rows = np.flatnonzero(place < self.config.path_samples)
        unit, row = (index.ravel() for index in np.meshgrid(units, rows, indexing="ij"))
        own = self.anchors["r"][row, unit]
        items = {
            "w": self.anchors["w"][row],
            "unit": unit.astype(np.int32),
            "low": (np.asarray(self.ranges.low)[unit] - own).astype(np.float32),
            "high": (np.asarray(self.ranges.high)[unit] - own).astype(np.float32),
        }
        generator, segmenter = self.models[:2]
        scaled_kernel = parallel.replicate(jnp.asarray(self.kernel), self.mesh)
        function = functools.partial(integrate, points=self.config.path_points, temperature=self.config.temperature)
        found = self._map(function, (generator, segmenter, scaled_kernel), items)["effect"].astype(np.float64)
        found *= np.asarray(self.ranges.std)[unit][:, None, None]
        mean = finite.finite_mean(found.reshape(len(units), len(rows), *found.shape[1:]), axis=1)
        text = "mean over anchors and along the path, per σ of the unit"
        self.writer.put("path_effect", ("path_unit", "part", "metric"), mean.astype(np.float32), long_name=text)
        self.writer.put("path_unit", ("path_unit",), units)
        return len(unit)


def _over_classes(mean: np.ndarray, std: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over all anchors, and its standard error, from each class's mean, standard deviation and count."""
    mean, std = (np.nan_to_num(values.astype(np.float64)) for values in (mean, std))
    total = count.sum(axis=0)
    some = np.where(total > 0, total, np.nan)
    whole = (count * mean).sum(axis=0) / some
    variance = (count * (std**2 + (mean - np.nan_to_num(whole)[None]) ** 2)).sum(axis=0) / some
    return whole, np.sqrt(variance / np.where(total > 1, total - 1, np.nan))
