"""Names of a classifier's classes from the files people have."""

from pathlib import Path
from typing import Any

from linkjax.errors import InputError, shown
from linkjax_converters.preprocessing import MOST_BYTES, read_json


def read_class_names(path: Path) -> tuple[str, ...]:
    """Names of a classifier's classes, in order: a text of one name a line, a JSON list, or {"0": name, …}.

    In a JSON table a value may be a list, such as ["n01440764", "tench"]: its last entry is the name.
    Raises: InputError in one sentence; equal names are one.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        content = read_json(path, "a list of class names")
        if isinstance(content, dict):
            inner = content.get("id2label", content)
            if not isinstance(inner, dict) or not all(str(place) in inner for place in range(len(inner))):
                raise InputError(f"{path}: expected names under 0, 1, 2 …, found other keys")
            content = [inner[str(place)] for place in range(len(inner))]
        if not isinstance(content, list):
            raise InputError(f"{path}: expected a list of class names, found {type(content).__name__}")
        found = [each[-1] if isinstance(each, list) and each else each for each in content]
    else:
        try:
            if path.stat().st_size > MOST_BYTES:
                raise InputError(f"{path}: expected a name a line, found a file of {path.stat().st_size} bytes")
            found = path.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise InputError(f"{path}: expected the names of classes, found none ({error.strerror})") from None
        except UnicodeDecodeError:
            raise InputError(f"{path}: expected names in UTF-8, found another encoding") from None
        while found and not found[-1].strip():
            found.pop()
    return checked_names(path, found)


def checked_names(path: Path, found: list[Any]) -> tuple[str, ...]:
    """Names that are texts, not empty, and all different.

    Raises: InputError in one sentence.
    """
    places: dict[str, int] = {}
    for place, name in enumerate(found):
        if not isinstance(name, str) or not name.strip():
            raise InputError(f"{path}: expected a name for class {place}, found {shown(repr(name))}")
        if (earlier := places.setdefault(name.strip(), place)) != place:
            raise InputError(
                f"{path}: classes {earlier} and {place} are both called {shown(name.strip())}; names must differ"
            )
    if not places:
        raise InputError(f"{path}: expected a name a line, found none")
    return tuple(places)
