"""Random directions of a sweep: the null distribution of its effects.

Each takes the steps of one real unit, over the same anchors, and goes as far as that unit goes:

    in r: (x − r_u) · e · link,  e uniform on the unit sphere of the live units: as long in r as the unit's step;
    in W: (x − r_u) ‖k_u‖ · e,   e uniform on the unit sphere of W: as long in W as the unit's step.

Along steering directions both kinds are made as those of units are (`steering.random_steps`), and go as far as the
unit's step in standard deviations of w within classes (Mahalanobis length): those "in r" raise random readouts, those
"in W" are what a unit gets that says nothing of w.

An item of a sweep names them by numbers beyond the units: `units + j` is the j-th direction in r, `units + D + j` the
j-th in W; the item's value is then the length of the step itself.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linkjax import numerics
from linkjax.analysis.finite import finite_mean
from linkjax.analysis.links import steering
from linkjax.analysis.units.shared_directions import without

SPACES = ("r", "w")


class RandomDirections(NamedTuple):
    """Rows of length 1."""

    in_r: Any  # [D, units]; zero for dead units
    in_w: Any  # [E, w_dim]


def draw_directions(seed: int, count: int, live: np.ndarray, w_dim: int) -> RandomDirections:
    """`count` directions in r and as many in W, uniform on the sphere; direction j does not depend on `count`.

    Args:
      live: which units of r move at all; a direction stays among them, as the swept units do.
    """
    key_r, key_w = jax.random.split(jax.random.key(seed))

    def rows(key: Array, width: int) -> np.ndarray:
        return np.asarray(_normal(key, np.arange(count, dtype=np.int32), width)).reshape(count, width)

    in_r, in_w = np.where(live[None], rows(key_r, len(live)), 0.0), rows(key_w, w_dim)
    return RandomDirections(*(_unit_length(values) for values in (in_r, in_w)))


@functools.partial(numerics.jit, static=("width",))
def _normal(key: Array, number: Any, width: int) -> Array:
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, number)
    return jax.vmap(lambda key: jax.random.normal(key, (width,), jnp.float32))(keys)


def _unit_length(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-30)).astype(np.float32)


def axes_of(
    directions: RandomDirections | None, unit: Array, units: int
) -> tuple[Float[Array, "N units"], Float[Array, "N w_dim"] | None]:
    """By item, the unit-length step in r (a unit's own axis, or a random row), and the random one in W beside it."""
    along_r = jax.nn.one_hot(unit, units)
    if directions is None:
        return along_r, None
    place = unit - units
    in_r, in_w = jnp.asarray(directions.in_r), jnp.asarray(directions.in_w)
    chosen_r, chosen_w = jax.nn.one_hot(place, len(in_r)), jax.nn.one_hot(place - len(in_r), len(in_w))
    along_r = along_r + jnp.matmul(chosen_r, in_r, precision=numerics.PRECISION)
    return along_r, jnp.matmul(chosen_w, in_w, precision=numerics.PRECISION)


def unit_directions(
    link: Any, r: Float[np.ndarray, "A units"], units: np.ndarray, std: np.ndarray
) -> Float[np.ndarray, "K w_dim"]:
    """Change of w per activation of each unit: the kernel's rows, or their mean over anchors where there is no kernel.

    Of a link without a kernel it is the mean over anchors of (link(r + σ_u e_u) − link(r)) / σ_u.

    Args:
      r: anchors.
      units: numbers of the units wanted.
      std: of all units; dead ones give zero.
    """
    kernel = getattr(link, "kernel", None)
    if kernel is not None:
        return np.asarray(kernel[...])[units]
    base = np.asarray(link(jnp.asarray(r)))

    def one(unit: int) -> np.ndarray:
        if std[unit] == 0:
            return np.zeros(base.shape[1], np.float32)
        moved = np.array(r)
        moved[:, unit] += std[unit]
        return (np.asarray(link(jnp.asarray(moved))) - base).mean(axis=0) / std[unit]

    return np.stack([one(int(unit)) for unit in units])


class RandomSteps(NamedTuple):
    """Random directions and the steps of a sweep along them; by direction, those in r first."""

    directions: RandomDirections
    template_unit: np.ndarray  # [2D], row of the swept unit whose steps it takes
    length: np.ndarray  # [2D], how far it goes, in its own space, per activation of that unit

    @property
    def space(self) -> np.ndarray:
        """0 for r, 1 for W."""
        return np.repeat(np.arange(2, dtype=np.int8), len(self.template_unit) // 2)


def plan_random_steps(
    seed: int, count: int, live: np.ndarray, swept: np.ndarray, kernel: Float[np.ndarray, "K w_dim"]
) -> RandomSteps:
    """`count` directions in r and as many in W, that take the steps of swept units, evenly spread over these.

    Args:
      live: which units of r move at all, bool.
      swept: rows of the units that are swept; none makes no directions.
      kernel: change of w per activation, by row.
    """
    count = count if len(swept) else 0
    directions = draw_directions(seed, count, live, kernel.shape[1])
    template_unit = swept[np.linspace(0, len(swept) - 1, count).round().astype(int)] if count else swept[:0]
    length = np.concatenate([np.ones(count), np.linalg.norm(kernel[template_unit], axis=1)])
    return RandomSteps(directions, np.tile(template_unit, len(SPACES)), length.astype(np.float32))


def plan_steered_steps(
    seed: int, count: int, live: np.ndarray, swept: np.ndarray, steer: Float[np.ndarray, "K w_dim"],
    spectrum: steering.Spectrum, lam: float, shared: Float[np.ndarray, "S w_dim"] | None = None,
) -> RandomSteps:  # fmt: skip
    """As `plan_random_steps`, with directions made as steering directions are, and as long in Mahalanobis length.

    Args:
      live: which of all that may be swept moves at all, bool; where that are readouts of r, mixtures are of r's units.
      steer: change of w per activation, by row of the swept units.
      spectrum, lam: what the steering directions came from.
      shared: directions that are template_unit out of the random ones, as out of the units' own remainders; None: none.
    """
    count = count if len(swept) else 0
    units = len(spectrum.std)
    drawn = draw_directions(seed, count, live if len(live) == units else spectrum.std > 0, steer.shape[1])
    rows = np.concatenate(steering.random_steps(spectrum, lam, drawn.in_r, drawn.in_w))
    rows = (rows if shared is None else without(spectrum, rows, shared)).astype(np.float32)
    template_unit = np.tile(swept[np.linspace(0, len(swept) - 1, count).round().astype(int)] if count else swept[:0], 2)
    return RandomSteps(
        RandomDirections(np.zeros((0, len(live)), np.float32), rows),
        template_unit,
        steering.mahalanobis(spectrum, steer[template_unit]).astype(np.float32),
    )


def steps_in_w(
    steps: RandomSteps, kernel: Float[np.ndarray, "units w_dim"] | None
) -> Float[np.ndarray, "directions w_dim"]:
    """Change of w along each direction, per activation of the unit whose steps it takes.

    Args:
      kernel: of the link, by which directions in r become steps; None: it has none, and their rows are NaN.
    """
    in_r, in_w = steps.directions
    width = in_w.shape[1]
    through = np.full((len(in_r), width), np.nan) if kernel is None else np.asarray(in_r, np.float64) @ kernel
    return (steps.length[:, None] * np.concatenate([through, in_w])).astype(np.float32)


def nulls(
    slopes: Float[np.ndarray, "samples D *rest"], space: np.ndarray, lengths: tuple[np.ndarray, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Null distributions of effects by `SPACES`: length of each unit's step, random effects per unit of it.

    Args:
      slopes: of a metric along each random direction, by anchor; NaN where there is none. At least 2 are averaged.
      space: of each direction, its place in `SPACES`.
      lengths: of the units' steps per σ, in each space.
    """
    slopes = np.asarray(slopes, np.float64)
    null = np.where(np.isfinite(slopes).sum(axis=0) >= 2, finite_mean(slopes), np.nan)
    return {name: (lengths[code], null[space == code]) for code, name in enumerate(SPACES)}
