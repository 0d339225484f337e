"""Similarity of effects of matched units, from sweeps of the same anchors."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from linkjax.analysis import finite
from linkjax.analysis.comparisons import effect_profiles
from linkjax.analysis.metrics import measurements
from linkjax.analysis.units import selectivity
from linkjax.errors import InputError
from linkjax.stages.compare.results import of_pairs
from linkjax.storage import artifacts
from linkjax.storage.swept_values import read_asked

_DRAWS = 200  # resamples of anchors, whose number is small


def open_sweeps(config: Any, runs: Sequence[artifacts.Artifact]) -> list[artifacts.Artifact]:
    """The sweeps, one a classifier, or none.

    Raises: InputError if one was made with other pairs or anchors, measures something else, or raised readouts.
    """
    made = of_pairs("sweep", config.sweep, config.other_sweeps, runs)
    first: dict[str, Any] = {}
    for swept in made:
        path, data = swept.path, swept.open()
        if "unit_out_name" in data:
            raise InputError(f"the sweep in {path} is of readouts, which are no units to be matched; give one of units")
        of = {name: swept.read(name).tolist() for name in ("label", "sample_id")}
        of |= {name: artifacts.names(data, name) for name in ("part", "metric")}
        first = first or of
        if of != first:
            differ = next(name for name in of if of[name] != first[name])
            raise InputError(
                f"the sweep in {path} differs in its {differ.replace('_', ' ')}s from the one in {made[0].path}; sweep "
                "both from the same samples, with the same segmenter"
            )
    return made


class Effects:
    """Effects in the image of the units of several networks, from sweeps of the same anchors."""

    def __init__(self, sweeps: Sequence[artifacts.Artifact], seed: int, level: float):
        opened = [swept.open() for swept in sweeps]
        baseline = sweeps[0].read("baseline")
        spread = measurements.spread(baseline, artifacts.names(opened[0], "metric"))
        self._profiles = [_profiles(swept, data, spread) for swept, data in zip(sweeps, opened, strict=True)]
        labels = jnp.asarray(sweeps[0].read("label"))
        self._counts = np.asarray(selectivity.draw_resamples(labels, jax.random.key(seed), _DRAWS, 1).counts)
        self._level = level

    def of(self, networks: tuple[int, int], unit: np.ndarray, partner: np.ndarray) -> dict[str, Any]:
        """For every match whether both units have the same effects, [K]; NaN and −1 where one was not swept."""
        (units, one), (others, two) = (self._profiles[each] for each in networks)
        place, other = _places(units, unit), _places(others, partner)
        found = {name: np.full(len(unit), np.nan) for name in ("effect_cosine", "effect_low", "effect_high")}
        nearest, swept = np.full(len(unit), -1), np.flatnonzero(place >= 0)
        if networks[0] != networks[1] and len(swept):
            near = effect_profiles.nearest(one[:, place[swept]], two)
            nearest[swept] = np.where(near >= 0, others[near], -1)
        both = np.flatnonzero((place >= 0) & (other >= 0))
        a, b = one[:, place[both]], two[:, other[both]]
        if len(both):
            found["effect_cosine"][both] = effect_profiles.cosines(a, b)
            low, high = effect_profiles.intervals(a, b, self._counts, self._level)
            found["effect_low"][both], found["effect_high"][both] = low, high
        return {**found, "nearest": nearest, "profiles": (both, a, b)}

    def together(
        self, found: dict[str, Any], shared: np.ndarray, sign: np.ndarray, rng: np.random.Generator, shuffles: int
    ) -> dict[str, Any]:
        """Mean similarity of shared units' effects, and its null distribution under random pairing.

        Args:
          found: of `of`.
          shared: [K] bool, which matches count; sign: [K], of the correlation that matched them.
        """
        both, a, b = found["profiles"]
        mine = shared[both] & np.isfinite(found["effect_cosine"][both])
        if mine.sum() < 2:
            return {"effects": int(mine.sum())}
        a, b, sign = a[:, mine], b[:, mine], sign[both][mine]
        mean = finite.finite_mean(sign * effect_profiles.cosines(a, b))
        shuffled = effect_profiles.shuffled_means(a, b, sign, rng, shuffles)
        low, high = np.nanpercentile(shuffled, 100 * np.array([1 - self._level, 1 + self._level]) / 2)
        p = (1 + int((shuffled >= mean).sum())) / (1 + len(shuffled))
        told = {"mean": mean, "chance_low": low, "chance_high": high, "p": p}
        return {"effects": int(mine.sum()), **{f"effect_{name}": value for name, value in told.items()}}


def _profiles(swept: artifacts.Artifact, data: Any, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Units of a sweep, and their effects by anchor [anchors, units, features]."""
    units, std = swept.read("unit"), swept.read("unit_std")
    measured = measurements.unwrapped(swept.read("measured"), axis=2)
    asked = jnp.asarray(read_asked(swept, data))
    slopes = np.asarray(selectivity.anchor_slopes(asked, jnp.asarray(measured), jnp.asarray(std[units])))
    return units, effect_profiles.standardised(slopes, spread)


def _places(units: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Where units stand among those that were swept; −1 where they were not."""
    where = {int(unit): place for place, unit in enumerate(units)}
    return np.array([where.get(int(unit), -1) for unit in wanted], int)
