"""Checks of a fit's settings and data: each raises one sentence."""

import difflib
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array

from linkjax.analysis.links.moments import Moments
from linkjax.errors import InputError
from linkjax.models.link import METHODS

Pairs = tuple[Array | np.ndarray, Array | np.ndarray]

#: Rows looked at together.
BLOCK = 4096


def check_finite(name: str, rows: Array | np.ndarray, first_sample: int = 0) -> None:
    """Refuse NaN and infinite values.

    Args:
      name: what the rows are, for the message; first_sample: index of row 0.
    Errors: InputError with the number of bad samples and the index of the first.
    """
    bad = np.flatnonzero(~np.isfinite(np.asarray(rows)).all(axis=1))
    if bad.size:
        raise InputError(
            f"{name} has NaN or infinite values in {bad.size} of {len(rows)} samples, the first is sample "
            f"{first_sample + int(bad[0])}; leave those samples out or make them again"
        )


def options(
    method: str, alpha: float, l1_ratio: float, alphas: Sequence[float], validated: bool, rank: int = 0
) -> None:
    """Check method, penalties and rank, and that there is data to choose among penalties."""
    if method not in METHODS:
        near = difflib.get_close_matches(str(method), METHODS, 1, 0.0)[0]
        raise InputError(f"link method {method!r} is not one of {', '.join(METHODS)}; did you mean {near!r}?")
    wrong = [value for value in (alpha, *alphas) if not (np.isfinite(value) and value >= 0)]
    if wrong:
        raise InputError(f"alpha must be finite and at least 0, found {wrong[0]}")
    if not 0 <= l1_ratio <= 1:
        raise InputError(f"l1_ratio must lie in [0, 1], found {l1_ratio}")
    if alphas and method in ("ols", "mlp"):
        raise InputError(
            f"method {method} has no alpha to choose, found alphas {tuple(alphas)}; use ridge or elastic_net"
        )
    if rank < 0:
        raise InputError(f"rank must be at least 1, or 0 for the method's own, found {rank}")
    if rank and method not in ("ols", "ridge"):
        raise InputError(
            f"a reduced rank has a closed form for ols and ridge only, found method {method}; leave it out"
        )
    if alphas and not validated:
        raise InputError("choosing among alphas needs held-out pairs, found none; give validation data, or one alpha")


def pairs(r: Array | np.ndarray, w: Array | np.ndarray, what: str) -> Pairs:
    """Check shapes, types and values of arrays in memory; return them as arrays. `what` comes before their names."""
    r, w = (array if isinstance(array, jax.Array) else np.asarray(array) for array in (r, w))
    if r.ndim != 2 or w.ndim != 2 or r.shape[0] != w.shape[0] or 0 in (r.shape[1], w.shape[1]):
        raise InputError(
            f"{what}r must be [samples, units] and {what}w [samples, w_dim] with the same samples, "
            f"found shapes {r.shape} and {w.shape}"
        )
    if r.shape[0] < 2:
        raise InputError(f"a link needs at least 2 {what}samples, found {r.shape[0]}; make more pairs")
    for name, array in (("r", r), ("w", w)):
        if array.dtype.kind not in "fiu" and array.dtype != jax.numpy.bfloat16:
            raise InputError(f"{what}{name} must hold real numbers, found dtype {array.dtype}")
        for begin in range(0, array.shape[0], BLOCK):
            rows = np.asarray(array[begin : begin + BLOCK], dtype=None if array.dtype.kind == "f" else np.float32)
            if not np.isfinite(rows).all():
                check_finite(f"{what}{name}", np.asarray(array, np.float64))
    return r, w


def labels(given: Array | np.ndarray | None, samples: int) -> np.ndarray:
    """Place of each sample's class among the classes there are; without labels all are of one.

    Errors: InputError for labels that are not one whole number a sample.
    """
    if given is None:
        return np.zeros(samples, np.int64)
    found = np.asarray(given)
    if found.shape != (samples,) or found.dtype.kind not in "iub":
        raise InputError(
            f"labels must hold one whole number for each of the {samples} samples, found shape {found.shape} and "
            f"dtype {found.dtype}"
        )
    return np.unique(found, return_inverse=True)[1]


def moments(part: Moments, name: str) -> None:
    """Check count and values behind streamed moments; `name` is the split they are of."""
    count = float(part.count)
    if count < 2:
        raise InputError(f"a link needs at least 2 {name} samples, found {count:.0f}; make more pairs")
    if not all(np.isfinite(np.asarray(array)).all() for array in (part.mean_r, part.mean_w, part.S_ww)):
        raise InputError(f"the {name} pairs hold NaN or infinite values; make those samples again")
