"""encode: photographs → r, predictions, linked images, and how far the link can be trusted on each."""

import csv
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np

from linkjax import numerics
from linkjax.analysis import finite
from linkjax.analysis.spaces import familiarity
from linkjax.config import PathName, positive
from linkjax.devices import cluster, parallel
from linkjax.devices.progress import progress
from linkjax.errors import InputError
from linkjax.ops.chunked import share_of
from linkjax.outside.class_map import plain
from linkjax.outside.photographs import decode
from linkjax.outside.photographs.folder import Folder
from linkjax.outside.photographs.prepared import Prepared
from linkjax.stages import inputs
from linkjax.stages.encode.reference import Reference
from linkjax.stages.linked import Linked, opened
from linkjax.storage import artifacts, coordinates

TOP = 5  # classes named for each photograph
TABLE = "photographs.csv"  # a line a photograph, beside the arrays
_CHUNK = 8  # batches between two notes of what is done
_THREADS = 8  # files decoded side by side
UNREADABLE, NONFINITE = 1, 2  # flags; 0 is a photograph that can be used
_LISTED = 100  # unreadable files named in the summary

_FLOATS = ("cosine", "centred_cosine", "distance", "cosine_percentile", "distance_percentile")


@dataclasses.dataclass(frozen=True)
class Config(Linked):
    """Show photographs to the classifier, link what it sees, draw that, and compare."""

    stage: ClassVar[str] = "encode"  # the table of its settings in a TOML

    pairs: PathName
    """Folder of `linkjax pairs`: what the link was fitted on, and what photographs are compared with."""
    photographs: PathName | None = None
    """Folder of photographs; its subfolders, if any, are named as groups."""
    dataset: str | None = None
    """Or a data set prepared by tensorflow-datasets, such as imagenet_v2 (needs the extra `data`; no download)."""
    data_dir: PathName | None = None
    """Where that data set was prepared, if not in TFDS's default place."""
    split: str = "test"
    """Its split, as TFDS writes it."""
    evaluation: PathName | None = None
    """Folder of `linkjax evaluate` on these pairs: how well the test pairs come back, to compare with."""
    samples: int = 0
    """At most so many photographs, evenly spread over what is found; 0 for all."""
    unreadable: Literal["stop", "skip"] = "stop"
    """A file that gives no photograph ends the run, or is counted, listed and left empty."""
    nonfinite: finite.Policy = "exclude"
    """Photographs with numbers that are not finite: left out, counted and named, or the end of the run."""
    pictures: int = 24
    """Photographs stored with their linked images, evenly spread."""
    batch_size: int = 16
    """Photographs encoded at once, over all devices; results do not depend on it."""

    def __post_init__(self) -> None:
        positive(batch_size=self.batch_size)
        if self.samples < 0 or self.pictures < 0:
            raise InputError("samples, pictures: expected 0 or more")


def encode(models: tuple[Any, Any, Any], items: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Framed photographs → r → w → image → r̂; with a class head also the likeliest classes, before and after."""
    generator, classifier, link = models
    seen = classifier(classifier.normalise(items["image"]))
    w = link(seen.penultimate)
    again = classifier(classifier.preprocess(generator.synthesis(w)))
    outputs = {"r": seen.penultimate, "w": w, "encoded": again.penultimate}
    if seen.logits is None:
        return outputs
    probability, prediction = jax.lax.top_k(jax.nn.softmax(seen.logits), min(TOP, seen.logits.shape[1]))
    after = jax.nn.softmax(again.logits)
    return {
        **outputs,
        "prediction": prediction,
        "probability": probability,
        "prediction_linked": jnp.argmax(after, axis=1).astype(jnp.int32),
        "probability_linked": jnp.take_along_axis(after, prediction[:, :1], axis=1)[:, 0],
    }


def draw(models: tuple[Any, Any, Any], items: dict[str, jax.Array]) -> jax.Array:
    """w → image as bytes."""
    return numerics.to_uint8(models[0].synthesis(items["w"]))


@numerics.float32_default()
def run(config: Config) -> None:
    """Write r, w, r̂, predictions, cosines and distances by photograph, pictures, and a table for people."""
    loaded = opened(config)
    generator, classifier, link, pairs = loaded
    classes = inputs.fitted_classes(link, config.link, pairs)
    weights = loaded.weights
    evaluation = inputs.evaluation(config.evaluation, weights, pairs, classes) if config.evaluation else None
    source = source_of(config)
    made_from = {"pairs": pairs.id, "photographs": source.identity}
    if evaluation is not None:
        made_from["evaluation"] = evaluation.id
    with artifacts.Writer(
        Path(config.out), "encoding", config, weights, made_from, free=("batch_size", "nonfinite")
    ) as writer:
        models = (generator.model, classifier.model, link.model)
        Encoding(config, writer, source, models, Reference(pairs, evaluation, classes)).run()


def source_of(config: Config) -> Folder | Prepared:
    """Where the photographs are read from.

    Raises: InputError if nothing or two things are named, or if there is none.
    """
    if (config.photographs is None) == (config.dataset is None):
        found = "neither" if config.photographs is None else "both"
        raise InputError(f"expected photographs from --photographs DIR or from --dataset NAME, found {found}")
    if config.photographs is not None:
        return Folder(config.photographs, config.samples)
    assert config.dataset is not None
    return Prepared(config.dataset, config.split, config.data_dir, config.samples)


class Encoding:
    """Encodes photographs chunk by chunk; one chunk is in memory at a time."""

    def __init__(
        self,
        config: Config,
        writer: artifacts.Writer,
        source: Folder | Prepared,
        models: tuple[Any, Any, Any],
        reference: Reference,
    ):
        self.config, self.writer, self.source, self.reference = config, writer, source, reference
        generator, classifier, _ = models
        self.spec, self.resolution = classifier.spec, generator.spec.resolution
        self.w_dim = generator.spec.w_dim
        self.framing = decode.framing(self.spec.preprocessing, self.resolution)
        self.mesh = parallel.mesh()
        self.models = parallel.replicate(models, self.mesh)
        self.size = parallel.round_up(config.batch_size, self.mesh)
        self.own = parallel.own_items(parallel.filled(self.size, self.mesh, share_of(self.resolution)), self.mesh)
        self.chunk = writer.done("photographs per chunk") or self.size * _CHUNK
        writer.mark("photographs per chunk", self.chunk)
        self.count = len(source)
        self.skipped: list[str] = []
        self.tally = finite.Tally(config.nonfinite, "photographs", ("file",))
        self.threads = ThreadPoolExecutor(_THREADS)

    def run(self) -> None:
        """All chunks, then pictures, table and summary."""
        self._make_arrays()
        with self.threads, progress("photographs", self.count) as advance:
            for start in range(0, self.count, self.chunk):
                rows = np.arange(start, min(start + self.chunk, self.count))
                note = self.writer.done(f"{start}")
                if note is None:
                    note = self._encode_chunk(rows)
                    self.writer.mark(f"{start}", note)
                self.skipped += note["skipped"]
                self.tally.add(note["nonfinite"])
                advance(len(rows))
            usable = np.flatnonzero(self._stored("flag") == 0)
            if not len(usable):
                raise InputError(
                    f"expected photographs, found {self.count} files of which none could be "
                    + (f"read: {self.skipped[0]}" if self.skipped else f"used, but {self.tally.describe()}")
                )
            self._store_pictures(usable)
        self._finish(usable)

    def _make_arrays(self) -> None:
        make, rows, units = self.writer.array, min(1024, self.count), self.spec.num_units
        for name, width, dim in (("r", units, "unit"), ("encoded", units, "unit"), ("w", self.w_dim, "w")):
            make(name, ("sample", dim), (self.count, width), np.float32, (rows, width))
        for name in _FLOATS:
            make(name, ("sample",), (self.count,), np.float32, (rows,))
        for name, dtype in (("flag", np.int8), ("group", np.int32), ("label", np.int32)):
            make(name, ("sample",), (self.count,), dtype, (rows,))
        if self.spec.num_classes:
            top = min(TOP, self.spec.num_classes)
            make("prediction", ("sample", "rank"), (self.count, top), np.int32, (rows, top))
            make("probability", ("sample", "rank"), (self.count, top), np.float32, (rows, top))
            make("prediction_linked", ("sample",), (self.count,), np.int32, (rows,))
            make("probability_linked", ("sample",), (self.count,), np.float32, (rows,))

    def _encode_chunk(self, rows: np.ndarray) -> dict[str, Any]:
        """Encode and store some rows; returns a sentence for each that could not be read, and who was not finite."""
        skipped: list[str] = []
        flags, groups, names = [], [], []

        def batches() -> Iterator[dict[str, np.ndarray]]:
            for start in range(0, len(rows), self.size):
                items = list(self.source.items(rows[start : start + self.size]))
                images, unreadable = self._read(items)
                flags.extend(number in unreadable for number in range(len(items)))
                skipped.extend(unreadable.values())
                groups.extend(item.group for item in items)
                names.extend(item.name for item in items)
                yield {"image": images}

        share = share_of(self.resolution)
        outputs = [out for _, out in parallel.map_batches(encode, self.models, batches(), self.size, self.mesh, share)]
        found = {name: np.concatenate([out[name] for out in outputs]) for name in outputs[0]}
        found |= self.reference.compare(found["r"], found["encoded"])
        empty = np.array(flags, bool)
        good = finite.rows(found["r"], found["w"], found["encoded"]) | empty
        for values in found.values():  # what was computed for a file that could not be read means nothing
            values[empty | ~good] = np.nan if values.dtype.kind == "f" else -1
        group = np.array(groups, np.int32)
        flag = np.where(empty, UNREADABLE, np.where(good, 0, NONFINITE)).astype(np.int8)
        found |= {"flag": flag, "group": group, "label": self._labels()[group]}
        for name, values in found.items():
            self.writer.group[name][rows[0] : rows[-1] + 1] = values
        return {"skipped": skipped, "nonfinite": finite.note(good, names)}

    def _read(self, items: Sequence[decode.Item]) -> tuple[np.ndarray, dict[int, str]]:
        """Pixels of a batch's photographs, black where there are none, and why of those that cannot be read.

        Of several processes each decodes what its own devices will be shown; the others' stay black here.
        """
        side = self.framing.crop
        images, wrong = np.zeros((len(items), side, side, 3), np.uint8), {}
        own = np.flatnonzero(self.own[: len(items)]).tolist()
        read = decode.read_many([items[number] for number in own], (self.framing,), self.threads)
        for number, image in zip(own, read, strict=True):
            if isinstance(image, decode.Unreadable):
                wrong[number] = str(image)
            else:
                images[number] = image[0]
        found = {int(number): said for each in cluster.gathered(wrong) for number, said in each.items()}
        if found and self.config.unreadable == "stop":
            cluster.on_first(functools.partial(_refuse, found[min(found)]))
        return images, dict(sorted(found.items()))

    def _labels(self) -> np.ndarray:
        """Class id of each group, −1 where a group's name is none of the pairs' classes; the last is for no group."""
        summary, groups = self.reference.pairs.summary, self.source.groups
        known = {plain(name): label for label, name in coordinates.known_names(summary, "seen").items()}
        theirs = zip(inputs.as_seen(self.reference.pairs, summary["classes"]), summary["class_names"], strict=True)
        known |= {plain(name): int(label) for label, name in theirs}
        known |= {plain(name): label for label, name in enumerate(self.spec.class_names)}
        named = [known.get(plain(group), -1) for group in groups]
        if self.source.numbered and max(named, default=-1) < 0:  # names unknown here: ids, if they can be the same list
            if len(groups) == self.spec.num_classes:
                return np.array([*range(len(groups)), -1], np.int32)
            if groups:
                print(
                    f"linkjax: the data set's {len(groups)} labels are neither names of these classes nor the "
                    f"classifier's {self.spec.num_classes} classes; what was recognised is not counted"
                )
        return np.array([*named, -1], np.int32)

    def _store_pictures(self, usable: np.ndarray) -> None:
        """Photographs as the generator would frame them, and their linked images."""
        count = min(self.config.pictures, len(usable))
        if not count:
            return
        rows = usable[np.unique(np.linspace(0, len(usable) - 1, count).round().astype(int))]
        items = list(self.source.items(rows))
        whole = (decode.Framing(self.resolution, self.resolution),)
        read = decode.read_many(items, whole, self.threads)
        images = [image[0] for image in read if not isinstance(image, decode.Unreadable)]
        if len(images) < count:
            raise InputError("photographs changed while they were read; run this stage again")
        w = self._stored("w", rows)
        parts = ({"w": w[start : start + self.size]} for start in range(0, count, self.size))
        share = share_of(self.resolution)
        drawn = [out for _, out in parallel.map_batches(draw, self.models, parts, self.size, self.mesh, share)]
        self.writer.put("image_photograph", ("picture", "y", "x", "rgb"), np.stack(images))
        self.writer.put("image_linked", ("picture", "y", "x", "rgb"), np.concatenate(drawn))
        self.writer.put("picture_row", ("picture",), rows.astype(np.int32))
        self.writer.put("picture_name", ("picture",), [item.name for item in items])

    def _finish(self, usable: np.ndarray) -> None:
        reference = self.reference
        readable = int((self._stored("flag") != UNREADABLE).sum())
        if self.source.groups:
            self.writer.put("group_name", ("group_name",), self.source.groups)
        for name in ("distance", "cosine", "centred_cosine"):
            if len(values := getattr(reference, name)):
                self.writer.put(f"test_{name}", ("test_sample",), values.astype(np.float32))
        self._write_table()
        summary = {
            "samples": self.count,
            "readable": readable,
            "unreadable": self.skipped[:_LISTED],
            "other_files": self.source.others,
            "rows": [self._row("photographs", usable), self._test_row()],
            "groups": [
                self._row(name, rows)
                for place, name in enumerate(self.source.groups)
                if len(rows := usable[self._stored("group", usable) == place])
            ],
            "framing": self.framing._asdict(),
            **inputs.class_names(reference.pairs, None),
            "shrinkage": familiarity.SHRINKAGE,
            **self.tally.summary(),
        }
        self.writer.finish(summary)
        self.tally.print_summary()
        first = summary["rows"][0]
        print(
            f"{readable} photographs ({self.count - readable} unreadable, {self.source.others} other files); "
            f"class kept {_said(first['kept'])}, centred cosine {_said(first['centred_cosine'])}, "
            f"farther from the training pairs than {_said(first['distance_percentile'])} % of test pairs (median)"
        )

    def _row(self, name: str, rows: np.ndarray) -> dict[str, Any]:
        """Summary numbers of some photographs."""
        medians = {key: _median(self._stored(key, rows)) for key in _FLOATS}
        row: dict[str, Any] = {"name": name, "samples": len(rows), **medians}
        if self.spec.num_classes:
            first, label = self._stored("prediction", rows)[:, 0], self._stored("label", rows)
            row["kept"] = float(np.mean(first == self._stored("prediction_linked", rows)))
            row["recognised"] = float(np.mean(first == label)) if (label >= 0).all() else None
        return {"kept": None, "recognised": None, **row}

    def _test_row(self) -> dict[str, Any]:
        values = {key: _median(getattr(self.reference, key)) for key in ("cosine", "centred_cosine", "distance")}
        count = len(self.reference.distance)
        return {"name": "test pairs", "samples": count, **values, "kept": self.reference.top1, "recognised": None}

    def _write_table(self) -> None:
        """A line a photograph, for people and spreadsheets; written in chunks."""
        headed = bool(self.spec.num_classes)
        names = coordinates.known_names(self.reference.pairs.summary, "seen")
        groups = (*self.source.groups, "")
        with self.writer.open(TABLE) as file:
            table = csv.writer(file)
            seen = ("prediction", "class_name", "probability", "prediction_linked", "probability_linked")
            table.writerow(["photograph", "group", "readable", *(seen if headed else ()), *_FLOATS])
            for start in range(0, self.count, self.chunk):
                rows = np.arange(start, min(start + self.chunk, self.count))
                part = {name: self._stored(name, rows) for name in ("group", "flag", *_FLOATS)}
                if headed:
                    part |= {name: self._stored(name, rows) for name in seen if name != "class_name"}
                for index, row in enumerate(rows):
                    line = [self.source.name(row), groups[part["group"][index]], int(part["flag"][index] != UNREADABLE)]
                    if headed:
                        first = int(part["prediction"][index, 0])
                        line += [first, names.get(first, ""), f"{part['probability'][index, 0]:.6g}"]
                        line += [int(part["prediction_linked"][index]), f"{part['probability_linked'][index]:.6g}"]
                    table.writerow([*line, *(f"{part[name][index]:.6g}" for name in _FLOATS)])

    def _stored(self, name: str, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        array = self.writer.group[name]
        return array[rows] if isinstance(rows, slice) else array.rows(rows)


def _refuse(unreadable: str) -> None:
    raise InputError(f"{unreadable}; mend or remove it, or pass over such files with --unreadable skip")


def _median(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else None


def _said(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
