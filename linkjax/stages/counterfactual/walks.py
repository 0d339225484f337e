"""Helpers of `counterfactual`: paths of the searches, boundaries they cross, and recurring units.

Not a stage: a part of one, in a file of its own.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from linkjax.analysis.counterfactuals import boundary, paths, transitions
from linkjax.analysis.counterfactuals.counterfactual import Outcome
from linkjax.analysis.links import covariance
from linkjax.analysis.metrics import measurements
from linkjax.analysis.units import sweep
from linkjax.devices import parallel
from linkjax.devices.progress import progress
from linkjax.ops.chunked import share_of
from linkjax.stages import inputs
from linkjax.storage import artifacts

_ROWS = 1024  # training samples the planes are fitted on and the classes' clouds are drawn from, evenly spread
_PLACES = 21  # distances of a boundary's profile
_MATRIX = 128  # pairs of classes whose transition units are compared with each other; of more, the first ones
_BLOCK = 256  # pairs of classes looked at together


class Background(NamedTuple):
    """Of the training pairs: the planes of r and W, and which units live."""

    r: covariance.Components
    w: covariance.Components
    cloud: dict[str, np.ndarray]  # r, w: places [rows, 2]; label
    live: np.ndarray  # [units] bool


class Walks:
    """The paths of all searches of all methods, stored beside them."""

    def __init__(
        self,
        writer: artifacts.Writer,
        t: tuple[float, ...],
        methods: tuple[str, ...],
        items: dict[str, np.ndarray],
        *,
        top_units: int,
        fdr: float,
        seed: int,
    ):
        self.writer, self.t, self.methods, self.items = writer, t, methods, items
        self.each, self.units = items["r"].shape
        self.top, self.fdr, self.seed = min(top_units, self.units), fdr, seed
        self.group = writer.group

    def run(
        self, models: tuple[Any, Any, Any], segmenter: Any, background: Background, size: int, chunk: int, mesh: Any
    ) -> None:
        """Walk every path in noted chunks.

        Args:
          models: generator, classifier and link, replicated on the mesh.
          segmenter: of the parts that are measured; None: the whole image.
          background: see `background`.
          size: paths side by side; a multiple of the device count.
          chunk: searches between two notes of what is done.
        """
        spaces = (background.r, background.w)
        planes = (paths.Plane(*(jnp.asarray(x, jnp.float32) for x in (c.mean, c.directions))) for c in spaces)
        parts = () if segmenter is None else inputs.part_names(segmenter)
        floor = jnp.asarray(self.group["floor"][...])[None]
        on_device = parallel.replicate((segmenter, *planes, floor), mesh)
        whole = paths.PathModels(*models, *on_device)
        self._make_arrays(len(parts), chunk)
        self._store_background(models[1], background)
        metrics = measurements.metrics_of(len(parts))
        self.writer.put("part", ("part",), (measurements.WHOLE, *parts))
        self.writer.put("metric", ("metric",), list(metrics), units=[metric.unit for metric in metrics.values()])
        function = functools.partial(walked, t=self.t, most_units=self.top)
        with progress("paths", self.each * len(self.methods)) as advance:
            for place, method in enumerate(self.methods):
                for start in range(0, self.each, chunk):
                    stop = min(start + chunk, self.each)
                    if self.writer.done(f"path {method} {start}") is None:
                        rows = slice(place * self.each + start, place * self.each + stop)
                        self._store(rows, self._outputs(function, whole, rows, slice(start, stop), size, mesh))
                        self.writer.mark(f"path {method} {start}")
                    advance(stop - start)

    def _outputs(
        self, function: Any, models: paths.PathModels, rows: slice, own: slice, size: int, mesh: Any
    ) -> dict[str, np.ndarray]:
        items = {name: self.items[name][own] for name in ("r", "origin", "target")} | {
            "shift": self.group["shift"][rows]
        }
        batches, share = parallel.batches(items, size), share_of(models.generator.spec.resolution)
        found = [out for _, out in parallel.map_batches(function, models, batches, size, mesh, share)]
        return {name: np.concatenate([out[name] for out in found]) for name in found[0]}

    def _store(self, rows: slice, outputs: dict[str, np.ndarray]) -> None:
        for name, values in outputs.items():
            self.group[name][rows] = values

    def _make_arrays(self, parts: int, chunk: int) -> None:
        count, points = self.each * len(self.methods), len(self.t)

        def make(name: str, dims: tuple[str, ...], shape: tuple[int, ...], kind: Any, text: str) -> None:
            self.writer.array(name, ("sample", *dims), (count, *shape), kind, (chunk, *shape), long_name=text)

        along = {
            "path_origin": "probability of the class it starts from, in the image of r(t)",
            "path_target": "probability of the target, in the image of r(t)",
            "path_log_odds": "log p / (1 − p) of the target",
            "path_margin": "logit of the target less the largest other",
            "path_head_gap": "logit of the target less the origin's, of the head at r(t)",
        }
        for name, text in along.items():
            make(name, ("point",), (points,), np.float32, text)
        make("path_prediction", ("point",), (points,), np.int32, "class of the image of r(t)")
        for name, text in (
            ("place_r", "r(t) in the plane of r"), ("seen_r", "what is seen in its image, in the plane of r"),
            ("place_w", "link(r(t)) in the plane of W"), ("seen_w", "link of what is seen, in the plane of W"),
        ):  # fmt: skip
            make(name, ("point", "component"), (points, 2), np.float32, text)
        one = {
            "flip": "t at which the target becomes top-1, interpolated",
            "flip_slope": "of the target's log-odds on t around the flip",
            "flip_head_gap": "path_head_gap at the flip",
        }
        for name, text in one.items():
            make(name, (), (), np.float32, text)
        make("crossings", (), (), np.int32, "times the target becomes or ceases to be top-1")
        make("top_unit", ("rank",), (self.top,), np.int32, "units that change most; −1: no further one changes")
        make("top_change", ("rank",), (self.top,), np.float32, "their change")
        shape = (parts + 1, len(measurements.metrics_of(parts)))
        for name, text in (("start", "at t = 0"), ("end", "at t = 1"), ("change", "from t = 0 to t = 1")):
            make(f"metric_{name}", ("part", "metric"), shape, np.float32, text)

    def _store_background(self, classifier: Any, background: Background) -> None:
        put = self.writer.put
        put("path_t", ("point",), np.asarray(self.t, np.float32))
        for name, components in (("r", background.r), ("w", background.w)):
            put(f"cloud_{name}", ("cloud", "component"), background.cloud[name].astype(np.float32))
            put(f"plane_share_{name}", ("component",), components.share, long_name="of the variance")
        put("cloud_label", ("cloud",), background.cloud["label"])
        own = (self.items["w"] - background.w.mean[None]) @ background.w.directions
        put("own_w", ("item", "component"), own.astype(np.float32), long_name="the sample's own w in the plane of W")
        plane = paths.Plane(*(jnp.asarray(x, jnp.float32) for x in (background.r.mean, background.r.directions)))
        logits, slope = paths.decision_lines(classifier, plane)
        put("plane_logit", ("class",), np.asarray(logits), long_name="of the head at the mean of r")
        put("plane_slope", ("class", "component"), np.asarray(slope), long_name="of the logit in the plane of r")

    def summarise(self, stored: dict[str, np.ndarray], live: np.ndarray) -> list[dict[str, Any]]:
        """Store boundary profiles and transition units by pair of classes; return a row of numbers a method.

        Args:
          stored: `outcome` and `distance_r` of all searches.
          live: of `Background`.
        """
        pairs, pair = boundary.class_pairs(self.items["origin"], self.items["target"])
        self.writer.put("pair_origin", ("pair",), pairs[:, 0].astype(np.int32))
        self.writer.put("pair_target", ("pair",), pairs[:, 1].astype(np.int32))
        self._make_summary_arrays(len(pairs))
        rows = []
        for place in range(len(self.methods)):
            mine = slice(place * self.each, (place + 1) * self.each)
            reached = stored["outcome"][mine] == int(Outcome.REACHED)
            row = self._boundaries(place, mine, pair, len(pairs), reached, stored["distance_r"][mine].astype(float))
            rows.append(row | self._transitions(place, mine, pairs, pair, reached, live))
        return rows

    def _make_summary_arrays(self, pairs: int) -> None:
        methods = len(self.methods)
        make = self.writer.array
        make("profile_distance", ("method", "place"), (methods, _PLACES), np.float32, long_name="from the flip, in r")
        for name in (*boundary.Profile._fields[:-1], "count"):
            kind = np.int32 if name == "count" else np.float32
            make(f"profile_{name}", ("method", "pair", "place"), (methods, pairs, _PLACES), kind)
        for name, text in (
            ("flip", "t of the flip"), ("width", "distance in r over which p goes from 1/4 to 3/4"),
            ("head_gap", "the head's logit gap at the flip"),
        ):  # fmt: skip
            make(f"pair_{name}", ("method", "pair", "quartile"), (methods, pairs, 3), np.float32, long_name=text)
        make("pair_flipped", ("method", "pair"), (methods, pairs), np.int32)
        one = (1, min(pairs, _BLOCK), self.units)
        for name, kind in (("count", np.int32), ("p", np.float32), ("q", np.float32)):
            shape = (methods, pairs, self.units)
            make(f"transition_{name}", ("method", "pair", "unit"), shape, kind, one)
        most = min(pairs, _MATRIX)
        for name in ("jaccard", "p", "q"):
            make(f"shared_{name}", ("method", "first", "second"), (methods, most, most), np.float32)

    def _boundaries(
        self, place: int, mine: slice, pair: np.ndarray, pairs: int, reached: np.ndarray, length: np.ndarray
    ) -> dict[str, Any]:
        group = self.group
        flip, slope, gap = (
            np.where(reached, group[name][mine].astype(float), np.nan)
            for name in ("flip", "flip_slope", "flip_head_gap")
        )
        away = length[reached]
        distance = np.linspace(-1, 1, _PLACES) * (float(np.median(away)) if away.size else 1.0)
        group["profile_distance"][place] = distance.astype(np.float32)
        spacing = self.t[1] - self.t[0]
        probability = boundary.aligned(group["path_log_odds"][mine], flip, length, distance, spacing)
        for name, values in boundary.profile(probability, pair, pairs)._asdict().items():
            group[f"profile_{name}"][place] = values
        width = boundary.widths(slope, length)
        for name, values in (("flip", flip), ("width", width), ("head_gap", gap)):
            group[f"pair_{name}"][place] = boundary.quartiles(values, pair, pairs).astype(np.float32)
        group["pair_flipped"][place] = np.bincount(pair[reached], minlength=pairs)
        once = group["crossings"][mine][reached & np.isfinite(flip)] == 1
        target, origin = (group[name][mine][:, self.t.index(1.0)][reached] for name in ("path_target", "path_origin"))
        valid = (group["path_prediction"][mine][:, self.t.index(1.0)] == self.items["target"])[reached]
        return {
            "method": self.methods[place],
            "valid_again": float(valid.mean()) if valid.size else None,
            "crossing_once": float(once.mean()) if once.size else None,
            **{f"median_{name}": _median(values) for name, values in (
                ("flip", flip), ("width", width), ("head_gap", gap), ("target", target), ("origin", origin))},
        }  # fmt: skip

    def _transitions(
        self, place: int, mine: slice, pairs: np.ndarray, pair: np.ndarray, reached: np.ndarray, live: np.ndarray
    ) -> dict[str, Any]:
        group, count = self.group, len(pairs)
        top = group["top_unit"][mine]
        member, recurring, tried = [], [], 0
        for start in range(0, count, _BLOCK):
            stop = min(start + _BLOCK, count)
            some = reached & (pair >= start) & (pair < stop)
            found = transitions.recurrence(top[some], pair[some] - start, stop - start, live)
            for name, values in found._asdict().items():
                group[f"transition_{name}"][place, start:stop] = values
            sure = found.q <= self.fdr  # NaN is not
            recurring += sure.sum(axis=1).tolist()
            tried += int((np.bincount(pair[some] - start, minlength=stop - start) > 0).sum())
            member.append(sure[: max(0, _MATRIX - start)])
        compared = np.concatenate(member)[:_MATRIX]
        shared = transitions.overlap(compared, int(live.sum()))
        for name, values in shared._asdict().items():
            group[f"shared_{name}"][place] = values.astype(np.float32)
        rng = np.random.default_rng((self.seed, place))
        related = transitions.shared_by_relation(compared, pairs[:_MATRIX], live, rng, fdr=self.fdr)
        return {
            "pairs": tried,
            "pairs_of_classes": count,
            "compared_pairs": len(compared),
            "transition_units_per_pair": float(np.sum(recurring) / tried) if tried else None,
            "shared": [row._asdict() for row in related],
        }


def walk_all(
    config: Any,
    writer: artifacts.Writer,
    items: dict[str, np.ndarray],
    pairs: artifacts.Artifact,
    models: Any,
    mesh: Any,
) -> list[dict[str, Any]]:
    """Paths, boundaries and transition units; a row of numbers a method.

    Args:
      config: of `counterfactual`.
      items: `r`, `w`, `origin`, `target` of a method's searches.
      models: generator, classifier and link, replicated on the mesh, and the segmenter or None.
    """
    t = paths.positions(config.path_points, config.path_beyond)
    of = background(pairs)
    made = Walks(writer, t, config.methods, items, top_units=config.top_units, fdr=config.fdr, seed=config.seed)
    size = parallel.round_up(config.batch_size, mesh)
    made.run(models[:3], models[3], of, size, writer.done("searches per chunk") or size, mesh)
    rows = made.summarise({name: made.group[name][...] for name in ("outcome", "distance_r")}, of.live)
    for row in rows:
        flip, width = ("–" if row[name] is None else f"{row[name]:.3g}" for name in ("median_flip", "median_width"))
        print(f"{row['method']}: flips at t = {flip}, over a width of {width} in r (medians)")
    return rows


def walked(
    models: paths.PathModels, items: dict[str, jax.Array], t: tuple[float, ...], most_units: int
) -> dict[str, jax.Array]:
    """One path an item."""
    names = ("r", "shift", "origin", "target")
    return paths.walk(models, *(items[name] for name in names), t=t, most_units=most_units)


def background(pairs: artifacts.Artifact) -> Background:
    """Planes, clouds and live units of the training pairs, from rows evenly spread over them."""
    rows = {name: inputs.spread_rows(pairs, name, "train", _ROWS) for name in ("r", "w", "label")}
    planes = {}
    for name in ("r", "w"):
        found = covariance.principal_components(rows[name], 2)
        planes[name] = found._replace(directions=_two(found.directions), share=_two(found.share[None])[0])
    cloud = {name: (rows[name] - planes[name].mean[None]) @ planes[name].directions for name in ("r", "w")}
    live = ~np.asarray(sweep.robust_range(jnp.asarray(rows["r"])).dead)
    return Background(planes["r"], planes["w"], {**cloud, "label": rows["label"]}, live)


def _two(columns: np.ndarray) -> np.ndarray:
    """Filled up with zeros to two columns, where rows vary along one direction alone."""
    return np.pad(columns, ((0, 0), (0, 2 - columns.shape[1])))


def _median(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else None
