"""The truth about the planted classifier's units: which factor each carries, alone, mixed, twice, or none at all."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from linkjax.demo.factors import FACTORS
from linkjax.demo.truth import noise_activations, noise_line

Array = jax.Array

# Sign with which a factor is carried by a unit of its own.
_SINGLE = {
    "ear_size": 1,
    "ear_droop": -1,
    "snout_length": 1,
    "tail_angle": -1,
    "tail_length": 1,
    "tail_thickness": -1,
    "leg_thickness": 1,
    "body_length": 1,
    "body_hue": -1,
    "tongue_length": 1,
    "position_x": -1,
    "background_hue": 1,
}
# Two units carry the sum and the difference: together they say what two single ones would.
_MIXED = (("leg_length", "body_height"), ("eye_size", "head_size"), ("body_lightness", "background_lightness"))
# A second unit for the same factor, reversed: raising one of the two alone asks for half a change.
_DOUBLE = {"ear_size": -1, "snout_length": -1}
_NOISE = 16
UNITS = len(_SINGLE) + 2 * len(_MIXED) + len(_DOUBLE) + _NOISE


@dataclasses.dataclass(frozen=True)
class Unit:
    """target = 1 + Σ weight · factor; of noise units 1 + 0.36 (wave − line), wave = sin(weights · factors + phase).

    The line is the wave's least-squares fit in all factors over the world's animals.
    """

    kind: str  # single | mixed | double | noise
    factors: tuple[str, ...]
    weights: tuple[float, ...]
    phase: float = 0.0


#: Worlds of other planted units: name → seed of their table. None took part in a choice but a, which showed a flaw.
OTHERS = {"a": 102, "b": 203, "c": 304, "d": 405}
EMBEDDED = "embedded"


def units(world: str = EMBEDDED) -> tuple[Unit, ...]:
    """All units, in order; of another world than the embedded one as many of each kind, drawn anew.

    A noise unit varies from picture to picture as the others do, but no line in the factors follows it. The
    oscillation alone is not enough: animals come in breeds, and ten clumps can line up with anything.
    """
    single, mixed, double = (_SINGLE, _MIXED, _DOUBLE) if world == EMBEDDED else _drawn(OTHERS[world])
    table = [Unit("single", (name,), (0.8 * sign,)) for name, sign in single.items()]
    for pair in mixed:
        table += [Unit("mixed", pair, (0.5, 0.5)), Unit("mixed", pair, (0.5, -0.5))]
    table += [Unit("double", (name,), (0.8 * sign,)) for name, sign in double.items()]
    random = np.random.RandomState(20 + OTHERS.get(world, 0))
    for _ in range(_NOISE):
        pair = tuple(FACTORS[i] for i in sorted(random.choice(len(FACTORS), 2, replace=False)))
        weights = tuple(float(sign) for sign in random.choice((-3.0, 3.0), 2))
        table.append(Unit("noise", pair, weights, round(float(random.uniform(0, 2 * np.pi)), 3)))
    return tuple(table)


def _drawn(seed: int) -> tuple[dict[str, int], tuple[tuple[str, str], ...], dict[str, int]]:
    """Factors of single, mixed and double units, in any order and with any sign; every factor is carried."""
    random = np.random.RandomState(seed)
    names = [FACTORS[i] for i in random.permutation(len(FACTORS))]
    single = {name: int(random.choice((-1, 1))) for name in names[: len(_SINGLE)]}
    rest = names[len(_SINGLE) :]
    mixed = tuple((rest[k], rest[k + 1]) for k in range(0, len(rest), 2))
    double = {name: -single[name] for name in names[: len(_DOUBLE)]}
    return single, mixed, double


def targets(factors: Array, world: str = EMBEDDED) -> Array:
    """[B, UNITS] values, at least 0, that the units are trained to take for factors [B, F]."""
    table = units(world)
    weights = np.zeros((len(FACTORS), UNITS), np.float32)
    for index, unit in enumerate(table):
        for name, weight in zip(unit.factors, unit.weights, strict=True):
            weights[FACTORS.index(name), index] = weight
    phase = np.asarray([unit.phase for unit in table], np.float32)
    noise = np.asarray([unit.kind == "noise" for unit in table])
    with jax.ensure_compile_time_eval():
        line = noise_line(weights, phase)
    linear = 1.0 + jnp.matmul(factors, weights, precision=jax.lax.Precision.HIGHEST)
    return jnp.where(noise[None], noise_activations(weights, phase, factors, line), linear)


def _with_one(factors: np.ndarray) -> np.ndarray:
    return np.concatenate([factors, np.ones((len(factors), 1), factors.dtype)], axis=1)


def truth(activations: np.ndarray, factors: np.ndarray, world: str = EMBEDDED) -> list[dict]:
    """The table as JSON can hold it, with what the trained units do on renders.

    Args:
      activations: [N, UNITS] of renders.
      factors: [N, F], theirs.
      world: whose table they were trained with.
    Returns: for every unit what was planted; "learned", the R² of its activation against its target; and "linear",
      the R² with which a line in all factors predicts its activation (near 0 for noise units).
    """
    aims = np.asarray(targets(jnp.asarray(factors), world))
    inputs = _with_one(factors)
    line = inputs @ np.linalg.lstsq(inputs, activations, rcond=None)[0]
    variance = np.maximum(np.var(activations, axis=0), 1e-12)
    learned = 1 - np.mean(np.square(activations - aims), axis=0) / np.var(aims, axis=0)
    linear = 1 - np.mean(np.square(activations - line), axis=0) / variance
    return [
        {
            "unit": i,
            **dataclasses.asdict(unit),
            "learned": round(float(learned[i]), 4),
            "linear": round(float(linear[i]), 4),
        }
        for i, unit in enumerate(units(world))
    ]
