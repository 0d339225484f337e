"""A nonlinear link, trained by minibatches from the best linear one."""

import dataclasses
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float

from linkjax.analysis import linear
from linkjax.analysis.moments import Moments
from linkjax.models.build import fill
from linkjax.models.link import LinkSpec, MLPLink, standardised

Pairs = tuple[Float[Array | np.ndarray, "batch units"], Float[Array | np.ndarray, "batch w_dim"]]


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


class History(NamedTuple):
    """What training did; errors are means over samples and dimensions of (w − ŵ)²."""

    train: tuple[float, ...]  # per epoch, while training
    validation: tuple[float, ...]  # first the linear start, then per epoch
    best: int  # index into `validation` of the weights that were kept; 0: the network did not help


def start(moments: Moments, held_out: Moments, training: Training, seed: int) -> MLPLink:
    """The link that training starts from: the ridge link of the best alpha on `held_out`, and a silent network."""
    spectrum = linear.decompose(moments)
    units, w_dim = moments.S_rw.shape
    alphas = max(float(spectrum.eigenvalues[-1]), 1e-30) * np.logspace(-9, 1, 21)
    errors = linear.validation_errors(moments, held_out, alphas, spectrum)
    solution = linear.solve_ridge(moments, float(alphas[int(np.argmin(errors))]), spectrum)
    count, S_rr, S_ww, mean_r, mean_w = (
        np.asarray(array) for array in (moments.count, moments.S_rr, moments.S_ww, moments.mean_r, moments.mean_w)
    )
    r_scale, w_scale = _scale(np.diagonal(S_rr) / count, mean_r), _scale(S_ww / count, mean_w)
    spec = LinkSpec(units, w_dim, method="mlp", hidden=training.hidden, activation=training.activation)
    fresh = MLPLink(spec, rngs=nnx.Rngs(seed))
    weights = {f"kernels.{index}": kernel[...] for index, kernel in enumerate(fresh.kernels)}
    weights |= {f"biases.{index}": bias[...] for index, bias in enumerate(fresh.biases)}
    linear_part = {
        "r_mean": mean_r,
        "r_scale": r_scale,
        "w_mean": mean_w,
        "w_scale": w_scale,
        "skip": solution.kernel * r_scale[:, None] / w_scale[None, :],
        "bias": (solution.bias + mean_r @ solution.kernel - mean_w) / w_scale,
        "head": fresh.head[...],
    }
    return fill(MLPLink, spec, weights | {name: np.float32(value) for name, value in linear_part.items()})


def fit_mlp(
    pairs: Pairs, validation: Pairs, moments: Moments, held_out: Moments, training: Training, seed: int = 0
) -> tuple[MLPLink, History]:
    """An MLP link trained on arrays in memory: one compiled scan per epoch over a seeded permutation.

    Args:
      pairs: training data; moments: their moments.
      validation: data that decide when to stop and which weights to keep; held_out: their moments.
    Returns: the link of the epoch with the lowest validation error, and the history. Since epoch 0 is the best ridge
      link, the validation error is never above that one's.
    """
    r, w = (jnp.asarray(array, jnp.float32) for array in pairs)
    batch = min(training.batch, r.shape[0])
    key = jax.random.key(seed)

    def run(epoch: int, link: MLPLink, optimiser: optax.OptState) -> tuple[MLPLink, optax.OptState, float]:
        link, optimiser, loss = _epoch(link, optimiser, r, w, jax.random.fold_in(key, epoch), training=training)
        return link, optimiser, float(loss)

    val = jnp.asarray(validation[0], jnp.float32), jnp.asarray(validation[1], jnp.float32)
    first = start(moments, held_out, training, seed)
    return _train(first, run, lambda: _batches(val, batch), training, r.shape[0] // batch)


def fit_mlp_stream(
    batches: Callable[[int], Iterable[Pairs]],
    validation: Callable[[], Iterable[Pairs]],
    moments: Moments,
    held_out: Moments,
    training: Training,
    steps: int,
    seed: int = 0,
) -> tuple[MLPLink, History]:
    """An MLP link trained on data that do not fit in memory.

    Args:
      batches: epoch → the training pairs in batches of one shape, in an order of that epoch's own.
      validation: → the validation pairs in batches.
      steps: batches per epoch, for the learning rate's schedule.
    Returns: as `fit_mlp`.
    """

    def run(epoch: int, link: MLPLink, optimiser: optax.OptState) -> tuple[MLPLink, optax.OptState, float]:
        losses = []
        for r, w in batches(epoch):
            r, w = jnp.asarray(r, jnp.float32), jnp.asarray(w, jnp.float32)
            link, optimiser, loss = _step(link, optimiser, r, w, training=training, steps=steps)
            losses.append(loss)
        return link, optimiser, float(np.mean(jax.device_get(losses)))

    return _train(start(moments, held_out, training, seed), run, validation, training, steps)


def _train(
    link: MLPLink,
    run: Callable[[int, MLPLink, optax.OptState], tuple[MLPLink, optax.OptState, float]],
    validation: Callable[[], Iterable[Pairs]],
    training: Training,
    steps: int,
) -> tuple[MLPLink, History]:
    def error(candidate: MLPLink) -> float:
        parts = [(_error(candidate, r, w), len(r)) for r, w in validation()]
        return float(sum(float(part) * n for part, n in parts) / sum(n for _, n in parts))

    optimiser = _optimiser(training, steps).init(nnx.state(link, nnx.Param))
    best, kept, train, held_out = 0, link, [], [error(link)]
    for epoch in range(training.epochs):
        link, optimiser, loss = run(epoch, link, optimiser)
        train.append(loss)
        held_out.append(error(link))
        if held_out[-1] < held_out[best]:
            best, kept = epoch + 1, link
        if epoch + 1 - best >= training.patience or not np.isfinite(loss):
            break
    return kept, History(tuple(train), tuple(held_out), best)


def _optimiser(training: Training, steps: int) -> optax.GradientTransformation:
    total = training.epochs * steps
    rate = optax.warmup_cosine_decay_schedule(0.0, training.learning_rate, max(total // 20, 1), max(total, 2))
    return optax.adamw(rate, weight_decay=training.weight_decay, mask=_decayed)


def _decayed(params: nnx.State) -> nnx.State:
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf.ndim == 2 and "skip" not in jax.tree_util.keystr(path), params
    )


def _loss(link: MLPLink, x: Array, w: Array) -> Array:
    """Squared error in W itself, as of the linear links: wide dimensions weigh more than narrow ones."""
    errors = standardised(link, x) * link.w_scale[...][None] - (w - link.w_mean[...][None])
    return jnp.mean(errors**2)


def _standardise(link: MLPLink, r: Array) -> Array:
    return (r - link.r_mean[...][None]) / link.r_scale[...][None]


def _update(
    link: MLPLink, optimiser: optax.OptState, r: Array, w: Array, training: Training, steps: int
) -> tuple[MLPLink, optax.OptState, Array]:
    graph, params, buffers = nnx.split(link, nnx.Param, ...)
    # Relative to the variance of w, or the size of the latents would decide how much Adam's epsilon matters.
    size = jnp.mean(link.w_scale[...] ** 2)

    def objective(params: nnx.State) -> Array:
        model = nnx.merge(graph, params, buffers)
        return _loss(model, _standardise(model, r), w) / size

    loss, gradients = jax.value_and_grad(objective)(params)
    with jax.numpy_dtype_promotion("standard"):  # optax raises float decay rates to integer step counts
        updates, optimiser = _optimiser(training, steps).update(gradients, optimiser, params)
    return nnx.merge(graph, optax.apply_updates(params, updates), buffers), optimiser, loss * size


_step = jax.jit(_update, static_argnames=("training", "steps"))
_error = jax.jit(lambda link, r, w: _loss(link, _standardise(link, r), w))


def _run_epoch(
    link: MLPLink, optimiser: optax.OptState, r: Array, w: Array, key: Array, *, training: Training
) -> tuple[MLPLink, optax.OptState, Array]:
    batch = min(training.batch, r.shape[0])
    steps = r.shape[0] // batch
    rows = jax.random.permutation(key, r.shape[0])[: steps * batch].reshape(steps, batch)

    def step(carry: tuple[MLPLink, optax.OptState], index: Array) -> tuple[tuple[MLPLink, optax.OptState], Array]:
        link, optimiser, loss = _update(*carry, r[index], w[index], training, steps)
        return (link, optimiser), loss

    (link, optimiser), losses = jax.lax.scan(step, (link, optimiser), rows)
    return link, optimiser, jnp.mean(losses)


_epoch = jax.jit(_run_epoch, static_argnames=("training",))


def _batches(pairs: Pairs, batch: int) -> Iterable[Pairs]:
    r, w = pairs
    for begin in range(0, r.shape[0], batch):
        yield r[begin : begin + batch], w[begin : begin + batch]


def _scale(variance: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Standard deviations; the largest one instead where there is next to none, which would blow up what is new."""
    deviation = np.sqrt(np.maximum(variance, 0.0))
    largest = deviation.max() or 1.0
    return np.where(deviation > 1e-6 * np.maximum(np.abs(mean), largest), deviation, largest)
