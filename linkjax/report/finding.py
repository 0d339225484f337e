"""Find the results in a folder that belong on its page, by their manifests."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from linkjax.errors import InputError
from linkjax.storage import manifest as manifests


def results_in(folder: Path, roles: Mapping[str, Sequence[str]]) -> dict[str, Path]:
    """Role → the folder of its result, of the finished results directly in a folder.

    Where several could play a role, the one that bears its name does.

    Args:
      folder: of a run.
      roles: role → kinds of result that can play it, in the order in which roles are given out.
    Raises: InputError if several could play a role and none bears its name.
    """
    kinds = {path: kind for path in sorted(folder.iterdir()) if (kind := _kind(path)) is not None}
    found: dict[str, Path] = {}
    for role, wanted in roles.items():
        able = [path for path, kind in kinds.items() if kind in wanted]
        named = [path for path in able if path.name == role]
        other_roles = [path for path in able if path.name in roles]  # it bears another role's name
        free = named or [path for path in able if path not in other_roles]
        if len(free) > 1:
            raise InputError(
                f"{folder}: expected one {role}, found {', '.join(path.name for path in free)}; say which with "
                f"--{role.replace('_', '-')} DIR"
            )
        if free and free[0] not in found.values():
            found[role] = free[0]
    return found


def _kind(path: Path) -> str | None:
    """The kind of a finished result; None of what is none."""
    if not (path / manifests.FILE).is_file() or path.name.endswith(".partial"):
        return None
    return manifests.read(path)["kind"]
