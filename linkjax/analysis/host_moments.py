"""Second moments on the host, by the BLAS that NumPy brings: on a CPU its symmetric product beats XLA's general one.

The same numbers as `moments.update` but for rounding; for one CPU device. Everything else is counted on the devices.
"""

import numpy as np
from jaxtyping import Float

from linkjax.analysis.moments import FLOAT32_ROUNDING, Moments, Products

Rows = np.ndarray

#: Bytes of deviations held at once: enough that the product outweighs the addition of its result.
CHUNK_BYTES = 64 << 20
#: Rank-one terms that are added together, as one product.
PENDING = 64


class Sums:
    """Moments summed in place: no block makes, or walks more than once, an array of [units, units].

    Chan's rank-one terms √(n_a n_b / (n_a + n_b)) · δ are kept as rows and added as one product now and then.
    Memory: that of the moments, one product in the precision asked for, and `CHUNK_BYTES`.
    """

    def __init__(self, units: int, w_dim: int, products: Products = "float64", like: Moments | None = None):
        self.products: Products = products
        self.count = 0.0
        self.mean_r, self.mean_w, self.S_ww = np.zeros(units), np.zeros(w_dim), np.zeros(w_dim)
        self.S_rr, self.S_rw = np.zeros((units, units)), np.zeros((units, w_dim))
        self.rounding = float(np.finfo(np.float64).eps)
        if like is not None:
            self.count, self.rounding = float(like.count), float(like.rounding)
            for name in ("mean_r", "mean_w", "S_rr", "S_rw", "S_ww"):
                getattr(self, name)[...] = getattr(like, name)
        self._pending_r, self._pending_w = np.zeros((PENDING, units)), np.zeros((PENDING, w_dim))
        self._pending = 0
        self._rows = max(CHUNK_BYTES // (np.dtype(products).itemsize * units), 1)
        self._buffers: tuple[np.ndarray, ...] | None = None

    def add(self, r: Float[Rows, "n units"], w: Float[Rows, "n w_dim"]) -> None:
        """More pairs, no padding; formula, numerics and reference as `moments.update`.

        n · units² + 2 · n · units · w_dim operations: the symmetric product (xSYRK) is half a general one.
        """
        for begin in range(0, len(r), self._rows):
            self._add(r[begin : begin + self._rows], w[begin : begin + self._rows])

    @property
    def settled(self) -> bool:
        """Whether no terms wait: going on from the moments of now gives the bits of not having asked for them."""
        return self._pending == 0

    def moments(self) -> Moments:
        """What was summed; shares memory with this object."""
        self._flush()
        count, rounding = np.asarray(self.count), np.asarray(self.rounding)
        return Moments(count, self.mean_r, self.mean_w, self.S_rr, self.S_rw, self.S_ww, rounding)  # pyright: ignore

    def _add(self, r: Rows, w: Rows) -> None:
        n, (units, w_dim) = len(r), self.S_rw.shape
        if self._buffers is None or len(self._buffers[0]) < n:
            shapes = ((n, units), (n, w_dim), (units, units), (units, w_dim))
            self._buffers = tuple(np.empty(shape, self.products) for shape in shapes)
        d_r, d_w, rr, rw = self._buffers
        d_r, d_w = d_r[:n], d_w[:n]
        mean_r, mean_w = _deviations(r, d_r), _deviations(w, d_w)
        share = n / (self.count + n)
        scale = np.sqrt(self.count * share)
        delta_r, delta_w = mean_r - self.mean_r, mean_w - self.mean_w
        self.S_rr += np.matmul(d_r.T, d_r, out=rr)  # the same array twice: NumPy calls xSYRK
        self.S_rw += np.matmul(d_r.T, d_w, out=rw)
        self.S_ww += np.square(d_w).sum(axis=0, dtype=np.float64) + (scale * delta_w) ** 2
        self._pending_r[self._pending], self._pending_w[self._pending] = scale * delta_r, scale * delta_w
        self._pending += 1
        if self._pending == len(self._pending_r):
            self._flush()
        self.mean_r += share * delta_r
        self.mean_w += share * delta_w
        self.count += n
        if self.products == "float32":
            self.rounding = max(self.rounding, FLOAT32_ROUNDING)

    def _flush(self) -> None:
        rows_r, rows_w = self._pending_r[: self._pending], self._pending_w[: self._pending]
        if self._pending:
            self.S_rr += rows_r.T @ rows_r
            self.S_rw += rows_r.T @ rows_w
        self._pending = 0


def _deviations(x: Rows, out: np.ndarray) -> np.ndarray:
    """A block's mean, float64; its deviations from it go to `out`, in the precision of that.

    In float32 the rows are shifted by the mean that one BLAS product gives; what that leaves is measured on the shifted
    rows, where it has as many digits as their spread, and is too small to matter to their squares.
    """
    if out.dtype == np.float64:
        out[...] = x
        mean = out.sum(axis=0) / len(x)
        out -= mean
        return mean
    ones = np.full(len(x), 1 / len(x), np.float32)
    shift = ones @ np.asarray(x, np.float32)
    np.subtract(x, shift, out=out, casting="same_kind")
    return shift.astype(np.float64) + ones @ out
