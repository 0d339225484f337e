"""What the atlas reads of stored results; the one place that knows their arrays."""

import ast
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from linkjax.analysis.metrics import measurements
from linkjax.analysis.units import per_obtained, selection
from linkjax.analysis.units import query as queries
from linkjax.errors import InputError
from linkjax.models.link import SweepDirections
from linkjax.report.source import Context, Source, check_together
from linkjax.storage import manifest as manifests

#: Roles of results that the atlas shows, and the kinds they may be.
ROLES = {
    "sweep": ("sweep",),
    "selection": ("selection",),
    "counterfactual": ("counterfactual",),
    "pairs": ("pairs",),
}
_DIMS = selection.DIMS
_BLOCK = 512  # units read at once: a result may be one chunk, which is read as a whole


def find(folder: Path, given: Mapping[str, str | None]) -> dict[str, Path]:
    """Role → its folder: what was given, else the folder of that name inside `folder`, else the only one of its kind.

    Of a sweep that was given only what belongs to it counts: a run may hold several classifiers' results.

    Raises: InputError if there is no sweep, or if several results of a kind lie there and none has its name.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder with finished results in it, found nothing there")
    if (folder / manifests.FILE).is_file():
        kind = manifests.read(folder)["kind"]
        raise InputError(f"{folder}: expected a folder with results in it, found a {kind}; give the folder around it")
    kinds = kinds_in(folder)
    found = {}
    for role, (kind, *_) in ROLES.items():
        inside = kinds.get(kind, [])
        if sweep := given.get("sweep"):
            inside = [path for path in inside if _belongs(path, kind, Path(sweep))]
        if path := given.get(role):
            found[role] = Path(path)
        elif named := [path for path in inside if path.name == role]:
            found[role] = named[0]
        elif len(inside) == 1:
            found[role] = inside[0]
        elif inside:
            names = ", ".join(path.name for path in inside)
            raise InputError(f"{folder}: expected one {role} in it, found {names}; choose with --{role}")
    if "sweep" not in found:
        raise InputError(f"{folder}: expected a sweep in it, found none; run linkjax sweep, or give --sweep")
    return found


def _belongs(path: Path, kind: str, sweep: Path) -> bool:
    """Whether a result is of the sweep, or of its pairs."""
    about, swept = manifests.read(path), manifests.read(sweep, ("sweep",))
    pairs = swept["inputs"].get("pairs")
    own = {"selection": ("sweep", swept["id"]), "counterfactual": ("pairs", pairs)}.get(kind)
    return about["id"] in (swept["id"], pairs) if own is None else about["inputs"].get(own[0]) == own[1]


def find_one(
    folder: Path, given: str | None, kind: str, belongs: Callable[[Source], bool], *, flag: str, of: str, other: str
) -> Source | None:
    """The one result of a kind that belongs to what is shown: the one that was given, else one in a folder.

    Args:
      of: what makes such results, for a message; other: the sentence where the one given does not belong.
    Returns: None where there is none.
    Raises: InputError if the one given does not belong, or if several fit.
    """
    paths = [Path(given)] if given else kinds_in(folder).get(kind, [])
    fitting = [source for path in paths if belongs(source := Source(kind, path, (kind,)))]
    if given and not fitting:
        raise InputError(f"{given}: {other}, or leave --{flag} out")
    if len(fitting) > 1:
        names = ", ".join(source.path.name for source in fitting)
        raise InputError(f"{folder}: expected one {of}, found {names}; choose with --{flag}")
    return fitting[0] if fitting else None


def kinds_in(folder: Path) -> dict[str, list[Path]]:
    """Kind → finished folders of it inside a folder, by name."""
    kinds: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if (path / manifests.FILE).is_file():
            kinds.setdefault(manifests.read(path)["kind"], []).append(path)
    return kinds


def find_beside(folder: Path, results: "Results", given: str | None) -> dict[str, Path]:
    """A sweep of the same pairs and weights along the other directions, and its selection: role → folder.

    Args:
      folder: to look in.
      results: the results that it would be shown beside.
      given: the sweep's folder, where it was named.
    Returns: empty where there is none.
    Raises: InputError if the one given is of other pairs or models or along the same directions, or if several fit.
    """
    if results.names is not None:  # readouts are raised along steering directions alone
        return {}
    kinds = kinds_in(folder)
    fitting = [path for path in ([Path(given)] if given else kinds.get("sweep", [])) if _goes_beside(path, results)]
    if given and not fitting:
        raise InputError(
            f"{given}: expected a sweep of the same pairs and models as {results.sweep.path}, along other "
            f"directions than {results.directions}, found another; give one, or leave --beside out"
        )
    if len(fitting) > 1:
        names = ", ".join(path.name for path in fitting)
        raise InputError(f"{folder}: expected one sweep along other directions, found {names}; choose with --beside")
    if not fitting:
        return {}
    own = manifests.read(fitting[0], ("sweep",))["id"]
    of_it = [path for path in kinds.get("selection", []) if manifests.read(path)["inputs"].get("sweep") == own]
    return {"sweep": fitting[0], **({"selection": of_it[0]} if len(of_it) == 1 else {})}


def _goes_beside(path: Path, results: "Results") -> bool:
    other = Source("beside", path, ROLES["sweep"])
    models = [
        {role: sha for role, sha in each.weights.items() if role != "embedder"} for each in (other, results.sweep)
    ]
    alike = models[0] == models[1] and other.inputs.get("pairs") == results.sweep.inputs.get("pairs")
    alike &= all(other.settings.get(name) == results.sweep.settings.get(name) for name in ("mode", "layers"))
    named = not other.has("unit_out_name") and all(other.names(name) == results.sweep.names(name) for name in _DIMS[1:])
    return alike and named and directions_of(other) not in (results.directions, "local")


def directions_of(sweep: Source) -> SweepDirections:
    """Along what a sweep raised units; an older linkjax does not say: the kernel."""
    return sweep.summary.get("directions", "kernel")


class Results:
    """A sweep and what belongs to it, as arrays with the same order of units, parts and metrics.

    Args:
      paths: role → folder.
    Raises: InputError if they do not belong together.
    """

    def __init__(self, paths: Mapping[str, Path]):
        self.sources = {role: Source(role, path, ROLES[role]) for role, path in paths.items()}
        check_together(self.sources.values())
        self.sweep, self.selection = self.sources["sweep"], self.sources.get("selection")
        if self.selection is not None and self.selection.inputs.get("sweep") != self.sweep.id:
            raise InputError(
                f"the selection in {self.selection.path} is of another sweep than {self.sweep.path}; give that sweep"
            )
        self.pairs = self.sources.get("pairs")
        if self.pairs is not None and self.pairs.id != self.sweep.inputs.get("pairs"):
            raise InputError(
                f"the pairs in {self.pairs.path} are others than those of the sweep in {self.sweep.path}; give those"
            )
        self.context = Context(self.sources.values())
        self.names = self.sweep.names("unit_name") if self.sweep.has("unit_name") else None  # of readouts, by row
        self.parts, self.metrics = self.sweep.names("part"), self.sweep.names("metric")
        self.units = self.sweep.array("unit", "unit")
        self.labels = self.sweep.array("label", "sample")
        self.sample_ids = self.sweep.array("sample_id", "sample")
        self.flag = self.sweep.array("flag", "unit")
        self.asked = self.sweep.asked()
        self.table = self._table()
        self._blocks: dict[str, tuple[int, np.ndarray | None]] = {}

    @property
    def directions(self) -> SweepDirections:
        """Along what units were raised."""
        return directions_of(self.sweep)

    @property
    def tested(self) -> bool:
        """Whether a selection says which effects are significant."""
        return self.selection is not None

    @property
    def fdr(self) -> float:
        """Rate of false discoveries up to which the selection calls an effect significant."""
        return float(self.selection.summary["fdr"]) if self.selection is not None else 0.05

    def metric_texts(self) -> list[dict[str, str]]:
        """Unit and description of every metric."""
        known = measurements.METRICS | measurements.ORIGINAL_METRICS
        units, texts = (self.sweep.attribute("metric", name) for name in ("units", "descriptions"))
        blank = [known.get(name) for name in self.metrics]
        units = units or [each.unit if each else "" for each in blank]
        texts = texts or [each.description if each else "" for each in blank]
        return [{"unit": unit, "text": text} for unit, text in zip(units, texts, strict=True)]

    def _table(self) -> xr.Dataset:
        """Effects and columns as `linkjax.select` reads them."""
        of, made = self.selection or self.sweep, {}
        for name in ("effect", "low", "high", "q", "consistency", "p_sign", "p_r", "p_w"):
            if of.has(name):
                made[name] = (_DIMS, of.array(name, *_DIMS))
        if self.selection is None:
            effect, error = (self.sweep.array(name, *_DIMS) for name in ("effect", "effect_se"))
            made |= {"low": (_DIMS, effect - 1.96 * error), "high": (_DIMS, effect + 1.96 * error)}
            made["q"] = (_DIMS, np.full_like(effect, np.nan))
            made["consistency"] = (_DIMS, np.full_like(effect, np.nan))
            spread = measurements.spread(self.sweep.array("baseline", "sample", "part", "metric"), self.metrics)
        else:
            spread = self.selection.array("spread", *_DIMS[1:])
        made["spread"] = (_DIMS[1:], spread.astype(np.float32))
        made["unit"] = ("unit", self.units)
        for name in (*selection.COLUMNS, "fidelity_se", "caution", *per_obtained.STORED):
            if name not in made and of.has(name):
                dims = of.dims(name)
                made[name] = (dims, of.array(name, *dims))
        return xr.Dataset(made, coords={"part": self.parts, "metric": self.metrics})

    def effects_in_sd(self) -> np.ndarray:
        """Effects in standard deviations of their metric among untouched anchors, [unit, part, metric]."""
        spread = self.table["spread"].values
        return self.table["effect"].values / np.where(spread > 0, spread, np.nan)[None]

    def columns(self) -> dict[str, np.ndarray]:
        """What a query may ask of units, as `linkjax.select` understands it: name → [unit]."""
        size = np.nan_to_num(np.abs(self.effects_in_sd()), nan=-1.0)
        nothing = queries.Query("", ast.Constant(0), ())
        return selection.columns_of(self.table, nothing, size)

    def rows(self, name: str, rows: slice) -> np.ndarray | None:
        """Some units' rows of an array of the selection, or of the sweep; None if neither has it."""
        start, stop, _ = rows.indices(len(self.units))
        first = start - start % _BLOCK
        if stop > first + _BLOCK:
            return self._read(name, slice(start, stop))
        if self._blocks.get(name, (-1, None))[0] != first:
            self._blocks[name] = (first, self._read(name, slice(first, min(first + _BLOCK, len(self.units)))))
        block = self._blocks[name][1]
        return None if block is None else block[start - first : stop - first]

    def _read(self, name: str, rows: slice) -> np.ndarray | None:
        for of in (self.selection, self.sweep):
            if of is not None and of.has(name):
                dims = of.dims(name)
                if dims[0] == "unit":
                    return of.array(name, *dims, rows=rows)
                index = (slice(None),) * dims.index("unit")
                return np.moveaxis(of.array(name, *dims, rows=(*index, rows)), dims.index("unit"), 0)
        return None

    def side_effects(self) -> tuple[np.ndarray, np.ndarray]:
        """Numbers and changes of the units that move most beside each, [unit, rank]."""
        return tuple(self.sweep.array(name, "unit", "rank") for name in ("side_effect_unit", "side_effect"))  # type: ignore[return-value]

    def selected_classes(self) -> np.ndarray:
        """Classes of `class_effect`, in its order."""
        return np.unique(self.labels) if self.selection is None else self.selection.array("class_id", "class")

    def ablated_classes(self) -> np.ndarray:
        """Classes of the ablations; empty without them."""
        of = self.selection
        return of.array("ablated_class_id", "ablated_class") if of and of.has("ablated_class_id") else np.zeros(0, int)

    def activations(self, most: int = 200) -> np.ndarray | None:
        """What every unit is in samples of each of `selected_classes`: 10 %, 50 % and 90 % quantile, [unit, class, 3].

        Args:
          most: samples a class, the first of the pairs.
        Returns: in activation units; None without pairs that hold activations, and of readouts.
        """
        if self.pairs is None or not self.pairs.has("r") or self.names is not None:
            return None
        label, classes = self.pairs.array("label", "sample"), self.selected_classes()
        found = np.full((len(self.units), len(classes), 3), np.nan, np.float32)
        for place, one in enumerate(classes):
            rows = np.flatnonzero(label == one)[:most]
            if len(rows):
                r = self.pairs.array("r", "sample", "unit", rows=rows)[:, self.units]
                found[:, place] = np.quantile(r, (0.1, 0.5, 0.9), axis=0).T
        return found

    def doubles(self, rows: slice, most: int) -> list[list[tuple[int, float]]]:
        """Of some units, others that say the same thing: number and cosine, the most alike first."""
        cosine = self.rows("cosine", rows)
        cluster = self.table["cluster"].values if "cluster" in self.table else None
        found: list[list[tuple[int, float]]] = []
        for place, row in enumerate(range(*rows.indices(len(self.units)))):
            if cosine is not None:
                size = np.nan_to_num(np.abs(cosine[place]), nan=-1.0)
                size[row] = -1.0
                near = [each for each in np.argsort(-size, kind="stable")[:most] if size[each] >= 0.5]
                found.append([(int(self.units[each]), float(cosine[place][each])) for each in near])
            elif cluster is not None and cluster[row] >= 0:
                same = [each for each in np.flatnonzero(cluster == cluster[row]) if each != row][:most]
                found.append([(int(self.units[each]), float("nan")) for each in same])
            else:
                found.append([])
        return found

    def summary(self) -> dict[str, Any]:
        """Where the numbers come from, for the page's foot."""
        return {
            role: {"path": str(source.path), "id": source.id, "summary": dict(source.summary)}
            for role, source in self.sources.items()
        }
