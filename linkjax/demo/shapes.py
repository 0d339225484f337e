"""Signed distances of simple shapes, in pixels: negative inside, zero on the outline.

Every function takes the pixel centres p [..., 2] as (x, y), x to the right and y down.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

#: Pixels from full to no coverage on each side of an outline.
EDGE = 1.0


def turned(p: Float[Array, "*grid 2"], centre: Float[Array, "2"], angle: Float[Array, ""]) -> Float[Array, "*grid 2"]:
    """p seen from `centre`, with the x axis along `angle` (radians, from x towards y)."""
    x, y = p[..., 0] - centre[0], p[..., 1] - centre[1]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    return jnp.stack([cos * x + sin * y, cos * y - sin * x], axis=-1)


def disc(p: Float[Array, "*grid 2"], centre: Float[Array, "2"], radius: Float[Array, ""]) -> Float[Array, "*grid"]:
    """|p − centre| − radius."""
    return _norm(p[..., 0] - centre[0], p[..., 1] - centre[1]) - radius


def ellipse(p: Float[Array, "*grid 2"], radii: Float[Array, "2"]) -> Float[Array, "*grid"]:
    """Distance to an ellipse around the origin, k₀(k₀ − 1)/k₁ with k₀ = |p/r|, k₁ = |p/r²|.

    Numerics: exact on the outline and to first order around it; the interior is only monotone.
    """
    k0 = _norm(p[..., 0] / radii[0], p[..., 1] / radii[1])
    k1 = _norm(p[..., 0] / jnp.square(radii[0]), p[..., 1] / jnp.square(radii[1]))
    return k0 * (k0 - 1.0) / k1


def limb(
    p: Float[Array, "*grid 2"],
    start: Float[Array, "2"],
    end: Float[Array, "2"],
    start_radius: Float[Array, ""],
    end_radius: Float[Array, ""],
) -> Float[Array, "*grid"]:
    """A straight limb with round ends whose radius goes linearly from start to end.

    Numerics: the distance is taken at the foot of the perpendicular; exact for equal radii.
    """
    along = end - start
    x, y = p[..., 0] - start[0], p[..., 1] - start[1]
    length2 = jnp.maximum(jnp.sum(jnp.square(along)), 1e-6)
    t = jnp.clip((x * along[0] + y * along[1]) / length2, 0.0, 1.0)
    return _norm(x - t * along[0], y - t * along[1]) - (start_radius + t * (end_radius - start_radius))


def coverage(distance: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
    """How much of a pixel a shape covers: a smooth step from 1 at −EDGE to 0 at +EDGE, ½ on the outline."""
    t = jnp.clip(0.5 - distance / (2 * EDGE), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _norm(x: Float[Array, "*grid"], y: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
    # The small constant keeps the gradient finite at the origin.
    return jnp.sqrt(jnp.square(x) + jnp.square(y) + 1e-8)
