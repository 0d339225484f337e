"""The reference that photographs are compared with: training and test pairs of the classes of the link."""

import numpy as np

from linkjax.analysis.links import moments
from linkjax.analysis.spaces import familiarity
from linkjax.devices import parallel
from linkjax.stages import inputs
from linkjax.storage import artifacts

_ROWS = 2048  # training pairs per block of moments
_TESTED = 4096  # test pairs, at most, evenly spread


class Reference:
    """What photographs are compared with: the spread of the classes the link was fitted on, and their test pairs."""

    def __init__(
        self, pairs: artifacts.Artifact, evaluation: artifacts.Artifact | None, classes: tuple[int, ...] | None
    ):
        self.pairs = pairs
        trained = inputs.rows_of(pairs, "train", classes)
        total = moments.empty(pairs.summary["units"], 1)
        for first in range(0, len(trained), _ROWS):
            r = pairs.read("r", trained[first : first + _ROWS])
            padded, mask = parallel.pad({"r": r}, min(_ROWS, len(trained)))
            total = moments.update(total, padded["r"], np.zeros((len(mask), 1), np.float32), mask)
        self.whitening = familiarity.whitening(total)
        self.mean = self.whitening.mean
        self.distance = self.cosine = self.centred_cosine = np.zeros(0)
        self.top1: float | None = None
        if "test" in pairs.summary["splits"]:
            tested = inputs.rows_of(pairs, "test", classes)
            rows = np.unique(np.linspace(0, len(tested) - 1, min(_TESTED, len(tested))).round().astype(int))
            r = pairs.read("r", tested[rows])
            self.distance = familiarity.distance(self.whitening, r)
            if evaluation is not None:
                encoded = evaluation.read("encoded", rows)
                self.cosine = familiarity.cosine(r, encoded)
                self.centred_cosine = familiarity.cosine(r - self.mean[None], encoded - self.mean[None])
                [row] = [row for row in evaluation.summary["rows"] if row["name"] == "link"]
                self.top1 = row["top1"]

    def compare(self, r: np.ndarray, encoded: np.ndarray) -> dict[str, np.ndarray]:
        """How photographs fare, and the shares of test pairs below them."""
        centred = familiarity.cosine(r - self.mean[None], encoded - self.mean[None])
        far = familiarity.distance(self.whitening, r)
        return {
            "cosine": familiarity.cosine(r, encoded),
            "centred_cosine": centred,
            "distance": far,
            "cosine_percentile": 100 * familiarity.share_below(centred, self.centred_cosine),
            "distance_percentile": 100 * familiarity.share_below(far, self.distance),
        }
