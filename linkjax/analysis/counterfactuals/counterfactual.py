"""The original's counterfactual search: gradient descent on a shift of r until the drawn image changes class.

Many searches run side by side in one compiled loop: an item is a pair (sample, target), and each stops by itself.
"""

import dataclasses
import enum
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from linkjax.errors import InputError


class Outcome(enum.IntEnum):
    """How a search ended."""

    PADDING = -1  # masked out, never run
    REACHED = 0  # the image is classified as the target
    MAX_STEPS = 1  # not classified as the target after the last step; more steps can go on from `shift`
    NONFINITE = 2  # the next shift or the logits were not finite; `shift` is the last finite one
    ALREADY = 3  # the start was classified as the target: no step was taken


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Constants of the search; the defaults are the original's."""

    step_size: float = 0.5  # of plain gradient descent on the shift
    origin_weight: float = 0.6  # of the origin's logit in the loss
    similarity_weight: float = 10.0  # of the cosine in w in the loss
    max_steps: int = 2000
    check_every: int = 1  # steps between classifications of the image (the original: 1)
    changed_above: float = 0.0  # activation units; a unit counts as changed if it differs by more

    def __post_init__(self):
        if self.max_steps < 0 or self.check_every < 1:
            raise InputError(
                f"expected max_steps ≥ 0 and check_every ≥ 1, found {self.max_steps} and {self.check_every}"
            )


class Counterfactuals(NamedTuple):
    """One row per item."""

    shift: jax.Array  # [N, units], s
    r: jax.Array  # [N, units], relu(r − s): what the image is made from
    w: jax.Array  # [N, w_dim], link of it
    outcome: jax.Array  # [N] int, Outcome
    steps: jax.Array  # [N] int, gradient steps taken
    images: jax.Array  # [N] int, images drawn and classified on the way
    logits: jax.Array  # [N, classes], when last classified
    probability: jax.Array  # [N], of the target then (softmax)
    loss: jax.Array  # [N], at the shift
    cosine: jax.Array  # [N], cos(link(r), link(r − s))
    distance_r: jax.Array  # [N], ‖relu(r − s) − r‖₂
    distance_w: jax.Array  # [N], ‖link(relu(r − s)) − link(r)‖₂
    changed: jax.Array  # [N] int, units of relu(r − s) that differ from r by more than `changed_above`


def floor_of(r: Float[np.ndarray, "samples units"]) -> Float[np.ndarray, "units"]:
    """Smallest value a search may set each unit to: 0 where no sample is below 0, as behind a ReLU; else −∞.

    Deviation from the original, whose r is never negative: where a layer's is, relu(r) would be no sample's r.
    """
    return np.where(np.nanmin(r, axis=0, initial=0.0) < 0, -np.inf, 0.0).astype(np.float32)


@functools.partial(jax.jit, static_argnames="units")
def uniform_start(key: Array, names: tuple[Int[Array, "N"], ...], units: int) -> Float[Array, "N units"]:
    """Shifts drawn uniformly from [0, 1), as the original's; row i depends on the key and its names alone.

    Args:
      names: integers that name each item, folded into the key in turn, such as (sample id, origin, target).
    Numerics: the norm is about √(units / 3), 26 for 2048 units, so what is found from here is never a smallest
      change; start from zeros for that.
    """
    keys = jnp.broadcast_to(key, names[0].shape)
    for name in names:
        keys = jax.vmap(jax.random.fold_in)(keys, name.astype(jnp.uint32))
    return jax.vmap(lambda one: jax.random.uniform(one, (units,), jnp.float32))(keys)


def cosine(a: Float[Array, "N D"], b: Float[Array, "N D"]) -> Float[Array, "N"]:
    """a · b / (‖a‖ ‖b‖), each norm at least 1e-8; gradient 0 at a = 0 or b = 0."""

    def norm(v: Array) -> Array:
        return jnp.sqrt(jnp.maximum(jnp.sum(v * v, axis=-1), 1e-16))

    return jnp.sum(a * b, axis=-1) / (norm(a) * norm(b))


class Objective(NamedTuple):
    """The loss and its parts, per item."""

    loss: jax.Array  # [N]
    logits: jax.Array  # [N, classes], head(r − s)
    cosine: jax.Array  # [N]


def objective(
    classifier: Any,
    link: Any,
    r: Float[Array, "N units"],
    shift: Float[Array, "N units"],
    origin: Int[Array, "N"],
    target: Int[Array, "N"],
    recipe: Recipe,
) -> Objective:
    """−pred[target] + 0.6 pred[origin] − 10 cos(link(r), link(r − s)), with pred = head(r − s).

    Logits are raw and r − s may be negative: the loss has no ReLU, while the image is made of relu(r − s). Both are
    the original's.
    """
    moved = r - shift
    logits = classifier.head(moved)

    def of(label: Array) -> Array:
        return jnp.take_along_axis(logits, label[:, None], axis=1)[:, 0]

    similarity = cosine(link(r), link(moved))
    loss = -of(target) + recipe.origin_weight * of(origin) - recipe.similarity_weight * similarity
    return Objective(loss, logits, similarity)


def descend(
    classifier: Any,
    link: Any,
    r: Float[Array, "N units"],
    shift: Float[Array, "N units"],
    origin: Int[Array, "N"],
    target: Int[Array, "N"],
    recipe: Recipe,
) -> Float[Array, "N units"]:
    """The shift after one plain gradient step: s − 0.5 ∂loss/∂s, item by item."""

    def total(s: Array) -> Array:  # an item's loss depends on its own shift only, so the sum's gradient is each one's
        return jnp.sum(objective(classifier, link, r, s, origin, target, recipe).loss)

    return shift - recipe.step_size * jax.grad(total)(shift)


Observe = Callable[[Any, Array, Array], Array]


def through_image(models: tuple[Any, Any], w: Float[Array, "N w_dim"], r: Array) -> Float[Array, "N classes"]:
    """Logits of the image made from w; models = (generator, classifier). The original's stop test."""
    del r
    generator, classifier = models
    return classifier(classifier.preprocess(generator.synthesis(w))).logits


def through_head(classifier: Any, w: Array, r: Float[Array, "N units"]) -> Float[Array, "N classes"]:
    """Logits of r itself, without drawing an image: thousands of times as fast, and only as accurate as the link."""
    del w
    return classifier.head(r)


@functools.partial(jax.jit, static_argnames=("observe", "recipe"))
def search(
    classifier: Any,
    link: Any,
    r: Float[Array, "N units"],
    origin: Int[Array, "N"],
    target: Int[Array, "N"],
    start: Float[Array, "N units"],
    models: Any,
    observe: Observe = through_image,
    recipe: Recipe = Recipe(),
    mask: Bool[Array, "N"] | None = None,
    floor: Float[Array, "1 units"] | float = 0.0,
) -> Counterfactuals:
    """Gradient descent on the shift of every item until its image is classified as its target.

    Before each step (every `check_every`-th, and after the last) the image of link(relu(r − s)) is classified; items
    that are the target stop there. A stopped item is frozen: its shift, logits and count never change again, so its
    row does not depend on how long its neighbours go on.

    Args:
      classifier, link: give the loss: `classifier.head(r)` → logits, `link(r)` → w.
      r: activations of the samples, repeated once per target.
      origin, target: classes.
      start: first shift, such as `uniform_start` (the original's) or zeros.
      models: what `observe` needs, a pytree: (generator, classifier) for `through_image`.
      observe: (models, w, relu(r − s)) → logits [N, classes], rows independent; static.
      recipe: constants; static.
      mask: false for padding; None: all true.
      floor: below which no unit is set, of `floor_of`: what is said of relu(x) holds of max(x, floor).
    Returns: `Counterfactuals`; never raises for numbers, see `outcome`.
    Numerics: gradient descent keeps no state but the shift, so a search that ended at `MAX_STEPS` goes on exactly by
      starting from its `shift` (max_steps a multiple of check_every).
    Deviations from the original: the start itself is tested too (`ALREADY`); a search that fails returns its last
      finite shift rather than an exception; the shift is returned.
    """
    count = r.shape[0]
    running = jnp.ones(count, bool) if mask is None else mask
    shape = jax.eval_shape(lambda: observe(models, link(r), r))
    outcome = jnp.where(running, int(Outcome.MAX_STEPS), int(Outcome.PADDING)).astype(jnp.int32)
    begin = (jnp.asarray(0, jnp.int32), start, running, outcome, jnp.zeros(count, jnp.int32), _zeros(shape))

    def cond(state: tuple[Array, ...]) -> Array:
        running = state[2]
        return jnp.any(running)  # after max_steps none is

    def body(state: tuple[Array, ...]) -> tuple[Array, ...]:
        step, shift, running, outcome, steps, logits = state
        # One place for the test, before the step, so that the generator is compiled once.
        due = (step % recipe.check_every == 0) | (step == recipe.max_steps)

        def look() -> Array:
            changed = jnp.maximum(r - shift, floor)
            return jnp.where(running[:, None], observe(models, link(changed), changed), logits)

        logits = jax.lax.cond(due, look, lambda: logits)
        broken = running & due & ~jnp.all(jnp.isfinite(logits), axis=1)
        there = running & due & ~broken & (jnp.argmax(logits, axis=1).astype(target.dtype) == target)
        code = jnp.where(step == 0, int(Outcome.ALREADY), int(Outcome.REACHED)).astype(jnp.int32)
        outcome = jnp.where(there, code, outcome)

        moving = running & ~broken & ~there & (step < recipe.max_steps)
        following = descend(classifier, link, r, shift, origin, target, recipe)
        bad = moving & ~jnp.all(jnp.isfinite(following), axis=1)
        outcome = jnp.where(broken | bad, int(Outcome.NONFINITE), outcome).astype(jnp.int32)
        running = moving & ~bad
        shift = jnp.where(running[:, None], following, shift)
        return step + 1, shift, running, outcome, steps + running.astype(jnp.int32), logits

    _, shift, _, outcome, steps, logits = jax.lax.while_loop(cond, body, begin)
    ran = outcome != int(Outcome.PADDING)
    last = (steps == recipe.max_steps) & (steps % recipe.check_every > 0)  # looked at out of turn
    images = jnp.where(ran, 1 + steps // recipe.check_every + last.astype(steps.dtype), 0)
    return describe(
        classifier, link, r, shift, origin, target, outcome, steps, images, logits, recipe.changed_above, recipe,
        floor,
    )  # fmt: skip


def describe(
    classifier: Any,
    link: Any,
    r: Float[Array, "N units"],
    shift: Float[Array, "N units"],
    origin: Int[Array, "N"],
    target: Int[Array, "N"],
    outcome: Int[Array, "N"],
    steps: Int[Array, "N"],
    images: Int[Array, "N"],
    logits: Float[Array, "N classes"],
    changed_above: float = 0.0,
    recipe: Recipe = Recipe(),
    floor: Float[Array, "1 units"] | float = 0.0,
) -> Counterfactuals:
    """The stored record of finished searches by any method; `loss` is the original's, with the recipe's weights."""
    changed = jnp.maximum(r - shift, floor)
    w = link(changed)
    final = objective(classifier, link, r, shift, origin, target, recipe)
    return Counterfactuals(
        shift=shift,
        r=changed,
        w=w,
        outcome=outcome,
        steps=steps,
        images=images,
        logits=logits,
        probability=jnp.take_along_axis(jax.nn.softmax(logits, axis=-1), target[:, None], axis=1)[:, 0],
        loss=final.loss,
        cosine=final.cosine,
        distance_r=jnp.sqrt(jnp.sum((changed - r) ** 2, axis=-1)),
        distance_w=jnp.sqrt(jnp.sum((w - link(r)) ** 2, axis=-1)),
        changed=jnp.sum(jnp.abs(changed - r) > changed_above, axis=-1),
    )


def _zeros(shape: jax.ShapeDtypeStruct) -> Array:
    return jnp.zeros(shape.shape, shape.dtype)
