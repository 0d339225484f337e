"""Directions in W that raise a unit of r, in closed form from moments within classes.

A link's kernel row is a regression weight of w on r: it says how to predict w from all units together, not how to move
w so that one unit rises. With Σ the covariance of w, C = Cov(w, r) [w_dim, units], σ the units' standard deviations and
S = diag(σ²), all within classes, r on w has the slopes A = Σ⁻¹ C, and

    D(λ) = Σ A (Aᵀ Σ A + λ S)⁻¹,    steer_u = D_u / (A_uᵀ D_u):  the predicted change of unit u is 1.

Of a unit it is the step of least Mahalanobis length plus 1/λ times the squared disturbance of the other units (each in
its σ). λ → ∞ is the pattern Σ A_u / (A_uᵀ Σ A_u), which moves all that goes with the unit; λ → 0 moves nothing else as
far as there are dimensions, at the price of length.

With L Lᵀ = Σ and B = L⁻¹ C S^(−1/2), D(λ) = L (B Bᵀ + λ)⁻¹ B S^(−1/2): a decomposition of [w_dim, w_dim], whatever the
number of units, gives the directions of every λ. All functions are NumPy, float64.

Reference: Haufe et al., "On the interpretation of weight vectors of linear models in multivariate neuroimaging",
NeuroImage 87, 2014 (a filter's weights are not its pattern).
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from linkjax.analysis.links.class_sums import Within
from linkjax.errors import InputError

#: Directions of w whose variance is a smaller share of the largest are taken as absent.
RANK_TOLERANCE = 1e-10


class Spectrum(NamedTuple):
    """Within classes, w whitened and rotated to the principal axes of its regression of r; K axes."""

    std: np.ndarray  # [units] of r; 0 for a unit that does not vary
    scores: np.ndarray  # [K, units] correlation of each axis with each unit; their squares sum to a unit's R²
    strengths: np.ndarray  # [K] Σ_u scores², descending
    to_w: np.ndarray  # [w_dim, K] a step of one standard deviation along each axis, in W
    to_axes: np.ndarray  # [K, w_dim] its inverse on the span of w

    @property
    def r2(self) -> np.ndarray:
        """[units] share of a unit's variance that w determines, linearly; NaN for one that does not vary."""
        return np.where(self.std > 0, np.sum(self.scores**2, axis=0), np.nan)


class Measures(NamedTuple):
    """What a step of one σ along a unit's direction is predicted to do; [units], NaN where there is no direction."""

    own: np.ndarray  # change of the unit, σ
    side: np.ndarray  # root mean square change of the other units, each in its σ
    length: np.ndarray  # Mahalanobis length, standard deviations of w


def spectrum(within: Within) -> Spectrum:
    """The decomposition that gives the directions of every λ; about 6 w_dim² · units operations."""
    values, vectors = np.linalg.eigh(within.covariance)
    live = values > RANK_TOLERANCE * max(values[-1], 0.0)
    root, vectors = np.sqrt(values[live]), vectors[:, live]
    std = np.sqrt(within.variance)
    scale = np.where(std > 0, 1.0 / np.where(std > 0, std, 1.0), 0.0)
    white = (vectors.T @ within.cross.T) / root[:, None] * scale
    strengths, axes = np.linalg.eigh(white @ white.T)
    strengths, axes = np.maximum(strengths[::-1], 0.0), axes[:, ::-1]
    return Spectrum(std, axes.T @ white, strengths, (vectors * root) @ axes, axes.T @ (vectors / root).T)


def of_link(link: object) -> Spectrum:
    """The decomposition of a link that has steering directions: for those of another λ than its own.

    Raises: InputError for a link that has none.
    """
    back, covariance, std = (getattr(link, name, None) for name in ("back", "covariance", "unit_std"))
    if back is None or covariance is None or std is None:
        raise InputError(NONE)
    covariance = np.asarray(covariance, np.float64)
    cross = (covariance @ np.asarray(back, np.float64)).T
    return spectrum(Within(np.inf, covariance, cross, np.asarray(std, np.float64) ** 2))


#: What to say where a link has no steering directions.
NONE = (
    "this link has no steering directions, because it was made before linkjax had them or without; make it again with "
    "linkjax link, or ask for --directions kernel"
)


def directions(spectrum: Spectrum, lam: float | Float[np.ndarray, "units"]) -> Float[np.ndarray, "units w_dim"]:
    """Change of w per unit of activation, whose predicted change of the unit is 1; NaN rows for units without.

    Args:
      lam: λ, 0 … ∞, one or one for each unit.
    """
    step, known = _steps(spectrum, lam)
    scale = np.where(known, 1.0 / np.where(known, spectrum.std, 1.0), np.nan)
    return (spectrum.to_w @ step).T * scale[:, None]


def back(spectrum: Spectrum) -> Float[np.ndarray, "w_dim units"]:
    """A, the slopes of r on w within classes."""
    return spectrum.to_axes.T @ (spectrum.scores * spectrum.std)


def measure(spectrum: Spectrum, lam: float | Float[np.ndarray, "units"], held_out: Within | None = None) -> Measures:
    """Own change, side effects and length of the directions of λ, predicted by the pairs they came from or by others.

    Own change by other pairs: D_uᵀ Σ⁻¹ C′_u with C′ their Cov(w, r), which is without bias; of the side effects'
    squares the part that is C′'s own error, length² / freedom, is subtracted.
    """
    step, known = _steps(spectrum, lam)
    scores = spectrum.scores if held_out is None else held_out_scores(spectrum, held_out)
    noise = 0.0 if held_out is None else 1.0 / held_out.freedom
    own = np.sum(step * scores, axis=0)
    squares = np.sum(step * (scores @ scores.T @ step), axis=0) - own**2
    length2 = np.sum(step**2, axis=0)
    side = np.sqrt(np.maximum(squares / max(int((spectrum.std > 0).sum()) - 1, 1) - noise * length2, 0.0))
    return Measures(*(np.where(known, value, np.nan) for value in (own, side, np.sqrt(length2))))


def mahalanobis(spectrum: Spectrum, steps: Float[np.ndarray, "*K w_dim"]) -> Float[np.ndarray, "*K"]:
    """Length of steps in W, in standard deviations of w within classes: √(d Σ⁻¹ dᵀ)."""
    return np.linalg.norm(np.asarray(steps, np.float64) @ spectrum.to_axes.T, axis=-1)


def random_steps(
    spectrum: Spectrum, lam: float, readouts: Float[np.ndarray, "D units"], noise: Float[np.ndarray, "D w_dim"]
) -> tuple[Float[np.ndarray, "D w_dim"], Float[np.ndarray, "D w_dim"]]:
    """Random steps of Mahalanobis length 1, made as D(λ) makes a unit's: for mixtures of units, and for noise.

    The first raise random readouts of r. The second are what a unit gets whose activations are shuffled within classes:
    its correlations with the axes are noise, equally large along all of them.

    Args:
      readouts: weights of the units, each in its σ; of units without direction they count for nothing.
      noise: normal, its first K entries are taken.
    """
    found = []
    for scores in (
        spectrum.scores @ np.asarray(readouts, np.float64).T,
        np.asarray(noise, np.float64)[:, : len(spectrum.strengths)].T,
    ):
        step = _weight(spectrum, lam) * scores
        length = np.linalg.norm(step, axis=0)
        found.append((spectrum.to_w @ (step / np.where(length > 0, length, 1.0))).T)
    return found[0], found[1]


def scaled(
    steer: Float[np.ndarray, "units w_dim"], fidelity: Float[np.ndarray, "units"], most: float = 2.0
) -> Float[np.ndarray, "units w_dim"]:
    """Steps divided by their fidelity (obtained / requested change), measured on other samples than those swept later.

    Args:
      fidelity: own change obtained ÷ asked; NaN for units not seen, whose steps stay.
      most: times as long, or as short, a step becomes at most: where little or the opposite was obtained, length does
        not mend the direction.
    """
    seen = np.clip(np.nan_to_num(np.asarray(fidelity, np.float64), nan=1.0), 1.0 / most, most)
    return np.asarray(steer) / seen[:, None]


def local(
    axes: Float[np.ndarray, "w_dim K"], change: Float[np.ndarray, "K units"], std: Float[np.ndarray, "units"],
    lam: float | Float[np.ndarray, "units"],
) -> Float[np.ndarray, "units w_dim"]:  # fmt: skip
    """Directions D(λ) of one sample: with its own Jacobian along K axes in the place of A.

    For a statement about a single picture. Of units as such the directions of all pairs tell more: a Jacobian differs
    from sample to sample.

    Args:
      axes: steps in W of one standard deviation within classes, uncorrelated: of `leading_axes`.
      change: of r for each, J · axis: derivatives, or differences over a part of a standard deviation.
      std: of r within classes; 0 for a unit that does not vary.
      lam: λ.
    Returns: change of w per unit of activation, as `directions`.
    """
    return directions(of_sample(axes, change, std), lam)


def of_sample(
    axes: Float[np.ndarray, "w_dim K"], change: Float[np.ndarray, "K units"], std: Float[np.ndarray, "units"]
) -> Spectrum:
    """The decomposition that gives one sample's directions of every λ; arguments as of `local`.

    Its `r2` is the share of a unit's variance within classes that a change by the sample's slopes would account for.
    """
    axes, change, std = (np.asarray(each, np.float64) for each in (axes, change, std))
    return spectrum(Within(np.inf, axes @ axes.T, change.T @ axes.T, std**2))


def leading_axes(covariance: Float[np.ndarray, "w_dim w_dim"], share: float = 0.99) -> Float[np.ndarray, "w_dim K"]:
    """Principal axes of w, one standard deviation long: as few as have this share of the trace, largest first."""
    values, vectors = np.linalg.eigh(np.asarray(covariance, np.float64))
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    count = int(np.searchsorted(np.cumsum(values), share * values.sum())) + 1
    return (vectors * np.sqrt(values))[:, :count]


def weighted(spectrum: Spectrum, lam: float, scores: Float[np.ndarray, "K D"]) -> Float[np.ndarray, "K D"]:
    """Steps along the axes that D(λ) gives for covariances with each axis, up to scale."""
    return _weight(spectrum, lam) * scores


def held_out_scores(spectrum: Spectrum, held_out: Within) -> Float[np.ndarray, "K units"]:
    """Correlations of other pairs with the axes of these, in the σ of these."""
    scale = np.where(spectrum.std > 0, 1.0 / np.where(spectrum.std > 0, spectrum.std, 1.0), 0.0)
    return spectrum.to_axes @ (held_out.cross.T * scale)


def _steps(spectrum: Spectrum, lam: float | np.ndarray) -> tuple[Float[np.ndarray, "K units"], np.ndarray]:
    """Steps that raise each unit by one σ, along the axes; and which units have one."""
    step = _weight(spectrum, lam) * spectrum.scores
    own = np.sum(step * spectrum.scores, axis=0)
    known = (spectrum.std > 0) & (own > 0)
    return np.where(known, step / np.where(known, own, 1.0), 0.0), known


def _weight(spectrum: Spectrum, lam: float | np.ndarray) -> Float[np.ndarray, "K units_or_1"]:
    """What D(λ) makes of a correlation with each axis, but for scale."""
    lam = np.asarray(lam, np.float64)
    if not np.all(lam >= 0):
        raise InputError(f"lambda: expected 0 or more, found {lam.min() if lam.size else lam}")
    strengths = spectrum.strengths[:, None]
    # (λ + 1) / (e + λ): 1 for λ = ∞, and no division by zero where λ = 0 meets an axis that says nothing of r.
    weak = strengths <= RANK_TOLERANCE * max(float(spectrum.strengths.max(initial=0.0)), 1e-300)
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(np.isinf(lam), 1.0, (lam + 1.0) / (strengths + lam))
    return np.where(weak & (lam == 0), 0.0, weight)


class Choice(NamedTuple):
    """A chosen λ, and the curve it was chosen from."""

    lam: float
    criterion: str
    curve: list[dict[str, float]]  # of every λ tried: medians over units


#: Tried, from what is a unit's own to what goes with it.
LAMBDAS = tuple(float(value) for value in 10.0 ** np.arange(-3, 3.5, 0.5))


def arrays(spectrum: Spectrum, within: Within, lam: float | np.ndarray) -> dict[str, np.ndarray]:
    """The arrays that a link stores, float32: see `linkjax.models.link.Steering`."""
    found = {
        "steer": directions(spectrum, lam),
        "covariance": within.covariance,
        "unit_std": spectrum.std,
        "back": back(spectrum),
        "r2": spectrum.r2,
    }
    return {name: array.astype(np.float32) for name, array in found.items()}


def _curve(spectrum: Spectrum, held_out: Within | None) -> list[dict[str, float]]:
    """Medians over units of `measure`, for every λ of `LAMBDAS`.

    Own changes and lengths of all λ are two small products with the squared scores: 26 · K · units operations each.
    Of the side effects by other pairs every λ takes 2 K² · units; in float32, because they are told to three digits.
    """
    weights = np.stack([_weight(spectrum, lam)[:, 0] for lam in LAMBDAS])  # [λ, K]
    squares = spectrum.scores**2
    scale = weights @ squares  # own change before it is made 1, [λ, units]
    known = (spectrum.std > 0) & (scale > 0)
    scale = np.where(known, scale, np.nan)
    length2 = weights**2 @ squares / scale**2
    if held_out is None:  # the axes are principal: scores · scoresᵀ is diagonal
        own, noise = scale / scale, 0.0
        moved2 = (weights**2 * spectrum.strengths) @ squares / scale**2
    else:
        scores, noise = held_out_scores(spectrum, held_out), 1.0 / held_out.freedom
        own = weights @ (spectrum.scores * scores) / scale
        few, gram = spectrum.scores.astype(np.float32), (scores @ scores.T).astype(np.float32)
        steps = (row[:, None] * few for row in weights.astype(np.float32))
        moved2 = np.stack([np.einsum("ku,ku->u", step, gram @ step) for step in steps]) / scale**2
    side = np.sqrt(np.maximum((moved2 - own**2) / max(int((spectrum.std > 0).sum()) - 1, 1) - noise * length2, 0.0))
    medians = (np.nanmedian(values, axis=1).tolist() for values in (own, side, np.sqrt(length2)))
    named = (Measures(*row)._asdict() for row in zip(*medians, strict=True))
    return [{"lambda": lam, **row} for lam, row in zip(LAMBDAS, named, strict=True)]


def choose(spectrum: Spectrum, held_out: Within | None, lam: float | None = None, exclusive: bool = False) -> Choice:
    """Choose λ by the length of the steps: the smallest λ whose steps are not much longer than they must be.

    A step goes the further the less else it may move, and the further it goes the more the images' curvature bends it
    away from what is predicted. Of `LAMBDAS` those are short whose median length is at most 1.05 times the shortest
    there is, the pattern's (λ → ∞); of these the smallest is taken whose median own change by held-out pairs is at
    least 0.95 of the best of them. (Not of all: own changes of long steps are told with as long an error.) `exclusive`
    asks for more of what is a unit's own: lengths up to twice the shortest, own changes from 0.9.

    Args:
      held_out: moments within classes of other pairs; None: lengths alone decide.
      lam: take this one; the curve is told all the same.
    """
    if not np.any((spectrum.std > 0) & (spectrum.scores != 0).any(axis=0)):
        return Choice(1.0 if lam is None else lam, "no unit varies within classes together with w", [])
    curve = _curve(spectrum, held_out)
    if lam is not None:
        return Choice(lam, "as asked", curve)
    longest, least = (2.0, 0.9) if exclusive else (1.05, 0.95)
    short = [row for row in curve if row["length"] <= longest * curve[-1]["length"]]
    best = least * max(row["own"] for row in short)
    held = "" if held_out is None else f", own change on held-out pairs at least {least:g} of the best of those"
    fitting = [row["lambda"] for row in short if held_out is None or row["own"] >= best]
    criterion = f"smallest with a median length of at most {longest:g} times the shortest{held}"
    # Where no step raises its unit on other pairs, the shortest ones.
    return Choice(min(fitting, default=LAMBDAS[-1]), criterion, curve)
