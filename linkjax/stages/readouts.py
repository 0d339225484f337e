"""What `--readouts` asks for, resolved to weights of r with a name for each.

FILE.npz, FILE.safetensors    rows in r, or a sparse autoencoder (`readout_files`)
logits                        every class of the head
151, corgi                    one of them, by number or name
151:254, corgi:poodle         the first's score less the second's
u3, u3+u17                    a unit, or units together, each in its σ within classes
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from linkjax.analysis.links import steering
from linkjax.analysis.units import readouts as solving
from linkjax.analysis.units.sweep import Steps
from linkjax.errors import InputError
from linkjax.models.readouts import ReadClassifier, Readouts
from linkjax.outside import readout_files
from linkjax.outside.class_map import plain
from linkjax.storage import artifacts

LOGITS = "logits"
#: Directions along which readouts are not raised, and what to say then.
NOT_ALONG = {
    directions: f"readouts: they are raised along steering directions; leave --directions {directions} out"
    for directions in ("kernel", "own")
}
_UNITS = re.compile(r"u\d+(\+u\d+)*")
_MOST_TOLD = 10  # names in a message
_DETERMINED = 0.05  # a readout of whose variance w determines a smaller share is named


class Named(NamedTuple):
    """K readouts of r, float32 arrays on the host."""

    names: list[str]
    weights: np.ndarray  # [units, K]
    bias: np.ndarray  # [K]
    floor: np.ndarray  # [K]
    wanted: np.ndarray  # [units, K] change of r that raises each; columns of zeros: as a unit is raised

    @property
    def sha256(self) -> str:
        """Of names and numbers: what a result says it was made from."""
        found = hashlib.sha256("\0".join(self.names).encode())
        for array in self[1:]:
            found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()

    @property
    def model(self) -> Readouts:
        """The readouts as a function of r."""
        return Readouts(*(jnp.asarray(array) for array in (self.weights, self.bias, self.floor)))

    def values(self, r: np.ndarray) -> np.ndarray:
        """[N, K] of activations [N, units]."""
        return np.asarray(self.model(jnp.asarray(r)))


class Reading(NamedTuple):
    """Readouts in the place of units: their weights, their steps, and how well w determines them."""

    named: Named
    steps: Steps  # [K, w_dim] change of w per unit of each; zeros for one without a direction
    r2: np.ndarray  # [K] share of its variance within classes that w determines; NaN where it has none
    rank: int  # independent steps among them
    std: np.ndarray  # [K] within classes

    def of(self, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Arrays by sample with the readouts in the place of `r`."""
        return {**arrays, "r": self.named.values(arrays["r"])}

    def seen_by(self, classifier: Any) -> ReadClassifier:
        """The classifier whose activations are the readouts."""
        return ReadClassifier(classifier, self.named.model)

    def determined_by(self, spectrum: steering.Spectrum) -> np.ndarray:
        """[K] as `r2`, by other slopes of the units, such as those of one sample."""
        return solving.determined(spectrum, self.named.weights, self.std)

    def store(self, writer: artifacts.Writer, units: np.ndarray) -> None:
        """Names, steps and R² beside a result's other arrays.

        Args:
          units: the readouts swept, by their place.
        """
        writer.put("unit_name", ("unit",), [self.named.names[unit] for unit in units])
        writer.put("unit_out_name", ("unit_out",), self.named.names)
        text = "change of w per unit of the readout"
        writer.put("steer", ("unit_out", "w"), np.asarray(self.steps.kernel), long_name=text)
        text = "share of the readout's variance within classes that w determines, linearly"
        writer.put("r2", ("unit_out",), self.r2.astype(np.float32), long_name=text)

    def summary(self) -> dict[str, Any]:
        """For a result's manifest."""
        return {"readouts": len(self.named.names), "readouts_rank": self.rank}


def resolve(
    words: Sequence[str] | Mapping[str, Any], classifier: Any, link: Any, class_names: Mapping[int, str]
) -> Named:
    """The readouts that some words ask for, or a table of name → weights of r.

    Args:
      classifier: whose head is asked for class scores.
      link: of its units, with steering directions.
      class_names: class → name, of those of the head that are known.
    Raises: InputError for a word that is not understood, a file that is unusable, or a name that comes twice.
    """
    if link.unit_std is None:
        raise InputError(steering.NONE)
    units = link.spec.units
    found: list[readout_files.File] = []
    if isinstance(words, Mapping):
        found.append(readout_files.of_rows(words, units))
        words = ()
    for word in words:
        if readout_files.is_one(word):
            found.append(readout_files.read(word, units))
        elif _UNITS.fullmatch(word):
            found.append(_together(word, np.asarray(link.unit_std)))
        else:
            found.append(_of_head(word, classifier, class_names))
    names = [name for each in found for name in each.names]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InputError(f"readouts: expected a name for each, found {twice[0]!r} {Counter(names)[twice[0]]} times")
    wanted = [np.zeros_like(each.weights) if each.wanted is None else each.wanted for each in found]
    return Named(
        names,
        np.concatenate([each.weights for each in found], axis=1),
        np.concatenate([each.bias for each in found]),
        np.concatenate([np.full(len(each.names), each.floor, np.float32) for each in found]),
        np.concatenate(wanted, axis=1),
    )


def count(words: Iterable[str], units: int, classes: int) -> int:
    """How many readouts some words ask for; a plan knows no models."""
    return sum(
        len(readout_files.read(word, units).names) if readout_files.is_one(word) else classes if word == LOGITS else 1
        for word in words
    )


def reading(named: Named, steered: tuple[steering.Spectrum, float], r: np.ndarray, classes: np.ndarray) -> Reading:
    """How readouts are raised.

    Args:
      steered: what the link's steering directions came from, and their λ.
      r, classes: training activations [N, units], from which the readouts' spread within classes is told.
    Raises: InputError if none of them has a direction.
    """
    steps = solving.directions(*steered, named.weights, named.wanted)
    if not np.isfinite(steps).all(axis=1).any():
        raise InputError(
            "readouts: expected one or more that vary within classes together with w, found none; there is no step "
            "that raises any of them"
        )
    linear = named._replace(floor=np.full_like(named.floor, -np.inf))
    std = solving.within_std(linear.values(r), classes)
    r2 = solving.determined(steered[0], named.weights, std)
    found = Steps(jnp.asarray(np.nan_to_num(steps), jnp.float32))
    return Reading(named, found, r2, solving.rank(steps * std[:, None]), std)


def print_summary(reading: Reading) -> None:
    """Print how many directions readouts share, and which of them w hardly determines."""
    names = reading.named.names
    print(f"{len(names)} readouts in {reading.rank} independent directions of {reading.steps.kernel.shape[1]} in W")
    weak = [place for place in np.argsort(reading.r2, kind="stable") if reading.r2[place] < _DETERMINED]
    if weak:
        some = ", ".join(f"{names[place]} ({reading.r2[place]:.2g})" for place in weak[:_MOST_TOLD])
        print(f"{len(weak)} readouts of which w determines under {_DETERMINED:.0%} (R²): {some}")


def _together(word: str, std: np.ndarray) -> readout_files.File:
    chosen = [int(each[1:]) for each in word.split("+")]
    wrong = [unit for unit in chosen if unit >= len(std)]
    if wrong:
        raise InputError(f"readouts: expected units from u0 to u{len(std) - 1} in {word!r}, found u{wrong[0]}")
    still = [unit for unit in chosen if not std[unit] > 0]
    if still:
        raise InputError(f"readouts: expected units that vary within classes in {word!r}, found u{still[0]}")
    weights = np.zeros((len(std), 1), np.float32)
    for unit in chosen:
        weights[unit] += 1.0 if len(chosen) == 1 else 1.0 / std[unit]
    return readout_files.File([word], weights, np.zeros(1, np.float32), None, -np.inf)


def _of_head(word: str, classifier: Any, class_names: Mapping[int, str]) -> readout_files.File:
    """Class scores, and differences of two."""
    classes = classifier.spec.num_classes
    sides = word.split(":")
    if word != LOGITS and not (len(sides) <= 2 and all(side.strip() for side in sides)):
        raise InputError(
            f"readouts: expected a file (.npz, .safetensors), logits, a class, two as 151:254, or units as u3+u17, "
            f"found {word[:80]!r}"
        )
    kernel = classifier.head_kernel if classes else None
    if kernel is None:
        raise InputError(
            f"readouts {word[:80]}: expected a classifier whose class scores are linear in its units, found one "
            f"{'of another head' if classes else 'without class scores'}; give rows of r in a file"
        )
    weights = np.asarray(kernel, np.float32)
    bias = np.asarray(classifier.head(jnp.zeros((1, len(weights)), jnp.float32)))[0]
    if word == LOGITS:
        names = [class_names.get(label, f"class {label}") for label in range(classes)]
        known = Counter(names)
        names = [name if known[name] == 1 else f"{name} ({label})" for label, name in enumerate(names)]
        return readout_files.File(names, weights, bias, None, -np.inf)
    places = [_class(side.strip(), classes, class_names) for side in sides]
    called = [class_names.get(place, f"class {place}") for place in places]
    name = called[0] if len(places) == 1 else ":".join(each.removeprefix("class ") for each in called)
    if len(places) == 1:
        return readout_files.File([name], weights[:, places], bias[places], None, -np.inf)
    if places[0] == places[1]:
        raise InputError(f"readouts: expected two different classes, found {word[:80]!r}")
    first, second = places
    return readout_files.File(
        [name],
        (weights[:, first] - weights[:, second])[:, None],
        (bias[first] - bias[second])[None],
        None,
        -np.inf,
    )


def _class(word: str, classes: int, names: Mapping[int, str]) -> int:
    if word.isascii() and word.isdecimal() and len(word) < 10:
        if int(word) < classes:
            return int(word)
        raise InputError(f"readouts: expected classes from 0 to {classes - 1}, found {word}")
    found = [label for label, name in names.items() if plain(name) == plain(word)]
    if len(found) != 1:
        some = ", ".join(list(names.values())[:_MOST_TOLD]) or "none by name"
        raise InputError(f"readouts: expected a class of the classifier, found {word[:80]!r}; known are {some}")
    return found[0]
