"""Effects of units chunk by chunk, ablations, and the answer to the query."""

import functools
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linkjax.analysis.links import steering
from linkjax.analysis.metrics import measurements
from linkjax.analysis.units import (
    ablation,
    nothing_found,
    per_obtained,
    random_directions,
    redundancy,
    selection,
    selectivity,
)
from linkjax.devices import parallel
from linkjax.devices.progress import progress
from linkjax.errors import InputError
from linkjax.stages import inputs
from linkjax.stages.select.settings import _VALUES, Config
from linkjax.storage import artifacts, coordinates, tables
from linkjax.storage.swept_values import read_asked

TABLE = "selected"  # .csv and .parquet beside the arrays
_CHUNK = 4  # batches between two notes of what is done, unless
_SHARE = 8  # units tested together: of a batch that is not full only so many more are tested for nothing
_BYTES = 1 << 28  # they have more measurements than this: of many anchors a few units are read at once
_RANGE_ROWS = 8192  # training samples a unit's mean is read from, evenly spread
_MOST_COSINES = 512  # units up to which the whole matrix of cosines is stored
_NULLS = {"r": "a mixture of units", "w": "drawn in W"}
_STORED = ("effect", "low", "high", "p_sign", "consistency")


def measure_units(resamples: selectivity.Resamples, items: dict[str, jax.Array], level: float) -> dict[str, jax.Array]:
    """Slopes by unit → effects, intervals, p-values; also per change obtained."""
    found = selectivity.unit_effects(items["slopes"], resamples, level)._asdict()
    ratio = per_obtained.measure(items["slopes"], items["fidelity"], items["spread"], resamples.counts, level)
    return found | ratio._asdict()


def ablate_units(models: tuple[Any, ablation.Samples], items: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """(unit, values) → changes of logits and accuracy by class."""
    classifier, samples = models
    return ablation.ablate(classifier, samples, items["unit"], items["value"])._asdict()


class Selecting:
    """Tests units chunk by chunk, then what needs all of them."""

    def __init__(
        self,
        config: Config,
        writer: artifacts.Writer,
        swept: artifacts.Artifact,
        pairs: artifacts.Artifact,
        link: Any,
        classifier: Any | None,
        steered: tuple[steering.Spectrum, float] | None,
    ):
        self.steered = steered
        self.config, self.writer, self.swept, self.pairs, self.link = config, writer, swept, pairs, link
        self.classifier = classifier if classifier is not None and classifier.spec.num_classes else None
        self.data = swept.open()
        self.mesh = parallel.mesh()
        self.size = parallel.round_up(config.batch_size, self.mesh)
        self.parts, self.metrics = (artifacts.names(self.data, name) for name in ("part", "metric"))
        small = ("unit", "unit_std", "flag", "label", "baseline", "step_w", "sample_id")
        self.read = {name: swept.read(name) for name in small if name in self.data}
        if "step_w" not in self.read:
            raise InputError(f"the sweep in {swept.path} does not tell its steps in W; sweep again with this linkjax")
        self.against = config.against or selection.against(inputs.directions_of(swept))
        self.units = self.read["unit"]
        self.live = np.flatnonzero(self.read["flag"] == 0)
        self.classes = np.unique(self.read["label"])
        self.chunk = writer.done("units per chunk") or self._fitting_chunk()
        writer.mark("units per chunk", self.chunk)

    def _fitting_chunk(self) -> int:
        anchors, _, *rest = self.data["measured"].shape
        fit = _BYTES // (4 * anchors * math.prod(rest))
        return max(1, min(self.size * _CHUNK, fit))

    def run(self) -> None:
        """All chunks, then the decisions, the clusters, the ablations and the table."""
        self._make_arrays()
        samples = None if self.classifier is None else self._samples()
        jobs = [("effects", self._effects)] + ([] if samples is None else [("ablation", self._ablate)])
        self.samples = samples
        starts = range(0, len(self.live), self.chunk)
        with progress("units", len(jobs) * len(self.live)) as advance:
            for name, work in jobs:
                for start in starts:
                    rows = self.live[start : start + self.chunk]
                    if self.writer.done(f"{name} {start}") is None:
                        work(rows)
                        self.writer.mark(f"{name} {start}")
                    advance(len(rows))
        self._finish()

    def _make_arrays(self) -> None:
        units, rest, dims = len(self.units), (len(self.parts), len(self.metrics)), selection.DIMS
        for name, what in zip(
            _STORED,
            ("mean slope over anchors, per σ of the unit", "low end of its interval", "high end of its interval",
             "p-value of the sign-flip test over anchors", "share of classes that agree in sign"),
            strict=True,
        ):  # fmt: skip
            self.writer.array(name, dims, (units, *rest), np.float32, (self.chunk, *rest), long_name=what)
        for name, text in per_obtained.STORED.items():
            self.writer.array(name, dims, (units, *rest), np.float32, (self.chunk, *rest), long_name=text)
        text = (
            "F of asked values for obtained ones, over anchors; below 10 effects per change obtained are not to be told"
        )
        self.writer.array("first_stage", ("unit",), (units,), np.float32, long_name=text)
        self.writer.array("anchors", dims, (units, *rest), np.int32, (self.chunk, *rest))
        by_class = (units, len(self.classes), *rest)
        self.writer.array(
            "class_effect", ("unit", "class", "part", "metric"), by_class, np.float32, (self.chunk, *by_class[1:])
        )
        if self.classifier is not None:
            shape, dims = (units, len(_VALUES), len(self._ablated_classes())), ("unit", "ablation", "ablated_class")
            for name, what in (("logit", "mean change of a class's logit among its samples when the unit is constant"),
                               ("accuracy", "change of the share of them that is recognised")):  # fmt: skip
                self.writer.array(f"ablation_{name}", dims, shape, np.float32, (self.chunk, *shape[1:]), long_name=what)

    def _map(self, function: Any, models: Any, items: dict[str, np.ndarray], share: int = 0) -> dict[str, np.ndarray]:
        return parallel.map_items(function, models, items, self.size, self.mesh, share=share)

    @functools.cached_property
    def _resamples(self) -> Any:
        key = jax.random.key(self.config.seed)
        drawn = selectivity.draw_resamples(jnp.asarray(self.read["label"]), key, self.config.draws, self.config.flips)
        return parallel.replicate(drawn, self.mesh)

    def _effects(self, rows: np.ndarray) -> None:
        group = self.writer.group
        measured = self.swept.read("measured", (slice(None), rows))
        asked = jnp.asarray(read_asked(self.swept, self.data, rows))
        std = jnp.asarray(self.read["unit_std"][self.units[rows]])
        obtained = jnp.asarray(self.swept.read("obtained", (slice(None), rows)))
        by_anchor = {
            "slopes": selectivity.anchor_slopes(asked, jnp.asarray(measurements.unwrapped(measured, axis=2)), std),
            "fidelity": selectivity.anchor_slopes(asked, obtained, jnp.ones_like(std)),
            "spread": selectivity.deviations(asked)[1],
        }
        items = {name: np.moveaxis(np.asarray(values), 1, 0) for name, values in by_anchor.items()}
        found = self._map(functools.partial(measure_units, level=self.config.level), self._resamples, items, _SHARE)
        for name in (*_STORED, *per_obtained.STORED, "first_stage", "anchors"):
            group[name].put_rows(rows, found[name])
        group["class_effect"].put_rows(rows, found["by_class"])

    def _ablated_classes(self) -> np.ndarray:
        """Classes of the test split, as the classifier numbers them."""
        return np.unique(self._targets()[1])

    @functools.cache  # noqa: B019 - one object a run
    def _targets(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the test split to ablate in, and what each should be recognised as."""
        start, stop = self.pairs.summary["splits"]["test"]
        label, seen = (self.pairs.read(name, slice(start, stop)) for name in ("label", "prediction"))
        called = inputs.as_seen(self.pairs, label)
        target = np.where(called >= 0, called, seen)
        chosen = np.concatenate(
            [np.flatnonzero(target == c)[: self.config.ablation_samples] for c in np.unique(target)]
        )
        return start + chosen, target[chosen]

    def _samples(self) -> Any:
        rows, target = self._targets()
        member = (target[:, None] == self._ablated_classes()[None]).astype(np.float32)
        r = self.pairs.read("r", rows)
        self.mean = inputs.spread_rows(self.pairs, "r", "train", _RANGE_ROWS).mean(axis=0, dtype=np.float64)
        samples = ablation.Samples(jnp.asarray(r), jnp.asarray(target, jnp.int32), jnp.asarray(member))
        return parallel.replicate((self.classifier, samples), self.mesh)

    def _ablate(self, rows: np.ndarray) -> None:
        unit = self.units[rows].astype(np.int32)
        value = np.stack([np.zeros(len(unit)), self.mean[unit]], axis=1).astype(np.float32)
        found = self._map(ablate_units, self.samples, {"unit": unit, "value": value})
        group = self.writer.group
        for name, values in found.items():
            group[f"ablation_{name}"].put_rows(rows, values)

    def _random(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Space → length of each unit's step in it, and effects of random directions per unit of length."""
        if "random_slope" not in self.data:
            return {}
        lengths = (self.read["unit_std"][self.units], self.read["step_w"])
        if "step_mahalanobis" in self.data:  # of steering directions: both kinds are as long as the unit's step in this
            length = self.swept.read("step_mahalanobis")
            lengths = (length, length)
        slopes, space = (self.swept.read(name) for name in ("random_slope", "random_space"))
        return random_directions.nulls(slopes, space, lengths)

    def _finish(self) -> None:
        put, group, dims = self.writer.put, self.writer.group, selection.DIMS
        effect, p_sign = (group[name][...] for name in ("effect", "p_sign"))
        random = self._random()
        decision = selection.decide(effect, p_sign, random, self.against)
        for name, values in decision.p.items():
            if name != "sign":
                text = f"chance of as large an effect along a random direction as long: {_NULLS[name]}"
                put(f"p_{name}", dims, values.astype(np.float32), long_name=text)
                put(f"random_effect_{name}", ("direction", *dims[1:]), random[name][1].astype(np.float32),
                    long_name=f"effects of random directions, per unit of length: {_NULLS[name]}")  # fmt: skip
        put("q", dims, decision.q.astype(np.float32), long_name="largest p-value, adjusted over units")
        text = "standard deviation of a metric among the untouched anchors that show the part"
        spread = measurements.spread(self.read["baseline"], self.metrics)
        put("spread", dims[1:], spread.astype(np.float32), long_name=text)
        for name in ("part", "metric"):
            put(name, (name,), artifacts.names(self.data, name), **self.data[name].attrs)
        for name in ("unit", "flag", "caution", "off_range", "fidelity", "fidelity_se", "step_w"):
            put(name, ("unit",), self.swept.read(name))
        if "unit_name" in self.data:  # of readouts
            put("unit_name", ("unit",), artifacts.names(self.data, "unit_name"))
            put("unit_out_name", ("unit_out",), artifacts.names(self.data, "unit_out_name"))
        for name in ("side_effect", "side_effect_unit"):
            put(name, ("unit",), self.swept.read(name)[:, 0])
        if "predicted" in self.data:
            put("predicted", dims, self.swept.read("predicted"))
        put("class_id", ("class",), self.classes)
        if self.classifier is not None:
            put("ablated_class_id", ("ablated_class",), self._ablated_classes())
            put("ablation", ("ablation",), _VALUES)
        alone = {
            name: int((np.nan_to_num(np.asarray(selectivity.benjamini_hochberg(jnp.asarray(p, jnp.float32))), nan=1.0)
                       <= self.config.fdr).any(axis=(1, 2)).sum())
            for name, p in decision.p.items()
        }  # fmt: skip
        summary = {
            **self._clusters(),
            **self._shared(),
            **self._select(decision.q),
            "significant_units_against_one": alone,
        }
        self.writer.finish(summary)
        print(
            f"{summary['selected_units']} units {'found' if self.config.query else 'with a significant effect'}, of "
            f"{len(self.live)}; {summary['clusters']} clusters; {Path(self.config.out) / TABLE}.csv"
        )
        if summary["nothing_found"]:
            print(f"why none: {summary['nothing_found']}")

    def _clusters(self) -> dict[str, Any]:
        """Which units are doubles of each other."""
        r = inputs.first_of_each_class(self.pairs, "test", 1)["r"]
        std = self.read["unit_std"]
        directions = random_directions.unit_directions(self.link, r, self.units, std).astype(np.float64)
        directions[(self.read["flag"] != 0) | ~np.isfinite(directions).all(axis=1)] = 0.0
        said = directions
        if self.steered is not None:  # steps in W are near parallel wherever two units share one factor of wide spread
            said = np.where(directions.any(axis=1, keepdims=True), self.steered[0].scores.T[self.units], 0.0)
        cosine = redundancy.cosines(said)
        found = redundancy.clusters(cosine, self.config.cosine, self.swept.read("fidelity"))
        put = self.writer.put
        put("cluster", ("unit",), found.label, long_name="by falling size; −1 for a dead unit")
        put("representative", ("unit",), found.representative, long_name="of largest fidelity in its cluster")
        put("order", ("unit",), found.order.astype(np.int32), long_name="rows as the leaves of the tree")
        if len(cosine) <= _MOST_COSINES:
            of_what = "two directions in W" if self.steered is None else "what w says of two units, within classes"
            put("cosine", ("unit", "unit_other"), cosine.astype(np.float32), long_name=f"of {of_what}")
        sizes = np.bincount(found.label[found.label >= 0]) if (found.label >= 0).any() else np.zeros(0, int)
        return {
            "clusters": len(sizes),
            "units_with_doubles": int(sizes[sizes > 1].sum()),
            "effective_rank": redundancy.direction_rank(directions * std[self.units][:, None]),
        }

    def _shared(self) -> dict[str, Any]:
        """What the directions of all units have in common, and how much of each is its own; of steering directions."""
        if self.steered is None:
            return {}
        found, put, units = inputs.shared(self.steered), self.writer.put, self.units
        text = "direction that many units share, of Mahalanobis length 1"
        put("shared_direction", ("shared", "w"), found.directions.astype(np.float32), long_name=text)
        put("shared_share", ("shared",), found.share, long_name="of the squared lengths of all units' steps")
        loading = found.loading[units].astype(np.float32)
        put("loading", ("unit", "shared"), loading, long_name="cosine of the unit's direction with it")
        text = "share of the squared length of the unit's step that lies along no shared direction"
        put("own_share", ("unit",), found.own_share[units].astype(np.float32), long_name=text)
        return {
            "shared_directions": [
                {"share": float(share), "units": units[np.argsort(-np.abs(column))[:10]].tolist()}
                for share, column in zip(found.share, np.nan_to_num(loading).T, strict=True)
            ],
        }

    def _select(self, q: np.ndarray) -> dict[str, Any]:
        """The table of what was found, as files, and its main numbers."""
        import xarray as xr

        group = self.writer.group
        columns = (
            *_STORED,
            *per_obtained.STORED,
            "anchors",
            "q",
            "spread",
            "p_r",
            "p_w",
            "predicted",
            *selection.COLUMNS,
            selection.NAME,
        )
        table = xr.Dataset(
            {name: (group[name].dims, group[name][...]) for name in columns if name in group},
            coords={"part": self.parts, "metric": self.metrics},
        )
        rows = selection.select(table, self.config.query, self.config.fdr)
        tables.write_table(self.writer.partial / TABLE, rows)
        asked = (self.config.query, self.config.fdr, self.against, self.config.flips)
        why = None if rows.sizes["row"] else nothing_found.explain(table, *asked).describe()
        significant = np.nan_to_num(q, nan=np.inf) <= self.config.fdr
        count = significant.sum(axis=0)
        return {
            "query": self.config.query,
            "fdr": self.config.fdr,
            "against": [name for name in self.against if name == "sign" or f"p_{name}" in group],
            "random_directions": group["random_effect_r"].shape[0] if "random_effect_r" in group else 0,
            "units": len(self.units),
            "live_units": len(self.live),
            "anchors": len(self.read["label"]),
            "classes": self.classes,
            "class_names": coordinates.called(self.classes, coordinates.known_names(self.pairs.summary)),
            "significant": int(significant.sum()),
            "significant_units": int(significant.any(axis=(1, 2)).sum()),
            "weak_units": self.units[self.live[~per_obtained.strong(group["first_stage"][...][self.live])]],
            "nothing_found": why,
            "selected_units": len(np.unique(rows["unit"].values)),
            "selected": [int(unit) for unit in dict.fromkeys(rows["unit"].values.tolist())],
            "most_significant": [
                {"part": self.parts[part], "metric": self.metrics[metric], "units": int(count[part, metric])}
                for part, metric in np.argwhere(count > 0)[np.argsort(-count[count > 0], kind="stable")][:10]
            ],
            "smallest_p_sign": max(1 / (1 + self.config.flips), 2.0 ** (1 - len(self.read["label"]))),
        }
