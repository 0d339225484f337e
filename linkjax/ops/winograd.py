"""3×3 convolution with 4 multiplications an output instead of 9 (Winograd's minimal filtering, F(2×2, 3×3)).

Per axis, two neighbouring outputs of a 3-tap filter g over inputs d0 … d3 come from 4 products:
  m = (d0 − d2) g0,  (d1 + d2)(g0 + g1 + g2)/2,  (d2 − d1)(g0 − g1 + g2)/2,  (d1 − d3) g2
  y = m0 + m1 + m2,  m1 − m2 − m3
In two dimensions that makes 16 matrix products over the channels, one for each pair of positions, in place of a
convolution. The transforms hold only sums and halves, so the rounding error is that of the direct convolution; larger
tiles would need fewer products still, but not keep that.

Reference: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from linkjax import numerics

#: Tiles of 2×2 outputs worked on at a time: enough rows for a matrix product, few enough for a processor's cache.
BAND_TILES = 2048


def _inputs(d: list[Array]) -> list[Array]:
    return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]


def _weights(g: list[Array]) -> list[Array]:
    return [g[0], (g[0] + g[1] + g[2]) * 0.5, (g[0] - g[1] + g[2]) * 0.5, g[2]]


def _outputs(m: list[Array]) -> list[Array]:
    return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]


def _columns(rows: list[list[Array]]) -> list[list[Array]]:
    return [list(column) for column in zip(*rows, strict=True)]


def transform_kernel(kernel: Float[Array, "3 3 I O"]) -> list[list[Float[Array, "I O"]]]:
    """The 4×4 matrices that take the place of the 3×3."""
    by_row = _columns([_weights([kernel[i, j] for i in range(3)]) for j in range(3)])
    return [_weights(row) for row in by_row]


def _band(x: Float[Array, "B H W I"], kernels: list[list[Float[Array, "I O"]]]) -> Float[Array, "B h w O"]:
    """All tiles of some rows: [B, H, W, I] → [B, H − 2, W − 2, O], both even."""
    batch, height, width, channels = x.shape
    down, across = height // 2 - 1, width // 2 - 1
    pixels = [[x[:, i : i + 2 * down : 2, j : j + 2 * across : 2] for j in range(4)] for i in range(4)]
    by_column = _columns([_inputs([pixels[i][j] for i in range(4)]) for j in range(4)])
    products = [
        [
            jnp.matmul(v.reshape(-1, channels), k, precision=numerics.PRECISION).reshape(batch, down, across, -1)
            for v, k in zip(_inputs(row), kernel_row, strict=True)
        ]
        for row, kernel_row in zip(by_column, kernels, strict=True)
    ]
    halves = _columns([_outputs([products[p][q] for p in range(4)]) for q in range(4)])
    tiles = [jnp.stack(_outputs(half), axis=3) for half in halves]
    return jnp.stack(tiles, axis=2).reshape(batch, 2 * down, 2 * across, -1)


def full_conv3x3(x: Float[Array, "B H W I"], kernel: Float[Array, "3 3 I O"]) -> Float[Array, "B h w O"]:
    """Cross-correlation with padding 2 on every side: [B, H + 2, W + 2, O], as `ops.conv.conv(x, kernel, padding=2)`.

    Large maps are worked on in bands of rows, one after the other, so that transformed inputs (4 times the map) and
    products stay in cache.
    """
    batch, height, width, channels = x.shape
    down, across = -(-(height + 2) // 2), -(-(width + 2) // 2)
    rows = min(down, max(1, BAND_TILES // across))
    bands = -(-down // rows)
    rows = -(-down // bands)
    padded = jnp.pad(x, ((0, 0), (2, 2 * rows * bands - height), (2, 2 * across - width), (0, 0)))
    # A tie to x that changes nothing: without it XLA transforms the kernels of all layers before the first one runs,
    # and holds them (1.6 GB at 256²).
    kernels = transform_kernel(kernel + 0.0 * x[0, 0, 0, 0])
    if bands == 1:
        y = _band(padded, kernels)
    else:
        inner = padded[:, :-2].reshape(batch, bands, 2 * rows, 2 * across + 2, channels)
        below = jnp.concatenate([inner[:, 1:, :2], padded[:, None, -2:]], axis=1)
        windows = jnp.concatenate([inner, below], axis=2).reshape(batch * bands, 2 * rows + 2, 2 * across + 2, channels)
        y = jax.lax.map(lambda window: _band(window[None], kernels)[0], windows)
        y = y.reshape(batch, bands * 2 * rows, 2 * across, -1)
    return y[:, : height + 2, : width + 2]
