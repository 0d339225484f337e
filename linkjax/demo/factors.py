"""The factors of the demo world, its breeds, and how z and a breed fix the factors."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

#: What varies between pictures; a factor's value is in (-1, 1).
FACTORS = (
    "ear_size",
    "ear_droop",
    "snout_length",
    "tail_angle",
    "tail_length",
    "tail_thickness",
    "leg_length",
    "leg_thickness",
    "body_length",
    "body_height",
    "body_lightness",
    "body_hue",
    "eye_size",
    "head_size",
    "tongue_length",
    "position_x",
    "background_lightness",
    "background_hue",
)

#: Dimensions of z that move several factors a little each, as pose and light do.
NUISANCES = 6
#: Length of z: one dimension for each factor, then the nuisances.
Z_DIM = len(FACTORS) + NUISANCES

# What a breed is like: -1 little, 0 middling, 1 much. The last three factors say nothing about the breed.
#                ears drp sno tla tll tlt lgl lgt bol boh lig hue eye hea ton
_BREEDS: dict[str, tuple[int, ...]] = {
    "dachshund": (0, 1, 1, -1, 1, -1, -1, 0, 1, -1, -1, 0, 0, 0, -1),
    "corgi": (1, -1, 0, 1, -1, 0, -1, 1, 1, 1, 1, 1, 0, 0, 1),
    "whippet": (-1, 0, 1, -1, 1, -1, 1, -1, 0, -1, 0, -1, 0, -1, -1),
    "mastiff": (-1, 1, -1, -1, 0, 1, 1, 1, 1, 1, 0, 0, -1, 1, 1),
    "husky": (0, -1, 0, 1, 1, 1, 1, 0, 0, 1, 1, -1, 0, 0, -1),
    "terrier": (-1, -1, 0, 1, -1, 0, 0, 0, -1, 0, 1, 1, 1, -1, 0),
    "beagle": (1, 1, 0, 1, 0, 0, 0, 1, 0, 0, -1, 1, 1, 0, 1),
    "pug": (-1, 0, -1, 1, -1, 1, -1, 0, -1, 1, 1, 0, 1, 1, -1),
    "setter": (1, 1, 1, 0, 1, 1, 1, -1, 1, 0, -1, 1, -1, -1, 1),
    "chihuahua": (1, -1, -1, 0, -1, -1, 0, -1, -1, -1, 0, -1, 1, 1, 0),
}
#: Names of the classes, by label.
BREEDS = tuple(_BREEDS)

_AMPLITUDE = 0.7  # of a breed's mean, before the squashing
_SPREAD = 0.32  # of a factor within a breed, before the squashing
_FREE_SPREAD = 0.7  # of the factors that no breed decides
_NUISANCE = 0.3  # of the nuisances' part, relative to a factor's own


def breed_means() -> Float[np.ndarray, "breeds factors"]:
    """Mean of every factor in every breed, before the squashing."""
    table = np.zeros((len(BREEDS), len(FACTORS)), np.float32)
    for row, levels in enumerate(_BREEDS.values()):
        table[row, : len(levels)] = levels
    return table * np.float32(_AMPLITUDE)


def _weights() -> Float[np.ndarray, "z factors"]:
    """From the dimensions of z to the factors: a row's own factor, and for nuisances a fixed pattern over all."""
    count = len(FACTORS)
    spread = np.full(count, _SPREAD)
    spread[-3:] = _FREE_SPREAD
    # Cosines of incommensurate steps: fixed, unstructured, and the same on every machine.
    j, k = np.meshgrid(np.arange(NUISANCES), np.arange(count), indexing="ij")
    pattern = np.cos(2.399963 * (k + 1) * (j + 1) + j)
    pattern *= _NUISANCE / np.linalg.norm(pattern, axis=0, keepdims=True)
    own = np.sqrt(1 - _NUISANCE**2)
    return (np.concatenate([own * np.eye(count), pattern]) * spread).astype(np.float32)


def factors_of(z: Float[Array, "B Z"], breed: Int[Array, "B"]) -> Float[Array, "B F"]:
    """tanh(mean of the breed + ẑ · weights), with ẑ = z / rms(z).

    z enters by its direction alone, as it does in StyleGAN's mapping network, which could not draw anything else.

    Args:
      z: standard normal, [B, Z_DIM].
      breed: labels, 0 … len(BREEDS) − 1.
    Returns: factors in (-1, 1), in the order of FACTORS.
    """
    unit = z * jax.lax.rsqrt(jnp.mean(jnp.square(z), axis=1, keepdims=True) + 1e-8)
    moved = jnp.matmul(unit, jnp.asarray(_weights()), precision=jax.lax.Precision.HIGHEST)
    return jnp.tanh(jnp.asarray(breed_means())[breed] + moved)


def sample(key: Array, count: int) -> tuple[Float[Array, "B Z"], Int[Array, "B"]]:
    """Standard normal z and uniform breeds."""
    return (
        jax.random.normal(key, (count, Z_DIM)),
        jax.random.randint(jax.random.fold_in(key, 1), (count,), 0, len(BREEDS)),
    )
