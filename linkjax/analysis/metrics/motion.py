"""Motion between two images: dense displacement, its global affine part, and the residual by part."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from linkjax import numerics
from linkjax.analysis.finite import finite_mean, finite_std
from linkjax.analysis.metrics.optical_flow import optical_flow
from linkjax.errors import InputError
from linkjax.ops import color

_REWEIGHTED = 20  # fits of the affine part
_SCALE = 0.1  # pixels: residuals below count as squares, above by their size


class Motion(NamedTuple):
    """How the pixels of a first image move to a second; all in pixels, (y, x), downwards and to the right."""

    residual: jax.Array  # [B, 2, H, W] displacement less its affine part
    affine: jax.Array  # [B, 2, 3] of `affine_part`
    consistent: jax.Array  # [B, H, W] bool: seen in both images
    parts: (
        jax.Array
    )  # [B, 1 + parts, 2] mean residual over consistent pixels; the whole image first; NaN if there are none
    seen: jax.Array  # [B, 1 + parts] share of the part's pixels that are consistent; NaN where the part is absent


def grid(height: int, width: int) -> Float[Array, "3 H W"]:
    """Regressors of the affine part: rows and columns counted from the image's middle, and ones."""
    y, x = (jnp.arange(size, dtype=jnp.float32) - (size - 1) / 2 for size in (height, width))
    y, x = jnp.meshgrid(y, x, indexing="ij")
    return jnp.stack([y, x, jnp.ones_like(y)])


def affine_part(field: Float[Array, "2 H W"], weight: Float[Array, "H W"]) -> Float[Array, "2 3"]:
    """The affine displacement most pixels follow: field ≈ A · (y, x, 1), y and x counted from the image's middle.

    A minimises Σ weight · h(|field − A · (y, x, 1)|), with h a square for small residuals and their size beyond
    (Huber), so that a part that moves by itself does not drag the rest along.

    Args:
      field: displacements, pixels.
      weight: 0 leaves a pixel out; all 0 gives A = 0.
    Numerics: reweighted least squares, 20 fits; coordinates are scaled to −1 … 1 first.
    Reference: P. J. Huber, Robust Statistics, 1981, section 7.8.
    """
    height, width = weight.shape
    scale = jnp.asarray([2.0 / height, 2.0 / width, 1.0], jnp.float32)
    basis = grid(height, width) * scale[:, None, None]
    total = jnp.maximum(weight.sum(), 1.0)

    def fit(_: int, matrix: Array) -> Array:
        off = field - jnp.einsum("ak,khw->ahw", matrix, basis, precision=numerics.PRECISION)
        each = weight * _SCALE / jnp.maximum(_SCALE, jnp.sqrt((off**2).sum(0))) / total
        normal = jnp.einsum("khw,hw,lhw->kl", basis, each, basis, precision=numerics.PRECISION)
        right = jnp.einsum("ahw,hw,khw->ka", off, each, basis, precision=numerics.PRECISION)
        ridge = 1e-7 * jnp.trace(normal) + 1e-12
        return matrix + jnp.linalg.solve(normal + ridge * jnp.eye(3, dtype=normal.dtype), right).T

    start = jnp.zeros((2, 3), jnp.float32)
    return jax.lax.fori_loop(0, _REWEIGHTED, fit, start) * scale[None]


def consistent(forward: Float[Array, "2 H W"], backward: Float[Array, "2 H W"]) -> Bool[Array, "H W"]:
    """Forward–backward check: whether a pixel of the first image comes back when followed to the second and back.

    |u + v(x + u)|² < 0.01 (|u|² + |v(x + u)|²) + 0.5, and x + u lies within the image: false where a pixel is hidden in
    the second image.

    Reference: N. Sundaram, T. Brox, K. Keutzer, Dense point trajectories by GPU-accelerated large displacement optical
    flow, ECCV 2010, equation 5.
    """
    height, width = forward.shape[1:]
    at = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")).astype(forward.dtype) + forward
    inside = (jnp.abs(at[0] - (height - 1) / 2) <= height / 2) & (jnp.abs(at[1] - (width - 1) / 2) <= width / 2)
    places = [at[0], at[1]]
    back = jnp.stack([jax.scipy.ndimage.map_coordinates(each, places, order=1, mode="nearest") for each in backward])
    lengths = (forward**2).sum(0) + (back**2).sum(0)
    return inside & (((forward + back) ** 2).sum(0) < 0.01 * lengths + 0.5)


@functools.partial(jax.jit, static_argnames=("num_parts",))
def measure_motion(
    first: Float[Array, "B H W 3"],
    second: Float[Array, "B H W 3"],
    labels: Integer[Array, "B H W"] | None = None,
    num_parts: int = 0,
) -> Motion:
    """Displacement of every pixel, its affine part, and the mean of the rest over every part.

    Args:
      first, second: encoded sRGB in [0, 1]; displacement is seen in their Rec. 709 luma, and counted from the first.
      labels: part of each pixel of the first; None measures the whole image alone.
      num_parts: how many parts, static; 0 exactly where labels are None.
    """
    if (labels is None) != (num_parts == 0):
        raise InputError(f"expected labels and num_parts together, found num_parts = {num_parts}")
    one, other = color.luma709(first), color.luma709(second)
    both = optical_flow(jnp.concatenate([one, other]), jnp.concatenate([other, one]))  # one program, not two
    there, back = jnp.split(both, 2)
    known = jax.vmap(consistent)(there, back)
    affine = jax.vmap(affine_part)(there, known.astype(jnp.float32))
    basis = grid(*first.shape[1:3])
    residual = there - jnp.einsum("bak,khw->bahw", affine, basis, precision=numerics.PRECISION)
    inside = jnp.ones((*known.shape, 1), jnp.float32)
    if labels is not None:
        inside = jnp.concatenate([inside, jax.nn.one_hot(labels, num_parts, dtype=jnp.float32)], axis=-1)
    counted = inside * known[..., None].astype(jnp.float32)
    pixels, used = inside.sum((1, 2)), counted.sum((1, 2))
    total = jnp.einsum("bhwp,bahw->bpa", counted, residual, precision=numerics.PRECISION)
    return Motion(
        residual,
        affine,
        known,
        numerics.safe_ratio(total, jnp.broadcast_to(used[..., None], total.shape)),
        numerics.safe_ratio(used, pixels),
    )


def arrows(motion: Motion, most: int) -> Float[Array, "B 2 h w"]:
    """The residual on a coarse grid of cells, at most `most` a side: means over consistent pixels.

    Returns: pixels of the full image; NaN in cells of which less than half is consistent. h and w are the largest
      divisors of H and W up to `most`.
    """
    batch, _, height, width = motion.residual.shape
    rows, columns = (max(n for n in range(1, most + 1) if size % n == 0) for size in (height, width))

    def cells(each: Array) -> Array:
        return each.reshape(batch, -1, rows, height // rows, columns, width // columns).mean((3, 5))

    known = motion.consistent[:, None].astype(jnp.float32)
    share = cells(known)
    total = cells(motion.residual * known)
    return jnp.where(share >= 0.5, numerics.safe_ratio(total, jnp.broadcast_to(share, total.shape)), jnp.nan)


def over_samples(each: Float[np.ndarray, "samples *rest"]) -> tuple[np.ndarray, np.ndarray]:
    """Mean over samples of what is finite, and its standard error; NaN with less than one, or two, of them."""
    count = np.isfinite(each).sum(0)
    return finite_mean(each), finite_std(each) / np.sqrt(np.where(count > 1, count - 1.0, np.nan))
