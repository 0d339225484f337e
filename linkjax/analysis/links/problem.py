"""The problem of fitting a link, as every solver sees it: pairs in memory or stored, settings, and the result."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol

import jax
import numpy as np
from jaxtyping import Array, Float

from linkjax.analysis.links import moments
from linkjax.analysis.links.host_moments import Sums
from linkjax.analysis.links.linear import Solution
from linkjax.analysis.links.moments import Moments, Products
from linkjax.models.build import fill
from linkjax.models.link import Link, LinkSpec, MLPLink

Split = Literal["train", "val"]
Pairs = tuple[Float[Array | np.ndarray, "batch units"], Float[Array | np.ndarray, "batch w_dim"]]

#: Samples per block of in-memory data: large enough that the product outweighs the addition of its result.
BLOCK = 8192


@dataclasses.dataclass(frozen=True)
class Training:
    """How an MLP link is trained."""

    hidden: tuple[int, ...] = (512,)  # widths of the hidden layers
    activation: str = "gelu"  # relu | gelu | silu | tanh
    epochs: int = 100  # at most; the learning rate falls to 0 over these
    batch: int = 256  # samples a step
    learning_rate: float = 1e-3  # peak, after a rise over the first twentieth
    weight_decay: float = 1e-3  # decoupled, on the network's matrices; not on the straight path
    patience: int = 15  # stop after so many epochs without a better validation error
    validation_share: float = 0.1  # of the samples, held out where no validation data are given


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is asked of a solver; meanings as the arguments of `fit.fit_link`."""

    method: str = "ols"
    alpha: float = 1.0
    l1_ratio: float = 0.5
    alphas: tuple[float, ...] = ()
    rank: int = 0
    training: Training = Training()
    seed: int = 0
    diagnose: bool = True  # also the spectrum of r and errors, which cost a decomposition


class Fit(NamedTuple):
    """The result of every solver."""

    link: Link | MLPLink
    diagnostics: dict[str, Any]  # plain numbers by name, for a manifest


class Problem(Protocol):
    """Pairs (r, w) of a training split, and of a validation split where there is one."""

    @property
    def moments_fit(self) -> bool:
        """Whether second moments fit in memory."""
        ...

    @property
    def prefers_gram(self) -> bool:
        """Whether the samples' Gram matrix is to take the place of the units' moments."""
        ...

    def count(self, split: Split) -> int:
        """Pairs of a split; 0 where there is none."""
        ...

    def moments(self, split: Split) -> Moments:
        """Second moments of a split."""
        ...

    def whole(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of a split, on the host."""
        ...

    def blocks(self, split: Split) -> Iterator[Pairs]:
        """All pairs of a split block by block, on the host."""
        ...

    def batches(self, split: Split, size: int) -> Iterator[Pairs]:
        """All pairs of a split where weights are trained: at most `size` at a time, or as they are read from disk."""
        ...

    def shuffled(self, size: int, seed: int, epoch: int) -> Iterator[Pairs]:
        """Training pairs in batches of `size` where weights are trained, in an order of (seed, epoch)."""
        ...

    def training(self, name: str) -> dict[str, Any]:
        """Arguments `place`, `agree`, `saved` and `save` of a training of this name, for `mlp.fit_mlp_stream`."""
        ...


class ArrayPairs:
    """Pairs in memory.

    Args:
      train: checked r and w; val: held-out ones, or None.
      products: see `moments.update`.
    """

    moments_fit = True

    def __init__(self, train: Pairs, val: Pairs | None = None, products: Products = "float64"):
        self._pairs: dict[str, Pairs] = {"train": train} | ({} if val is None else {"val": val})
        self._products: Products = products
        self._moments: dict[str, Moments] = {}
        self._float32: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    @property
    def prefers_gram(self) -> bool:
        """True where samples are fewer than units."""
        r, _ = self._pairs["train"]
        return r.shape[0] < r.shape[1] and self._products == "float64"

    @property
    def known_moments(self) -> Moments | None:
        """Moments of the training pairs, if a solver asked for them."""
        return self._moments.get("train")

    def count(self, split: Split) -> int:
        """Pairs of a split; 0 where there is none."""
        return len(self._pairs[split][0]) if split in self._pairs else 0

    def moments(self, split: Split) -> Moments:
        """Second moments of a split, computed once."""
        if split not in self._moments:
            self._moments[split] = accumulate(*self._pairs[split], self._products)
        return self._moments[split]

    def whole(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        """All pairs of a split, on the host."""
        r, w = self._pairs[split]
        return np.asarray(r), np.asarray(w)

    def blocks(self, split: Split) -> Iterator[Pairs]:
        """The pairs in one block."""
        yield self.whole(split)

    def batches(self, split: Split, size: int) -> Iterator[Pairs]:
        """Pairs in float32, `size` at a time, in their order."""
        r, w = self._in_float32(split)
        for begin in range(0, len(r), size):
            yield r[begin : begin + size], w[begin : begin + size]

    def shuffled(self, size: int, seed: int, epoch: int) -> Iterator[Pairs]:
        """Training pairs in float32, in an order of (seed, epoch); what is left over at the end is dropped."""
        r, w = self._in_float32("train")
        steps = len(r) // size
        for rows in np.random.default_rng([seed, epoch]).permutation(len(r))[: steps * size].reshape(steps, size):
            yield r[rows], w[rows]

    def training(self, name: str) -> dict[str, Any]:
        """Nothing: a training in memory is not kept."""
        del name
        return {}

    def _in_float32(self, split: Split) -> tuple[np.ndarray, np.ndarray]:
        if split not in self._float32:
            r, w = self._pairs[split]
            self._float32[split] = np.asarray(r, np.float32), np.asarray(w, np.float32)
        return self._float32[split]


def linear_settings(spec: LinkSpec) -> Settings:
    """Settings of the linear link that is fitted as a given one was; least squares in the place of a network."""
    method = spec.method if spec.method != "mlp" else "ols"
    return Settings(method, spec.alpha if method != "ols" else 1.0, spec.l1_ratio)


def used_alpha(method: str, alpha: float) -> float:
    """The penalty that a method applies: none for least squares."""
    return 0.0 if method == "ols" else float(alpha)


def linear_link(solution: Solution, method: str, alpha: float, l1_ratio: float, rank: int = 0) -> Link:
    """The model of a linear solution, float32."""
    units, w_dim = solution.kernel.shape
    ratio = float(l1_ratio) if method == "elastic_net" else 0.0
    spec = LinkSpec(units, w_dim, method, used_alpha(method, alpha), ratio, rank=rank)  # pyright: ignore[reportArgumentType]
    return fill(Link, spec, {"kernel": np.float32(solution.kernel), "bias": np.float32(solution.bias)})


def block_errors(solution: Solution, blocks: Iterator[Pairs]) -> dict[str, float]:
    """Squared error and R² of a linear solution over pairs that come block by block."""
    count, mean, squares, errors = 0, 0.0, 0.0, 0.0
    for r, w in blocks:
        errors += float(np.sum((w - r @ solution.kernel - solution.bias) ** 2))
        w = np.asarray(w).astype(np.float64)
        delta = w.mean(axis=0) - mean
        squares += float(np.sum(w.var(axis=0)) * len(w) + count * len(w) / (count + len(w)) * np.sum(delta**2))
        mean, count = mean + len(w) / (count + len(w)) * delta, count + len(w)
    return {
        "val_mse": errors / (count * solution.bias.size),
        "val_r2": 1 - errors / squares if squares > 0 else math.nan,
    }


def accumulate(
    r: Array | np.ndarray, w: Array | np.ndarray, products: Products = "float64", block: int | None = None
) -> Moments:
    """Moments of arrays in memory, block by block: by the host's BLAS where the host computes, else on the device."""
    if jax.default_backend() == "cpu" and isinstance(r, np.ndarray) and isinstance(w, np.ndarray):
        sums = Sums(r.shape[1], w.shape[1], products)
        for begin in range(0, r.shape[0], block or r.shape[0]):
            sums.add(r[begin:][:block], w[begin:][:block])
        return sums.moments()
    block = min(block or BLOCK, r.shape[0])
    total = moments.empty(r.shape[1], w.shape[1])
    for rows_r, rows_w, mask in _padded_blocks(r, w, block):  # so that one program does all
        total = moments.update(total, rows_r, rows_w, mask, products=products)
    return total


def _padded_blocks(r: Array | np.ndarray, w: Array | np.ndarray, block: int) -> Iterator[tuple]:
    for begin in range(0, r.shape[0], block):
        rows_r, rows_w = r[begin : begin + block], w[begin : begin + block]
        missing = block - rows_r.shape[0]
        if missing:
            rows_r, rows_w = (np.pad(np.asarray(rows), ((0, missing), (0, 0))) for rows in (rows_r, rows_w))
        yield rows_r, rows_w, np.arange(block) < block - missing
