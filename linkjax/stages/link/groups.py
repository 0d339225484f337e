"""Groups of classes that get a link each, as a user writes them."""

import re
from collections.abc import Sequence

from linkjax.errors import InputError

_PART = re.compile(r"(\d+)(?:-(\d+))?")
EACH = "each"


def read(wanted: Sequence[str], known: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Name of a folder → class ids of a group.

    Args:
      wanted: groups such as "0-4,7" (ids and ranges, both ends included), named group_0, group_1, …; or "each" alone:
        one for every known class, named class_0, class_7, ….
      known: class ids there are.
    Raises: InputError for what cannot be read, classes that are not known, and a class twice in one group.
    """
    if list(wanted) == [EACH]:
        return {f"class_{label}": (label,) for label in known}
    return {f"group_{number}": _group(text, known) for number, text in enumerate(wanted)}


def _group(text: str, known: Sequence[int]) -> tuple[int, ...]:
    found: list[int] = []
    for part in text.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise InputError(
                f"groups: expected class ids and ranges such as 0-4,7 for each group, or {EACH} alone, found '{text}'"
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise InputError(f"groups: expected a range from its lower id to its higher, found '{part.strip()}'")
        # a range is of the classes there are: 151-268 are the dogs, of which pairs may hold a few
        found += [first] if match[2] is None else [label for label in known if first <= label <= last]
    unknown = [label for label in found if label not in set(known)]
    if unknown or not found:
        raise InputError(f"groups: expected some of the classes {list(known)[:20]} that the pairs hold, found '{text}'")
    if len(set(found)) < len(found):
        raise InputError(f"groups: expected every class once in a group, found '{text}'")
    return tuple(found)
