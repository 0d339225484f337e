"""Oracle directions in W, by regression of w on the true factors; no classifier is used.

Swept and scored like a link's, they tell how much of the error lies with the generator and the labels of parts.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from linkjax.analysis.pairs import named_latents
from linkjax.config import PathName
from linkjax.demo.factors import Z_DIM, factors_of
from linkjax.demo.truth import SELECTIVE, raising
from linkjax.models.link import with_steering
from linkjax.storage import artifacts, checkpoint, loading


@dataclasses.dataclass(frozen=True)
class Config:
    """Directions for the selective planted units, from the truth."""

    stage: ClassVar[str] = "oracle"  # the table of its settings in a TOML

    out: PathName
    """Folder to make: the link, with other steering directions; those of noise units are NaN."""
    pairs: PathName
    """Folder of the pairs, whose latents and breeds are read, and no activations."""
    link: PathName
    """Folder of a link that has steering directions."""


def run(config: Config, rows: Sequence[dict[str, Any]]) -> None:
    """Write the link with the oracle's directions in place of its own."""
    pairs = artifacts.Artifact(Path(config.pairs), "pairs")
    start, stop = pairs.summary["splits"]["train"]
    w, label, sample = (pairs.read(name, slice(start, stop)) for name in ("w", "label", "sample_id"))
    z = named_latents(pairs.manifest["config"]["seed"], label, sample, Z_DIM)
    factors = np.asarray(factors_of(jnp.asarray(z), jnp.asarray(label, jnp.int32)))
    link, manifest = loading.load_with_manifest(config.link, ("link",))
    kept = {name: np.asarray(getattr(link, name)) for name in ("covariance", "unit_std", "back", "r2")}
    steer = {**kept, "steer": directions(rows, factors, w, label, link.spec.steer_lambda)}
    made = with_steering(
        link, steer, link.spec.steer_lambda
    )  # λ is that of the question, and of the random directions beside them
    checkpoint.save_model(Path(config.out), made, source={**manifest["source"], "directions": "of the true factors"})


def directions(
    rows: Sequence[dict[str, Any]], factors: np.ndarray, w: np.ndarray, label: np.ndarray, lam: float | None = None
) -> np.ndarray:
    """[units, w_dim] steps of w by which each selective unit truly rises by 1, float32; NaN for others.

    w is regressed on the factors within breeds, and the true change of the factors multiplied by its slopes.

    Args:
      rows: the truth about every unit.
      factors, w, label: of samples, [n, factors], [n, w_dim] and [n].
      lam: of the question, as `truth.raising`.
    """
    factors, w = np.array(factors, np.float64), np.array(w, np.float64)
    for each in np.unique(label):
        mine = label == each
        factors[mine] -= factors[mine].mean(axis=0)
        w[mine] -= w[mine].mean(axis=0)
    slopes = np.linalg.lstsq(factors, w, rcond=None)[0]
    selective = np.isin([row["kind"] for row in rows], SELECTIVE)
    return np.where(selective[:, None], raising(rows, lam) @ slopes, np.nan).astype(np.float32)
