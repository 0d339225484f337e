"""Renaming weights as a checked bijection: each source key is used or ignored for a reason, each target is filled once.

Converters state what they know as rules; what the rules do not account for is an error, and all errors come at once.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from linkjax.errors import ConversionError

SHOWN = 10  # names of what does not fit, in a message
Layout = Callable[[np.ndarray], np.ndarray]


def keep(array: np.ndarray) -> np.ndarray:
    """The array as it is."""
    return array


def oihw_to_hwio(array: np.ndarray) -> np.ndarray:
    """A convolution kernel from [out, in, height, width] to [height, width, in, out]."""
    return array.transpose(2, 3, 1, 0)


def oi_to_io(array: np.ndarray) -> np.ndarray:
    """A matrix from [out, in] to [in, out]."""
    return array.transpose(1, 0)


@dataclasses.dataclass(frozen=True)
class Rule:
    r"""Source keys that match `pattern` in full go to `target`, turned by `layout`.

    In `target`, \1, \2, … stand for the pattern's groups; where that is not enough, it is a function of the match.
    """

    pattern: str
    target: str | Callable[[re.Match[str]], str]
    layout: Layout = keep

    def name(self, match: re.Match[str]) -> str:
        """The target of a key."""
        return match.expand(self.target) if isinstance(self.target, str) else self.target(match)


@dataclasses.dataclass(frozen=True)
class Ignore:
    """Source keys that match `pattern` in full are left out, because of `why`."""

    pattern: str
    why: str


class Converted(NamedTuple):
    """Target name → array (a view of the source where the layout allows), and ignored source key → why."""

    arrays: dict[str, np.ndarray]
    ignored: dict[str, str]


def convert(
    source: Mapping[str, np.ndarray],
    targets: Mapping[str, Any],
    rules: Sequence[Rule | Ignore],
    *,
    what: str,
    guess: Callable[[list[str]], str] = lambda missing: "check that the file and the architecture belong together",
) -> Converted:
    """Source arrays under their target names, or one message that counts all that does not fit and names the first.

    Args:
      source: key → array, as in the file.
      targets: name → anything with `shape` and `dtype`; see `linkjax.models.build.shapes`.
      rules: the first whose pattern matches a key decides about it.
      what: the architecture, for the message.
      guess: targets that are missing → what is probably wrong, for the message.
    Returns: every target filled; dtypes are those of the source.
    Raises: ConversionError with the numbers of missing, unexpected and mis-shaped names, and the first ten of them.
    """
    compiled = [(re.compile(rule.pattern), rule) for rule in rules]
    arrays: dict[str, np.ndarray] = {}
    origin: dict[str, str] = {}
    ignored: dict[str, str] = {}
    unexpected: list[str] = []
    misfits: list[str] = []
    for key, array in source.items():
        match, rule = next(((m, rule) for pattern, rule in compiled if (m := pattern.fullmatch(key))), (None, None))
        if match is None or rule is None:
            unexpected.append(f"unexpected: {_shown(key)} {tuple(array.shape)}")
        elif isinstance(rule, Ignore):
            ignored[key] = rule.why
        elif (name := rule.name(match)) not in targets:
            unexpected.append(f"unexpected: {_shown(key)} {tuple(array.shape)}, there is no {name} here")
        elif name in origin:
            misfits.append(f"given twice: {name}, by {origin[name]} and by {key}")
        else:
            origin[name] = key
            turned, problem = _fit(key, array, rule.layout, name, targets[name])
            arrays[name] = turned
            misfits += problem
    missing = [f"missing: {name} {tuple(targets[name].shape)}" for name in targets if name not in origin]
    if missing or unexpected or misfits:
        cause = guess([name for name in targets if name not in origin])
        head = (
            f"these weights do not fit {what}: {len(missing)} missing, {len(unexpected)} unexpected, "
            f"{len(misfits)} mis-shaped" + (f"; {cause}" if cause else "")
        )
        raise ConversionError("\n  ".join([head, *_first(misfits, unexpected, missing)]))
    return Converted(arrays, ignored)


def _first(*kinds: list[str]) -> list[str]:
    """The first few of each kind, in all `SHOWN`, and how many more there are."""
    named: list[str] = []
    for place, kind in enumerate(kinds):
        waiting = sum(1 for other in kinds[place + 1 :] if other)
        named += kind[: max(SHOWN - len(named) - waiting * (SHOWN // 3), SHOWN // 3)]
    left = sum(map(len, kinds)) - len(named)
    return named + ([f"… and {left} more"] if left else [])


def _shown(key: str) -> str:
    """A key from a file that nobody vouches for, safe to print."""
    return key if key.isprintable() else repr(key)


def _fit(key: str, array: np.ndarray, layout: Layout, name: str, target: Any) -> tuple[np.ndarray, list[str]]:
    """The array in the target's layout, and what is wrong with it."""
    expected = tuple(target.shape)
    try:
        turned = layout(array)
    except ValueError:  # too many or too few axes for the layout
        return array, [f"mis-shaped: {key} {tuple(array.shape)} cannot become {name} {expected}"]
    if turned.shape != expected:
        return turned, [f"mis-shaped: {key} {tuple(array.shape)} gives {name} {turned.shape}, expected {expected}"]
    if np.issubdtype(target.dtype, np.floating) and not np.issubdtype(turned.dtype, np.floating):
        return turned, [f"not floating point: {key} is {turned.dtype}, {name} is {target.dtype}"]
    # least and largest value: unlike a mask, they take no memory
    if turned.size and not (np.isfinite(turned.min()) and np.isfinite(turned.max())):
        return turned, [f"not finite: {key} holds NaN or infinity"]
    return turned, []
