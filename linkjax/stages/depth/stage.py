"""depth: fit links from several layers of one classifier and compare them."""

import dataclasses
import functools
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import xarray as xr

from linkjax import numerics
from linkjax.analysis import finite
from linkjax.analysis.links import moments
from linkjax.analysis.spaces import depth
from linkjax.config import PathName, positive
from linkjax.devices import cluster, parallel
from linkjax.devices.progress import progress
from linkjax.errors import InputError
from linkjax.ops.chunked import share_of
from linkjax.stages import Facts, Workload, held_out, inputs, rows
from linkjax.stages.depth.layers import abstract, layers_of, units_of
from linkjax.stages.depth.sums import LayerSums
from linkjax.storage import artifacts
from linkjax.storage.tables import write_table

KIND = "depth"
_ROWS = 1024  # samples of a block: drawn, summed and, now and then, kept
_SAVE_SECONDS = 60.0  # between two notes of the sums so far
#: After a measure's name, which figure of an estimate, and what it is; none: the measure itself.
_FIGURES = (
    ("", "value", ""),
    ("_low", "low", "low end of its interval"),
    ("_high", "high", "high end of its interval"),
    ("_chance", "null_high", "what 97.5 % of the shuffles stay below"),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """Measure how deep a link reaches: a link and directions for each of several layers, from one pass over images."""

    stage: ClassVar[str] = "depth"  # the table of its settings in a TOML

    out: PathName
    """Folder to make."""
    generator: PathName
    """Folder of `linkjax convert generator`."""
    classifier: PathName
    """Folder of `linkjax convert module` or `linkjax convert classifier`."""
    pairs: PathName
    """Folder of `linkjax pairs`, whose latents are drawn: this classifier's, or another one's."""
    layers: tuple[str, ...] = ()
    """Paths of modules (of an imported classifier; `linkjax convert module --list-layers` prints them) or names of
    stages; none: up to 12 of the outermost. The classifier's own r is always there, as `r`."""
    pool: depth.Pool = "mean"
    """How a layer with positions becomes a vector: their mean or max; cls: the first token, of maps the mean."""
    samples: int = 400
    """Test samples measured on, at most, the same number of each class."""
    alphas: tuple[float, ...] = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    """Ridge penalties tried on the validation split, in units of the mean eigenvalue of each layer's S_rr."""
    draws: int = 200
    """Resamples of classes and samples, for intervals of 95 %."""
    permutations: int = 100
    """Shuffles of the samples, for what chance gives."""
    moments_gib: float = 4.0
    """Memory that the moments of all layers may take together."""
    seed: int = 0
    """Random seed of resamples and shuffles."""
    precision: numerics.Precision = "float32"
    """What images are drawn in; float32 is the reference. Artifacts used together must have the same precision."""
    nonfinite: finite.Policy = "exclude"
    """Samples with numbers that are not finite: left out, counted and named, or the end of the run."""
    batch_size: int = 16
    """Images drawn at once, over all devices; results do not depend on it."""

    def __post_init__(self) -> None:
        positive(batch_size=self.batch_size, draws=self.draws, permutations=self.permutations)
        positive(moments_gib=self.moments_gib)
        if self.samples < 4:
            raise InputError(f"samples: expected 4 or more, found {self.samples}")
        if not self.alphas or min(self.alphas) < 0:
            raise InputError(f"alphas: expected one or more of 0 or more, found {list(self.alphas)}")
        if len(set(self.layers)) < len(self.layers) or depth.OWN in self.layers:
            raise InputError(f"layers: expected each once, and no {depth.OWN}, which is always there")


def workload(config: Config, facts: Facts) -> Workload:
    """Images and bytes: every pair to fit on and to choose by, and the test samples measured on."""
    classifier = abstract(facts.classifier)
    units = units_of(classifier, config.layers or layers_of(classifier), config.pool)
    tested = min(config.samples, facts.test_samples)
    images, w_dim = facts.fitted_samples + tested, facts.generator.w_dim
    row = 4 * (sum(units.values()) + w_dim)
    on_host = _moments_bytes(units, w_dim) + (tested + min(_ROWS, images)) * row
    return Workload(images, images, 12 * sum(units.values()), on_host, programs=1)


def _moments_bytes(units: Mapping[str, int], w_dim: int) -> int:
    """Of all layers, training and validation."""
    return 2 * sum(moments.nbytes(count, w_dim) for count in units.values())


@numerics.float32_default()
def run(config: Config) -> None:
    """Write what each layer says of w, how its units can be steered, and whether it holds samples in W's order."""
    generator = inputs.model(config.generator, "generator", config.precision)
    classifier = inputs.model(config.classifier, "classifier")
    pairs = inputs.pairs(config.pairs, generator)
    splits = pairs.summary["splits"]
    missing = [name for name in ("train", "val", "test") if name not in splits]
    if missing:
        raise InputError(f"{pairs.path} has no {' and no '.join(missing)} split; make pairs with all three")
    layers = config.layers or layers_of(classifier.model)
    encode = functools.partial(depth.encode, layers=layers, pool=config.pool)
    units = units_of(classifier.model, layers, config.pool)
    samples = held_out.read_samples(pairs, config.samples)
    needed = _moments_bytes(units, pairs.summary["w_dim"]) / 2**30
    if needed > config.moments_gib:
        raise InputError(
            f"layers: the moments of {len(units)} layers of {', '.join(map(str, units.values()))} units need "
            f"{needed:.1f} GiB, more than --moments-gib {config.moments_gib:g}; name fewer, or raise it"
        )
    weights = {"generator": generator.sha256, "classifier": classifier.sha256}
    with artifacts.Writer(
        Path(config.out), KIND, config, weights, {"pairs": pairs.id}, free=("batch_size", "nonfinite", "moments_gib")
    ) as writer:
        Depth(config, writer, pairs, samples, (generator.model, classifier.model), encode, units).run()


class Depth:
    """Sums all layers over training and validation pairs, then measures each on the same test samples."""

    def __init__(
        self,
        config: Config,
        writer: artifacts.Writer,
        pairs: artifacts.Artifact,
        samples: held_out.Samples,
        models: tuple[Any, Any],
        encode: Callable[..., Any],
        units: dict[str, int],
    ):
        self.config, self.writer, self.pairs, self.samples = config, writer, pairs, samples
        self.encode, self.units = encode, units
        self.mesh = parallel.mesh()
        self.size = parallel.round_up(config.batch_size, self.mesh)
        self.share = share_of(models[0].spec.resolution)
        self.models = parallel.replicate(models, self.mesh)
        self.tally = finite.Tally(config.nonfinite, "samples")
        self.tally.add(samples.left_out)

    def run(self) -> None:
        """Everything; of several processes each sums all."""
        ranges = {split: rows.of_classes(self.pairs, split) for split in ("train", "val")}
        count = self.samples.w[..., 0].size
        with progress("images", count + sum(rows.count(each) for each in ranges.values())) as advance:
            sums = {split: self._summed(split, ranges[split], advance) for split in ranges}
            r = self._tested(advance)
        w, kept = self._kept(r)
        found = {}
        for place, name in enumerate(self.units):
            found[name] = depth.measure(
                sums["train"].of(name), sums["val"].of(name), r[name][:, kept], w, functools.partial(self._rng, place),
                alphas=self.config.alphas, draws=self.config.draws, permutations=self.config.permutations,
            )  # fmt: skip
        self._finish(found, w.shape[1])

    def _rng(self, *what: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, *what])

    def _encoded(self, w: np.ndarray, advance: Callable[[int], None]) -> dict[str, np.ndarray]:
        found = parallel.map_items(self.encode, self.models, {"w": w}, self.size, self.mesh, share=self.share)
        advance(len(w))
        return {name: np.asarray(found[name]) for name in self.units}

    def _summed(self, split: str, ranges: Sequence[rows.Range], advance: Callable[[int], None]) -> LayerSums:
        """Sums of all layers over a split, block by block, kept now and then, and at the end."""
        places = rows.class_places(self.pairs, split)
        sums = LayerSums(self.units, self.pairs.summary["w_dim"], places.classes)
        path = self.writer.partial / artifacts.WORK / f"{split}.npz"
        note = sums.load(path) or {"blocks": 0, "nonfinite": {"count": 0, "named": []}}
        blocks, tally = rows.blocks(ranges, _ROWS), finite.Tally("exclude", "samples")
        tally.add(note["nonfinite"])
        advance(rows.count(blocks[: note["blocks"]]))
        saved = time.monotonic()
        for number, block in enumerate(blocks[note["blocks"] :], start=note["blocks"] + 1):
            w, label, ids = (self.pairs.read(name, slice(*block)) for name in ("w", "label", "sample_id"))
            found = self._encoded(w, advance)
            good = finite.rows(w, *found.values())
            tally.add(finite.note(good, label, ids))
            sums.add({name: values[good] for name, values in found.items()}, w[good], places.of(block)[good])
            if number == len(blocks) or cluster.agreed(time.monotonic() - saved > _SAVE_SECONDS):
                sums.save(path, {"blocks": number, "nonfinite": {"count": tally.count, "named": tally.named}})
                saved = time.monotonic()
        self.tally.add({"count": tally.count, "named": tally.named})
        return sums

    def _tested(self, advance: Callable[[int], None]) -> dict[str, np.ndarray]:
        """Of each layer the test samples [classes, m, units]."""
        w = self.samples.w
        found = self._encoded(w.reshape(-1, w.shape[2]), advance)
        return {name: values.reshape(*w.shape[:2], -1) for name, values in found.items()}

    def _kept(self, r: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """w of the places whose samples are finite in all layers and classes, and which these are.

        Raises: InputError if there are too few.
        """
        good = np.logical_and.reduce([np.isfinite(values).all(axis=2) for values in r.values()])
        label = np.repeat(self.samples.label, good.shape[1])
        self.tally.add(finite.note(good.ravel(), label, self.samples.sample_id.ravel()))
        kept = good.all(axis=0)  # the same places of every class, so that classes keep their equal numbers
        if kept.sum() * len(good) < 4:
            raise InputError(f"{self.pairs.path}: fewer than 4 test samples are finite in all layers")
        return self.samples.w[:, kept], kept

    def _finish(self, found: dict[str, depth.Reach], each: int) -> None:
        """Arrays by layer and by unit of a layer, the table, and the summary."""
        put, names, counts = self.writer.put, list(found), list(self.units.values())
        columns: dict[str, np.ndarray] = {"layer": np.array(names, object), "units": np.array(counts, np.int64)}
        whats = {"units": "units of the layer"}
        for measure, what in depth.MEASURES.items():
            some = [reach.estimates.get(measure) for reach in found.values()]
            for after, figure, words in _FIGURES:
                values = [np.nan if one is None else getattr(one, figure) for one in some]
                columns[measure + after], whats[measure + after] = np.array(values, np.float64), words or what
        for name in ("effective_rank", "alpha", "steer_lambda"):
            columns[name] = np.array([getattr(reach, name) for reach in found.values()], np.float64)
        for name, values in columns.items():
            put(name, ("layer",), values, **({"long_name": whats[name]} if name in whats else {}))
        place, unit = np.repeat(np.arange(len(names)), counts), np.concatenate([np.arange(count) for count in counts])
        put("of_layer", ("layer_unit",), place.astype(np.int32), long_name="place of the unit's layer")
        put("unit", ("layer_unit",), unit.astype(np.int32))
        own = np.concatenate([reach.own for reach in found.values()]).astype(np.float32)
        put("own", ("layer_unit",), own, long_name="predicted fidelity of the unit")
        write_table(
            self.writer.partial / "layers", xr.Dataset({name: ("row", values) for name, values in columns.items()})
        )
        lists = [values.tolist() for values in columns.values()]
        told = [dict(zip(columns, map(_known, row), strict=True)) for row in zip(*lists, strict=True)]
        cluster.on_first(lambda: shutil.rmtree(self.writer.partial / artifacts.WORK, ignore_errors=True))
        self.writer.finish({
            "samples": each * len(self.samples.label), "samples_per_class": each,
            "classes_compared": len(self.samples.label), "pool": self.config.pool, "rows": told,
            **self.tally.summary(),
        })  # fmt: skip
        self.tally.print_summary()
        for row in told:
            print(
                f"{row['layer']} ({row['units']} units): R² {_said(row['r2'])}, fidelity {_said(row['fidelity'])}, "
                f"effective rank {_said(row['effective_rank'])}, order {_said(row['distances'])}"
            )


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _said(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
