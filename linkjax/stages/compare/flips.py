"""What `compare` says of counterfactuals: how the same samples move to the same classes, and what only one moves."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from linkjax.analysis.comparisons import effect_profiles, matching, moves
from linkjax.analysis.counterfactuals.counterfactual import Outcome
from linkjax.analysis.finite import finite_mean
from linkjax.analysis.metrics import measurements
from linkjax.errors import InputError
from linkjax.stages.compare.results import of_pairs
from linkjax.storage import artifacts, coordinates

_BLOCK = 1024  # searches read at once
_TOLD = 4096  # searches that means and tests are over, at most, evenly spread
_PICTURES = 12  # searches whose pictures are kept, at most


def open_searches(config: Any, runs: Sequence[artifacts.Artifact]) -> list[artifacts.Artifact]:
    """The counterfactuals, one a classifier, or none.

    Raises: InputError if some were made with other pairs, start from photographs, measure something else, or mean other
      classes by the same numbers.
    """
    made = of_pairs("counterfactual", config.counterfactual, config.other_counterfactuals, runs)
    first: dict[str, Any] = {}
    for searches in made:
        path = searches.path
        if "encoding" in searches.manifest["inputs"]:
            raise InputError(
                f"the counterfactuals in {path} start from photographs; give those of samples of the pairs"
            )
        data = searches.open()
        if "start_w" not in data:
            raise InputError(f"the counterfactuals in {path} do not say where in W they start; make them again")
        of = {name: artifacts.names(data, name) if name in data else [] for name in ("part", "metric")}
        first = first or of
        if of != first:
            differ = next(name for name in of if of[name] != first[name])
            raise InputError(
                f"the counterfactuals in {path} differ in their {differ}s from those in {made[0].path}; search both "
                "with the same segmenter, and --path-points in both"
            )
        known = (coordinates.known_names(each.summary, "seen") for each in (made[0], searches))
        mine, yours = known
        if other := [label for label in mine.keys() & yours.keys() if mine[label] != yours[label]]:
            raise InputError(
                f"the counterfactuals in {path} call class {other[0]} {yours[other[0]]}, those in {made[0].path} call "
                f"it {mine[other[0]]}; give classifiers of the same list of classes"
            )
    return made


class Flips:
    """Searches that all classifiers made: from the same sample to the same class by the same method.

    Raises: InputError if there are none.
    """

    def __init__(self, made: Sequence[artifacts.Artifact]):
        self.made = made
        tables = [_searches(each) for each in made]
        shared = [key for key in tables[0] if all(key in table for table in tables[1:])]
        if not shared:
            raise InputError(
                f"the counterfactuals in {made[1].path} and those in {made[0].path} have no search in common; search "
                "from the same samples to the same classes, by the same method"
            )
        self.searches = shared
        #: of each classifier, the rows of its run [searches]
        self.rows = [np.array([table[key] for key in shared]) for table in tables]
        self.reached = np.stack(
            [each.read("outcome")[rows] == int(Outcome.REACHED) for each, rows in zip(made, self.rows, strict=True)], 1
        )
        _, self.sample = np.unique([key[:2] for key in shared], axis=0, return_inverse=True)
        self.sample = self.sample.ravel()
        #: of each classifier, the searches of one method: all methods start from the same rows
        self.each = [len(run.read("outcome")) // len(artifacts.names(run.open(), "method")) for run in made]
        self.walked = "metric_change" in made[0].open()
        if self.walked:
            metrics = artifacts.names(made[0].open(), "metric")
            self.spread = measurements.spread(made[0].read("metric_start"), metrics)

    def store(self, writer: artifacts.Writer, names: Sequence[str], config: Any) -> list[dict[str, Any]]:
        """Store what every search did in every classifier, and what each moves; a row of numbers for each two."""
        self._put_searches(writer, names)
        self._put_moves(writer)
        self._put_pictures(writer)
        if self.walked:
            self._put_use(writer, config)
        every = range(len(names))
        return [self._beside(a, b, names, config) for a in every for b in every if a < b]

    def _put_searches(self, writer: artifacts.Writer, names: Sequence[str]) -> None:
        for name, stored in (("sample", "sample_id"), ("origin", "label"), ("target", "target")):
            writer.put(f"search_{name}", ("search",), self.made[0].read(stored)[self.rows[0]])
        writer.put("search_method", ("search",), [key[3] for key in self.searches])
        for name in ("classifier", "other_classifier"):
            writer.put(name, (name,), list(names))
        outcomes = np.stack([each.read("outcome")[rows] for each, rows in zip(self.made, self.rows, strict=True)], 1)
        meanings = {str(int(code)): code.name.lower() for code in Outcome}
        writer.put("outcome", ("search", "classifier"), outcomes.astype(np.int8), meanings=meanings)
        if self.walked:
            for name in ("part", "metric"):
                writer.put(name, (name,), artifacts.names(self.made[0].open(), name))

    def _put_moves(self, writer: artifacts.Writer) -> None:
        """How far each search goes in each classifier, and how alike the ways are."""
        count, networks = len(self.searches), len(self.made)
        what = {"w": "w, from the linked w", "image": "what is measured, in standard deviations of each among samples"}
        for kind in self._kinds:
            length = np.full((count, networks), np.nan, np.float32)
            cosine = np.full((count, networks, networks), np.nan, np.float32)
            for start in range(0, count, _BLOCK):
                some = slice(start, start + _BLOCK)
                found = [_flat(self.change(kind, network, some)) for network in range(networks)]
                for a, mine in enumerate(found):
                    length[some, a] = np.sqrt(np.nansum(mine**2, axis=1))
                    for b, yours in enumerate(found):
                        cosine[some, a, b] = effect_profiles.cosine(mine, yours)
            writer.put(
                f"moved_{kind}", ("search", "classifier"), length, long_name=f"length of the move in {what[kind]}"
            )
            dims = ("search", "classifier", "other_classifier")
            writer.put(f"cosine_{kind}", dims, cosine, long_name=f"of two classifiers' moves in {what[kind]}")

    @property
    def _kinds(self) -> tuple[str, ...]:
        return ("w", "image") if self.walked else ("w",)

    def change(self, kind: str, network: int, some: Any) -> np.ndarray:
        """Of some searches the change of w [n, w], of measurements [n, parts, metrics], or of r [n, units]."""
        made, rows = self.made[network], self.rows[network][some]
        if kind == "image":
            change = made.read("metric_change", rows).astype(np.float64)
            return change / np.where(self.spread > 0, self.spread, np.nan)
        first = rows % self.each[network]
        if kind == "w":
            return made.read("w", rows).astype(np.float64) - made.read("start_w", first)
        start = made.read("start", first).astype(np.float64)
        return np.maximum(start - made.read("shift", rows), made.read("floor")) - start

    def use_of_units(self, network: int) -> np.ndarray:
        """What share of the square of a classifier's own moves in r each unit has, in the mean of the flips [units]."""
        rows = _spread(np.flatnonzero(self.reached[:, network]))
        parts = [moves.shares(self.change("r", network, rows[at : at + _BLOCK])) for at in range(0, len(rows), _BLOCK)]
        if not parts:
            return np.full(self.made[network].open()["start"].shape[1], np.nan)
        return finite_mean(np.concatenate(parts), 0)

    def _put_use(self, writer: artifacts.Writer, config: Any) -> None:
        """What each classifier moves in the image, and what it moves more than another."""
        networks, shape = len(self.made), self.spread.shape
        use, apart = np.full((networks, *shape), np.nan), np.full((2, networks, networks, *shape), np.nan)
        for a in range(networks):
            rows = _spread(np.flatnonzero(self.reached[:, a]))
            use[a] = finite_mean(moves.shares(self.change("image", a, rows)), 0) if len(rows) else np.nan
            for b in range(a):
                found = self._difference(a, b, config)
                apart[:, a, b], apart[:, b, a] = (found.mean, found.q), (-found.mean, found.q)
        dims = ("classifier", "part", "metric")
        writer.put("use", dims, use.astype(np.float32), long_name="share of the square of a move to another class")
        dims = ("classifier", "other_classifier", "part", "metric")
        writer.put("use_difference", dims, apart[0].astype(np.float32), long_name="share, less the other's")
        text = "chance that samples of random sign differ as much, adjusted over parts and metrics"
        writer.put("use_q", dims, apart[1].astype(np.float32), long_name=text)

    def _both(self, a: int, b: int) -> np.ndarray:
        """Searches that flipped the class in both."""
        return _spread(np.flatnonzero(self.reached[:, a] & self.reached[:, b]))

    def _difference(self, a: int, b: int, config: Any) -> moves.Difference:
        rows = self._both(a, b)
        one, other = (moves.shares(self.change("image", each, rows)) for each in (a, b))
        rng = np.random.default_rng([config.seed, 8, a, b])
        return moves.difference(one, other, self.sample[rows], rng, 10 * config.shuffles)

    def _beside(self, a: int, b: int, names: Sequence[str], config: Any) -> dict[str, Any]:
        """How alike two classifiers' moves are on the whole, over searches that flipped the class in both."""
        rng, rows = np.random.default_rng([config.seed, 7, a, b]), self._both(a, b)
        told: dict[str, Any] = {"network": names[a], "other": names[b], "searches": len(self.searches)}
        told |= {"flipped": [int(self.reached[:, each].sum()) for each in (a, b)], "both": len(rows)}
        for kind in self._kinds:
            one, other = (_flat(self.change(kind, each, rows)) for each in (a, b))
            found = moves.agreement(one, other, self.sample[rows], rng, config.draws, config.shuffles, config.level)
            told |= {f"cosine_{kind}_{name}": _number(value) for name, value in found._asdict().items()}
            lengths = [np.sqrt(np.nansum(each**2, axis=1)) for each in (one, other)]
            told[f"moved_{kind}"] = [_number(np.median(each)) if len(rows) else None for each in lengths]
        return told

    def _put_pictures(self, writer: artifacts.Writer) -> None:
        """The same samples as they are, and as each classifier's search leaves them; how far pixels went."""
        held = [each.read("picture_row") if "picture_row" in each.open() else np.zeros(0, int) for each in self.made]
        places = [{int(row): place for place, row in enumerate(some)} for some in held]
        shown = [
            search for search in range(len(self.searches))
            if all(int(rows[search]) in place for rows, place in zip(self.rows, places, strict=True))
        ]  # fmt: skip
        if not shown:
            return
        pixels = np.full((len(self.searches), len(self.made)), np.nan, np.float32)
        for network, (each, rows, place) in enumerate(zip(self.made, self.rows, places, strict=True)):
            for search in shown:
                at = [place[int(rows[search])]]
                start, end = (each.read(f"image_{name}", at).astype(np.float64) for name in ("start", "end"))
                pixels[search, network] = np.sqrt(np.mean((end - start) ** 2))
        text = "root mean square of the move of the picture's pixels, 0 … 255"
        writer.put("moved_pixels", ("search", "classifier"), pixels, long_name=text)
        kept = [shown[at] for at in np.unique(np.linspace(0, len(shown) - 1, min(_PICTURES, len(shown))).astype(int))]
        found = [
            [each.read(f"image_{name}", [place[int(rows[search])] for search in kept])
             for each, rows, place in zip(self.made, self.rows, places, strict=True)]
            for name in ("original", "end")
        ]  # fmt: skip
        writer.put("picture_search", ("picture",), np.array(kept, np.int32))
        writer.put("image_original", ("picture", "y", "x", "rgb"), found[0][0])
        writer.put("image_end", ("picture", "classifier", "y", "x", "rgb"), np.stack(found[1], axis=1))


def used(use: np.ndarray, kind: np.ndarray) -> dict[str, Any]:
    """For the summary: what share of a classifier's moves in r is of units of each kind.

    Args:
      use: [K] share of each unit; kind: [K], of `matching`.
    """
    return {f"used_{name}": _number(use[kind == code].sum()) for code, name in enumerate(matching.KINDS)}


def _searches(made: artifacts.Artifact) -> dict[tuple[int, int, int, str], int]:
    """Sample, origin, target and method of every search → its row.

    Raises: InputError if two are alike.
    """
    sample, origin, target, of = (made.read(name).tolist() for name in ("sample_id", "label", "target", "method_of"))
    methods = artifacts.names(made.open(), "method")
    keys = [(a, b, c, methods[d]) for a, b, c, d in zip(sample, origin, target, of, strict=True)]
    found = {key: row for row, key in enumerate(keys)}
    if len(found) < len(keys):
        raise InputError(
            f"the counterfactuals in {made.path} start from samples of several classes that the classifier calls one; "
            "search from one of these with --origins"
        )
    return found


def _spread(rows: np.ndarray) -> np.ndarray:
    """Of many rows some, evenly spread."""
    return (
        rows[np.unique(np.linspace(0, len(rows) - 1, min(_TOLD, len(rows))).round().astype(int))] if len(rows) else rows
    )


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1)


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None
