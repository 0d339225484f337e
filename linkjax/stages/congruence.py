"""congruence: ask whether r and W have the same semantic order, and whether straight lines stay straight."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from linkjax import numerics
from linkjax.analysis import finite
from linkjax.analysis.spaces import congruence, straightness
from linkjax.config import PathName, positive
from linkjax.devices import drawing, parallel
from linkjax.devices.progress import progress
from linkjax.errors import InputError
from linkjax.stages import Facts, Workload, held_out, inputs
from linkjax.stages.linked import Linked, opened
from linkjax.storage import artifacts

_CHUNK = 8  # batches between two notes of what is done, at least: a chunk is whole paths
_SHOWN = 4000  # pairs of samples whose distances are stored for a picture

#: Sections of the table of results, with what a row of each says.
QUESTIONS = {
    "distances": "rank correlation of the distances of pairs in r and in W",
    "neighbours": "share of the nearest in r that are among the nearest in W",
    "chord": "length of the re-encoded path's chord / length of the path",
    "r2": "share of the re-encoded path's variance that a steady move along a line explains",
    "direction": "cosine of the re-encoded path's chord and the difference in r of its ends",
    "reach": "how far the chord goes along that difference; 1: all the way",
    "fit": "R² in W on held-out pairs",
    "gain": "R² of the other link − R² of the link, on the same pairs",
}
#: Ways from one sample to another.
ROUTES = {
    "link": "straight in r, then through the link",
    "W": "straight in W, between the samples' own latents",
    "other link": "straight in r, then through the other link",
}


@dataclasses.dataclass(frozen=True)
class Config(Linked):
    """Measure on held-out pairs the claim behind a linear link: that r and W hold samples in the same order."""

    stage: ClassVar[str] = "congruence"  # the table of its settings in a TOML

    other_link: PathName | None = None
    """Folder of another link on the same pairs (such as --method mlp): what does it gain?"""
    samples: int = 1000
    """Test samples compared, at most, the same number of each class; memory grows with their square."""
    classes: inputs.Classes = "link"
    """Classes to compare in: some ids, those the link was fitted on, or all that the pairs hold."""
    neighbours: int = 10
    """Nearest neighbours compared; a quarter of the candidates where these are fewer than four times as many."""
    distance: congruence.Distance = "euclidean"
    """How far two points are apart: euclidean, or one minus the cosine of their deviations from the mean."""
    paths: int = 32
    """Pairs of samples walked between, half of them within a class; 0 for none."""
    steps: int = 9
    """Points on a path, both ends included; 3 or more."""
    draws: int = 500
    """Bootstrap resamples of classes and samples, for intervals of 95 %."""
    permutations: int = 200
    """Shuffles of the pairs, for what chance gives."""
    seed: int = 0
    """Random seed of paths, resamples and shuffles."""
    nonfinite: finite.Policy = "exclude"
    """Samples with numbers that are not finite: left out, counted and named, or the end of the run."""
    batch_size: int = 16
    """Images drawn at once, over all devices; results do not depend on it."""

    def __post_init__(self) -> None:
        positive(batch_size=self.batch_size, draws=self.draws, permutations=self.permutations)
        positive(neighbours=self.neighbours)
        if self.samples < 4:
            raise InputError(f"samples: expected 4 or more, found {self.samples}")
        if self.paths < 0 or self.steps < 3:
            raise InputError("paths, steps: expected 0 or more paths of 3 or more steps")


def workload(config: Config, facts: Facts) -> Workload:
    """Images of all paths; distances of all pairs of samples."""
    images = config.paths * config.steps * (2 + (config.other_link is not None))
    tested = facts.test_samples * inputs.count_classes(config.classes, facts.classes) // max(facts.classes, 1)
    samples = min(config.samples, tested)
    units = facts.classifier.num_units
    matrices = 100 * samples**2 + 4 * samples * (units + facts.generator.w_dim)
    return Workload(images, images, 4 * images * units, matrices, programs=1)


@numerics.float32_default()
def run(config: Config) -> None:
    """Write the congruence: the table of estimates, the paths, and distances to look at."""
    loaded = opened(config)
    generator, classifier, link, pairs = loaded
    links, weights = {"link": link}, loaded.weights
    classes = inputs.classes(config.classes, link, config.link, pairs)
    if config.other_link is not None:
        other = inputs.model(config.other_link, "link")
        inputs.check_link(other, config.other_link, pairs)
        links["other link"], weights["other_link"] = other, other.sha256
        if classes != inputs.fitted_classes(other, config.other_link, pairs):
            print(
                "the other link was fitted on other classes than those compared here: read its gain with that in mind"
            )
    samples = held_out.read_samples(pairs, config.samples, classes)
    with artifacts.Writer(
        Path(config.out), "congruence", config, weights, {"pairs": pairs.id}, free=("batch_size", "nonfinite")
    ) as writer:
        models = (generator.model, classifier.model)
        Congruence(config, writer, samples, models, {name: link.model for name, link in links.items()}).run()


class Congruence:
    """Compares the two spaces, walks between samples, and sums up."""

    def __init__(
        self,
        config: Config,
        writer: artifacts.Writer,
        samples: held_out.Samples,
        models: tuple[Any, Any],
        links: dict[str, Any],
    ):
        self.config, self.writer, self.samples = config, writer, samples
        self.mesh = parallel.mesh()
        self.size = parallel.round_up(config.batch_size, self.mesh)
        self.models = parallel.replicate(models, self.mesh)
        self.links = {name: parallel.replicate(link, self.mesh) for name, link in links.items()}
        self.routes = ("link", "W", *(name for name in links if name != "link"))
        self.chunk = writer.done("paths per chunk") or max(1, self.size * _CHUNK // config.steps)
        writer.mark("paths per chunk", self.chunk)
        self.tally = finite.Tally(config.nonfinite, "samples, links or paths from them")
        self.tally.add(samples.left_out)
        self.rows: list[tuple[str, str, congruence.Estimate]] = []

    def run(self) -> None:
        """Everything."""
        walked = self.config.paths and self.samples.r[..., 0].size > 1
        ends = self._ends() if walked else None
        if ends is not None:
            units = self.samples.r.shape[2]
            shape = (len(self.routes), len(ends), self.config.steps, units)
            dims = ("route", "path", "step", "unit")
            self.writer.array("encoded", dims, shape, np.float32, (1, min(self.chunk, len(ends)), *shape[2:]))
            with progress("images", int(np.prod(shape[:3]))) as advance:
                self._draw(ends, advance)
        self._compare()
        self._fit()
        if ends is not None:
            self._measure_paths(ends)
        self._finish(0 if ends is None else len(self.routes) * len(ends) * self.config.steps)

    def _rng(self, *what: int) -> np.random.Generator:
        """Randomness of its own for each question, so that one does not move with another's settings."""
        return np.random.default_rng([self.config.seed, *what])

    def _ends(self) -> np.ndarray:
        """Start and end of each path as (class, place): [paths, 2, 2]; the first half within a class."""
        classes, m = self.samples.r.shape[:2]
        count, rng = self.config.paths, self._rng(0)
        within = np.arange(count) < (count - count // 2 if classes > 1 else count)
        if m == 1:
            within[:] = False
        start = np.stack([rng.permutation(np.arange(count) % classes), rng.integers(m, size=count)], axis=1)
        shift = rng.integers(1, max(classes, 2), size=count)
        other_place = np.where(
            within, (start[:, 1] + rng.integers(1, max(m, 2), size=count)) % m, rng.integers(m, size=count)
        )
        other = np.stack([np.where(within, start[:, 0], (start[:, 0] + shift) % classes), other_place], axis=1)
        return np.stack([start, other], axis=1)

    def _lines(self, of: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Even points of the straight lines between the ends [paths, steps, …]."""
        start, end = (of[ends[:, i, 0], ends[:, i, 1]][:, None] for i in (0, 1))
        t = np.linspace(0, 1, self.config.steps, dtype=np.float32)[None, :, None]
        return start * (1 - t) + end * t

    def _draw(self, ends: np.ndarray, advance: Callable[[int], None]) -> None:
        """Latents of every route, drawn and re-encoded in noted chunks."""
        steps = self.config.steps
        encoded = self.writer.group["encoded"]
        for number, route in enumerate(self.routes):
            for start in range(0, len(ends), self.chunk):
                some = ends[start : start + self.chunk]
                note = self.writer.done(f"{route}:{start}")
                if note is None:
                    w = self._latents(route, some)
                    found = drawing.reencoded(self.models, w, self.size, self.mesh)["r"]
                    encoded[number, start : start + len(some)] = found.reshape(len(some), steps, -1)
                    good = finite.rows(found.reshape(len(some), -1))
                    first = some[:, 0, 0], some[:, 0, 1]
                    note = finite.note(good, self.samples.label[first[0]], self.samples.sample_id[first])
                    self.writer.mark(f"{route}:{start}", note)
                self.tally.add(note)
                advance(len(some) * steps)

    def _latents(self, route: str, ends: np.ndarray) -> np.ndarray:
        if route == "W":
            w = self._lines(self.samples.w, ends)
        else:
            r = self._lines(self.samples.r, ends)
            w = drawing.linked(self.links[route], r.reshape(-1, r.shape[-1]), self.size, self.mesh)
        return w.reshape(-1, self.samples.w.shape[2])

    def _compare(self) -> None:
        config, samples = self.config, self.samples
        found = congruence.compare(
            samples.r, samples.w, self._rng(1), neighbours=config.neighbours, distance=config.distance,
            draws=config.draws, permutations=config.permutations,
        )  # fmt: skip
        self.rows += [(question, scope, each) for (question, scope), each in found.items()]
        flat = [x.reshape(-1, x.shape[2]) for x in (samples.r, samples.w)]
        n, m = len(flat[0]), samples.r.shape[1]
        rng = self._rng(2)
        first = rng.integers(n, size=_SHOWN)
        second = (first + rng.integers(1, n, size=_SHOWN)) % n
        for name, x in zip(("r", "w"), flat, strict=True):
            away = congruence.distances(x, config.distance)[first, second]
            self.writer.put(f"distance_{name}", ("pair",), away.astype(np.float32))
        self.writer.put("same_class", ("pair",), first // m == second // m)

    def _fit(self) -> None:
        """R² of every link on the samples that all links keep finite, and the other's gain, by the same resamples."""
        r, w = (x.reshape(-1, x.shape[2]) for x in (self.samples.r, self.samples.w))
        classes, m = self.samples.r.shape[:2]
        counts, _ = congruence.resampled(self._rng(3), classes, m, self.config.draws)
        counts = counts.reshape(len(counts), -1).astype(np.float64)
        away = ((w - w.mean(axis=0, keepdims=True)) ** 2).sum(axis=1, dtype=np.float64)
        none = np.zeros(0)
        linked = {name: drawing.linked(link, r, self.size, self.mesh) for name, link in self.links.items()}
        good = finite.rows(*linked.values())
        self.tally.add(finite.note(good, np.repeat(self.samples.label, m), self.samples.sample_id.ravel()))
        far, count = np.where(good, away, 0.0), int(good.sum())
        values, spreads = {}, {}
        for name, found in linked.items():
            error = ((w - np.where(good[:, None], found.astype(np.float64), w)) ** 2).sum(axis=1)
            values[name] = 1 - error.sum() / far.sum()
            spreads[name] = congruence.explained(error, far, counts)
            self.rows.append(("fit", name, congruence.estimate(values[name], spreads[name], none, count)))
        if "other link" in values:
            gain = values["other link"] - values["link"]
            spread = spreads["other link"] - spreads["link"]
            self.rows.append(("gain", "other link", congruence.estimate(gain, spread, none, count)))

    def _measure_paths(self, ends: np.ndarray) -> None:
        config, count = self.config, len(ends)
        group = self.writer.group
        encoded = group["encoded"][...]
        asked = self._lines(self.samples.r, ends)
        asked = asked[:, -1] - asked[:, 0]
        again = self._rng(4).integers(count, size=(config.draws, count))
        progress_of, qualities = [], []
        for number, route in enumerate(self.routes):
            path = encoded[number]
            found, moved = straightness.measure(path, asked)
            progress_of.append(moved)
            qualities.append(np.stack(found, axis=1))
            rng = self._rng(5, number)
            disorder = straightness.disordered(straightness.gram(path), rng, config.permutations)
            others = straightness.of_other_pairs(path, asked, rng, config.permutations)
            for name, values, null in zip(found._fields, found, (*disorder, *others), strict=True):
                known = int(np.isfinite(values).sum())
                value, spread, chance = (finite.finite_mean(each, -1) for each in (values, values[again], null))
                self.rows.append((name, route, congruence.estimate(value, spread, chance, known)))
        put = self.writer.put
        put("progress", ("route", "path", "step"), np.stack(progress_of).astype(np.float32))
        put("straightness", ("route", "path", "quality"), np.stack(qualities).astype(np.float32))
        put("quality", ("quality",), straightness.Straightness._fields)
        put("route", ("route",), self.routes)
        put("path_label", ("path", "end"), self.samples.label[ends[..., 0]])
        put("path_within", ("path",), ends[:, 0, 0] == ends[:, 1, 0])

    def _finish(self, images: int) -> None:
        classes, m = self.samples.r.shape[:2]
        values = np.array([each for *_, each in self.rows], np.float64)
        self.writer.put("estimate", ("measure", "figure"), values)
        self.writer.put("measure", ("measure",), [f"{question}: {scope}" for question, scope, _ in self.rows])
        self.writer.put("figure", ("figure",), congruence.Estimate._fields)
        k = {s: congruence.neighbours_of(s, classes, m, self.config.neighbours) for s in congruence.SCOPES}
        self.writer.finish({
            "samples": classes * m,
            "classes_compared": classes,
            "samples_per_class": m,
            "distance": self.config.distance,
            "neighbours": k,
            "paths": self.config.paths if images else 0,
            "steps": self.config.steps,
            "images": images,
            **self.tally.summary(),
            "left_out_for_balance": self.samples.with_them,
            "rows": [
                {"question": question, "scope": scope, **{key: _number(value) for key, value in each._asdict().items()}}
                for question, scope, each in self.rows
            ],
        })  # fmt: skip
        self.tally.print_summary()
        if self.samples.with_them:
            print(f"left out {self.samples.with_them} finite samples more, so that classes keep equal numbers")
        shown = {(question, scope): each for question, scope, each in self.rows}
        for key in (("distances", "all"), ("neighbours", "all"), ("r2", "link"), ("gain", "other link")):
            if key in shown:
                each = shown[key]
                print(f"{QUESTIONS[key[0]]}, {key[1]}: {each.value:.3f} ({each.low:.3f} to {each.high:.3f})")


def _number(value: float) -> float | int | None:
    return value if isinstance(value, int) else float(value) if np.isfinite(value) else None
