"""evaluate: hold the link against held-out pairs, in W and after re-encoding the linked image."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from linkjax import numerics
from linkjax.analysis import finite
from linkjax.analysis.links import by_moments, moments
from linkjax.analysis.links.problem import linear_settings
from linkjax.analysis.spaces import evaluation
from linkjax.config import positive
from linkjax.devices import drawing, parallel
from linkjax.devices.progress import progress
from linkjax.errors import InputError
from linkjax.stages import Facts, Workload, inputs
from linkjax.stages.linked import Linked, opened
from linkjax.storage import artifacts

_CHUNK = 8  # batches between two notes of what is done
_ROWS = 2048  # rows per block where nothing is drawn
_SHUFFLED_ROWS = 100_000  # training pairs the shuffled baseline is fitted on, at most: bounds its memory

#: What the table of results shows: name → (description, which way is better, unit).
METRICS = {
    "r2": ("R² in W over held-out samples, weighted by variance", "higher", ""),
    "mse": ("mean squared error of w", "lower", "w²"),
    "cosine": ("cosine of w and the predicted w", "higher", ""),
    "centred_cosine": ("the same after subtracting the training mean", "higher", ""),
    "cosine_r": ("cosine of r and the re-encoded r", "higher", ""),
    "centred_cosine_r": ("the same after subtracting the training mean", "higher", ""),
    "top1": ("the linked image's class is the original image's", "higher", "share"),
    "top5": ("… is among the linked image's five likeliest", "higher", "share"),
    "class_top1": ("the linked image's class is the class it was made for", "higher", "share"),
    "class_top5": ("… is among the linked image's five likeliest", "higher", "share"),
    "unit_correlation": ("median over live units of the correlation of r and the re-encoded r", "higher", ""),
}


@dataclasses.dataclass(frozen=True)
class Config(Linked):
    """Check the link on the test split, which it has not seen, against what chance and the class alone would give."""

    stage: ClassVar[str] = "evaluate"  # the table of its settings in a TOML

    classes: inputs.Classes = "link"
    """Classes to evaluate on: some ids, those the link was fitted on, or all that the pairs hold."""
    shuffled_samples: int = 256
    """Test samples drawn again from the link fitted on shuffled pairs, a baseline; 0 for none."""
    pictures: int = 16
    """Original and linked images to store."""
    seed: int = 0
    """Random seed of the shuffled pairs."""
    nonfinite: finite.Policy = "exclude"
    """Samples with numbers that are not finite: left out, counted and named, or the end of the run."""
    batch_size: int = 16
    """Images drawn at once, over all devices; results do not depend on it."""

    def __post_init__(self) -> None:
        positive(batch_size=self.batch_size)
        if self.shuffled_samples < 0 or self.pictures < 0:
            raise InputError("shuffled-samples, pictures: expected 0 or more")


def workload(config: Config, facts: Facts) -> Workload:
    """Images and bytes: every test sample once, the baselines, the pictures."""
    classes = inputs.count_classes(config.classes, facts.classes)
    tested = facts.test_samples * classes // max(facts.classes, 1)
    again = min(config.shuffled_samples, tested)
    images = tested + again + classes + 2 * config.pictures
    row = 4 * (facts.classifier.num_units + facts.classifier.num_classes)
    block = 2 * _ROWS * (row + 4 * facts.generator.w_dim)
    shuffled = 4 * _SHUFFLED_ROWS * facts.generator.w_dim + moments.nbytes(
        facts.classifier.num_units, facts.generator.w_dim
    )
    programs = 1 + (config.pictures > 0)
    return Workload(images, images, (tested + again) * row, block + shuffled, programs)


@numerics.float32_default()
def run(config: Config) -> None:
    """Write the evaluation: `encoded` (and logits) of every test sample, unit correlations, pictures, the table."""
    loaded = opened(config)
    generator, classifier, link, pairs = loaded
    weights = loaded.weights
    if "test" not in pairs.summary["splits"]:
        raise InputError(f"{config.pairs} has no test split; make pairs with --n-test above 0")
    classes = inputs.classes(config.classes, link, config.link, pairs)
    with artifacts.Writer(
        Path(config.out), "evaluation", config, weights, {"pairs": pairs.id}, free=("batch_size", "nonfinite")
    ) as writer:
        Evaluation(config, writer, pairs, classes, generator.model, classifier.model, link).run()


class Evaluation:
    """Draws what has to be drawn, noting each chunk, and then sums up from disk."""

    def __init__(
        self,
        config: Config,
        writer: artifacts.Writer,
        pairs: artifacts.Artifact,
        classes: tuple[int, ...] | None,
        generator: Any,
        classifier: Any,
        link: inputs.Model,
    ):
        self.config, self.writer, self.pairs = config, writer, pairs
        self.data = pairs.open()
        self.train, self.test = (inputs.rows_of(pairs, split, classes) for split in ("train", "test"))
        self.named, self.count = inputs.class_names(pairs, classes), len(self.test)
        self.units, self.w_dim = pairs.summary["units"], pairs.summary["w_dim"]
        self.classes = classifier.spec.num_classes
        self.mesh = parallel.mesh()
        self.size = parallel.round_up(config.batch_size, self.mesh)
        self.chunk = writer.done("samples per chunk") or self.size * _CHUNK
        writer.mark("samples per chunk", self.chunk)
        self.link = link.model
        self.models = parallel.replicate((generator, classifier), self.mesh)
        self.tally = finite.Tally(config.nonfinite, "linked images")
        self.links = {"link": parallel.replicate(link.model, self.mesh)}

    def run(self) -> None:
        """The whole evaluation."""
        labels = np.asarray(self.named["classes"])
        shuffled = min(self.config.shuffled_samples, self.count)
        self._make_arrays(shuffled, len(labels))
        mean_w, mean_r, class_w = self._training_means(labels)
        if shuffled:
            self.links["shuffled"] = parallel.replicate(self._shuffled_link(), self.mesh)
        with progress("images", self.count + shuffled + len(labels)) as advance:
            self._draw("link", np.arange(self.count), "", advance)
            self._draw_means(class_w, labels, advance)
            rows = np.linspace(0, self.count - 1, shuffled).round().astype(int) if shuffled else np.zeros(0, int)
            if shuffled:
                self._draw("shuffled", rows, "_shuffled", advance)
        reports = {"link": self._report(self._link_batches(), mean_w, mean_r)}
        position = {label: index for index, label in enumerate(labels.tolist())}
        reports["class mean"] = self._report(self._class_batches(class_w, position), mean_w, mean_r)
        if shuffled:
            reports["shuffled"] = self._report(self._shuffled_batches(rows), mean_w, mean_r)
        self._store_pictures()
        self._finish(reports)

    def _make_arrays(self, shuffled: int, classes: int) -> None:
        for suffix, count in (("", self.count), ("_shuffled", shuffled), ("_class_mean", classes)):
            if not count:
                continue
            rows = min(1024, count)
            dims = "sample" + suffix
            self.writer.array("encoded" + suffix, (dims, "unit"), (count, self.units), np.float32, (rows, self.units))
            if self.classes:
                shape = (count, self.classes)
                self.writer.array("logits" + suffix, (dims, "class"), shape, np.float32, (rows, self.classes))

    def _draw(self, link: str, rows: np.ndarray, suffix: str, advance: Callable[[int], None]) -> None:
        """r → ŵ → image → r̂ of rows of the test split, in noted chunks; stores r̂ and logits."""
        for start in range(0, len(rows), self.chunk):
            part = slice(start, min(start + self.chunk, len(rows)))
            note = self.writer.done(f"{link}:{start}")
            if note is None:
                w = drawing.linked(self.links[link], self._read("r", rows[part]), self.size, self.mesh)
                outputs = self._store(w, suffix, part)
                names = (self._read(name, rows[part]) for name in ("label", "sample_id"))
                note = finite.note(finite.rows(w, *outputs.values()), *names)
                self.writer.mark(f"{link}:{start}", note)
            self.tally.add(note)
            advance(part.stop - part.start)

    def _draw_means(self, class_w: np.ndarray, labels: np.ndarray, advance: Callable[[int], None]) -> None:
        """The same of each class's mean w; it is no sample, and named as number −1 of its class."""
        for start in range(0, len(labels), self.chunk):
            part = slice(start, min(start + self.chunk, len(labels)))
            note = self.writer.done(f"class mean:{start}")
            if note is None:
                outputs = self._store(class_w[part], "_class_mean", part)
                note = finite.note(finite.rows(*outputs.values()), labels[part], np.full(len(labels), -1))
                self.writer.mark(f"class mean:{start}", note)
            self.tally.add(note)
            advance(part.stop - part.start)

    def _store(self, w: np.ndarray, suffix: str, part: slice) -> dict[str, np.ndarray]:
        """Draw and re-encode latents, and keep what comes of it."""
        outputs = self._cycle(w)
        for name, array in (("r", "encoded"), ("logits", "logits")):
            if name in outputs:
                self.writer.group[array + suffix][part] = outputs[name]
        return outputs

    def _cycle(self, w: np.ndarray) -> dict[str, np.ndarray]:
        return drawing.reencoded(self.models, w, self.size, self.mesh)

    def _read(self, name: str, rows: Any) -> np.ndarray:
        """Some of the test samples, by their numbers here or a slice of them."""
        return self.pairs.read(name, self.test[rows])

    def _training_means(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean w, mean r, and mean w of each class [classes, w_dim], over the training split."""
        position = {label: index for index, label in enumerate(labels.tolist())}
        means, total = evaluation.empty_class_means(len(labels), self.w_dim), np.zeros(self.units)
        for block in _blocks(slice(0, len(self.train)), _ROWS):
            rows = self.train[block]
            label = np.array([position[each] for each in self.pairs.read("label", rows).tolist()], np.int32)
            w, mask = _padded(self.pairs.read("w", rows), _ROWS)
            means = evaluation.add_class_means(means, w, _padded(label, _ROWS)[0], mask)
            total += self.pairs.read("r", rows).sum(axis=0, dtype=np.float64)
        count, class_w = np.asarray(means.count), evaluation.class_means(means)
        mean_w = (np.asarray(means.total).sum(axis=0) / count.sum()).astype(np.float32)
        return mean_w, (total / count.sum()).astype(np.float32), class_w.astype(np.float32)

    def _shuffled_link(self) -> Any:
        """The link fitted again after permuting w against r over the training split: chance and overfitting only."""
        rows = self.train
        if len(rows) > _SHUFFLED_ROWS:  # they lie class by class: take them evenly
            rows = rows[np.linspace(0, len(rows) - 1, _SHUFFLED_ROWS).astype(int)]
        w = self.pairs.read("w", rows)[np.random.default_rng(self.config.seed).permutation(len(rows))]
        total, block = moments.empty(self.units, self.w_dim), min(_ROWS, len(rows))
        for start in range(0, len(rows), block):
            r, mask = _padded(self.pairs.read("r", rows[start : start + block]), block)
            total = moments.update(total, r, _padded(w[start : start + block], block)[0], mask)
        settings = linear_settings(self.link.spec)
        return by_moments.fit_from_moments(total, settings.method, settings.alpha, settings.l1_ratio)[0]

    def _link_batches(self) -> Iterator[tuple[np.ndarray, ...]]:
        for rows in _blocks(slice(0, self.count), _ROWS):
            predicted = drawing.linked(self.links["link"], self._read("r", rows), self.size, self.mesh)
            yield np.arange(rows.start, rows.stop), predicted, *self._stored("", rows)

    def _class_batches(self, class_w: np.ndarray, position: dict[int, int]) -> Iterator[tuple[np.ndarray, ...]]:
        encoded, logits = self._stored("_class_mean", slice(0, len(class_w)))
        for rows in _blocks(slice(0, self.count), _ROWS):
            index = np.array([position[label] for label in self._read("label", rows).tolist()])
            yield np.arange(rows.start, rows.stop), class_w[index], encoded[index], logits[index]

    def _shuffled_batches(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        for part in _blocks(slice(0, len(rows)), _ROWS):
            predicted = drawing.linked(self.links["shuffled"], self._read("r", rows[part]), self.size, self.mesh)
            yield rows[part], predicted, *self._stored("_shuffled", part)

    def _stored(self, suffix: str, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        encoded = self.writer.group["encoded" + suffix]
        if not self.classes:
            return encoded[rows], np.zeros((rows.stop - rows.start, 0), np.float32)
        logits = self.writer.group["logits" + suffix]
        return encoded[rows], logits[rows]

    def _report(self, batches: Iterator[tuple[np.ndarray, ...]], mean_w: np.ndarray, mean_r: np.ndarray) -> Any:
        """Sums over (rows, predicted w, r̂, logits) batches, and their report."""
        latent, cycled = evaluation.empty_latent(self.w_dim), evaluation.empty_cycle(self.units)
        head = self.models[1].head if self.classes else None
        for rows, predicted, encoded, encoded_logits in batches:
            size = min(_ROWS, self.count)
            r, mask = _padded(self._read("r", rows), size)
            logits = None if head is None else np.asarray(head(jnp.asarray(r)))
            label = _padded(inputs.as_seen(self.pairs, self._read("label", rows)), size)[0]
            padded = [_padded(array, size)[0] for array in (predicted, encoded, encoded_logits)]
            latent = evaluation.add_latent(latent, _padded(self._read("w", rows), size)[0], padded[0], mean_w, mask)
            scores = padded[2] if self.classes else None
            cycled = evaluation.add_cycle(cycled, r, padded[1], mean_r, logits, scores, label, mask)
        return evaluation.latent_report(latent), evaluation.cycle_report(cycled)

    def _store_pictures(self) -> None:
        count = min(self.config.pictures, self.count)
        if not count:
            return
        rows = np.linspace(0, self.count - 1, count).round().astype(int)
        linked = drawing.linked(self.links["link"], self._read("r", rows), self.size, self.mesh)
        for name, w in (("original", self._read("w", rows)), ("linked", linked)):
            images = drawing.pictures(self.models[0], w, self.size, self.mesh)
            self.writer.put(f"image_{name}", ("picture", "y", "x", "rgb"), images)
        self.writer.put("picture_label", ("picture",), self._read("label", rows))
        self.writer.put("picture_prediction_original", ("picture",), self._read("prediction", rows))
        predicted = np.full(count, -1, np.int32)
        if self.classes:
            logits = self.writer.group["logits"]
            found = np.stack([logits[int(row)] for row in rows])
            predicted = np.where(np.isfinite(found).all(axis=1), found.argmax(axis=1), -1).astype(np.int32)
        self.writer.put("picture_prediction_linked", ("picture",), predicted)

    def _finish(self, reports: dict[str, Any]) -> None:
        table = [_row(name, latent, cycled) for name, (latent, cycled) in reports.items()]
        cycled = reports["link"][1]
        self.writer.put("unit_correlation", ("unit",), cycled.correlations.astype(np.float32))
        metrics = {
            name: {"description": text, "better": better, "unit": unit}
            for name, (text, better, unit) in METRICS.items()
        }
        summary = {
            "samples": self.count,
            **self.named,
            "rows": table,
            "metrics": metrics,
            "median_unit_correlation": _number(cycled.median_correlation),
            "live_units": cycled.live_units,
            **self.tally.summary(),
            "original_class_top1": _number(cycled.original_class_top1.value),
        }
        self.writer.finish(summary)
        self.tally.print_summary()
        for name in ("r2", "centred_cosine_r", "top1", "unit_correlation"):
            values = ", ".join(f"{row['name']} {row[name]:.3f}" for row in table if row[name] is not None)
            print(f"{METRICS[name][0]}: {values}")


def _row(name: str, latent: evaluation.LatentReport, cycled: evaluation.CycleReport) -> dict[str, Any]:
    """A line of the table: every metric, and its standard error where one is known."""
    estimates = {
        "mse": latent.mse,
        "cosine": latent.cosine,
        "centred_cosine": latent.centred_cosine,
        "cosine_r": cycled.cosine,
        "centred_cosine_r": cycled.centred_cosine,
        "top1": cycled.top1,
        "top5": cycled.top5,
        "class_top1": cycled.class_top1,
        "class_top5": cycled.class_top5,
    }
    row: dict[str, Any] = {"name": name, "samples": latent.mse.count, "r2": _number(latent.r2)}
    row |= {metric: _number(estimate.value) for metric, estimate in estimates.items()}
    row["unit_correlation"] = _number(cycled.median_correlation)
    errors = {"r2": latent.r2_standard_error} | {key: estimate.standard_error for key, estimate in estimates.items()}
    row["standard_errors"] = {key: _number(value) for key, value in errors.items()}
    return row


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _blocks(rows: slice, size: int) -> Iterator[slice]:
    for start in range(rows.start, rows.stop, size):
        yield slice(start, min(start + size, rows.stop))


def _padded(array: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    padded, mask = parallel.pad({"x": array}, size)
    return padded["x"], mask
