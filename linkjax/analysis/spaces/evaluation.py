"""Held-out checks of a link, batch by batch: in W, and after the linked image has been encoded again.

Each check is three functions on sums of constant size: `empty_…`, `add_…` (with a mask for padded batches), and a
`…_report` at the end; `merge` joins sums of parts. One set of sums per predictor: run the link, the class means and
the link fitted on shuffled pairs through the same functions, and compare.

Baselines. *Class means* (`ClassMeans`): what knowing the class alone gives. *Shuffled*: the same link fitted again
after permuting w against r over the training split, by `links.by_moments` as the link itself. It keeps the method's
capacity and both distributions and removes only the pairing, so whatever it scores is chance and overfitting.
Shuffling the test pairs instead would charge a good link for its own spread (R² near −1) and say nothing of fitting.
"""

import dataclasses
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from linkjax.analysis import float64
from linkjax.analysis.spaces import streaming
from linkjax.analysis.spaces.streaming import Correlations, Estimate, Means

Sums = TypeVar("Sums", "LatentSums", "CycleSums", "ClassMeans")
Rows = Array | np.ndarray


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LatentSums:
    """Sums for `LatentReport`."""

    errors: Means  # [w_dim] (w − ŵ)² per dimension
    spread: Correlations  # of w and ŵ per dimension
    samples: Means  # [4] squared error, squared distance from the centre, cosine, centred cosine
    nonfinite: Array  # [] samples left out because ŵ or w is not finite


class LatentReport(NamedTuple):
    """How well ŵ predicts w on samples the link has not seen."""

    r2: float  # 1 − Σ (w − ŵ)² / Σ (w − mean w)², over all dimensions: weighted by variance
    r2_standard_error: float  # of `r2`, by the delta method for the ratio of two means
    r2_mean: float  # mean over dimensions of the R² of each, constant ones left out
    r2_dimensions: np.ndarray  # [w_dim] NaN where w is constant
    mse: Estimate  # mean over samples and dimensions of (w − ŵ)²
    cosine: Estimate  # of w and ŵ; samples where either is 0 are left out
    centred_cosine: Estimate  # of w − centre and ŵ − centre: what is left beyond the mean
    nonfinite: int  # samples left out as not finite


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CycleSums:
    """Sums for `CycleReport`."""

    units: Correlations
    samples: Means  # [8] cosine, centred cosine, and six agreements
    nonfinite: Array  # []


class CycleReport(NamedTuple):
    """How well the linked image's activations and predictions return to those of the original image."""

    cosine: Estimate  # of r and r̂
    centred_cosine: Estimate  # of r − centre and r̂ − centre
    top1: Estimate  # the linked image's prediction is the original image's prediction
    top5: Estimate  # … is among the linked image's five likeliest
    class_top1: Estimate  # the linked image's prediction is the class the pair was made for
    class_top5: Estimate
    original_class_top1: Estimate  # the same for the original image: the ceiling
    original_class_top5: Estimate
    correlations: np.ndarray  # [units] Pearson of r and r̂ over samples; NaN for units constant in either
    median_correlation: float  # over live units
    live_units: int
    nonfinite: int


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ClassMeans:
    """Sums for the class-mean baseline, from the training split."""

    count: Array  # [classes]
    total: Array  # [classes, w_dim]


def empty_latent(w_dim: int) -> LatentSums:
    """No samples."""
    with jax.enable_x64(True):
        zero = jnp.zeros((), jnp.float64)
    return LatentSums(streaming.empty_means(w_dim), streaming.empty_correlations(w_dim), streaming.empty_means(4), zero)


def add_latent(
    sums: LatentSums,
    w: Float[Rows, "batch w_dim"],
    predicted: Float[Rows, "batch w_dim"],
    centre: Float[Rows, "w_dim"],
    mask: Bool[Rows, "batch"] | None = None,
) -> LatentSums:
    """Add one batch of held-out latents and their predictions.

    Args:
      centre: mean of w over the *training* split, the same for every batch.
      mask: True for rows that count.
    """
    return _add_latent(sums, w, predicted, centre, _mask(mask, w))


def latent_report(sums: LatentSums) -> LatentReport:
    """The report of all batches so far; NaN where a figure is undefined."""
    w_dim = sums.errors.mean.shape[0]
    count = float(sums.errors.count[0])
    squared, spread = np.asarray(sums.errors.mean) * count, np.asarray(sums.spread.S[0])
    varying = np.asarray(sums.spread.high[0] > sums.spread.low[0]) & (spread > 0)
    dimensions = np.where(varying, 1.0 - squared / np.where(varying, spread, 1.0), np.nan)
    r2 = 1.0 - squared.sum() / spread.sum() if varying.any() else np.nan
    S = np.asarray(sums.samples.S)
    variance = S[0, 0] - 2 * (1 - r2) * S[0, 1] + (1 - r2) ** 2 * S[1, 1]
    mse = streaming.estimate(sums.samples, 0)
    return LatentReport(
        r2=float(r2),
        r2_standard_error=float(np.sqrt(max(variance, 0.0) * count / (count - 1)) / spread.sum())
        if count > 1 and varying.any()
        else np.nan,
        r2_mean=float(dimensions[varying].mean()) if varying.any() else np.nan,
        r2_dimensions=dimensions,
        mse=Estimate(mse.value / w_dim, mse.standard_error / w_dim, mse.count),
        cosine=streaming.estimate(sums.samples, 2),
        centred_cosine=streaming.estimate(sums.samples, 3),
        nonfinite=int(sums.nonfinite),
    )


def empty_cycle(units: int) -> CycleSums:
    """No samples."""
    with jax.enable_x64(True):
        zero = jnp.zeros((), jnp.float64)
    return CycleSums(streaming.empty_correlations(units), streaming.empty_means(8), zero)


def add_cycle(
    sums: CycleSums,
    r: Float[Rows, "batch units"],
    encoded: Float[Rows, "batch units"],
    centre: Float[Rows, "units"],
    logits: Float[Rows, "batch classes"] | None = None,
    encoded_logits: Float[Rows, "batch classes"] | None = None,
    label: Int[Rows, "batch"] | None = None,
    mask: Bool[Rows, "batch"] | None = None,
) -> CycleSums:
    """Add one batch of activations of original images and of the images made from their linked latents.

    Args:
      r, logits: of the original images; encoded, encoded_logits: of the linked ones. No logits (a classifier without
        a head): the agreements stay without samples.
      centre: mean of r over the training split.
      label: class index in the logits, −1 where there is none.
      mask: True for rows that count.
    """
    return _add_cycle(sums, r, encoded, centre, logits, encoded_logits, label, _mask(mask, r))


def cycle_report(sums: CycleSums) -> CycleReport:
    """The report of all batches so far; NaN where a figure is undefined."""
    correlations = streaming.correlation(sums.units)
    live = correlations[~np.isnan(correlations)]
    return CycleReport(
        *(streaming.estimate(sums.samples, index) for index in range(8)),
        correlations=correlations,
        median_correlation=float(np.median(live)) if live.size else float("nan"),
        live_units=live.size,
        nonfinite=int(sums.nonfinite),
    )


def empty_class_means(classes: int, w_dim: int) -> ClassMeans:
    """No samples of `classes` classes."""
    with jax.enable_x64(True):
        return ClassMeans(jnp.zeros(classes, jnp.float64), jnp.zeros((classes, w_dim), jnp.float64))


def add_class_means(
    sums: ClassMeans,
    w: Float[Rows, "batch w_dim"],
    label: Int[Rows, "batch"],
    mask: Bool[Rows, "batch"] | None = None,
) -> ClassMeans:
    """Add one batch of training latents with their class index (−1: left out)."""
    return _add_class_means(sums, w, label, _mask(mask, w))


def class_means(sums: ClassMeans) -> np.ndarray:
    """Mean w of every class [classes, w_dim], float64; the mean of all samples for a class without any."""
    count, total = np.asarray(sums.count), np.asarray(sums.total)
    overall = total.sum(axis=0) / max(count.sum(), 1.0)
    return np.where(count[:, None] > 0, total / np.maximum(count, 1.0)[:, None], overall[None, :])


@float64.jit()
def merge(a: Sums, b: Sums) -> Sums:
    """Sums over the samples of both; associative but for rounding."""
    if isinstance(a, LatentSums) and isinstance(b, LatentSums):
        return LatentSums(
            streaming.merge_means(a.errors, b.errors),
            streaming.merge_correlations(a.spread, b.spread),
            streaming.merge_means(a.samples, b.samples),
            a.nonfinite + b.nonfinite,
        )
    if isinstance(a, CycleSums) and isinstance(b, CycleSums):
        return CycleSums(
            streaming.merge_correlations(a.units, b.units),
            streaming.merge_means(a.samples, b.samples),
            a.nonfinite + b.nonfinite,
        )
    return jax.tree.map(jnp.add, a, b)


def _mask(mask: Bool[Rows, "batch"] | None, rows: Rows) -> Rows:
    return np.ones(rows.shape[0], bool) if mask is None else mask


@float64.jit()
def _add_latent(sums: LatentSums, w: Rows, predicted: Rows, centre: Rows, mask: Rows) -> LatentSums:
    w, predicted, centre = (x.astype(jnp.float64) for x in (w, predicted, centre))
    finite = jnp.all(jnp.isfinite(w) & jnp.isfinite(predicted), axis=1)
    kept = mask & finite
    w, predicted = (jnp.where(kept[:, None], x, 0.0) for x in (w, predicted))
    errors, away = (w - predicted) ** 2, (w - centre[None, :]) ** 2
    cosine = _cosine(w, predicted)
    centred = _cosine(w - centre[None, :], predicted - centre[None, :])
    samples = jnp.stack([jnp.sum(errors, axis=1), jnp.sum(away, axis=1), cosine, centred], axis=1)
    return LatentSums(
        streaming.add_means(sums.errors, errors, jnp.broadcast_to(kept[:, None], errors.shape)),
        streaming.add_correlations(sums.spread, w, predicted, kept),
        streaming.add_means(sums.samples, samples, kept[:, None] & ~jnp.isnan(samples)),
        sums.nonfinite + jnp.sum(mask & ~finite, dtype=jnp.float64),
    )


@float64.jit()
def _add_cycle(
    sums: CycleSums,
    r: Rows,
    encoded: Rows,
    centre: Rows,
    logits: Rows | None,
    encoded_logits: Rows | None,
    label: Rows | None,
    mask: Rows,
) -> CycleSums:
    r, encoded, centre = (x.astype(jnp.float64) for x in (r, encoded, centre))
    finite = jnp.all(jnp.isfinite(r) & jnp.isfinite(encoded), axis=1)
    kept = mask & finite
    r, encoded = (jnp.where(kept[:, None], x, 0.0) for x in (r, encoded))
    values = [_cosine(r, encoded), _cosine(r - centre[None, :], encoded - centre[None, :])]
    missing = jnp.full(r.shape[:1], jnp.nan)
    if logits is None or encoded_logits is None:
        values += [missing] * 6
    else:
        values += list(_among(encoded_logits, jnp.argmax(logits, axis=1)))
        for scores in (encoded_logits, logits):
            values += [missing] * 2 if label is None else list(_among(scores, label))
    samples = jnp.stack(values, axis=1)
    return CycleSums(
        streaming.add_correlations(sums.units, r, encoded, kept),
        streaming.add_means(sums.samples, samples, kept[:, None] & ~jnp.isnan(samples)),
        sums.nonfinite + jnp.sum(mask & ~finite, dtype=jnp.float64),
    )


@float64.jit()
def _add_class_means(sums: ClassMeans, w: Rows, label: Rows, mask: Rows) -> ClassMeans:
    weight = mask.astype(jnp.float64)
    w = jnp.where(mask[:, None], w, jnp.zeros((), w.dtype)).astype(jnp.float64)
    row = jnp.where(label >= 0, label, sums.count.shape[0])  # out of range is dropped, negative would wrap around
    return ClassMeans(sums.count.at[row].add(weight, mode="drop"), sums.total.at[row].add(w, mode="drop"))


def _cosine(a: Array, b: Array) -> Array:
    """Cosine of rows; NaN where either is 0."""
    norms = jnp.sqrt(jnp.sum(a**2, axis=1) * jnp.sum(b**2, axis=1))
    return jnp.where(norms > 0, jnp.sum(a * b, axis=1) / jnp.where(norms > 0, norms, 1.0), jnp.nan)


def _among(logits: Rows, target: Rows) -> tuple[Array, Array]:
    """Whether `target` is the likeliest class, and whether it is among the five likeliest; NaN without a target.

    By rank: how many logits are larger, or equal and earlier, which is argmax's and a stable sort's order.
    """
    safe = jnp.maximum(target, 0)[:, None].astype(jnp.int32)
    own = jnp.take_along_axis(logits, safe, axis=1)
    earlier = jnp.arange(logits.shape[1], dtype=jnp.int32)[None, :] < safe
    rank = jnp.sum(~(logits < own) & ((logits != own) | earlier), axis=1)  # a NaN logit counts as larger
    known = (target >= 0) & (target < logits.shape[1])
    first, five = (jnp.where(known, (rank < k).astype(jnp.float64), jnp.nan) for k in (1, 5))
    return first, five
