"""Active learning: suggest images to label, those a segmenter is least sure of and unlike those already labelled."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from linkjax.errors import InputError

_POOL = 4  # candidates that diversity chooses among, for each image asked for


@jax.jit
def uncertainty(scores: Float[Array, "B H W P"]) -> Float[Array, "B"]:
    """Mean over pixels of the entropy of softmax(scores), in nats: 0 … log P."""
    logs = jax.nn.log_softmax(scores, axis=-1)
    return -jnp.mean(jnp.sum(jnp.exp(logs) * logs, axis=-1), axis=(1, 2))


def suggest(
    uncertainties: Float[np.ndarray, "N"],
    places: Float[np.ndarray, "N D"],
    labelled: Float[np.ndarray, "L D"],
    count: int,
) -> Int[np.ndarray, "count"]:
    """Indices of the images to label next, best first.

    Of the 4 · count most uncertain images, one after the other the one whose nearest neighbour, among the labelled and
    those already chosen, is farthest away (greedy k-centre): the most uncertain alone are often much alike.

    Args:
      uncertainties: as `uncertainty` gives them.
      places: where each image lies, such as its w; distances are Euclidean.
      labelled: places of the labelled images; may be none, then the first is the most uncertain one.
      count: how many to suggest; fewer are given if there are fewer.
    Reference: Sener & Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", 2018.
    """
    if len(uncertainties) != len(places):
        raise InputError(f"expected a place for each of {len(uncertainties)} images, found {len(places)}")
    pool = np.argsort(-uncertainties, kind="stable")[: _POOL * count]
    here = np.asarray(places, np.float64)[pool]
    nearest = np.full(len(pool), np.inf)
    for place in np.asarray(labelled, np.float64):
        nearest = np.minimum(nearest, np.linalg.norm(here - place, axis=1))
    chosen: list[int] = []
    for _ in range(min(count, len(pool))):
        best = int(np.argmax(nearest))  # of equals the most uncertain: the pool is in that order
        chosen.append(best)
        nearest = np.minimum(nearest, np.linalg.norm(here - here[best], axis=1))
        nearest[chosen] = -np.inf
    return pool[chosen]
