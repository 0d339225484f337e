"""Is semantic order the same in two spaces: do samples that are near in r lie near in W, and far in r far in W?

The claim behind a linear link (Linking in Style, arXiv 2409.16865), as numbers. Samples come as [classes, m, …], so
that every class weighs the same. Two questions, in up to four scopes:

    distances    rank correlation (Spearman) of the distances of all pairs in r and in W
    neighbours   share of a sample's k nearest in r that are among its k nearest in W

    all          every pair of samples
    within       pairs of one class; a figure for each class, and their mean
    across       pairs of different classes
    centroids    the classes' mean points: the order of classes

Each is the sum over pairs Σ_ij X_ij Y_ij of two matrices made of the distances (ranks with mean 0 and variance 1, or
neighbour lists), so one permutation test (Mantel's) and one bootstrap serve both. All of it is host arithmetic on a
thousand samples or so: the same on every machine, and not worth a compiled program.

References: Mantel, The detection of disease clustering and a generalized regression approach, 1967; Kriegeskorte et
al., Representational similarity analysis, 2008 (distances compared by rank).
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from linkjax.analysis import ranks
from linkjax.analysis.finite import finite_mean
from linkjax.errors import InputError

Distance = Literal["euclidean", "cosine"]
SCOPES = ("all", "within", "across", "centroids")
LEVEL = 0.95  # of every interval
_LEAST = 4  # points a scope needs: fewer have no order to speak of


class Estimate(NamedTuple):
    """A number with its bootstrap interval, and what shuffled pairs give."""

    value: float
    low: float
    high: float
    null: float  # mean over permutations
    null_low: float  # … the range of 95 % of them
    null_high: float
    p: float  # (1 + permutations that reach the value) / (1 + permutations)
    count: int  # pairs, samples, classes or paths it is over


def compare(
    r: Float[np.ndarray, "classes m units"],
    w: Float[np.ndarray, "classes m w_dim"],
    rng: np.random.Generator,
    *,
    neighbours: int = 10,
    distance: Distance = "euclidean",
    draws: int = 500,
    permutations: int = 200,
) -> dict[tuple[str, str], Estimate]:
    """Both questions in every scope that has points enough.

    Args:
      r, w: m samples of each class in both spaces.
      neighbours: k, at most; a quarter of the candidates where there are fewer than 4 k.
      distance: between points; cosine is 1 − the cosine of deviations from the mean of all samples.
      draws: bootstrap resamples, of classes and of samples within them; ranks and neighbours stay those of the whole.
      permutations: of W's points against r's: of all; of each class's; of classes and of places within them, which
        keeps pairs across apart from pairs within; of the centroids.
    Returns: (question, scope) → estimate; "within" is missing for m < 4, "across" and "centroids" for few classes.
    Numerics: on n = classes · m samples it holds about a dozen n × n matrices; cap n (1000: 80 MB).
    Errors: InputError if the shapes do not belong together or a value is not finite.
    """
    if r.ndim != 3 or w.ndim != 3 or r.shape[:2] != w.shape[:2] or r.shape[0] * r.shape[1] < _LEAST:
        raise InputError(
            f"expected r and w as [classes, m, …] of at least {_LEAST} samples, found {r.shape} and {w.shape}"
        )
    if not (np.isfinite(r).all() and np.isfinite(w).all()):
        raise InputError("congruence: expected finite r and w; leave the samples out that are not")
    classes, m = r.shape[:2]
    counts, times = resampled(rng, classes, m, draws)
    found = {}
    for scope, pair, mask in _scopes(r, w, distance):
        k = neighbours_of(scope, classes, m, neighbours)
        groups, n = pair[0].shape[:2]
        orders = _orders(rng, scope, permutations, groups, n, classes)
        weights = {"within": counts, "centroids": times[:, None]}.get(scope, counts.reshape(draws, 1, -1))
        copies = (np.arange(classes * m) // m, np.repeat(times, m, axis=1)) if scope == "all" else None
        in_r, in_w = (pair_ranks(d, mask) for d in pair)
        near_r, near_w = (nearest(d, mask, k).astype(np.float32) for d in pair)
        pairs = float(mask.sum())
        value = finite_mean((in_r * in_w).sum(axis=(1, 2), dtype=np.float64)) / pairs
        drawn = times if scope == "within" else None  # a class counts as often as it was drawn
        spread = finite_mean(weighted_correlations(in_r, in_w, mask, weights, copies), -1, drawn)
        null = finite_mean(permuted_products(in_r, in_w, orders), -1) / pairs
        found["distances", scope] = estimate(value, spread, null, int(groups * pairs / 2))
        shared = (near_r * near_w).sum(axis=2) / k  # [groups, points]
        spread = np.sum(weights * shared[None], axis=(1, 2)) / np.sum(weights, axis=(1, 2))
        null = finite_mean(permuted_products(near_r, near_w, orders), -1) / (k * n)
        found["neighbours", scope] = estimate(float(shared.mean()), spread, null, shared.size)
    return found


def neighbours_of(scope: str, classes: int, m: int, neighbours: int) -> int:
    """How many neighbours `compare` asks for in a scope."""
    candidates = {"all": classes * m - 1, "within": m - 1, "across": (classes - 1) * m, "centroids": classes - 1}
    return max(1, min(neighbours, candidates[scope] // 4))


def estimate(
    value: float, spread: Float[np.ndarray, "draws"], null: Float[np.ndarray, "permutations"], count: int
) -> Estimate:
    """A value, the 95 % range of its resamples, and of what permutations give; what is not finite has no part."""
    low, high = _range(spread)
    null_low, null_high = _range(null)
    known = null[np.isfinite(null)]
    reached = np.sum(known >= value - 1e-6 * abs(value))  # a permutation that changes nothing reaches, but for rounding
    p = float((1 + reached) / (1 + known.size)) if known.size and np.isfinite(value) else float("nan")
    mean = float(known.mean()) if known.size else float("nan")
    return Estimate(float(value), low, high, mean, null_low, null_high, p, count)


def distances(x: Float[np.ndarray, "n d"], distance: Distance = "euclidean") -> Float[np.ndarray, "n n"]:
    """Distances of all pairs of rows, float64.

    euclidean: ‖x_i − x_j‖ = √(‖x_i‖² + ‖x_j‖² − 2 x_i·x_j), with the mean of all rows taken away first, against
    cancellation. cosine: 1 − cos of these deviations; a row at the mean is at distance 1 from all.
    """
    x = x.astype(np.float64)
    x -= x.mean(axis=0, keepdims=True)
    if distance == "cosine":
        norm = np.linalg.norm(x, axis=1, keepdims=True)
        x /= np.where(norm > 0, norm, 1.0)
        return 1.0 - x @ x.T
    square = np.sum(x * x, axis=1)
    return np.sqrt(np.maximum(square[:, None] + square[None, :] - 2.0 * (x @ x.T), 0.0))


def pair_ranks(d: Float[np.ndarray, "groups n n"], mask: Bool[np.ndarray, "n n"]) -> Float[np.ndarray, "groups n n"]:
    """Ranks of each group's distances among the pairs of a symmetric mask, with mean 0 and variance 1; 0 elsewhere.

    Equal distances share their mean rank. NaN in a group whose distances are all equal.
    """
    i, j = np.nonzero(np.triu(mask, 1))
    out = np.zeros(d.shape, np.float32)
    out[:, i, j] = out[:, j, i] = ranks.standard_ranks(d[:, i, j])
    return out


def nearest(
    d: Float[np.ndarray, "groups n n"], mask: Bool[np.ndarray, "n n"], k: int
) -> Bool[np.ndarray, "groups n n"]:
    """Whether column j is among the k nearest of row i, of those the mask allows; of equals the first."""
    order = np.argsort(np.where(mask[None], d, np.inf), axis=2, kind="stable")[:, :, :k]
    near = np.zeros(d.shape, bool)
    np.put_along_axis(near, order, True, axis=2)
    return near


def permuted_products(
    x: Float[np.ndarray, "groups n n"],
    y: Float[np.ndarray, "groups n n"],
    orders: Int[np.ndarray, "permutations groups n"],
) -> Float[np.ndarray, "permutations groups"]:
    """Σ_ij x_ij y_π(i)π(j) of every group, for each permutation π of its rows and columns."""
    group = np.arange(len(x))[:, None, None]
    moved = (y[group, order[:, :, None], order[:, None, :]] for order in orders)
    return np.stack([np.einsum("gst,gst->g", x, each) for each in moved])


def weighted_correlations(
    x: Float[np.ndarray, "groups n n"],
    y: Float[np.ndarray, "groups n n"],
    mask: Bool[np.ndarray, "n n"],
    counts: Float[np.ndarray, "draws groups n"],
    copies: tuple[Int[np.ndarray, " n"], Float[np.ndarray, "draws n"]] | None = None,
) -> Float[np.ndarray, "draws groups"]:
    """Correlation of x and y over the mask's pairs, a pair (i, j) counted c_i · c_j times: one value a resample.

    Args:
      copies: each point's class, and how often that class was drawn. A class drawn T times is T classes, and pairs
        between its copies are none; so pairs within it count c_i · c_j / T. Without this a resample would hold twice
        the share of pairs within classes. None: pairs within and across classes are not mixed.
    Returns: NaN where a resample has no pair, or no spread.
    """
    by_group = np.moveaxis(counts, 1, 0)  # [groups, draws, n]
    parts = [(by_group, mask)]
    if copies is not None:
        of, times = copies
        same = of[:, None] == of[None, :]
        shared = np.moveaxis(counts / np.sqrt(np.maximum(times, 1.0))[:, None], 1, 0)
        parts = [(by_group, mask & ~same), (shared, mask & same)]

    def total(matrix: np.ndarray) -> np.ndarray:
        return sum(np.sum((c @ (matrix * pairs)) * c, axis=2, dtype=np.float64) for c, pairs in parts)  # pyright: ignore

    pairs = total(np.ones(x.shape, np.float32))
    pairs = np.where(pairs > 0, pairs, np.nan)
    mx, my, xx, yy, xy = (total(matrix) / pairs for matrix in (x, y, x * x, y * y, x * y))
    spread = (xx - mx**2) * (yy - my**2)
    return ((xy - mx * my) / np.sqrt(np.where(spread > 1e-9, spread, np.nan))).T


def resampled(
    rng: np.random.Generator, classes: int, m: int, draws: int
) -> tuple[Float[np.ndarray, "draws classes m"], Float[np.ndarray, "draws classes"]]:
    """How often each sample, and each class, is in each resample: classes with replacement, then samples within."""
    drawn = rng.integers(classes, size=(draws, classes))
    places = rng.integers(m, size=(draws, classes, m))
    row = np.arange(draws)
    counts, times = np.zeros((draws, classes, m), np.float32), np.zeros((draws, classes), np.float32)
    np.add.at(counts, (row[:, None, None], drawn[:, :, None], places), 1.0)
    np.add.at(times, (row[:, None], drawn), 1.0)
    return counts, times


def explained(
    errors: Float[np.ndarray, "n"], deviations: Float[np.ndarray, "n"], counts: Float[np.ndarray, "draws n"]
) -> Float[np.ndarray, "draws"]:
    """R² = 1 − Σ c ‖w − ŵ‖² / Σ c ‖w − w̄‖² of every resample, from each sample's squared error and deviation."""
    return 1.0 - (counts @ errors) / (counts @ deviations)


def _scopes(
    r: Float[np.ndarray, "classes m units"], w: Float[np.ndarray, "classes m w_dim"], distance: Distance
) -> Iterator[tuple[str, list[np.ndarray], np.ndarray]]:
    """Name, distances in r and in W [groups, n, n], and which pairs of a group count [n, n]."""
    classes, m = r.shape[:2]
    flat = [distances(x.reshape(classes * m, -1), distance) for x in (r, w)]
    yield "all", [d[None] for d in flat], ~np.eye(classes * m, dtype=bool)
    if m >= _LEAST:
        own = np.arange(classes)
        yield "within", [d.reshape(classes, m, classes, m)[own, :, own] for d in flat], ~np.eye(m, dtype=bool)
    if classes > 1:
        of = np.arange(classes * m) // m
        yield "across", [d[None] for d in flat], of[:, None] != of[None, :]
    if classes >= _LEAST:
        yield "centroids", [distances(x.mean(axis=1), distance)[None] for x in (r, w)], ~np.eye(classes, dtype=bool)


def _orders(
    rng: np.random.Generator, scope: str, count: int, groups: int, n: int, classes: int
) -> Int[np.ndarray, "count groups n"]:
    def orders(*shape: int) -> np.ndarray:
        return rng.permuted(np.broadcast_to(np.arange(shape[-1]), shape), axis=-1)

    if scope != "across":
        return orders(count, groups, n)
    m = n // classes
    places = orders(count, classes)[:, :, None] * m + orders(count, classes, m)
    return places.reshape(count, 1, n)


def _range(values: np.ndarray) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not known.size:
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
