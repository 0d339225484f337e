"""Trainers of the two kinds of segmentation head: which features they take, how they are trained and tested."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Integer

from linkjax.analysis.metrics import parts
from linkjax.analysis.segmenters import few_shot, segmentation
from linkjax.analysis.segmenters.few_shot import FewShotTraining
from linkjax.analysis.segmenters.segmentation import LinearTraining
from linkjax.models.linear_segmenter import LinearSegmenter, LinearSegmenterSpec
from linkjax.models.segmenter import Segmenter, SegmenterSpec
from linkjax.models.stylegan_xl import Generator


@dataclasses.dataclass(frozen=True)
class LinearHeadTrainer:
    """A linear head to be trained."""

    spec: LinearSegmenterSpec
    training: LinearTraining = LinearTraining()  # noqa: RUF009 - frozen

    @property
    def size(self) -> int:
        """Side at which labels are compared in training, in pixels."""
        return min(self.training.size, self.spec.resolution)

    def features(self, generator: Generator, w: Float[Array, "B W"]) -> tuple[Array, dict[str, Array]]:
        """Images, and the maps to train on."""
        images, maps = parts.features_for(generator, self.spec, w)
        return images, segmentation.training_maps(maps, self.size)

    def held_out(self, maps: dict[str, Any], labels: Integer[np.ndarray, "N H W"], fold: np.ndarray) -> Any:
        """What is labelled and what heads of the other folds predict, both [N, size, size]."""
        targets = self._targets(labels)
        predicted = segmentation.held_out_labels(_device(maps), targets, fold, self.training)
        return segmentation.target_labels(targets), predicted

    def train(
        self, maps: dict[str, Any], labels: Integer[np.ndarray, "N H W"]
    ) -> tuple[LinearSegmenter, dict[str, Any]]:
        """A head trained on all images, and how that ended."""
        used = jnp.ones(len(labels), bool)
        head = segmentation.train_linear(_device(maps), self._targets(labels), used, self.training)
        ended = {"objective": float(head.objective), "steps": int(head.steps), "gradient": float(head.gradient)}
        return segmentation.linear_segmenter(self.spec, head), ended

    def _targets(self, labels: np.ndarray) -> Array:
        return segmentation.training_targets(jnp.asarray(labels, jnp.int32), self.spec.num_parts, self.size)


@dataclasses.dataclass(frozen=True)
class FewShotTrainer:
    """A few-shot network to be trained."""

    spec: SegmenterSpec
    training: FewShotTraining = FewShotTraining()  # noqa: RUF009 - frozen
    seed: int = 0

    @property
    def size(self) -> int:
        """Side of the maps, at which labels are compared, in pixels."""
        return self.spec.map_size

    def features(self, generator: Generator, w: Float[Array, "B W"]) -> tuple[Array, Array]:
        """Images, and the joined maps."""
        return parts.features_for(generator, self.spec, w)

    def held_out(self, maps: Any, labels: Integer[np.ndarray, "N H W"], fold: np.ndarray) -> Any:
        """As `LinearHeadTrainer.held_out`."""
        targets = self._targets(labels)
        predicted = few_shot.held_out_labels(jnp.asarray(maps), targets, fold, self.spec, self.training, self.seed)
        return np.asarray(targets), predicted

    def train(self, maps: Any, labels: Integer[np.ndarray, "N H W"]) -> tuple[Segmenter, dict[str, Any]]:
        """A network trained on all images, and how that ended."""
        rows = np.arange(len(labels))
        model, losses = few_shot.train_few_shot(
            jnp.asarray(maps), self._targets(labels), rows, self.spec, self.training, self.seed
        )
        return model, {"objective": float(losses[-1]), "steps": len(losses) * len(rows)}

    def _targets(self, labels: np.ndarray) -> Array:
        return few_shot.few_shot_targets(jnp.asarray(labels, jnp.int32), self.spec.map_size)


def _device(maps: dict[str, Any]) -> dict[str, Array]:
    return jax.tree.map(jnp.asarray, maps)
