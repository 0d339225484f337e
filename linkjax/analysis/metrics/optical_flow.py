"""Dense optical flow between two images: total variation and an absolute data term, from coarse to fine."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from linkjax import numerics
from linkjax.errors import InputError
from linkjax.ops import resize

ATTACHMENT = 15.0  # weight of the data term, for luma in [0, 1]
HUBER = 0.02  # of the displacement's gradient: below, its square is penalised, so that slopes have no stairs
BRIGHTNESS = 0.04  # change of luma that costs as much as a pixel of displacement; larger: more is taken for shading
WARPS = 8  # linearisations of a level
ITERATIONS = 25  # primal-dual steps of each
_SMALLEST = 8  # pixels of the coarsest level's shorter side, at least
_STEP = 1.0 / math.sqrt(8.0)  # primal and dual; their product times the squared norm of the gradient, 8, must be ≤ 1


@functools.partial(jax.jit, static_argnames=("warps", "iterations"))
def optical_flow(
    first: Float[Array, "B H W"],
    second: Float[Array, "B H W"],
    warps: int = WARPS,
    iterations: int = ITERATIONS,
    attachment: float = ATTACHMENT,
    huber: float = HUBER,
) -> Float[Array, "B 2 H W"]:
    """Displacement u of every pixel, with second(x + u(x)) ≈ first(x) but for a change of brightness b(x).

    u and b minimise Σ_x attachment · |second(x + u) − first(x) − b| + h(|∇u_y|) + h(|∇u_x|) + h(|∇b| / BRIGHTNESS),
    with h(t) = t² / (2 · huber) up to t = huber and t − huber / 2 beyond (isotropic total variation, rounded by Huber's
    function). So shading may change smoothly, or by whole surfaces, without being taken for motion. On every level of a
    pyramid of halves, `warps` times: median filter of u and b (3 × 3), the data term made linear about u, `iterations`
    primal-dual steps. Where x + u leaves the image there is no data term: u goes on smoothly.

    Args:
      first, second: luma in [0, 1], at least 4 pixels a side.
      warps, iterations: fixed counts, static; the same work for every pair.
      attachment, huber: see above; huber in pixels per pixel.
    Returns: pixels, (y, x), downwards and to the right.
    Numerics: float32. Images are cubic splines, with gradients that are theirs; the gradient of the data term is the
      mean of the two images'. A pair does not depend on its batch.
    Deviations from TV-L1 as first published: the primal-dual method solves it without the auxiliary second field, and
      total variation is rounded (Werlberger et al. 2009, who call it Huber-L1).
    Reference: C. Zach, T. Pock, H. Bischof, A duality based approach for realtime TV-L1 optical flow, 2007; A. Wedel et
      al., An improved algorithm for TV-L1 optical flow, 2009; A. Chambolle, T. Pock, A first-order primal-dual
      algorithm for convex problems with applications to imaging, 2011, algorithm 1 and, for b, section 6.2.3.
    """
    if first.shape != second.shape or min(first.shape[1:]) < 4:
        raise InputError(
            f"expected two batches of images of one size, 4×4 or more, found {first.shape}, {second.shape}"
        )
    sizes = [first.shape[1:]]
    while min(sizes[-1]) >= 2 * _SMALLEST:
        sizes.append(tuple(round(n / 2) for n in sizes[-1]))
    both = jnp.stack([first, second], axis=-1)
    u = jnp.zeros((first.shape[0], *sizes[-1], 3), first.dtype)  # y, x, and the change of brightness
    for height, width in reversed(sizes):
        scale = jnp.asarray([height / u.shape[1], width / u.shape[2], 1.0], u.dtype).reshape(1, 1, 1, 3)
        u = resize.resize(u, height, width) * scale
        level = functools.partial(_level, warps=warps, iterations=iterations, attachment=attachment, huber=huber)
        u = jnp.moveaxis(jax.vmap(level)(resize.resize(both, height, width), jnp.moveaxis(u, -1, 1)), 1, -1)
    return jnp.moveaxis(u[..., :2], -1, 1)


def _level(
    both: Float[Array, "H W 2"],
    u: Float[Array, "3 H W"],
    warps: int,
    iterations: int,
    attachment: float | Array,
    huber: float | Array,
) -> Float[Array, "3 H W"]:
    """The flow and the change of brightness of one level, begun at u."""
    height, width = both.shape[:2]
    grid = jnp.stack(jnp.meshgrid(jnp.arange(height), jnp.arange(width), indexing="ij")).astype(u.dtype)
    last = jnp.asarray([height - 0.5, width - 0.5], u.dtype)[:, None, None]
    rows, columns = (jnp.asarray(_spline_solve(n), u.dtype) for n in (height, width))
    splines = jnp.einsum("ih,hwc,jw->cij", rows, both, columns, precision=numerics.PRECISION)
    first = both[..., 0]
    own = _warp(splines[0], grid)[1]

    def warp(_: int, u: Array) -> Array:
        u = _median(u)
        at = grid + u[:2]
        value, slope = _warp(splines[1], at)
        gradient = jnp.concatenate([0.5 * (slope + own), jnp.full((1, height, width), -BRIGHTNESS, u.dtype)])
        offset = value - first - (gradient[:2] * u[:2]).sum(0)
        most = jnp.where(((at >= -0.5) & (at <= last)).all(0), _STEP * attachment, 0.0).astype(u.dtype)
        squared = (gradient**2).sum(0)

        def step(_: int, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            u, ahead, dual = state
            dual = (dual + _STEP * _gradient(ahead)) / (1.0 + _STEP * huber)
            dual = dual / jnp.maximum(1.0, jnp.sqrt((dual**2).sum(0, keepdims=True)))
            moved = u + _STEP * _divergence(dual)
            wrong = offset + (gradient * moved).sum(0)
            new = moved - jnp.clip(wrong / squared, -most, most)[None] * gradient
            return new, 2.0 * new - u, dual

        start = (u, u, jnp.zeros((2, *u.shape), u.dtype))
        return jax.lax.fori_loop(0, iterations, step, start)[0]

    return jax.lax.fori_loop(0, warps, warp, u)


@functools.cache
def _spline_solve(size: int) -> np.ndarray:
    """Values at whole positions → cubic B-spline coefficients [size, size], mirrored about the first and last pixel."""
    matrix = np.zeros((size, size))
    for i in range(size):
        for offset, weight in ((-1, 1 / 6), (0, 4 / 6), (1, 1 / 6)):
            j = abs(i + offset)
            matrix[i, j if j < size else 2 * (size - 1) - j] += weight
    return np.linalg.inv(matrix)


def _taps(t: Array) -> tuple[Array, Array]:
    """Weights of the four coefficients around a position at t in [0, 1) after the second, and their derivatives."""
    s = 1.0 - t
    weights = (s**3, 3 * t**3 - 6 * t**2 + 4, 3 * s**3 - 6 * s**2 + 4, t**3)
    slopes = (-3 * s**2, 9 * t**2 - 12 * t, -9 * s**2 + 12 * s, 3 * t**2)
    return jnp.stack(weights, -1) / 6.0, jnp.stack(slopes, -1) / 6.0


def _warp(coefficients: Float[Array, "H W"], at: Float[Array, "2 H W"]) -> tuple[Array, Array]:
    """Value [H, W] and gradient [2, H, W] of the spline at positions."""
    height, width = coefficients.shape
    where = [jnp.clip(at[0], 0.0, height - 1.0), jnp.clip(at[1], 0.0, width - 1.0)]
    first = [jnp.floor(p) for p in where]
    (wy, sy), (wx, sx) = (_taps(p - f) for p, f in zip(where, first, strict=True))
    steps = jnp.arange(-1, 3)
    rows, columns = (
        _mirror(f.astype(jnp.int32)[..., None] + steps[None, None], n)
        for f, n in zip(first, (height, width), strict=True)
    )
    taken = coefficients.ravel()[(rows[..., :, None] * width + columns[..., None, :])]  # [H, W, 4, 4]
    along = (taken * wx[..., None, :]).sum(-1)
    slope = (taken * sx[..., None, :]).sum(-1)
    return (along * wy).sum(-1), jnp.stack([(along * sy).sum(-1), (slope * wy).sum(-1)])


def _mirror(index: Array, size: int) -> Array:
    """Places beyond the first and last pixel, mirrored about them."""
    index = jnp.abs(index)
    return jnp.where(index < size, index, 2 * (size - 1) - index)


def _gradient(u: Array) -> Array:
    """Forward differences of [2, H, W] → [2 (axis), 2, H, W], zero past the border."""
    dy = jnp.pad(u[:, 1:] - u[:, :-1], ((0, 0), (0, 1), (0, 0)))
    dx = jnp.pad(u[:, :, 1:] - u[:, :, :-1], ((0, 0), (0, 0), (0, 1)))
    return jnp.stack([dy, dx])


def _divergence(p: Array) -> Array:
    """The negative adjoint of `_gradient`; the last row of p[0] and the last column of p[1] are zero."""
    y, x = p
    dy = y - jnp.pad(y[:, :-1], ((0, 0), (1, 0), (0, 0)))
    dx = x - jnp.pad(x[:, :, :-1], ((0, 0), (0, 0), (1, 0)))
    return dy + dx


def _median(u: Array) -> Array:
    """Median of 3 × 3 of each component, edges repeated."""
    padded = jnp.pad(u, ((0, 0), (1, 1), (1, 1)), mode="edge")
    h, w = u.shape[1:]
    v = [padded[:, i : i + h, j : j + w] for i in range(3) for j in range(3)]

    def sort(a: int, b: int) -> None:
        v[a], v[b] = jnp.minimum(v[a], v[b]), jnp.maximum(v[a], v[b])

    for a, b in ((1, 2), (4, 5), (7, 8), (0, 1), (3, 4), (6, 7), (1, 2), (4, 5), (7, 8), (0, 3), (5, 8), (4, 7),
                 (3, 6), (1, 4), (2, 5), (4, 7), (4, 2), (6, 4), (4, 2)):  # fmt: skip
        sort(a, b)
    return v[4]
