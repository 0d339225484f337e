"""Random arrays of tests: NumPy's, because JAX compiles its normal numbers anew, half a second, for every shape."""

import jax
import jax.numpy as jnp
import numpy as np


def normal(seed: int, *shape: int) -> jax.Array:
    """Standard normal float32 numbers."""
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))
