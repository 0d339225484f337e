"""A nonlinear link, trained by minibatches from the best linear one."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array

from linkjax import numerics
from linkjax.analysis.links import linear
from linkjax.analysis.links.moments import Moments
from linkjax.analysis.links.problem import Fit, Pairs, Problem, Settings, Training
from linkjax.analysis.links.training_state import TrainingState
from linkjax.models.build import fill
from linkjax.models.link import LinkSpec, MLPLink, standardised


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


def fit(problem: Problem, settings: Settings) -> Fit:
    """Train a network on a problem's pairs, from the best ridge link by their moments."""
    link, history = train(problem, settings.training, settings.seed)
    held_out, best = problem.moments("val"), history.validation[history.best]
    return Fit(
        link,
        {
            "method": "mlp",
            "count": problem.count("train"),
            "train_mse": history.train[history.best - 1] if history.best else None,
            "val_mse": best,
            "val_r2": 1 - best / float(np.asarray(held_out.S_ww).mean() / float(held_out.count)),
            "linear_val_mse": history.validation[0],
            "epochs": len(history.train),
            "best_epoch": history.best,
            **({} if np.isfinite(history.train[-1:]).all() else {"diverged_in_epoch": len(history.train)}),
        },
    )


def train(problem: Problem, training: Training, seed: int = 0) -> tuple[MLPLink, History]:
    """Train a network on a problem's pairs, in an order of (seed, epoch); otherwise as `fit_mlp_stream`."""
    count = problem.count("train")
    training = dataclasses.replace(training, batch=min(training.batch, count))
    return fit_mlp_stream(
        lambda epoch: problem.shuffled(training.batch, seed, epoch),
        lambda: problem.batches("val", training.batch),
        problem.moments("train"),
        problem.moments("val"),
        training,
        count // training.batch,
        seed,
        **problem.training("mlp"),
    )


def fit_mlp_stream(
    batches: Callable[[int], Iterable[Pairs]],
    validation: Callable[[], Iterable[Pairs]],
    moments: Moments,
    held_out: Moments,
    training: Training,
    steps: int,
    seed: int = 0,
    *,
    place: Callable[[Any], Any] = lambda tree: tree,
    saved: Callable[[dict[str, Array]], TrainingState | None] = lambda like: None,
    save: Callable[[int, TrainingState], None] = lambda epoch, state: None,
    agree: Callable[[Any], Any] = lambda value: value,
) -> tuple[MLPLink, History]:
    """An MLP link trained on data that do not fit in memory.

    Batches may lie on the devices already, split among them: the gradient is then that of the whole batch, summed over
    the devices.

    Args:
      batches: epoch → the training pairs in batches of one shape, in an order of that epoch's own.
      validation: → the validation pairs in batches.
      steps: batches per epoch, for the learning rate's schedule.
      place: puts weights and the optimiser's state where they are used (a copy on every device).
      saved: what `save` kept of an earlier run, given arrays of its names and shapes; called once.
      save: called after every epoch; a training that goes on from there gives the bits of one that was never stopped.
      agree: of several processes, makes a value that decides how to go on the same in all.
    Returns: the link of the epoch with the lowest validation error, and the history. Since epoch 0 is the best ridge
      link, the validation error is never above that one's.
    """
    first = start(moments, held_out, training, seed)
    graph, params, buffers = nnx.split(first, nnx.Param, ...)
    state = {"params": params, "optimiser": _optimiser(training, steps).init(params), "kept": params}
    earlier = saved(_named(state))

    def error(candidate: nnx.State) -> float:
        link = nnx.merge(graph, candidate, buffers)
        parts = [(_error(link, r, w), len(r)) for r, w in validation()]
        return float(sum(float(part) * n for part, n in parts) / sum(n for _, n in parts))

    if earlier is None:
        train, held, best = [], [agree(error(place(params)))], 0
    else:
        state = _unnamed(state, earlier.arrays)
        train, held, best = (earlier.note[name] for name in ("train", "validation", "best"))
    state, buffers = place(state), place(buffers)
    while len(train) < training.epochs and len(train) - best < training.patience and np.isfinite(train[-1:]).all():
        losses = []
        for r, w in batches(len(train)):
            r, w = jnp.asarray(r, jnp.float32), jnp.asarray(w, jnp.float32)
            state, loss = _step(graph, state, buffers, r, w, training=training, steps=steps)
            losses.append(loss)
        trained, validated = agree([float(np.mean(jax.device_get(losses))), error(state["params"])])
        train.append(trained)
        held.append(validated)
        if held[-1] < held[best]:
            best = len(train)
            state["kept"] = jax.tree.map(jnp.copy, state["params"])
        save(len(train), TrainingState(_named(state), {"train": train, "validation": held, "best": best}))
    return nnx.merge(graph, jax.device_get(state["kept"]), jax.device_get(buffers)), History(
        tuple(train), tuple(held), best
    )


def _named(tree: Any) -> dict[str, Array]:
    """A flat dictionary of arrays: what a checkpoint holds must not depend on Flax's or optax's classes."""
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _unnamed(like: Any, arrays: Mapping[str, Any]) -> Any:
    paths, structure = jax.tree_util.tree_flatten_with_path(like)
    return jax.tree.unflatten(structure, [jnp.asarray(arrays[jax.tree_util.keystr(path)]) for path, _ in paths])


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


@functools.partial(numerics.jit, static=("graph", "training", "steps"))
def _step(
    graph: Any, state: dict[str, Any], buffers: nnx.State, r: Array, w: Array, *, training: Training, steps: int
) -> tuple[dict[str, Any], Array]:
    # Relative to the variance of w, or the size of the latents would decide how much Adam's epsilon matters.
    size = jnp.mean(nnx.merge(graph, state["params"], buffers).w_scale[...] ** 2)

    def objective(params: nnx.State) -> Array:
        model = nnx.merge(graph, params, buffers)
        return _loss(model, _standardise(model, r), w) / size

    loss, gradients = jax.value_and_grad(objective)(state["params"])
    with jax.numpy_dtype_promotion("standard"):  # optax raises float decay rates to integer step counts
        updates, optimiser = _optimiser(training, steps).update(gradients, state["optimiser"], state["params"])
    params = optax.apply_updates(state["params"], updates)
    return {"params": params, "optimiser": optimiser, "kept": state["kept"]}, loss * size


_error = jax.jit(lambda link, r, w: _loss(link, _standardise(link, r), w))


def _scale(variance: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Standard deviations; the largest one instead where there is next to none, which would blow up what is new."""
    deviation = np.sqrt(np.maximum(variance, 0.0))
    largest = deviation.max() or 1.0
    return np.where(deviation > 1e-6 * np.maximum(np.abs(mean), largest), deviation, largest)
