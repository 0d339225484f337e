"""Minimal counterfactuals: the smallest change of r after which the drawn image is classified as the target.

    minimise  ½ (m + ε − M(r′))₊² + λ P(u)      r′ = r + u ≥ 0,  or relu(r + Σ^½ u) for the whitened penalty
    M = z_t − log Σ_{c≠t} exp z_c               log-odds of the target against all other classes

P is ‖u‖₁, ½‖u‖₂², or ½‖u‖₂² in whitened coordinates, where ‖u‖ is the Mahalanobis length of the change. Every minimiser
has the least P for its own M, whatever the loss, so the one knob is the margin m asked for: it is raised until the
image of link(r′), drawn and classified anew, is the target, then bisected, and the least change that flips is kept.
Logits z are those of the head at r′ (`through="head"`), or of the drawn image, differentiated through preprocessing and
generator (`through="image"`). λ is such that M falls short of m + ε by about ε, that is, ends at m.

Reference: Wachter, Mittelstadt and Russell, "Counterfactual explanations without opening the black box", 2017 (the
aim); Wright, Nowak and Figueiredo, "Sparse reconstruction by separable approximation", 2009 (the solver).
"""

import dataclasses
import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from linkjax import numerics
from linkjax.analysis.counterfactuals import counterfactual
from linkjax.analysis.counterfactuals.counterfactual import Counterfactuals, Observe, Outcome, through_image
from linkjax.errors import InputError

Penalty = Literal["l1", "l2", "whitened"]
Through = Literal["head", "image", "plane"]


@dataclasses.dataclass(frozen=True)
class Minimal:
    """Settings of a minimal search: the norm to minimise, the logits to differentiate, how long to search."""

    penalty: Penalty = "l1"
    through: Through = "head"  # plane: no search, the closed form for a linear head (`to_plane`)
    rounds: int = 12  # margins tried, each with one image classified
    iterations: int = 40  # proximal steps a round
    first_margin: float = 0.05  # log-odds asked for first: just beyond the decision
    growth: float = 1.0  # log-odds added after the first round without a flip; doubled each time
    slack: float = 0.5  # ε, log-odds
    changed_above: float = 0.0  # activation units; a unit counts as changed if it differs by more

    def __post_init__(self):
        if self.through == "plane" and self.penalty == "l1":
            raise InputError("expected penalty l2 or whitened for the closed form, found l1")
        if min(self.rounds, self.iterations) < 1 or not min(self.growth, self.slack) > 0:
            raise InputError(
                "expected rounds ≥ 1, iterations ≥ 1, growth > 0 and slack > 0, found "
                f"{self.rounds}, {self.iterations}, {self.growth} and {self.slack}"
            )


class SearchModels(NamedTuple):
    """The models of a search, a pytree."""

    generator: Any
    classifier: Any
    link: Any
    root: Any  # [units, units], Σ^½ of the training activations; None unless the penalty is whitened
    floor: Any = 0.0  # [1, units], of `counterfactual.floor_of`


def smooth_margin(logits: Float[Array, "N classes"], target: Int[Array, "N"]) -> Float[Array, "N"]:
    """M = z_t − log Σ_{c≠t} exp z_c = log(p_t / (1 − p_t)); where it is above 0, the target has the largest logit."""
    chosen = jax.nn.one_hot(target, logits.shape[1], dtype=bool)
    own = jnp.sum(jnp.where(chosen, logits, 0.0), axis=1)
    return own - jax.nn.logsumexp(jnp.where(chosen, -jnp.inf, logits), axis=1)


def differentiable_logits(
    models: SearchModels, r: Float[Array, "N units"], through: Through
) -> Float[Array, "N classes"]:
    """Logits of r itself, or of the image of link(r) without the roundings to bytes, which have no derivative."""
    if through != "image":
        return models.classifier.head(r)
    images = models.generator.synthesis(models.link(r))
    return models.classifier(models.classifier.preprocess(images, differentiable=True)).logits


def moved(
    r: Float[Array, "N units"],
    u: Float[Array, "N units"],
    root: Array | None,
    floor: Float[Array, "1 units"] | float = 0.0,
) -> Float[Array, "N units"]:
    """r′ of the variable u: r + u, or r + Σ^½ u with what is below the floor (`counterfactual.floor_of`) set to it.

    Numerics: the derivative at the floor is 1, so that silent units can be raised.
    """
    x = r + (u if root is None else jnp.matmul(u, root, precision=numerics.PRECISION))
    return jnp.where(x >= floor, x, floor) if root is not None else x


def logit_gap(
    models: SearchModels, r: Float[Array, "N units"], origin: Int[Array, "N"], target: Int[Array, "N"]
) -> Float[Array, "N"]:
    """z_t − z_o of the head at r."""
    logits = models.classifier.head(r)
    pick = jax.nn.one_hot(target, logits.shape[1]) - jax.nn.one_hot(origin, logits.shape[1])
    return jnp.sum(logits * pick, axis=1)


def to_plane(
    models: SearchModels,
    r: Float[Array, "N units"],
    origin: Int[Array, "N"],
    target: Int[Array, "N"],
    margin: Float[Array, "N"],
) -> Float[Array, "N units"]:
    """The least u beyond the plane where target and origin have equal logits: u = Bᵀa (m − z_t + z_o) / ‖Bᵀa‖².

    a is the derivative of z_t − z_o with respect to r, B = I or Σ^½: the change B u is the least in the Euclidean or
    the Mahalanobis length with z_t − z_o = m exactly, if the head is linear and no unit falls below 0 (those are set
    to 0 by `moved`). Other classes have no say: whether one wins is for the caller to look at.

    Reference: the distance from a point to a hyperplane.
    """

    gap, pull = jax.vjp(lambda r: logit_gap(models, r, origin, target), r)
    (a,) = pull(jnp.ones_like(gap))
    if models.root is not None:
        a = jnp.matmul(a, models.root, precision=numerics.PRECISION)
    square = jnp.sum(a * a, axis=1)
    return a * ((margin - gap) / jnp.where(square > 0, square, 1.0))[:, None]


class _State(NamedTuple):
    """The continuation in the margin, by item."""

    lower: jax.Array  # largest margin that did not flip; that of no change before one was tried
    upper: jax.Array  # smallest that did; ∞ before
    margin: jax.Array  # asked for next
    growth: jax.Array  # [], what is added to the margin where nothing has flipped yet
    u: jax.Array  # [N, units], where the next round starts
    best: jax.Array  # [N, units], the least that flipped
    size: jax.Array  # its P; ∞ where none flipped
    logits: jax.Array  # [N, classes], of its image; of the last tried where none flipped
    first: jax.Array  # bool: the first margin flipped the image already
    broken: jax.Array  # bool: something was not finite
    start_logits: jax.Array  # [N, classes], of the image before any change


@functools.partial(jax.jit, static_argnames=("observe", "recipe"))
def search(
    models: SearchModels,
    r: Float[Array, "N units"],
    origin: Int[Array, "N"],
    target: Int[Array, "N"],
    recipe: Minimal = Minimal(),
    observe: Observe = through_image,
    mask: Bool[Array, "N"] | None = None,
) -> tuple[Counterfactuals, Bool[Array, "N"]]:
    """The least change of every item after which its image is the target; see the module's text.

    Args:
      models: see `SearchModels`; `root` where the penalty is whitened.
      r: activations of the samples, at least 0, repeated once per target.
      origin, target: classes.
      recipe: what is kept small, and how; static.
      observe: ((generator, classifier), w, r′) → logits: what decides whether the class flipped; static.
      mask: false for padding; None: all true.
    Returns: the record of `counterfactual.search`, with `shift` = r − r′ and `steps` the rounds; and whether the first
      margin, at which the head alone just flips, flipped the image. `ALREADY` where the linked image is the target
      before any change; that change is 0. Where nothing flips, the last change tried.
    Numerics: rows are independent. A proximal step that does not lower the objective is halved and tried again, so a
      value that is not finite is never stepped on.
    """
    pair = (models.generator, models.classifier)
    mask = jnp.ones(r.shape[0], bool) if mask is None else mask
    solver = _Solver(models, r, origin, target, recipe)

    def one_round(number: Array, state: _State) -> _State:
        """A look at the start in round −1, then a margin a round: in one place, so that drawing is compiled once."""
        start = number < 0
        u = jax.lax.cond(start, lambda: state.u, lambda: solver.solve(state.margin, state.u))
        there = jnp.where(start, r, solver.moved(u))
        logits = observe(pair, models.link(there), there)
        known = jnp.all(jnp.isfinite(logits), axis=1)
        flipped = known & (jnp.argmax(logits, axis=1).astype(target.dtype) == target)
        size = solver.penalty(u)
        better = flipped & (size < state.size)
        upper = jnp.where(flipped, jnp.minimum(state.upper, state.margin), state.upper)
        lower = jnp.where(flipped, state.lower, jnp.maximum(state.lower, state.margin))
        found = jnp.isfinite(upper)
        following = jnp.where(found, 0.5 * (lower + upper), state.margin + state.growth)
        take = better | ~jnp.isfinite(jnp.minimum(state.size, jnp.where(flipped, size, jnp.inf)))
        tried = _State(
            lower,
            upper,
            following,
            2.0 * state.growth,
            u,
            jnp.where(take[:, None], u, state.best),
            jnp.where(better, size, state.size),
            jnp.where(take[:, None], logits, state.logits),
            jnp.where(number == 0, flipped, state.first),
            state.broken | ~known,
            state.start_logits,
        )
        begun = state._replace(logits=logits, broken=~known, start_logits=logits)
        return jax.tree.map(lambda first, other: jnp.where(start, first, other), begun, tried)

    nothing = jnp.zeros_like(r)
    infinite = jnp.full(r.shape[:1], jnp.inf, r.dtype)
    shape = jax.eval_shape(lambda: observe(pair, models.link(r), r))
    none = jnp.zeros(shape.shape, shape.dtype)
    begin = _State(
        lower=solver.start_margin,  # no change at all does not flip
        upper=infinite,
        margin=jnp.maximum(solver.start_margin, recipe.first_margin),
        growth=jnp.asarray(recipe.growth, r.dtype),
        u=nothing,
        best=nothing,
        size=infinite,
        logits=none,
        first=jnp.zeros(r.shape[0], bool),
        broken=jnp.zeros(r.shape[0], bool),
        start_logits=none,
    )
    # Where the head sees the target already but the image does not show it, the first margin asks for a little more.
    begin = begin._replace(
        margin=jnp.where(begin.margin > solver.start_margin, begin.margin, begin.margin + recipe.growth)
    )
    end = jax.lax.fori_loop(-1, recipe.rounds, one_round, begin)
    start_logits = end.start_logits
    already = jnp.argmax(start_logits, axis=1).astype(target.dtype) == target
    already &= jnp.all(jnp.isfinite(start_logits), axis=1)
    reached = jnp.isfinite(end.size)
    outcome = jnp.where(reached, int(Outcome.REACHED), int(Outcome.MAX_STEPS))
    outcome = jnp.where(~reached & end.broken, int(Outcome.NONFINITE), outcome)
    outcome = jnp.where(already, int(Outcome.ALREADY), outcome)
    outcome = jnp.where(mask, outcome, int(Outcome.PADDING)).astype(jnp.int32)
    run = mask & ~already
    change = jnp.where(run[:, None], solver.moved(end.best) - r, 0.0)
    found = counterfactual.describe(
        models.classifier,
        models.link,
        r,
        -change,
        origin,
        target,
        outcome=outcome,
        steps=jnp.where(run, recipe.rounds, 0).astype(jnp.int32),
        images=jnp.where(run, 1 + recipe.rounds * (1 + _drawn(recipe)), mask.astype(jnp.int32)).astype(jnp.int32),
        logits=jnp.where(run[:, None], end.logits, start_logits),
        changed_above=recipe.changed_above,
        floor=models.floor,
    )
    return found, end.first & run


def _drawn(recipe: Minimal) -> int:
    """Images differentiated in a round."""
    return recipe.iterations + 1 if recipe.through == "image" else 0


class _Solver:
    """The penalised problem of a batch, solved for any margin; made and used within one traced function."""

    def __init__(self, models: SearchModels, r: Array, origin: Array, target: Array, recipe: Minimal):
        self.models, self.r, self.origin, self.target, self.recipe = models, r, origin, target, recipe
        if (models.root is None) == (recipe.penalty == "whitened"):
            raise InputError(
                f"expected the root of a covariance exactly for the whitened penalty, not {recipe.penalty}"
            )
        nothing = jnp.zeros_like(r)
        if recipe.through == "plane":
            self.start_margin = logit_gap(models, r, origin, target)
            return
        self.start_margin, slope = self._margin(nothing)
        # Silent units cannot be lowered: their slope counts only where it is upwards.
        able = slope if recipe.penalty == "whitened" else jnp.where((slope > 0) | (r > models.floor), slope, 0.0)
        self.largest = jnp.max(jnp.abs(able), axis=1)
        self.square = jnp.sum(able * able, axis=1)
        self.step = 1.0 / jnp.where(self.square > 0, self.square, 1.0)

    def moved(self, u: Array) -> Array:
        floor = self.models.floor  # also in the closed form, which may leave it
        return jnp.maximum(moved(self.r, u, self.models.root, floor), floor)

    def penalty(self, u: Array) -> Array:
        return jnp.sum(jnp.abs(u), axis=1) if self.recipe.penalty == "l1" else 0.5 * jnp.sum(u * u, axis=1)

    def _margin(self, u: Array) -> tuple[Array, Array]:
        """M and its derivative with respect to u, by item."""

        def margin(u: Array) -> Array:
            there = moved(self.r, u, self.models.root, self.models.floor)
            return smooth_margin(differentiable_logits(self.models, there, self.recipe.through), self.target)

        value, pull = jax.vjp(margin, u)
        return value, pull(jnp.ones_like(value))[0]

    def solve(self, margin: Array, u: Array) -> Array:
        """The minimiser for a margin, from the minimiser of another."""
        recipe = self.recipe
        if recipe.through == "plane":
            return to_plane(self.models, self.r, self.origin, self.target, margin)
        asked = margin + recipe.slack
        strength = recipe.slack * self.largest
        if recipe.penalty != "l1":
            strength = recipe.slack * self.square / jnp.maximum(margin - self.start_margin, recipe.slack)

        def loss(u: Array) -> tuple[Array, Array]:
            value, slope = self._margin(u)
            short = jnp.maximum(asked - value, 0.0)
            return 0.5 * short * short, -short[:, None] * slope

        def total(value: Array, u: Array) -> Array:
            return value + strength * self.penalty(u)

        def iterate(_: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
            u, value, slope, step = state
            new = self._proximal(u - step[:, None] * slope, step * strength)
            new_value, new_slope = loss(new)
            du, dg = new - u, new_slope - slope
            length = jnp.sum(du * du, axis=1)
            before = total(value, u)
            lower = total(new_value, new) <= before - 5e-5 * length / step + 1e-6 * jnp.abs(before)
            along = jnp.sum(du * dg, axis=1)  # Barzilai and Borwein's step: the inverse of the curvature just seen
            bent = along > 1e-12 * length
            spectral = jnp.where(bent, length / jnp.where(bent, along, 1.0), 4.0 * step)
            spectral = jnp.clip(spectral, 1e-4 * self.step, 1e4 * self.step)
            keep = lower[:, None]
            return (
                jnp.where(keep, new, u),
                jnp.where(lower, new_value, value),
                jnp.where(keep, new_slope, slope),
                jnp.where(lower, spectral, 0.5 * step),
            )

        value, slope = loss(u)
        return jax.lax.fori_loop(0, recipe.iterations, iterate, (u, value, slope, self.step))[0]

    def _proximal(self, v: Array, strength: Array) -> Array:
        """argmin ½‖u − v‖² + strength · P(u), with r + u ≥ floor unless whitened; by unit, so the bound is a clip."""
        strength = strength[:, None]
        if self.recipe.penalty == "l1":
            shrunk = jnp.sign(v) * jnp.maximum(jnp.abs(v) - strength, 0.0)
        else:
            shrunk = v / (1.0 + strength)
        return shrunk if self.recipe.penalty == "whitened" else jnp.maximum(shrunk, self.models.floor - self.r)


@jax.jit
def units_of_most(change: Float[Array, "N units"], share: float = 0.5) -> Bool[Array, "N units"]:
    """The fewest units that together make up a share of ‖change‖², largest first; none where nothing changed.

    Every method moves some units by next to nothing, so this, and not "differs from 0", says which ones matter.
    """
    square = change * change
    order = jnp.argsort(-square, axis=1)
    sorted_square = jnp.take_along_axis(square, order, axis=1)
    total = jnp.sum(square, axis=1, keepdims=True)
    before = jnp.cumsum(sorted_square, axis=1) - sorted_square
    wanted = (before < share * total) & (sorted_square > 0)
    back = jnp.argsort(order, axis=1)
    return jnp.take_along_axis(wanted, back, axis=1)


def lengths(
    change: Float[Array, "N units"], inverse_root: Float[Array, "units units"] | None = None
) -> dict[str, Float[Array, "N"]]:
    """Sizes of changes: Σ|δ|, the units that make half of ‖δ‖², and, with Σ^−½, the Mahalanobis length ‖Σ^−½ δ‖."""
    found = {
        "distance_l1": jnp.sum(jnp.abs(change), axis=1),
        "units_most": jnp.sum(units_of_most(change), axis=1),
    }
    if inverse_root is not None:
        white = jnp.matmul(change, inverse_root, precision=numerics.PRECISION)
        found["distance_whitened"] = jnp.sqrt(jnp.sum(white * white, axis=1))
    return found
