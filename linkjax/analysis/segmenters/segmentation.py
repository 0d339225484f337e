"""Training the linear segmentation head: multinomial logistic regression on feature maps, which is convex."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Integer

from linkjax.config import positive
from linkjax.errors import InputError
from linkjax.models.build import fill
from linkjax.models.linear_segmenter import LinearSegmenter, LinearSegmenterSpec, linear_scores
from linkjax.ops.resize import resize

#: The label of a pixel nobody labelled: it does not count.
UNLABELLED = -1
_RELATIVE_GAIN = 1e-7  # of the objective, in one step: below it float32 cannot tell a better point from a worse one


@dataclasses.dataclass(frozen=True)
class LinearTraining:
    """How a linear head is trained."""

    weight_decay: float = 1e-3  # adds weight_decay / 2 · Σ kernel² to the mean loss, of standardised features
    balance: float = 0.0  # pixels of a part weigh (share of the part)^−balance: 0 all the same, 1 all parts the same
    iterations: int = 100  # of L-BFGS, at most
    tolerance: float = 1e-5  # stop where no derivative of the objective is larger
    size: int = 64  # features and labels finer than this many pixels a side are averaged down to it for training

    def __post_init__(self) -> None:
        positive(weight_decay=self.weight_decay, iterations=self.iterations, size=self.size)
        if not 0 <= self.balance <= 1:
            raise InputError(f"balance: expected a number from 0 to 1, found {self.balance}")


class LinearHead(NamedTuple):
    """A trained head for features as they are, and how training ended."""

    kernels: dict[str, jax.Array]  # [C, P] each, standardisation folded in
    bias: jax.Array  # [P]
    objective: jax.Array  # mean weighted cross-entropy and penalty, in nats
    steps: jax.Array  # of L-BFGS
    gradient: jax.Array  # largest derivative of the objective, in size


def training_maps(features: Mapping[str, Float[Array, "B h w C"]], size: int) -> dict[str, Float[Array, "B _h _w C"]]:
    """Feature maps for training: those finer than `size` averaged down to it (antialiased bilinear)."""
    return {name: resize(maps, size, size) if min(maps.shape[1:3]) > size else maps for name, maps in features.items()}


@functools.partial(jax.jit, static_argnames=("num_parts", "size"))
def training_targets(labels: Integer[Array, "B H W"], num_parts: int, size: int) -> Float[Array, "B s s P"]:
    """Share of every part in every pixel of a size × size grid; unlabelled pixels have no share.

    Args:
      labels: 0 … num_parts − 1; all others (`UNLABELLED`) count as not labelled.
    """
    shares = jax.nn.one_hot(labels, num_parts, dtype=jnp.float32)
    return resize(shares, size, size) if size < shares.shape[1] else shares


@functools.partial(jax.jit, static_argnames="training")
def train_linear(
    features: dict[str, Float[Array, "N h w C"]],
    targets: Float[Array, "N s s P"],
    used: Bool[Array, "N"],
    training: LinearTraining,
) -> LinearHead:
    """The minimum of Σ ω_p t log(1 / softmax(scores)_p) / Σ ω_p t + weight_decay / 2 · Σ kernel².

    Sums run over pixels of the used images and parts p; t are the `targets`; ω_p = (share of part p)^−balance, of what
    is used. Features are standardised by the used images' mean and deviation of each channel, so that the penalty
    means the same for every layer and the problem is well conditioned; a channel that does not vary gets no weight.
    Solved by L-BFGS with a zoom line search from zero; the minimum is unique, but for a constant added to all parts'
    bias.

    Args:
      features: {layer: maps}, as `training_maps` gives them.
      targets: as `training_targets` gives them.
      used: which images count; the same compiled program serves every fold.
    Errors: InputError if the number of images differs.
    """
    counts = {len(maps) for maps in features.values()} | {len(targets), len(used)}
    if len(counts) != 1:
        raise InputError(f"expected features, targets and the choice of images for the same images, found {counts}")
    counted = used.astype(jnp.float32)[:, None, None, None]
    standard = {name: _standard(maps, counted) for name, maps in features.items()}
    targets = targets * counted
    weighted = targets * _part_weights(targets, training.balance)[None, None, None, :]
    weighted = weighted / jnp.maximum(jnp.sum(weighted), 1e-30)

    def folded(params: dict[str, Array], bias: Array) -> tuple[dict[str, Array], Array]:
        kernels = {name: params[name] * standard[name][1][:, None] for name in params}
        shift = sum(jnp.matmul(standard[name][0], kernels[name], precision="highest") for name in kernels)
        return kernels, bias - shift

    def objective(params: tuple[dict[str, Array], Array]) -> Array:
        scores = linear_scores(*folded(*params), features, targets.shape[1])
        penalty = sum(jnp.sum(jnp.square(kernel)) for kernel in params[0].values())
        return -jnp.sum(weighted * jax.nn.log_softmax(scores, axis=-1)) + 0.5 * training.weight_decay * penalty

    parts = targets.shape[-1]
    start = ({name: jnp.zeros((maps.shape[-1], parts)) for name, maps in features.items()}, jnp.zeros(parts))
    solution, value, steps, gradient = _minimise(objective, start, training)
    kernels, bias = folded(*solution)
    return LinearHead(kernels, bias - jnp.mean(bias), value, steps, gradient)


def linear_segmenter(spec: LinearSegmenterSpec, head: LinearHead) -> LinearSegmenter:
    """The model of a trained head."""
    arrays = {f"kernels.{name}": kernel for name, kernel in head.kernels.items()}
    return fill(LinearSegmenter, spec, {**arrays, "bias": head.bias})


def held_out_labels(
    features: dict[str, Float[Array, "N h w C"]],
    targets: Float[Array, "N s s P"],
    fold: Integer[np.ndarray, "N"],
    training: LinearTraining,
    used: Bool[np.ndarray, "N"] | None = None,
) -> Integer[np.ndarray, "N s s"]:
    """Labels of every image by a head trained on the images of all other folds, of those `used` if not of all."""
    predicted = np.zeros(targets.shape[:3], np.int32)
    for held in np.unique(fold):
        others = fold != held if used is None else (fold != held) & used
        head = train_linear(features, targets, jnp.asarray(others), training)
        rows = np.flatnonzero(fold == held)
        predicted[rows] = _labels(head.kernels, head.bias, features, jnp.asarray(rows), targets.shape[1])
    return predicted


def target_labels(targets: Float[Array, "N s s P"]) -> Integer[np.ndarray, "N s s"]:
    """The part with the largest share of each pixel; `UNLABELLED` where nothing is labelled."""
    host = np.asarray(targets)
    return np.where(host.sum(-1) > 0, host.argmax(-1), UNLABELLED)


@functools.partial(jax.jit, static_argnames="size")
def _labels(kernels: dict[str, Array], bias: Array, features: dict[str, Array], rows: Array, size: int) -> Array:
    features = {name: maps[rows] for name, maps in features.items()}
    return jnp.argmax(linear_scores(kernels, bias, features, size), axis=-1).astype(jnp.int32)


def _standard(maps: Array, weight: Array) -> tuple[Array, Array]:
    """Mean of each channel over the images of weight 1, and 1 / deviation, 0 where the channel does not vary."""
    count = jnp.maximum(jnp.sum(weight) * (maps.shape[1] * maps.shape[2]), 1.0)
    mean = jnp.sum(maps * weight, axis=(0, 1, 2)) / count
    deviation = jnp.sqrt(jnp.sum(jnp.square(maps - mean[None, None, None, :]) * weight, axis=(0, 1, 2)) / count)
    varies = deviation > 1e-6 * jnp.maximum(jnp.abs(mean), 1e-6)
    return mean, jnp.where(varies, 1.0 / jnp.where(varies, deviation, 1.0), 0.0)


def _part_weights(targets: Array, balance: float) -> Array:
    share = jnp.sum(targets, axis=(0, 1, 2))
    share = share / jnp.maximum(jnp.sum(share), 1.0)
    return jnp.where(share > 0, jnp.where(share > 0, share, 1.0) ** -balance, 0.0)


def _minimise(
    objective: Callable[[Any], Array], start: Any, training: LinearTraining
) -> tuple[Any, Array, Array, Array]:
    """L-BFGS until no derivative exceeds the tolerance, the objective stands still, or the steps run out."""
    solver = optax.lbfgs(memory_size=20)

    def step(carry: Any) -> Any:
        params, state, before, _, count = carry
        value, gradient = optax.value_and_grad_from_state(objective)(params, state=state)
        updates, state = solver.update(gradient, state, params, value=value, grad=gradient, value_fn=objective)
        gain = jnp.where(count < 2, jnp.inf, before - value)
        return optax.apply_updates(params, updates), state, value, gain, count + 1

    def going(carry: Any) -> Array:
        _, state, value, gain, count = carry
        steep = (count == 0) | (_largest(optax.tree.get(state, "grad")) > training.tolerance)
        return steep & (gain > _RELATIVE_GAIN * value) & (count < training.iterations)

    zero, far = jnp.zeros((), jnp.int32), jnp.asarray(jnp.inf, jnp.float32)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # inside optax
        carry = (start, solver.init(start), jnp.float32(1e30), far, zero)
        params, state, _, _, count = jax.lax.while_loop(going, step, carry)
        value, gradient = optax.tree.get(state, "value"), optax.tree.get(state, "grad")  # where the line search ended
    return params, value, count, _largest(gradient)


def _largest(tree: Any) -> Array:
    return jnp.max(jnp.stack([jnp.max(jnp.abs(leaf)) for leaf in jax.tree.leaves(tree)]))
