"""Shards of counterfactuals: pairs of classes, boundaries, units and parts that move, and a path of each as film."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from linkjax.analysis.counterfactuals import boundary
from linkjax.analysis.counterfactuals.counterfactual import Outcome
from linkjax.analysis.finite import finite_mean, finite_std
from linkjax.atlas import pictures, shards
from linkjax.devices import drawing, parallel
from linkjax.report.source import Context, Source
from linkjax.storage import manifest as manifests

_MOST_UNITS = 20  # transition units told of a pair
_MOST_PARTS = 12  # and changes of parts
_MOST_FRAMES = 9


class Film(NamedTuple):
    """Which search of a pair is shown, and at which points of its path."""

    row: int
    points: np.ndarray  # places in `path_t`


class Flips:
    """The searches of a counterfactual run, by pair of classes.

    Args:
      source: the run.
      context: what classes are called.
    """

    def __init__(self, source: Source, context: Context):
        self.source, self.context = source, context
        read = source.array
        self.origin, self.target, self.outcome = (read(name, "sample") for name in ("label", "target", "outcome"))
        self.methods = source.names("method") if source.has("method") else ["original"]
        self.method = read("method_of", "sample") if source.has("method_of") else np.zeros(len(self.origin), int)
        self.pairs, self.pair = boundary.class_pairs(self.origin, self.target)
        self.reached = self.outcome == int(Outcome.REACHED)
        self.walked = source.has("path_t")
        self.t = read("path_t", "point") if self.walked else np.zeros(0)

    def films(self) -> list[Film | None]:
        """Of every pair the search of median length among those that flipped, by the first method with one."""
        length = self.source.array("distance_r", "sample")
        found: list[Film | None] = []
        for pair in range(len(self.pairs)):
            rows = np.flatnonzero((self.pair == pair) & self.reached)
            if not self.walked or not len(rows):
                found.append(None)
                continue
            rows = rows[self.method[rows] == self.method[rows].min()]
            row = int(rows[np.argsort(length[rows], kind="stable")[(len(rows) - 1) // 2]])
            points = np.linspace(0, len(self.t) - 1, min(_MOST_FRAMES, len(self.t))).round().astype(int)
            found.append(Film(row, np.unique(points)))
        return found

    def index(self) -> dict[str, Any]:
        """What is known of all pairs, and of which pairs each unit is a transition unit."""
        rows = []
        length = self.source.array("distance_r", "sample")
        for pair, (origin, target) in enumerate(self.pairs.tolist()):
            mine = self.pair == pair
            for place in range(len(self.methods)):
                tried = mine & (self.method == place) & (self.outcome != int(Outcome.ALREADY))
                done = tried & self.reached
                row = {
                    "pair": pair, "origin": origin, "target": target, "method": place, "tried": int(tried.sum()),
                    "flipped": int(done.sum()), "distance": _median(length[done]),
                }  # fmt: skip
                if self.walked:
                    flip, width = (self._of_pair(name)[place, pair, 1] for name in ("pair_flip", "pair_width"))
                    row |= {"flip": shards.number(flip), "width": shards.number(width)}
                rows.append(row)
        units: list[list[Any]] = []
        if self.walked:
            count, q = (self.source.array(f"transition_{name}", "method", "pair", "unit") for name in ("count", "q"))
            for place, pair, unit in np.argwhere(np.nan_to_num(q, nan=1.0) <= self.fdr).tolist():
                units.append([unit, pair, place, int(count[place, pair, unit]), shards.number(q[place, pair, unit])])
        names = {str(label): self.context.class_name(label) for label in np.unique(self.pairs).tolist()}
        return {"methods": self.methods, "rows": rows, "units": units, "class_names": names, "fdr": self.fdr}

    @property
    def fdr(self) -> float:
        """Rate of false discoveries among the transition units of a pair."""
        return float(self.source.settings.get("fdr", 0.05))

    def write(self, data: Path) -> None:
        """A shard for each pair."""
        films = self.films()
        for pair in range(len(self.pairs)):
            shards.write(data, f"pairs/{pair}", self._of(pair, films[pair]))

    def _of(self, pair: int, film: Film | None) -> dict[str, Any]:
        content: dict[str, Any] = {"methods": []}
        if not self.walked:
            return content
        distance = self.source.array("profile_distance", "method", "place")
        profile = {
            name: self.source.array(f"profile_{name}", "method", "pair", "place")[:, pair]
            for name in ("low", "median", "high", "count")
        }
        count, q = (self.source.array(f"transition_{n}", "method", "pair", "unit")[:, pair] for n in ("count", "q"))
        for place in range(len(self.methods)):
            order = np.lexsort((-count[place], np.nan_to_num(q[place], nan=2.0)))[:_MOST_UNITS]
            done = (self.pair == pair) & (self.method == place) & self.reached
            content["methods"].append({
                "distance": shards.pack(distance[place], "f4"),
                "profile": {name: shards.pack(values[place], "f4") for name, values in profile.items()},
                "units": [
                    [int(unit), int(count[place, unit]), shards.number(q[place, unit])]
                    for unit in order
                    if count[place, unit] > 0
                ],
                "parts": self._parts(done),
            })  # fmt: skip
        if film is not None:
            at = (film.row, film.points)
            content["film"] = {"method": int(self.method[film.row]), "t": _numbers(self.t[film.points])}
            for name in ("origin", "target"):
                content["film"][name] = _numbers(self.source.array(f"path_{name}", "sample", "point")[at])
        return content

    def _parts(self, rows: np.ndarray) -> list[list[Any]]:
        """What changed most in some searches: part, metric, mean change, its standard error, searches."""
        change = self.source.array("metric_change", "sample", "part", "metric")[rows].astype(np.float64)
        if not len(change):
            return []
        known = np.isfinite(change).sum(axis=0)
        mean = np.where(known > 1, finite_mean(change), np.nan)
        error = finite_std(change) / np.sqrt(np.maximum(known - 1, 1))
        start = finite_std(self.source.array("metric_start", "sample", "part", "metric").astype(np.float64))
        size = np.nan_to_num(np.abs(mean) / np.where(start > 0, start, np.nan), nan=-1.0)
        names = self.source.names("part"), self.source.names("metric")
        places = [np.unravel_index(place, size.shape) for place in np.argsort(-size, axis=None)[:_MOST_PARTS]]
        return [
            [
                names[0][p],
                names[1][m],
                shards.number(mean[p, m]),
                shards.number(error[p, m]),
                int(known[p, m]),
                shards.number(size[p, m]),
            ]
            for p, m in places
            if size[p, m] > 0
        ]

    def _of_pair(self, name: str) -> np.ndarray:
        return self.source.array(name, "method", "pair", "quartile")


def film_key(flips: Flips, film: Film, tile: int, quality: int) -> str:
    """What a film depends on, as a short fingerprint."""
    about = [flips.source.id, film.row, film.points, tile, quality, pictures.image_format()]
    return manifests.fingerprint(about)[:12]


def missing(data: Path, flips: Flips, tile: int, quality: int, earlier: Path | None) -> list[int]:
    """Pairs whose film is neither in `data` nor in an earlier atlas, from which it is taken over."""
    found = []
    for pair, film in enumerate(flips.films()):
        if film is None or pictures.kept(data, f"films/{pair}", film_key(flips, film, tile, quality), earlier):
            continue
        found.append(pair)
    return found


def draw(data: Path, flips: Flips, which: list[int], generator: Any, link: Any, tile: int, quality: int) -> None:
    """Draw the path of one search of some pairs, max(r − t s, floor) through the link, and store each as a strip."""
    mesh, films = parallel.mesh(), flips.films()
    models = parallel.replicate((generator, link), mesh)
    size = parallel.round_up(16, mesh)
    each = len(flips.origin) // len(flips.methods)
    floor = flips.source.array("floor", "unit") if flips.source.has("floor") else np.float32(0)
    for pair in which:
        film = films[pair]
        assert film is not None
        start = flips.source.array("start", "item", "unit", rows=slice(film.row % each, film.row % each + 1))
        shift = flips.source.array("shift", "sample", "shift", rows=slice(film.row, film.row + 1))
        r = np.maximum(start - flips.t[film.points][:, None].astype(np.float32) * shift, floor)
        images = drawing.pictures(models[0], drawing.linked(models[1], r, size, mesh), size, mesh)
        key = film_key(flips, film, tile, quality)
        pictures.store(data, f"films/{pair}", key, images[None], tile, quality)


def _median(values: np.ndarray) -> float | None:
    return shards.number(np.median(values)) if len(values) else None


def _numbers(values: np.ndarray) -> list[float | None]:
    return [shards.number(value) for value in values]
