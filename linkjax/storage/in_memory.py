"""Results kept in memory instead of a folder: the same arrays and names, nothing to resume."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
import xarray as xr
import zarr
from zarr.storage import MemoryStore

from linkjax import numerics
from linkjax.storage import coordinates
from linkjax.storage import manifest as manifests
from linkjax.storage.arrays import Arrays
from linkjax.storage.artifacts import Artifact, Writer


class InMemory(Writer):
    """A `Writer` whose arrays live in memory.

    Args:
      kind: what it makes ("sweep", "screening", …).
      config: the settings of the stage.
      classes: `classes` and `class_names` for the summary, and for dimensions of classes.
    """

    def __init__(self, kind: str, config: Any, classes: Mapping[str, Any] | None = None):
        self.path = self.partial = Path("(in memory)")
        self.kind, self.config, self._classes = kind, config, dict(classes or {})
        self.precision = numerics.policy(getattr(config, "precision", "float32")).description
        self._done: dict[str, Any] = {}
        self._zarr = zarr.open_group(MemoryStore(), mode="w")
        self.group = Arrays(self._zarr)
        self.summary: dict[str, Any] = {}

    def mark(self, chunk: str, note: Any = True) -> None:
        """Note a chunk of work as finished."""
        self._done[chunk] = manifests.plain(note)

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Name the dimensions and keep the summary."""
        self.summary = manifests.plain({**self._classes, **summary})
        self._name_dimensions(self.summary)

    def open(self, name: str) -> IO[str]:
        """A text file that is thrown away."""
        return io.StringIO()

    def result(self) -> "MemoryResult":
        """What was made, to be read as a folder is."""
        config = manifests.plain(self.config)
        manifest = {"kind": self.kind, "config": config, "summary": self.summary, "precision": self.precision}
        dataset = xr.open_zarr(self._zarr.store, consolidated=False, chunks=None).load()
        return MemoryResult(manifest, coordinates.named(dataset, self.summary))

    def _root(self) -> zarr.Group:
        return self._zarr

    def __exit__(self, *_: Any) -> None:
        return


class MemoryResult(Artifact):
    """A result in memory where a stage expects a stored one."""

    def __init__(self, manifest: dict[str, Any], dataset: xr.Dataset):
        self.path = Path("(in memory)")
        self.manifest, self._dataset = {"weights": {}, "inputs": {}, "id": "", **manifest}, dataset

    def open(self) -> xr.Dataset:
        """The arrays."""
        return self._dataset

    def read(self, name: str, rows: Any = slice(None)) -> np.ndarray:
        """Rows of one array."""
        return self._dataset[name][rows].values

    def check_whole(self) -> None:
        """Do nothing: no chunk can be missing in memory."""
