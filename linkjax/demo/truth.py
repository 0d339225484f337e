"""What raising a planted unit truly does: the change of factors it asks for, drawn by the renderer itself.

A planted unit's activation is 1 + Σ weight · factor, so raising it alone, all other units held, asks for one change of
the factors; the renderer draws that change, and its exact labels say what every part should do.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linkjax.analysis import measurements
from linkjax.demo import world
from linkjax.demo.factors import FACTORS

#: Kinds of planted units that carry factors; "double" ones share theirs with a single one.
SELECTIVE = ("single", "mixed", "double")
_AT_ONCE = 200  # renders in memory together
_SHARED = 0.999  # cosine of two units' weights from which they carry the same


def unit_weights(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """[units, factors]: how activation depends on each factor; zero for noise units."""
    weights = np.zeros((len(rows), len(FACTORS)))
    for row in rows:
        if row["kind"] in SELECTIVE:
            for name, weight in zip(row["factors"], row["weights"], strict=True):
                weights[row["unit"], FACTORS.index(name)] = weight
    return weights


def factor_directions(weights: np.ndarray) -> np.ndarray:
    """[units, factors]: the smallest change of the factors that raises one unit by 1 and leaves the others.

    The pseudo-inverse of the weights: for a unit that shares its factor with a double it is half of the change that
    raises both, since no change of the world raises one of them alone.
    """
    return np.linalg.pinv(weights).T


def measure_truth(directions: np.ndarray, factors: np.ndarray, step: np.ndarray) -> np.ndarray:
    """What every part does as the renderer draws each unit's change: [A, U, S, parts, metrics].

    Args:
      directions: [U, factors], per unit of activation.
      factors: of the anchors, [A, factors].
      step: change of the unit asked, [A, U, S].
    """
    moved = factors[:, None, None, :] + step[..., None] * directions[None, :, None, :]
    flat = np.clip(moved.reshape(-1, len(FACTORS)), -1, 1).astype(np.float32)
    count = len(flat)
    size = min(_AT_ONCE, count)
    measured = []
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)  # a whole batch, so that one program serves
        measured.append(np.asarray(_measured(jnp.asarray(flat[rows])))[: count - start])
    together = np.concatenate(measured)
    return together.reshape(*step.shape, *together.shape[1:])


@jax.jit
def _measured(factors: jax.Array) -> jax.Array:
    drawn = world.render(factors)
    return measurements.measure((drawn.image + 1.0) / 2.0, None, drawn.labels, len(world.PARTS))


def truth_of_one(rows: Sequence[dict[str, Any]], place: int) -> float:
    """Share of the asked change that the smallest change of factors gives a unit: 1, or ½ with a double."""
    weights = unit_weights([{**row, "unit": index} for index, row in enumerate(rows)])
    own = factor_directions(weights)[place] @ weights[place]
    return float(own) if own > 0 else 1.0


def has_double(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> bool:
    """Whether another unit carries the same factors and nothing else."""
    return any(
        other["unit"] != row["unit"]
        and "noise" not in (row["kind"], other["kind"])
        and list(other["factors"]) == list(row["factors"])
        and abs(_cosine(row["weights"], other["weights"])) > _SHARED
        for other in rows
    )


def _cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return float(np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)))
