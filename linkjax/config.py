"""Settings: frozen dataclass defaults ← a TOML file ← command-line flags.

An experiment's file has one table per stage with only what differs from the defaults; keys of the table `shared` go to
every stage that has them:

    [shared]
    generator = "weights/imagenet256"
    pairs = "runs/dogs/pairs"

    [pairs]
    classes = [207, 208]
"""

import dataclasses
import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from linkjax.errors import InputError

C = TypeVar("C")

SHARED = "shared"  # the table whose keys go to every stage that has them


def read_toml(path: Path, stage: str, stages: Mapping[str, Iterable[str]]) -> dict[str, Any]:
    """One stage's settings from an experiment's file.

    Args:
      path: the TOML file.
      stage: whose settings to return.
      stages: stage → names of its settings; every key of the file must be known to some stage.
    Raises: InputError if the file cannot be read, or has unknown tables or keys (with the nearest known name).
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows' editors begin with a byte-order mark
    except OSError as error:
        raise InputError(f"{path}: cannot read this configuration ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected TOML, found an error: {error}") from None
    shared = content.pop(SHARED, {})
    loose = [key for key, value in content.items() if not isinstance(value, dict)]
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    everywhere = {key for keys in stages.values() for key in keys}
    wrong = [_unknown(f"[{name}]", name, [*stages, SHARED]) for name in tables if name not in stages]
    wrong += [f"'{key}' stands above the tables; put it under [{SHARED}] or under its stage" for key in loose]
    wrong += [_unknown(f"'{key}' in [{SHARED}]", key, everywhere) for key in shared if key not in everywhere]
    wrong += [
        _unknown(f"'{key}' in [{name}]", key, stages[name])
        for name, table in tables.items()
        if name in stages
        for key in table
        if key not in stages[name]
    ]
    if wrong:
        raise InputError(f"{path}: " + "; ".join(wrong))
    mine = {key: value for key, value in shared.items() if key in stages[stage]}
    return {**mine, **tables.get(stage, {})}


def write_toml(path: Path, stage: str, config: Any) -> None:
    """Write resolved settings as a file that `read_toml` takes back; settings that are None are left out."""
    lines = [f"[{stage}]"]
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value is not None and field.name != "out":
            lines.append(f"{field.name} = {_toml(value)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def from_command_line(cls: type[C], arguments: Sequence[str], settings: Mapping[str, Any], prog: str) -> C:
    """A settings dataclass from flags, with a file's settings as if they had been given first.

    Raises: SystemExit(2) with one clear message on an unknown flag or a value of the wrong type (by tyro).
    """
    import tyro

    first = [word for key, value in settings.items() for word in _as_flag(key, value)]
    return tyro.cli(cls, args=[*first, *arguments], prog=prog, config=(tyro.conf.AvoidSubcommands,))


def nearest(name: str, known: Iterable[str]) -> str:
    """' (did you mean X?)', or nothing if no known name is near."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean '{match[0]}'?)" if match else ""


def positive(**values: float) -> None:
    """Check that settings are above zero.

    Raises: InputError naming the first that is not.
    """
    for name, value in values.items():
        if not value > 0:
            raise InputError(f"{name.replace('_', '-')}: expected a number above 0, found {value}")


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    known = list(known)
    return f"unknown {what}{nearest(name, known) or ': known are ' + ', '.join(sorted(known))}"


def _as_flag(key: str, value: Any) -> list[str]:
    flag = "--" + key.replace("_", "-")
    if isinstance(value, bool):
        return [flag if value else "--no-" + key.replace("_", "-")]
    if isinstance(value, list):
        return [flag, *map(str, value)]
    return [flag, str(value)]


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(str(value), ensure_ascii=False)
