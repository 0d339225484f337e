"""Fourier features: the continuous signal on which an alias-free generator draws."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linkjax import numerics


def rigid_transform(t: Float[Array, "B 4"]) -> Float[Array, "B 3 3"]:
    """Inverse rotation times inverse translation from (r_c, r_s, t_x, t_y) / ‖(r_c, r_s)‖.

    Returns: R·T with R = [[c, −s, 0], [s, c, 0], [0, 0, 1]] and T the shift by (−t_x, −t_y): the picture is rotated
    first, then moved.
    """
    t = t / jnp.linalg.norm(t[:, :2], axis=1, keepdims=True)
    cos, sin, x, y = (t[:, i] for i in range(4))
    zero, one = jnp.zeros_like(cos), jnp.ones_like(cos)
    rows = (
        (cos, -sin, sin * y - cos * x),
        (sin, cos, -sin * x - cos * y),
        (zero, zero, one),
    )
    return jnp.stack([jnp.stack(row, axis=-1) for row in rows], axis=-2)


def fourier_features(
    freqs: Float[Array, "C 2"],
    phases: Float[Array, "C"],
    transform: Float[Array, "B 3 3"],
    *,
    size: int,
    sampling_rate: float,
    bandwidth: float,
) -> Float[Array, "B size size C"]:
    """a_c · sin(2π (f_c · M p + φ_c)) at the pixel centres p of a square grid, M the affine map `transform`.

    The amplitude a = clip(1 − (|f| − bandwidth) / (rate/2 − bandwidth), 0, 1) fades what the transform pushes beyond
    the band the grid can hold.

    Args:
      freqs: cycles per picture side, (x, y).
      phases: turns.
      transform: maps output positions to the signal's; positions are in picture sides, 0 at the centre.
      size: samples a side; the grid spans size / sampling_rate picture sides.
    """
    highest = numerics.PRECISION
    phases = phases[None] + jnp.einsum("cx,bx->bc", freqs, transform[:, :2, 2], precision=highest)
    freqs = jnp.einsum("cx,bxy->bcy", freqs, transform[:, :2, :2], precision=highest)
    squares = jnp.sum(jnp.square(freqs), axis=-1)
    # The inner where keeps the gradient of the norm finite at the zero frequency.
    norms = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
    amplitudes = jnp.clip(1.0 - (norms - bandwidth) / (sampling_rate / 2 - bandwidth), 0.0, 1.0)
    centres = ((np.arange(size) + 0.5) / size - 0.5) * (size / sampling_rate)
    positions = jnp.asarray(centres, jnp.float32)
    across = positions[None, None, :, None] * freqs[:, None, None, :, 0]
    down = positions[None, :, None, None] * freqs[:, None, None, :, 1]
    turns = down + across + phases[:, None, None, :]
    # sin of whole turns is what rounding costs most: take them off first.
    turns = turns - jax.lax.stop_gradient(jnp.round(turns))
    return jnp.sin(turns * (2 * np.pi)) * amplitudes[:, None, None, :]
