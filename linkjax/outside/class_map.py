"""The classifier's class for each class of the generator: the two have lists of their own.

The generator draws class 151 of 1000, and the classifier sees it as class 3 of 7, or has no such class. Pairs keep the
generator's class as their label, and the map beside their classes; whatever asks the classifier (is it recognised, does
it flip) goes through the map.
"""

import csv
import difflib
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from linkjax.errors import InputError

SAME = "same"  # instead of a file: both have the same list
NONE = -1  # a class that the classifier does not have
_MOST_BYTES = 1 << 24


def plain(name: str) -> str:
    """A class's name, however it is spelled: German_shepherd is german shepherd."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())


def of(
    classes: Sequence[int],
    names: Sequence[str],
    count: int,
    seen_names: Sequence[str],
    seen_count: int,
    given: str | None,
    needed: bool,
) -> tuple[int, ...]:
    """The classifier's class for each of some classes of the generator; NONE where it has none.

    By the map that is given; else by name, where both have names; else both have the same list, if it is as long.

    Args:
      classes: of the generator.
      names: what they are called; empty: not known.
      count: how many classes the generator has.
      seen_names: of all classes of the classifier, in order; empty: not known.
      seen_count: how many classes the classifier has; 0: no class head.
      given: a file (see `read`), SAME, or None.
      needed: whether every class must have one.
    Raises: InputError if the map is unusable, or if one is needed and there is none for a class.
    """
    if not seen_count or not count:
        return (NONE,) * len(classes)
    if given == SAME:
        found: dict[int, int] = {label: label for label in classes if label < seen_count}
    elif given is not None:
        found = read(Path(given), dict(zip(classes, names, strict=False)), count, seen_names, seen_count)
    elif names and seen_names:
        places = {plain(name): place for place, name in enumerate(seen_names)}
        found = {
            label: places[plain(name)] for label, name in zip(classes, names, strict=True) if plain(name) in places
        }
    elif count == seen_count:
        found = {label: label for label in classes}
    else:
        found = {}
    missing = [place for place, label in enumerate(classes) if label not in found]
    if missing and needed:
        raise InputError(
            _missing(classes[missing[0]], names[missing[0]] if names else "", seen_names, count, seen_count)
        )
    return tuple(found.get(label, NONE) for label in classes)


def read(
    path: Path, names: Mapping[int, str], count: int, seen_names: Sequence[str], seen_count: int
) -> dict[int, int]:
    """The generator's class → the classifier's, from a file: lines `GENERATOR,CLASSIFIER`, or a JSON table.

    Either may be an id, or a name where names are known.

    Raises: InputError that names the file and the entry.
    """
    sides = (("the generator", {plain(name): label for label, name in names.items()}, count),
             ("the classifier", {plain(name): place for place, name in enumerate(seen_names)}, seen_count))  # fmt: skip
    found: dict[int, int] = {}
    for entry in _entries(path):
        drawn, seen = (_class(path, word, *side) for word, side in zip(entry, sides, strict=True))
        if found.setdefault(drawn, seen) != seen:
            raise InputError(f"{path}: the generator's class {drawn} is both {found[drawn]} and {seen} there")
    return found


def _entries(path: Path) -> list[tuple[str, str]]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise InputError(f"{path}: expected a map of classes, found a file of {path.stat().st_size} bytes")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: expected a map of classes, found none ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected a map of classes in UTF-8, found another encoding") from None
    if path.suffix.lower() == ".json":
        try:
            content: Any = json.loads(text)
        except (ValueError, RecursionError):
            raise InputError(f"{path}: expected a JSON table of classes, found damaged JSON") from None
        if not isinstance(content, dict) or not all(isinstance(each, str | int) for each in content.values()):
            raise InputError(f'{path}: expected a table such as {{"151": "dog"}}, found another form')
        return [(drawn, str(seen)) for drawn, seen in content.items()]
    rows = [row for row in csv.reader(io.StringIO(text), skipinitialspace=True) if any(word.strip() for word in row)]
    for row in rows:
        if len(row) != 2:
            raise InputError(f"{path}: expected lines GENERATOR,CLASSIFIER, found {','.join(row)[:80]!r}")
    return [(row[0], row[1]) for row in rows]


def _class(path: Path, word: str, whose: str, names: Mapping[str, int], count: int) -> int:
    word = word.strip()
    if word.isascii() and word.isdecimal() and len(word) < 10:
        if int(word) < count:
            return int(word)
        raise InputError(f"{path}: expected a class of {whose} from 0 to {count - 1}, found {word}")
    if plain(word) in names:
        return names[plain(word)]
    known = f"; known are {', '.join(list(names)[:10])}" if names else " (its classes have no names here: give ids)"
    raise InputError(f"{path}: expected a class of {whose}, found {word[:80]!r}{known}")


def _missing(label: int, name: str, seen_names: Sequence[str], count: int, seen_count: int) -> str:
    """What to do about a class that the classifier is not known to have."""
    mend = "give --class-map FILE (lines GENERATOR,CLASSIFIER, or same), leave it out, or keep everything (--keep all)"
    if name and seen_names:
        near = difflib.get_close_matches(name, seen_names, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        return f"class {label}, {name!r}, is none of the classifier's {seen_count} classes by name{hint}; {mend}"
    return (
        f"the generator has {count} classes, the classifier {seen_count}, and it is not known which of them class "
        f"{label} is; {mend}"
    )
