"""Counting whole numbers."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int


def histogram(values: Int[Array, "*shape"], bins: int) -> Int[Array, "bins"]:
    """How often each of 0 … bins − 1 occurs; other values are not counted.

    Numerics: under `jax.vmap` all histograms are one scatter along one axis. JAX's own takes an index of two columns
      for each value, which a CPU must first write.
    """
    return _counting(bins)(jax.lax.stop_gradient(values).reshape(1, -1))[0]


@functools.cache
def _counting(bins: int) -> Callable[[Array], Array]:
    @jax.custom_batching.custom_vmap
    def counts(values: Int[Array, "B N"]) -> Int[Array, "B bins"]:
        batch = values.shape[0]
        first = bins * jnp.arange(batch, dtype=jnp.int32)[:, None]
        inside = (values >= 0) & (values < bins)
        cells = jnp.where(inside, values.astype(jnp.int32) + first, bins * batch)
        return jnp.zeros(bins * batch, jnp.int32).at[cells.ravel()].add(1, mode="drop").reshape(batch, bins)

    @counts.def_vmap
    def _(size: int, mapped: list[bool], values: Int[Array, "V B N"]) -> tuple[Array, bool]:
        del mapped  # there is one argument: it is
        together = counts(values.reshape(-1, values.shape[-1]))
        return together.reshape(size, -1, bins), True

    return counts
