"""True effects of raising a planted unit by 1: the change of factors it takes, drawn by the renderer itself.

A selective unit's activation is 1 + Σ weight · factor. A noise unit's is a wave in two factors less its best line over
all animals. Within a breed it has a line all the same, and raising it truly moves what goes with that line: both the
factors it is made of, and a step as long as the line is weak. Which change of the factors raises a unit depends on what
else may move, which is what λ says of steering directions: the truth follows from the same formula and the same λ.
The renderer draws the change, and its exact labels say what every part should do.

Of a unit's own remainder it is what is left of that change without the directions that many units share
(`own_remainders`).
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from linkjax.analysis.finite import finite_mean
from linkjax.analysis.links import class_sums, steering
from linkjax.analysis.metrics import measurements
from linkjax.analysis.units.shared_directions import DETERMINED, shared_directions
from linkjax.demo import world
from linkjax.demo.factors import FACTORS, factors_of, sample
from linkjax.devices import parallel

#: Kinds of planted units that carry factors; "double" ones share theirs with a single one.
SELECTIVE = ("single", "mixed", "double")
_SEED = 21  # of the animals whose factors the truth is of
_AT_ONCE = 200  # renders in memory together
_NOISE = 0.36  # of a noise unit's wave
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


def raising(rows: Sequence[dict[str, Any]], lam: float | None = None) -> np.ndarray:
    """[units, factors]: the change of the factors that truly raises each unit by 1.

    A step in W answers a question that λ asks (`linkjax.analysis.links.steering`), and so does the truth: D(λ) with the
    factors in the place of w and what the units were trained to be in the place of r, both within breeds.

    Args:
      lam: the λ of steering directions; None, and of a link's kernel: of a selective unit `factor_directions` divided
        by what it gives the unit itself (a double rises too), which is λ → 0; of a noise unit Σ g / (gᵀ Σ g), with Σ
        the covariance of the factors within breeds and g the unit's slopes on them there, which is λ → ∞.
    """
    if lam is not None:
        return steering.directions(steering.spectrum(within_breeds(rows)), lam)
    weights = unit_weights(rows)
    made = factor_directions(weights)
    own = np.einsum("uf,uf->u", made, weights)
    made = made / np.where(own > 0, own, 1.0)[:, None]
    noise = np.asarray([row["kind"] == "noise" for row in rows])
    if noise.any():
        made[noise] = _patterns([row for row in rows if row["kind"] == "noise"])
    return made


class TakenOff(NamedTuple):
    """What a link takes off its units' steps, and how w follows the factors."""

    spectrum: steering.Spectrum  # of the link
    directions: np.ndarray  # [K, w_dim] the directions it finds shared, of Mahalanobis length 1 and uncorrelated
    slopes: np.ndarray  # [factors, w_dim] of w on the factors within breeds (`oracle.slopes_within`)


def own_remainders(rows: Sequence[dict[str, Any]], lam: float, taken: TakenOff | None = None) -> np.ndarray:
    """[units, factors]: the change of the factors that truly raises each unit by 1, without what many units share.

    `rest = d − P d, own = rest / (Aᵀ rest)` as of `shared_directions`, with d the unit's true step and A the true
    slopes, both of the factors within breeds. NaN for a unit whose rest raises it by less than 1 % of what d does.

    What is shared can be two things:

    - With `taken`, the directions that the link finds shared. They are what is shown of a unit "without": `select` says
      and names them, and `--directions own` takes them off. d goes to w by the slopes, loses there what lies along them
      in whitened w, and the rest is read in factors by least squares in whitened w. This answers whether what is shown
      is what the unit has beyond the directions that were named.
    - Without, the factors' own: by the same rule from the true steps of all units. Nothing of the link enters, but the
      answer hangs on units that the factors barely determine: steps are weighed by squared length, a noise unit's is
      1 / √R² long, and R² is near 0. Other animals of the same world give other directions.

    Args:
      rows: the truth about every planted unit.
      lam: the λ of the link's steering directions.
      taken: what the link takes off; None: the factors' own shared directions.
    """
    inside = steering.spectrum(within_breeds(rows))
    if taken is None:
        return shared_directions(inside, lam).own
    whole = steering.directions(inside, lam)
    along, slopes = (
        np.asarray(each, np.float64) @ taken.spectrum.to_axes.T for each in (taken.directions, taken.slopes)
    )
    rest = whole - whole @ slopes @ along.T @ along @ np.linalg.pinv(slopes)
    raised = np.einsum("uf,fu->u", rest, steering.back(inside))
    sound = raised > DETERMINED
    return np.where(sound[:, None], rest / np.where(sound, raised, 1.0)[:, None], np.nan)


def shared_agreement(rows: Sequence[dict[str, Any]], lam: float, taken: TakenOff) -> np.ndarray:
    """Cosines of the principal angles between what a link finds shared and the factors' own shared directions.

    In whitened w, where the slopes take the latter; falling, as many as the smaller number of directions.
    """
    mine = shared_directions(steering.spectrum(within_breeds(rows)), lam).directions @ taken.slopes
    spans = [np.linalg.qr(taken.spectrum.to_axes @ each.T)[0] for each in (mine, taken.directions)]
    return np.minimum(np.linalg.svd(spans[0].T @ spans[1], compute_uv=False), 1.0)


def noise_activations(
    weights: np.ndarray, phase: np.ndarray, factors: jax.Array | np.ndarray, line: np.ndarray
) -> jax.Array:
    """[B, units]: 1 + 0.36 (wave − line), wave = sin(factors · weights + phase).

    Args:
      weights, phase: [factors, units] and [units].
      factors: [B, factors].
      line: of `noise_line`, [1 + factors, units].
    """
    highest = jax.lax.Precision.HIGHEST
    wave = jnp.sin(jnp.matmul(factors, weights, precision=highest) + phase[None])
    return 1.0 + _NOISE * (wave - jnp.matmul(factors, line[:-1], precision=highest) - line[-1:])


def noise_line(weights: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """[1 + factors, units]: the waves' least-squares lines in all factors over all animals, the constant last."""
    factors, _ = _animals()
    waves = np.asarray(jnp.sin(jnp.matmul(factors, weights, precision=jax.lax.Precision.HIGHEST) + phase[None]))
    with_one = np.concatenate([factors, np.ones((len(factors), 1), factors.dtype)], axis=1)
    return np.linalg.lstsq(with_one, waves, rcond=None)[0].astype(np.float32)


@functools.cache
def _animals(seed: int = _SEED) -> tuple[np.ndarray, np.ndarray]:
    """Factors and breeds of many animals, the same every time."""
    z, breed = sample(jax.random.key(seed), 8192)
    return np.asarray(factors_of(z, breed)), np.asarray(breed)


def within_breeds(rows: Sequence[dict[str, Any]], seed: int = _SEED) -> class_sums.Within:
    """How the factors, and what the units were trained to be, vary within breeds; another seed is of other animals."""
    factors, breed = _animals(seed)
    units = 1.0 + factors.astype(np.float64) @ unit_weights(rows).T
    noise = [row for row in rows if row["kind"] == "noise"]
    if noise:
        units[:, [row["unit"] for row in noise]] = _noise_units(noise, factors)
    found = class_sums.within_of(units, factors.astype(np.float64), breed, None)
    assert found is not None
    return found


def _noise_units(rows: Sequence[dict[str, Any]], factors: np.ndarray) -> np.ndarray:
    """[B, noise units]: what they were trained to be."""
    weights, phase = np.zeros((len(FACTORS), len(rows)), np.float32), np.zeros(len(rows), np.float32)
    for place, row in enumerate(rows):
        phase[place] = row["phase"]
        for name, weight in zip(row["factors"], row["weights"], strict=True):
            weights[FACTORS.index(name), place] = weight
    return np.asarray(noise_activations(weights, phase, factors, noise_line(weights, phase)), np.float64)


def _patterns(rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """[noise units, factors]: what goes with each within breeds, for a rise of 1."""
    factors, breed = _animals()
    units = _noise_units(rows, factors)
    factors = factors.astype(np.float64)
    for each in np.unique(breed):
        mine = breed == each
        factors[mine] -= factors[mine].mean(axis=0)
        units[mine] -= units[mine].mean(axis=0)
    covaried = factors.T @ units / len(factors)
    slopes = np.linalg.solve(factors.T @ factors / len(factors), covaried)
    return (covaried / np.einsum("fu,fu->u", slopes, covaried)).T


def measure_truth(directions: np.ndarray, factors: np.ndarray, step: np.ndarray) -> np.ndarray:
    """What every part does as the renderer draws each unit's change: [A, U, S, parts, metrics].

    Args:
      directions: [U, factors], per unit of activation.
      factors: of the anchors, [A, factors].
      step: change of the unit asked, [A, U, S].
    """
    flat = moved_factors(directions, factors, step).reshape(-1, len(FACTORS)).astype(np.float32)
    mesh = parallel.mesh()
    together = parallel.map_items(_measured, (), {"factors": flat}, parallel.round_up(_AT_ONCE, mesh), mesh)
    return together.reshape(*step.shape, *together.shape[1:])


def moved_factors(directions: np.ndarray, factors: np.ndarray, step: np.ndarray) -> np.ndarray:
    """[A, U, S, factors] the anchors' factors after each change, no further than −1 … 1; arguments as `measure_truth`.

    Of a change that would leave that range only a part is obtained, by the renderer too.
    """
    return np.clip(factors[:, None, None, :] + step[..., None] * directions[None, :, None, :], -1.0, 1.0)


def true_effects(
    directions: np.ndarray, factors: np.ndarray, values: np.ndarray, own: np.ndarray, std: np.ndarray
) -> np.ndarray:
    """[U, parts, metrics]: mean over anchors of the slope of what the renderer draws on the values asked, per σ.

    Args:
      directions: [U, factors], per unit of activation.
      factors: of the anchors, [A, factors].
      values: asked of the units, [A, U, S].
      own: the anchors' own activations, [A, U].
      std: σ of the units, [U].
    """
    drawn = measure_truth(directions, factors, values - own[:, :, None])
    return _mean_slope(measurements.unwrapped(drawn, axis=2), values, std)


def true_fidelity(
    directions: np.ndarray, weights: np.ndarray, factors: np.ndarray, values: np.ndarray, own: np.ndarray,
    std: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """[U]: share of the asked change that the truth obtains, less than 1 where factors come to their ends.

    Args:
      weights: of `unit_weights`, [U, factors]; a noise unit, which has none, counts as 1.
      directions, factors, values, own, std: as of `true_effects`.
    """
    moved = moved_factors(directions, factors, values - own[:, :, None])
    obtained = _mean_slope(np.einsum("ausf,uf->aus", moved, weights), values, std) / std
    return np.where(weights.any(axis=1), obtained, 1.0)


def _mean_slope(measured: np.ndarray, values: np.ndarray, std: np.ndarray) -> np.ndarray:
    """[U, ...] mean over anchors of the slope of [A, U, S, ...] on the values asked, per σ."""
    asked = values - values.mean(axis=2, keepdims=True, dtype=np.float64)
    covaried = np.einsum("aus,aus...->au...", asked, measured - measured.mean(axis=2, keepdims=True))
    square = np.sum(asked**2, axis=2)
    scale = std / np.where(square > 0, square, np.nan)
    return finite_mean(covaried * scale.reshape(*scale.shape, *[1] * (measured.ndim - 3)))


def _measured(models: tuple[()], items: dict[str, jax.Array]) -> jax.Array:
    del models
    drawn = world.render(items["factors"])
    return measurements.measure((drawn.image + 1.0) / 2.0, None, drawn.labels, len(world.PARTS))


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
