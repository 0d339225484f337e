"""Oracle directions in W, by regression of w on the true factors; no classifier is used.

Swept and scored like a link's, they tell how much of the error lies with the generator and the labels of parts.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from linkjax.analysis.pairs import named_latents
from linkjax.config import PathName
from linkjax.demo.factors import Z_DIM, factors_of
from linkjax.demo.truth import SELECTIVE, TakenOff, own_remainders, raising
from linkjax.models.link import with_steering
from linkjax.stages import inputs
from linkjax.storage import artifacts, checkpoint, loading

#: What the manifest of the link that is made says of its directions.
SAID = {"steer": "of the true factors", "own": "own remainders of the true factors"}


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
    directions: Literal["steer", "own"] = "steer"
    """What is written in the place of its steering directions, to be swept along `--directions steer`: steps that raise
    units, or what is left of these without the directions that the link finds shared."""


def run(config: Config, rows: Sequence[dict[str, Any]]) -> None:
    """Write the link with the oracle's directions in place of its own."""
    factors, w, label = within_pairs(artifacts.Artifact(Path(config.pairs), "pairs"))
    link, manifest = loading.load_with_manifest(config.link, ("link",))
    lam, changes = link.spec.steer_lambda, None
    if config.directions == "own":
        changes = own_remainders(rows, lam, taken_off(link, factors, w, label))
    kept = {name: np.asarray(getattr(link, name)) for name in ("covariance", "unit_std", "back", "r2")}
    steer = {**kept, "steer": directions(rows, factors, w, label, lam, changes)}
    # λ is that of the question, and of the random directions beside them
    made = with_steering(link, steer, lam)
    checkpoint.save_model(Path(config.out), made, source={**manifest["source"], "directions": SAID[config.directions]})


def within_pairs(pairs: artifacts.Artifact) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True factors [n, factors], w [n, w_dim] and breeds [n] of the training split."""
    start, stop = pairs.summary["splits"]["train"]
    w, label, sample = (pairs.read(name, slice(start, stop)) for name in ("w", "label", "sample_id"))
    z = named_latents(pairs.manifest["config"]["seed"], label, sample, Z_DIM)
    return np.asarray(factors_of(jnp.asarray(z), jnp.asarray(label, jnp.int32))), w, label


def directions(
    rows: Sequence[dict[str, Any]], factors: np.ndarray, w: np.ndarray, label: np.ndarray, lam: float | None = None,
    changes: np.ndarray | None = None,
) -> np.ndarray:  # fmt: skip
    """[units, w_dim] steps of w by which each selective unit truly rises by 1, float32; NaN for others.

    w is regressed on the factors within breeds, and the true change of the factors multiplied by its slopes.

    Args:
      rows: the truth about every unit.
      factors, w, label: of samples, [n, factors], [n, w_dim] and [n].
      lam: of the question, as `truth.raising`.
      changes: of the factors, [units, factors], as `truth.own_remainders`; None: `truth.raising`.
    """
    changes = raising(rows, lam) if changes is None else changes
    selective = np.isin([row["kind"] for row in rows], SELECTIVE)
    steps = changes @ slopes_within(factors, w, label)
    return np.where(selective[:, None], steps, np.nan).astype(np.float32)


def slopes_within(factors: np.ndarray, w: np.ndarray, label: np.ndarray) -> np.ndarray:
    """[factors, w_dim] slopes of w on the factors within breeds; arguments as of `directions`."""
    factors, w = np.array(factors, np.float64), np.array(w, np.float64)
    for each in np.unique(label):
        mine = label == each
        factors[mine] -= factors[mine].mean(axis=0)
        w[mine] -= w[mine].mean(axis=0)
    return np.linalg.lstsq(factors, w, rcond=None)[0]


def taken_off(link: Any, factors: np.ndarray, w: np.ndarray, label: np.ndarray) -> TakenOff:
    """What `--directions own` takes off the steps of a link's units, for `truth.own_remainders`.

    Args:
      link: with steering directions.
      factors, w, label: of samples, as `directions`.
    """
    steered = inputs.steered_by(link)
    return TakenOff(steered[0], inputs.shared(steered).directions, slopes_within(factors, w, label))
