"""Moments of several layers over the same pairs, which an unfinished run keeps on disk."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from linkjax.analysis.links import class_sums
from linkjax.analysis.links.class_sums import ClassSums
from linkjax.analysis.links.host_moments import Sums
from linkjax.analysis.links.moments import Moments
from linkjax.devices import cluster
from linkjax.storage import kept_sums


class LayerSums:
    """Of each layer the moments with w, and the sums by class: all that its link and its directions need.

    Summed by the host's BLAS in the order of the rows, so that the result depends on no device.
    Memory: 8 · units · (units + w_dim) bytes a layer and a product as large, whatever the number of samples.
    """

    def __init__(self, units: Mapping[str, int], w_dim: int, classes: int):
        self._moments = {name: Sums(count, w_dim) for name, count in units.items()}
        self._classes: dict[str, ClassSums] = {
            name: jax.tree.map(np.array, class_sums.empty(classes, count, w_dim)) for name, count in units.items()
        }

    def add(self, layers: Mapping[str, np.ndarray], w: np.ndarray, place: np.ndarray) -> None:
        """Count a block: of each layer [n, units], w [n, w_dim], and of each row the place of its class [n]."""
        for name, sums in self._moments.items():
            r = np.asarray(layers[name], np.float32)
            sums.add(r, w)
            class_sums.add_on_host(self._classes[name], r, w, place)
            sums.moments()  # nothing waits: from the end of any block a run can go on, to the same bits

    def of(self, name: str) -> tuple[Moments, ClassSums]:
        """Of one layer; shares memory with this object."""
        return self._moments[name].moments(), self._classes[name]

    def save(self, path: Path, note: Mapping[str, Any]) -> None:
        """Write all sums and a note, whole or not at all; of several processes the first does it."""
        cluster.on_first(lambda: self._save(path, note))

    def _save(self, path: Path, note: Mapping[str, Any]) -> None:
        arrays = {
            f"{place}.{part}.{key}": np.asarray(leaf)
            for place, name in enumerate(self._moments)
            for part, sums in enumerate(self.of(name))
            for key, leaf in vars(sums).items()
        }
        kept_sums.save(path, arrays, note)

    def load(self, path: Path) -> dict[str, Any] | None:
        """Go on from what `save` wrote; returns the note, None if there is nothing.

        Raises: InputError if the file is damaged.
        """
        cluster.barrier()
        found = kept_sums.load(path, self._take)
        return None if found is None else found[1]

    def _take(self, arrays: dict[str, Any]) -> None:
        for place, name in enumerate(self._moments):
            kept = [
                {key.split(".")[2]: value for key, value in arrays.items() if key.startswith(f"{place}.{part}.")}
                for part in (0, 1)
            ]
            moments, self._classes[name] = Moments(**kept[0]), ClassSums(**kept[1])
            units, w_dim = np.shape(moments.S_rw)
            self._moments[name] = Sums(units, w_dim, like=moments)
