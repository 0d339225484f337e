"""Second moments on the host by NumPy's BLAS, whose symmetric product beats XLA's general one on a CPU.

The same numbers as `moments.update` but for rounding; for one CPU device. Everything else is counted on the devices.
"""

import numpy as np
from jaxtyping import Float

from linkjax.analysis.links.moments import FLOAT32_ROUNDING, Moments, Products

Rows = np.ndarray

#: Bytes of deviations held at once: enough that the product outweighs the addition of its result.
CHUNK_BYTES = 384 << 20
#: Rows whose deviations are made, and summed while they lie in the cache; float32 sums are of no more.
CACHED_ROWS = 512
#: Rows whose squares are summed in float32.
SQUARED_ROWS = 64
#: Rank-one terms that are added together, as one product.
PENDING = 64


class Sums:
    """Moments summed in place: adding a block makes no array of [units, units] and passes over one at most once.

    A block's products are of its deviations from a shift, the mean of some of its rows, so that all rows are read once.
    With d the mean of the deviations, Σ (x − m)(x − m)ᵀ = Σ (x − shift)(x − shift)ᵀ − n dᵀd. This term and Chan's,
    n_a n_b / (n_a + n_b) · δδᵀ, are kept as rows and added as one product now and then.
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
        self._pending: list[tuple[float, np.ndarray, np.ndarray]] = []  # weight, of r, of w
        self._rows = max(CHUNK_BYTES // (np.dtype(products).itemsize * (units + w_dim)), 1)
        self._buffers: tuple[np.ndarray, ...] | None = None

    def add(self, r: Float[Rows, "n units"], w: Float[Rows, "n w_dim"]) -> None:
        """More pairs, no padding; numerics and reference as `moments.update`.

        n · units² + 2 · n · units · w_dim operations: the symmetric product (xSYRK) is half a general one.
        """
        for begin in range(0, len(r), self._rows):
            self._add(r[begin : begin + self._rows], w[begin : begin + self._rows])
        if len(self._pending) >= PENDING:  # only here, where a caller may ask whether anything waits
            self._flush()

    @property
    def settled(self) -> bool:
        """Whether no terms are pending, so that a run resumed from the present moments gives the same bits."""
        return not self._pending

    def moments(self) -> Moments:
        """The moments so far; they share memory with this object."""
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
        shift_r, shift_w = _shift(r, self.products), _shift(w, self.products)
        off_r, _ = _deviations(r, shift_r, d_r, squares=False)
        off_w, squares = _deviations(w, shift_w, d_w, squares=True)
        self.S_rr += np.matmul(d_r.T, d_r, out=rr)  # the same array twice: NumPy calls xSYRK
        self.S_rw += np.matmul(d_r.T, d_w, out=rw)
        self.S_ww += squares
        self._keep(-n, off_r, off_w)
        delta_r, delta_w = shift_r + off_r - self.mean_r, shift_w + off_w - self.mean_w
        share = n / (self.count + n)
        self._keep(self.count * share, delta_r, delta_w)
        self.mean_r += share * delta_r
        self.mean_w += share * delta_w
        self.count += n
        if self.products == "float32":
            self.rounding = max(self.rounding, FLOAT32_ROUNDING)

    def _keep(self, weight: float, of_r: np.ndarray, of_w: np.ndarray) -> None:
        self.S_ww += weight * of_w**2
        if weight:
            self._pending.append((weight, of_r, of_w))

    def _flush(self) -> None:
        if self._pending:
            weights = np.array([weight for weight, _, _ in self._pending])[:, None]
            rows_r, rows_w = (np.stack([term[part] for term in self._pending]) for part in (1, 2))
            self.S_rr += (rows_r * weights).T @ rows_r
            self.S_rw += (rows_r * weights).T @ rows_w
        self._pending = []


def _shift(x: Rows, products: Products) -> np.ndarray:
    """Near the mean of a block, from rows all over it; rounded, so that deviations from it round but once."""
    some = x[:: max(len(x) // 256, 1)]
    return some.mean(axis=0, dtype=np.float64).astype(products).astype(np.float64)


def _deviations(x: Rows, shift: np.ndarray, out: Rows, squares: bool) -> tuple[np.ndarray, np.ndarray]:
    """x − shift in `out`, rounded to its type; the mean of that, and on request the sums of its squares, float64."""
    ones, shift = np.ones(CACHED_ROWS, out.dtype), shift.astype(out.dtype)
    total, square = np.zeros(out.shape[1]), np.zeros(out.shape[1])
    for begin in range(0, len(x), CACHED_ROWS):
        rows = slice(begin, begin + CACHED_ROWS)
        some = np.subtract(x[rows], shift, out=out[rows], casting="same_kind")
        total += ones[: len(some)] @ some
        if squares:
            whole = len(some) // SQUARED_ROWS * SQUARED_ROWS
            groups = some[:whole].reshape(-1, SQUARED_ROWS, some.shape[1])
            square += np.einsum("gnw,gnw->gw", groups, groups).sum(axis=0, dtype=np.float64)
            square += np.einsum("nw,nw->w", some[whole:], some[whole:])
    return total / len(x), square
