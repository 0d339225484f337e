"""Stored results as the report reads them: a manifest, and arrays read on demand."""

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from linkjax.errors import InputError
from linkjax.report.content import Cell
from linkjax.storage import artifacts, coordinates
from linkjax.storage import manifest as manifests
from linkjax.storage.swept_values import read_asked

LINKS = ("link", "mlp_link")
SEGMENTERS = ("linear_segmenter", "segmenter")
_MODELS = LINKS + SEGMENTERS  # kinds without arrays


class Source:
    """A finished folder given to the report.

    Args:
      role: which of the report's inputs it is ("pairs", "link", …).
      path: the folder.
      kinds: kinds of result it may be.
    Raises: InputError if it is not one of them, unfinished or damaged.
    """

    def __init__(self, role: str, path: str | Path, kinds: tuple[str, ...]):
        self.role, self.path = role, Path(path).absolute()
        self.manifest = manifests.read(self.path, kinds)
        for key in ("summary", "source", "config", "weights", "inputs", "versions", "device"):
            if not isinstance(self.manifest.get(key) or {}, dict):
                raise InputError(f"{self.path}: the '{key}' of its manifest is damaged; make it again")
        self.kind: str = self.manifest["kind"]
        self._artifact = None if self.kind in _MODELS else artifacts.Artifact(self.path, self.kind)
        self._data = None

    @property
    def summary(self) -> Mapping[str, Any]:
        """The main numbers; empty for a model, whose numbers are in `origin`."""
        return self.manifest.get("summary") or {}

    @property
    def origin(self) -> Mapping[str, Any]:
        """Where a model came from, as its manifest tells."""
        return self.manifest.get("source") or {}

    @property
    def settings(self) -> Mapping[str, Any]:
        """The resolved settings of the stage that made it."""
        return self.manifest.get("config") or self.origin.get("config") or {}

    @property
    def id(self) -> str:
        """Names the result: a model by its weights, others by settings, weights and inputs."""
        return self.manifest.get("id") or self.manifest.get("sha256") or ""

    @property
    def weights(self) -> dict[str, str]:
        """Role → SHA-256 of the weights it was made with; a model's own are among them."""
        if self.kind in LINKS:
            given = {role: self.origin.get(role) for role in ("generator", "classifier")}
            given["link"] = self.manifest.get("sha256")
        elif self.kind in SEGMENTERS:
            given = {**(self.origin.get("weights") or {}), "segmenter": self.manifest.get("sha256")}
        else:
            given = dict(self.manifest.get("weights") or {})
        return {role: sha256 for role, sha256 in given.items() if sha256}

    @property
    def precision(self) -> str | None:
        """What the images behind it were drawn in; None for a converted segmenter, which saw other images."""
        return None if self.kind in SEGMENTERS and not self.origin.get("weights") else self.manifest.get("precision")

    @property
    def inputs(self) -> dict[str, str]:
        """Role → id of the results it was made from."""
        given = {"pairs": self.origin.get("pairs")} if self.kind in LINKS else self.manifest.get("inputs") or {}
        return {role: identity for role, identity in given.items() if identity}

    def has(self, name: str) -> bool:
        """Whether an array was stored."""
        return self._artifact is not None and name in self._open()

    def array(self, name: str, *dims: str, rows: Any = slice(None)) -> np.ndarray:
        """An array, or rows of it, in memory.

        Args:
          name: the array.
          dims: the dimensions it must have.
          rows: which entries of the first dimension.
        Raises: InputError if it is missing, damaged, or has other dimensions.
        """
        data = self._open()
        if name not in data:
            raise InputError(f"{self.path}: expected an array '{name}' in this {self.kind}, found none; make it again")
        if tuple(data[name].dims) != dims:
            raise InputError(
                f"{self.path}: expected '{name}' by {', '.join(dims)}, found it by "
                f"{', '.join(map(str, data[name].dims))}; make this {self.kind} again with this linkjax"
            )
        assert self._artifact is not None
        return self._artifact.read(name, rows)

    def dims(self, name: str) -> tuple[str, ...]:
        """Names of an array's dimensions."""
        return tuple(map(str, self._open()[name].dims))

    def asked(self) -> np.ndarray:
        """Of a sweep, the values asked: [sample, unit, step].

        Raises: InputError if they are missing, damaged, or have other dimensions.
        """
        data = self._open()
        assert self._artifact is not None
        return read_asked(self._artifact, data)

    def attribute(self, name: str, attribute: str) -> Any:
        """An attribute of an array; None if it has none of that name."""
        return self._open()[name].attrs.get(attribute)

    def names(self, coordinate: str) -> list[str]:
        """The texts of a coordinate."""
        return artifacts.names(self._open(), coordinate)

    def called(self, unit: Any) -> str:
        """A unit in words, "unit 12"; a readout that was raised in the place of a unit by its name."""
        names = self._readouts
        return names[int(unit)] if names else f"unit {int(unit)}"

    def short(self, unit: Any) -> str:
        """The same where it stands under "unit": its number alone, or the readout's name."""
        return self._readouts[int(unit)] if self._readouts else str(int(unit))

    def own_unit(self, unit: Any) -> int | None:
        """The number under which a run's atlas has a card of it; None of a readout, whose atlas is another."""
        return None if self._readouts else int(unit)

    def cell(self, unit: Any, remark: str = "") -> Cell:
        """A unit as a cell of a table, which leads to its card."""
        return Cell(self.called(unit), remark=remark, unit=self.own_unit(unit))

    @functools.cached_property
    def _readouts(self) -> list[str]:
        return self.names("unit_out_name") if self.has("unit_out_name") else []

    def _open(self) -> Any:
        if self._data is None:
            assert self._artifact is not None, "a model has no arrays"
            try:
                self._data = self._artifact.open()
            except (OSError, ValueError, KeyError) as error:
                raise InputError(f"{self.path}: its arrays are missing or damaged ({error}); make it again") from None
        return self._data


def raised_along(summary: Mapping[str, Any]) -> str:
    """Along what a screening or a sweep raised units, in words; an older linkjax does not say: the kernel."""
    return {
        "steer": "the link's steering directions (what raises each unit)",
        "own": "what is left of the link's steering directions without those that many units share",
        "local": "steps of each sample alone, from its own slopes of r",
    }.get(summary.get("directions", "kernel"), "the rows of the link's kernel")


def caution_words(caution: int) -> str:
    """What to beware of in a unit of a sweep, in a few words; nothing for 0."""
    return {1: "beware: off range", 2: "beware: fidelity", 3: "beware: off range, fidelity"}.get(caution, "")


class Context:
    """What sections share: the results on this page, and what classes are called."""

    def __init__(self, sources: Iterable[Source]):
        self.sources = {source.role: source for source in sources}
        self._names: dict[str, dict[int, str]] = {"class": {}, "seen": {}}
        for source in self.sources.values():
            for which, names in self._names.items():
                names |= coordinates.known_names(source.summary, which)

    def class_name(self, label: Any) -> str:
        """A class of the generator by its name if a result tells it, else by its number."""
        return coordinates.name(int(label), self._names["class"])

    def seen_name(self, label: Any) -> str:
        """A class of the classifier, which has a list of its own."""
        return coordinates.name(int(label), self._names["seen"])

    def anchor_name(self, source: Source, label: Any) -> str:
        """The class of what a sweep began with: the generator's of samples, the classifier's of photographs."""
        return self.seen_name(label) if "encoding" in source.inputs else self.class_name(label)


def check_together(sources: Iterable[Source]) -> None:
    """Refuse results made with different weights or in another precision.

    Raises: InputError naming the first two that differ.
    """
    seen: dict[str, tuple[str, Source]] = {}
    for source in sources:
        described = {**source.weights, **({"precision": source.precision} if source.precision else {})}
        for role, value in described.items():
            earlier, first = seen.setdefault(role, (value, source))
            if earlier == value:
                continue
            if role == "precision":
                differ = f"in different precision ({earlier}; {value})"
            else:
                differ = f"with different {role} weights (SHA-256 {earlier[:12]}… and {value[:12]}…)"
            raise InputError(
                f"the {first.role} in {first.path} and the {source.role} in {source.path} were made {differ}; "
                "report only results of the same models"
            )
