"""Questions to a table of units, such as `ear.area > 0 and fidelity > 0.5`: parsed, checked and answered, never run.

ear.area > 0.5            the effect on a part's metric, per σ of the unit, in the metric's own unit; it must also
                          be significant, else the comparison does not hold
ear.area                  a significant effect of either sign
abs(head.red_green) > 1   its size
ear.area.per_obtained > 1 the effect per σ of the unit obtained, not asked; the first stage must be strong, too
fidelity, consistency, side_effect, unit, …    numbers of the unit
caution, not caution, representative           whether there is something to beware of in the unit; whether it stands
                                               for its doubles
and, or, not, ( ), < <= > >= == !=, chains such as 0 < ear.area < 3
"""

import ast
import keyword
import operator
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from linkjax.config import nearest
from linkjax.errors import InputError

_LONGEST = 2000  # characters
_LARGEST = 1e30
_COMPARE = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}  # fmt: skip
_YES_OR_NO = ("representative", "caution")  # names that may stand alone
_EXPECTED = "expected comparisons of part.metric, names and numbers, joined by and, or, not"


class Query(NamedTuple):
    """A question whose every name is known."""

    text: str
    tree: ast.expr
    effects: tuple[tuple[int, int], ...]  # (part, metric) it asks about, in the order of its words
    obtained: bool = False  # whether it asks about effects per change obtained


class _Value(NamedTuple):
    """What a word stands for, by unit, and where it may be compared at all (None: everywhere)."""

    values: Any
    significant: Any


def identifier(name: str) -> str:
    """A part's or metric's name as it is written in a query: what is no letter, digit or _ becomes _."""
    word = re.sub(r"\W", "_", name)
    if not word or word[0].isdigit():
        word = "_" + word
    return word + "_" if keyword.iskeyword(word) else word


def parse(text: str, parts: Sequence[str], metrics: Sequence[str], names: Sequence[str]) -> Query:
    """Read a query and check every word of it.

    Args:
      parts, metrics: of the effects that may be asked about, `part.metric`.
      names: numbers of a unit that may be asked about.
    Raises: InputError naming what is not understood, and the nearest name that is known.
    """
    if len(text) > _LONGEST:
        raise InputError(f"query: expected at most {_LONGEST} characters, found {len(text)}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd but readable Python, which is refused below
            tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "it cannot be read"
        raise InputError(f"query: {_EXPECTED}, such as 'ear.area > 0', found '{text}' ({reason})") from None
    places: dict[str, dict[str, int]] = {
        "part": {identifier(name): place for place, name in reversed(list(enumerate(parts)))},
        "metric": {identifier(name): place for place, name in reversed(list(enumerate(metrics)))},
    }
    effects: list[tuple[int, int]] = []
    try:
        _check(tree, places, names, effects, top=True)
    except RecursionError:
        raise InputError("query: it is nested too deeply to be read") from None
    obtained = any(isinstance(node, ast.Attribute) and _is_obtained(node) for node in ast.walk(tree))
    return Query(text, tree, tuple(dict.fromkeys(effects)), obtained)


def _is_obtained(node: ast.Attribute) -> bool:
    of = node.value
    return node.attr == "per_obtained" and isinstance(of, ast.Attribute) and isinstance(of.value, ast.Name)


def answer(
    query: Query, effect: np.ndarray, significant: np.ndarray, parts: Sequence[str], metrics: Sequence[str],
    columns: Mapping[str, np.ndarray],
) -> np.ndarray:  # fmt: skip
    """Which units the query holds for, [K] bool.

    Args:
      effect, significant: [K, parts, metrics].
      parts, metrics: their names.
      columns: the other names, each [K]; where the query asks about effects per change obtained, "per_obtained" [K,
        parts, metrics] and "strong" [K], where they may be asked about.
    """
    rows = [[identifier(name) for name in each] for each in (parts, metrics)]

    def place(node: ast.expr) -> tuple[int, int]:
        assert isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
        return rows[0].index(node.value.id), rows[1].index(node.attr)

    def value(node: ast.expr) -> _Value:
        if isinstance(node, ast.Attribute) and _is_obtained(node):
            part, metric = place(node.value)
            sure = significant[:, part, metric] & columns["strong"]
            return _Value(columns["per_obtained"][:, part, metric], sure)
        if isinstance(node, ast.Attribute):
            part, metric = place(node)
            return _Value(effect[:, part, metric], significant[:, part, metric])
        if isinstance(node, ast.Name):
            return _Value(columns[node.id], None)
        if isinstance(node, ast.Constant):
            return _Value(node.value, None)
        if isinstance(node, ast.Call):
            inner = value(node.args[0])
            return _Value(np.abs(inner.values), inner.significant)
        assert isinstance(node, ast.UnaryOp)
        inner = value(node.operand)
        sign = -1.0 if isinstance(node.op, ast.USub) else 1.0
        return _Value(sign * np.asarray(inner.values, np.float64), inner.significant)

    def holds(node: ast.expr) -> np.ndarray:
        if isinstance(node, ast.BoolOp):
            together = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return together.reduce([holds(each) for each in node.values])
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~holds(node.operand)
        if isinstance(node, ast.Compare):
            found = np.ones(len(effect), bool)
            words = [value(each) for each in (node.left, *node.comparators)]
            for kind, left, right in zip(node.ops, words[:-1], words[1:], strict=True):
                with np.errstate(invalid="ignore"):
                    found &= _COMPARE[type(kind)](left.values, right.values)
            for word in words:
                found &= True if word.significant is None else word.significant
            return found
        word = value(node)
        return np.asarray(word.values, bool) if word.significant is None else np.array(word.significant)

    return holds(query.tree)


def _check(
    node: ast.expr, places: Mapping[str, Mapping[str, int]], names: Sequence[str], effects: list[tuple[int, int]],
    top: bool,
) -> None:  # fmt: skip
    """Go through a tree: `top` where something true or false is wanted, else a number."""

    def inside(child: ast.expr, top: bool) -> None:
        _check(child, places, names, effects, top)

    if isinstance(node, ast.BoolOp) and top:
        for each in node.values:
            inside(each, True)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not) and top:
        inside(node.operand, True)
    elif isinstance(node, ast.Compare) and top:
        if any(type(kind) not in _COMPARE for kind in node.ops):
            raise InputError(f"query: expected < <= > >= == or !=, found '{ast.unparse(node)}'")
        for each in (node.left, *node.comparators):
            inside(each, False)
    elif isinstance(node, ast.Attribute) and _is_obtained(node):
        inside(node.value, top)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        place = []
        for kind, word in (("part", node.value.id), ("metric", node.attr)):
            if word not in places[kind]:
                raise InputError(f"query: unknown {kind} '{word}'{_known(word, places[kind])}")
            place.append(places[kind][word])
        effects.append((place[0], place[1]))
    elif isinstance(node, ast.Name):
        if node.id not in names:
            hint = f"; write {node.id}.metric" if node.id in places["part"] else _known(node.id, names)
            raise InputError(f"query: unknown name '{node.id}'{hint}")
        if top and node.id not in _YES_OR_NO:
            raise InputError(f"query: expected '{node.id}' compared with a number, such as {node.id} > 0.5")
    elif top:
        raise InputError(f"query: {_EXPECTED}, found '{ast.unparse(node)}'")
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        if not abs(node.value) < _LARGEST:
            raise InputError(f"query: expected numbers below {_LARGEST:g}, found {str(node.value)[:20]}…")
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inside(node.operand, False)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "abs":
        if len(node.args) != 1 or node.keywords or isinstance(node.args[0], ast.Starred):
            raise InputError(f"query: expected abs of one thing, found '{ast.unparse(node)}'")
        inside(node.args[0], False)
    else:
        raise InputError(f"query: {_EXPECTED}, found '{ast.unparse(node)}'")


def _known(word: str, known: Sequence[str] | Mapping[str, int]) -> str:
    return nearest(word, known) or ": known are " + ", ".join(sorted(known))
