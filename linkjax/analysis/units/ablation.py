"""What the classifier does without a unit: the unit is set to a constant and the rest of the network runs on."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from linkjax import numerics


class Ablation(NamedTuple):
    """By unit and value it was set to; changes against the untouched activations."""

    logit: jax.Array  # [K, values, classes], mean change of a class's logit among samples of that class
    accuracy: jax.Array  # [K, values, classes], change of the share of these samples that is recognised


class Samples(NamedTuple):
    """Activations to ablate units in, and what they should be recognised as."""

    r: Array  # [n, units]
    target: Array  # [n] int, class by its place among the logits
    member: Array  # [n, classes] float, 1 where a sample is of a class of interest


def ablate(classifier: Any, samples: Samples, unit: Int[Array, "K"], value: Float[Array, "K values"]) -> Ablation:
    """Set each unit to each of its values in all samples, one after the other.

    Where the head is one linear layer on r, ablation is a product: logits + (value − r_u) · head[u].

    Args:
      classifier: one with a head.
      samples: stored activations; no image is drawn.
      unit, value: which units, and what they are set to: 0, their mean, …
    """
    logits = classifier.head(samples.r)
    rows = classifier.head_kernel
    share = samples.member / jnp.maximum(jnp.sum(samples.member, axis=0, keepdims=True), 1.0)

    def by_class(values: Float[Array, "n"]) -> Float[Array, "classes"]:
        return jnp.matmul(values, share, precision=numerics.PRECISION)

    def own(scores: Array) -> Array:
        return jnp.take_along_axis(scores, samples.target[:, None], axis=1)[:, 0]

    def right(scores: Array) -> Array:
        return (jnp.argmax(scores, axis=1) == samples.target).astype(scores.dtype)

    def one(item: tuple[Array, Array]) -> tuple[Array, Array]:
        unit, value = item
        if rows is not None:
            scores = logits + (value - samples.r[:, unit])[:, None] * rows[unit][None]
        else:
            scores = classifier.head(samples.r.at[:, unit].set(value))
        return by_class(own(scores) - own(logits)), by_class(right(scores) - right(logits))

    kinds = value.shape[1]
    pairs = (jnp.repeat(unit, kinds), value.reshape(-1))
    logit, accuracy = jax.lax.map(one, pairs)
    return Ablation(*(found.reshape(len(unit), kinds, -1) for found in (logit, accuracy)))
