"""Pictures drawn and embedded chunk by chunk, then words for all units."""

import csv
import functools
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from linkjax.analysis.metrics import measurements
from linkjax.analysis.names import interventional, observational, verdict
from linkjax.analysis.units.selectivity import benjamini_hochberg
from linkjax.devices import parallel
from linkjax.devices.progress import progress
from linkjax.ops.chunked import share_of
from linkjax.stages.name import programs
from linkjax.stages.name.settings import Config
from linkjax.storage import artifacts
from linkjax.storage.word_vectors import WordVectors

TABLE = "names.csv"
_SHOWN = 5  # words told of every unit
_BATCH_PIXELS, _MOST, _FEWEST = 64 * 64 * 64, 64, 8  # pairs of pictures drawn at once on a CPU, where the stage chooses
_BATCHES = 8  # between two notes of what is done
_LISTS = 1000  # random lists of pictures, at most
_FEW_IMAGES = 20  # below which nothing is said of what units answer to


class Raised(NamedTuple):
    """What a sweep raised: K units, D random directions, from A anchors."""

    units: np.ndarray  # [K] numbers
    live: np.ndarray  # [K] bool
    rises: np.ndarray  # [K] bool: surely by half or more of what was asked
    names: list[str] | None  # of readouts
    samples: np.ndarray  # [A] which of the sweep's anchors
    w: np.ndarray  # [A, w_dim] that steps begin at
    label: np.ndarray  # [A]
    asked: np.ndarray  # [A, K, 2] lowest and highest value asked, less the anchor's own
    step: np.ndarray  # [K, w_dim] change of w per activation
    random_step: np.ndarray  # [D, w_dim] the same, per activation of the unit whose steps it takes
    template_unit: np.ndarray  # [D] row of that unit
    layers: np.ndarray | None  # [num_ws] bool: rows of W+ that steps enter; None: all


class Naming:
    """Names units; pictures are drawn and forgotten, what is kept of them are changes of their embeddings.

    Args:
      known: those changes by array, [rows, 1, A, e], where the sweep kept them: then none is drawn for them.
    """

    def __init__(
        self, config: Config, writer: artifacts.Writer, models: tuple[Any, Any, Any], words: WordVectors,
        raised: Raised, parts: dict[str, int], pairs: artifacts.Artifact, readouts: Any,
        known: dict[str, np.ndarray] | None = None,
    ):  # fmt: skip
        self.config, self.writer, self.words, self.raised = config, writer, words, raised
        self.parts, self.pairs, self.readouts, self.known = parts, pairs, readouts, known
        self.mesh = parallel.mesh()
        self.resolution, self.width = models[0].spec.resolution, models[1].spec.num_units
        self.share = share_of(self.resolution)
        held: dict[str, Any] = {"w": raised.w, "step": np.concatenate([raised.step, raised.random_step])}
        if raised.layers is not None:
            held["layers"] = raised.layers
        self.models = parallel.replicate((*models, held), self.mesh)
        most = max(_FEWEST, min(_MOST, _BATCH_PIXELS // self.resolution**2)) * self.mesh.size
        self.size = parallel.round_up(most if config.batch_size == "auto" else config.batch_size, self.mesh)
        whole = max(1, _BATCHES * self.size // len(raised.w))
        self.chunk = writer.done("units per chunk") or whole
        writer.mark("units per chunk", self.chunk)
        self.images = self._images()

    def run(self) -> None:
        """All changes along units and random directions, embeddings of the pairs' pictures, then the names."""
        raised, anchors = self.raised, len(self.raised.w)
        units, random = np.flatnonzero(raised.live), np.arange(len(raised.template_unit))
        random = random[np.isfinite(raised.random_step).all(axis=1)]
        kinds = {
            "change": (len(raised.units), units, 0),
            "random_change": (len(raised.template_unit), random, len(raised.units)),
        }
        for name, (count, _, _) in kinds.items():
            dims = ("unit" if name == "change" else "direction", "part", "sample", "feature")
            shape = (count, 1 + len(self.parts), anchors, self.width)
            text = "change of the unit-length embedding from the lowest to the highest value asked"
            self.writer.array(
                name, dims, shape, np.float32, (max(1, min(self.chunk, count)), *shape[1:]), long_name=text
            )
        if self.known is None:
            self._draw_changes({name: (rows, offset) for name, (_, rows, offset) in kinds.items()})
        else:
            for name, (_, rows, _) in kinds.items():
                self.writer.group[name].put_rows(rows, self.known[name][rows])
        self._embed_images()
        self._finish()

    def _draw_changes(self, kinds: dict[str, tuple[np.ndarray, int]]) -> None:
        """By array the rows to draw pictures of, and where they lie among all that is raised."""
        anchors = len(self.raised.w)
        with progress("pairs of pictures", sum(len(rows) for rows, _ in kinds.values()) * anchors) as advance:
            for name, (rows, offset) in kinds.items():
                for start in range(0, len(rows), self.chunk):
                    some = rows[start : start + self.chunk]
                    if self.writer.done(f"{name} {start}") is None:
                        self.writer.group[name].put_rows(some, self._changes(some, offset))
                        self.writer.mark(f"{name} {start}")
                    advance(len(some) * anchors)

    def _changes(self, rows: np.ndarray, offset: int) -> np.ndarray:
        """[rows, 1 + parts, A, e] of units, or of random directions, which lie behind them."""
        raised = self.raised
        row, anchor = (each.ravel() for each in np.meshgrid(rows, np.arange(len(raised.w)), indexing="ij"))
        unit = raised.template_unit[row] if offset else row
        ends = raised.asked[anchor, unit]
        items = {
            "anchor": anchor.astype(np.int32), "row": (row + offset).astype(np.int32), "low": ends[:, 0],
            "high": ends[:, 1],
        }  # fmt: skip
        function = functools.partial(programs.changes, shown=tuple(self.parts.values()))
        found = parallel.map_items(function, self.models, items, self.size, self.mesh, share=self.share)
        return found.reshape(len(rows), len(raised.w), *found.shape[1:]).transpose(0, 2, 1, 3)

    def _images(self) -> np.ndarray:
        """Rows of the pairs that are shown to the embedder, spread over all."""
        count = self.pairs.open().sizes["sample"]
        most = min(self.config.images, count)
        if most < _FEW_IMAGES:
            return np.zeros(0, int)
        return np.unique(np.linspace(0, count - 1, most).round().astype(int))

    def _embed_images(self) -> None:
        if not len(self.images):
            return
        size = self.writer.done("images per chunk") or self.size * _BATCHES
        self.writer.mark("images per chunk", size)
        shape = (len(self.images), self.width)
        text = "unit-length embedding of a picture of the pairs"
        array = self.writer.array(
            "embedding", ("image", "feature"), shape, np.float32, (size, self.width), long_name=text
        )
        models = self.models[:2]
        with progress("pictures of the pairs", len(self.images)) as advance:
            for start in range(0, len(self.images), size):
                rows = self.images[start : start + size]
                if self.writer.done(f"image {start}") is None:
                    items = {"w": self.pairs.read("w", rows)}
                    array[start : start + len(rows)] = parallel.map_items(
                        programs.seen, models, items, self.size, self.mesh, share=self.share
                    )
                    self.writer.mark(f"image {start}")
                advance(len(rows))

    def _observed(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Score of every unit and word, and p of the best, by observation; None where there are too few pictures."""
        if not len(self.images):
            return None
        group = self.writer.group
        embedded = group["embedding"][...]
        known = np.isfinite(embedded).all(axis=1)
        r = self.pairs.read("r", self.images)
        r = r[:, self.raised.units] if self.readouts is None else self.readouts.values(r)[:, self.raised.units]
        known &= np.isfinite(r).all(axis=1)
        top = min(self.config.top, int(known.sum()) // 10)
        if top < 2:
            return None
        live = self.raised.live
        shares = observational.word_shares(embedded[known], self.words.vectors)
        found = observational.evidence(shares, observational.highest(r[known][:, live], top))
        common = observational.commonness(found)
        score = np.full((len(live), len(self.words.words)), np.nan)
        score[live] = found - common
        p = np.full(len(live), np.nan)
        named, draws = score[live].argmax(axis=1), min(self.config.draws, _LISTS)
        p[live] = observational.p_values(found, named, shares, top, draws, self.config.seed)
        return score, p

    def _finish(self) -> None:
        group = self.writer.group
        put, raised = self.writer.put, self.raised
        change, random = group["change"][...], group["random_change"][...]
        words = interventional.word_directions(self.words.vectors, self.words.neutral)
        views = range(change.shape[1])
        mean = np.stack([interventional.mean_change(change[:, view]) for view in views], axis=1)
        away = np.stack([interventional.mean_change(random[:, view]) for view in views], axis=1)
        cosine = np.stack([interventional.cosines(mean[:, view], words) for view in views], axis=1)
        shape = (len(cosine), 2, len(views))  # units, raised and lowered, parts
        p, best = np.full(shape, np.nan), np.zeros(shape, int)
        nulls = [
            interventional.null_of_best(away[:, view], words, self.config.draws, self.config.seed) for view in views
        ]
        for view, null in enumerate(nulls):
            for end, sign in enumerate((1.0, -1.0)):
                best[:, end, view], p[:, end, view] = interventional.best_words(sign * cosine[:, view], null)
        p = np.where(raised.rises[:, None, None], p, np.nan)
        q = np.asarray(benjamini_hochberg(jnp.asarray(p, jnp.float32)))
        sure = np.nan_to_num(q, nan=1.0) <= self.config.fdr
        listed = np.array(self.words.words, object)
        put("unit", ("unit",), raised.units)
        if raised.names is not None:
            put("unit_name", ("unit",), raised.names)
        put("part", ("part",), [measurements.WHOLE, *self.parts])
        put("word", ("word",), list(self.words.words))
        put("end", ("end",), ["raises", "lowers"])
        put("label", ("sample",), raised.label)
        put("rises", ("unit",), raised.rises.astype(np.int8), long_name="surely by half or more of what was asked")
        spread = np.stack([null.spread if len(null.spread) else np.full(len(words), np.nan) for null in nulls])
        text = "standard deviation of the cosine over random directions"
        put("spread", ("part", "word"), spread.astype(np.float32), long_name=text)
        text = "cosine of the mean change, when the unit is raised, with what the word adds to a text"
        put("cosine", ("unit", "part", "word"), cosine.astype(np.float32), long_name=text)
        put("clarity", ("unit", "part"), np.stack(
            [interventional.clarity(change[:, view]) for view in views], axis=1
        ).astype(np.float32), long_name="mean cosine between the changes of two anchors")  # fmt: skip
        put("name", ("unit", "end", "part"), np.where(sure, listed[best], ""), long_name="the word; empty: no name")
        put(
            "nearest",
            ("unit", "end", "part"),
            best.astype(np.int32),
            long_name="place of the nearest word, sure or not",
        )
        put("p", ("unit", "end", "part"), p.astype(np.float32), long_name="of the nearest word; none: it does not rise")
        put("q", ("unit", "end", "part"), q)
        summary = self._observe(best[:, 0, 0], sure[:, 0, 0])
        self._write_table(cosine, best, sure, q)
        summary |= {
            "units": len(raised.units), "parts": len(self.parts), "words": len(self.words.words),
            "samples": len(raised.w), "images": len(self.images), "fdr": self.config.fdr,
            "random_directions": int(np.isfinite(away[:, 0]).all(axis=1).sum()),
            "named": int(sure[:, 0, 0].sum()), "named_lowered": int(sure[:, 1, 0].sum()),
            "risen": int(raised.rises.sum()),
            "tested": all(len(null.nearest) > 0 for null in nulls),
        }  # fmt: skip
        self.writer.finish(summary)
        self._tell(summary)

    def _observe(self, raised: np.ndarray, sure: np.ndarray) -> dict[str, Any]:
        """Store what is seen in the pictures in which units are high, and what both ways say together."""
        put, found = self.writer.put, self._observed()
        if found is None:
            return {"named_seen": None, "same": None, "other": None}
        score, p = found
        q = np.asarray(benjamini_hochberg(jnp.asarray(p, jnp.float32)))
        best = np.nan_to_num(score, nan=-np.inf).argmax(axis=1)
        seen = np.nan_to_num(q, nan=1.0) <= self.config.fdr
        both = verdict.verdicts(raised, sure, score, seen)
        listed = np.array(self.words.words, object)
        text = "soft WPMI of the pictures in which the unit is highest"
        put("seen_score", ("unit", "word"), score.astype(np.float32), long_name=text)
        put("seen_name", ("unit",), np.where(seen, listed[best], ""), long_name="the word; empty: no name")
        put("seen_nearest", ("unit",), best.astype(np.int32))
        put("seen_p", ("unit",), p.astype(np.float32))
        put("seen_q", ("unit",), q)
        put("image_row", ("image",), self.images)
        put("verdict", ("unit",), both.astype(np.int8), meanings=verdict.MEANINGS)
        count = {name: int((both == value).sum()) for name, value in
                 (("same", verdict.Verdict.SAME), ("other", verdict.Verdict.OTHER))}  # fmt: skip
        return {"named_seen": int(seen.sum()), **count}

    def _write_table(self, cosine: np.ndarray, best: np.ndarray, sure: np.ndarray, q: np.ndarray) -> None:
        """A line a unit and part, for people and spreadsheets."""
        listed, raised = self.words.words, self.raised
        with self.writer.open(TABLE) as file:
            table = csv.writer(file)
            table.writerow(["unit", "part", "raises", "cosine", "q", "lowers", "cosine", "q", "nearest words"])
            for row in np.flatnonzero(raised.live).tolist():
                unit = raised.units[row] if raised.names is None else raised.names[row]
                for view, part in enumerate((measurements.WHOLE, *self.parts)):
                    line: list[Any] = [unit, part]
                    for end, sign in enumerate((1, -1)):
                        place = best[row, end, view]
                        value = f"{sign * cosine[row, view, place]:.4g}"
                        line += [listed[place] if sure[row, end, view] else "", value, f"{q[row, end, view]:.4g}"]
                    near = np.argsort(-np.nan_to_num(cosine[row, view], nan=-2.0), kind="stable")[:_SHOWN]
                    table.writerow([*line, "; ".join(listed[place] for place in near)])

    def _tell(self, summary: dict[str, Any]) -> None:
        if not summary["tested"]:
            print("no name was tested: the sweep has too few random directions; sweep with more")
            return
        seen = "" if summary["named_seen"] is None else (
            f"; {summary['named_seen']} by what is seen in their pictures, {summary['same']} by both, "
            f"{summary['other']} of which the two say different things"
        )  # fmt: skip
        low = summary["units"] - summary["risen"]
        print(
            f"{summary['named']} of {summary['units']} units have a name by what raising them adds, {low} do not "
            f"surely rise by half of what they were asked to{seen}"
        )
