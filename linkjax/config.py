"""Settings: frozen dataclass defaults ← a TOML file ← command-line flags.

An experiment's file has one table per stage with only what differs from the defaults; keys of the table `shared` go to
every stage that has them:

    [shared]
    generator = "weights/imagenet256"
    pairs = "runs/dogs/pairs"

    [pairs]
    classes = [207, 208]

Folders in a file count from where the file lies, those of flags from where the command is run.
"""

import dataclasses
import difflib
import inspect
import json
import os
import re
import tomllib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from linkjax.errors import InputError

C = TypeVar("C")

SHARED = "shared"  # the table whose keys go to every stage that has them

_PATH = "a path"
#: Type of a setting that names a folder or file: in a TOML file a relative one counts from the file.
PathName = Annotated[str, _PATH]
#: … and of words of a list, each of which may name a file: there those that do, seen from the TOML file.
PathOrWord = Annotated[str, "a path or a word"]

_NUMBERS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")  # 0-9, 1,2,3, 0-4,7
_MOST_NUMBERS = 1 << 20


def read_toml(path: Path, stage: str, stages: Mapping[str, type], *, alone: bool = True) -> dict[str, Any]:
    """One stage's settings from an experiment's file, paths in it as seen from the working folder.

    Args:
      path: the TOML file.
      stage: whose settings to return.
      stages: stage → its settings (a dataclass); every key of the file must be known to some stage.
      alone: refuse a file that says nothing to this stage; not where several stages are asked for.
    Raises: InputError if the file cannot be read, has unknown tables or keys (with the nearest known name), or holds
      settings of other stages alone.
    """
    content = _tables(path, stages)
    known = _names(stages[stage])
    if alone and content and SHARED not in content and stage not in content:
        raise InputError(
            f"{path}: expected settings of {stage} or [{SHARED}] ones, found only those of {' and '.join(content)}; "
            f"give the file to linkjax {next(iter(content))}, or another to {stage}"
        )
    shared = content.get(SHARED, {})
    settings = {**{key: value for key, value in shared.items() if key in known}, **content.get(stage, {})}
    paths, lists = path_settings(stages[stage]), _lists_with_paths(stages[stage])
    folders = _lists_of_paths(stages[stage])
    return {
        key: [_from(path, word) if key in folders else _from_if_there(path, word) for word in value]
        if isinstance(value, list) and key in lists | folders
        else _from(path, value)
        if isinstance(value, str) and value not in paths.get(key, {value})
        else value
        for key, value in settings.items()
    }


def stages_of(path: Path, stages: Mapping[str, type]) -> list[str]:
    """The stages that have a table in an experiment's file.

    Raises: as `read_toml`.
    """
    return [name for name in _tables(path, stages) if name != SHARED]


def _tables(path: Path, stages: Mapping[str, type]) -> dict[str, dict[str, Any]]:
    """Table → its keys and values, all of them known."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))  # Windows' editors begin with a byte-order mark
    except OSError as error:
        raise InputError(f"{path}: cannot read this configuration ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: expected TOML, found an error: {error}") from None
    loose = [key for key, value in content.items() if not isinstance(value, dict)]
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    known: dict[str, Iterable[str]] = {name: _names(cls) for name, cls in stages.items()}
    known[SHARED] = {key for keys in known.values() for key in keys}
    wrong = [_unknown(f"[{name}]", name, known) for name in tables if name not in known]
    wrong += [f"'{key}' stands above the tables; put it under [{SHARED}] or under its stage" for key in loose]
    wrong += [
        _unknown(f"'{key}' in [{name}]", key, known[name])
        for name, table in tables.items()
        if name in known
        for key in table
        if key not in known[name]
    ]
    if wrong:
        raise InputError(f"{path}: " + "; ".join(wrong))
    return tables


def path_settings(cls: type) -> dict[str, frozenset[str]]:
    """A dataclass's settings that are folders or files, each with the words that may stand instead of one."""
    hints = {name: _kinds(hint) for name, hint in typing.get_type_hints(cls, include_extras=True).items()}
    return {
        name: frozenset(word for kind in kinds if typing.get_origin(kind) is Literal for word in typing.get_args(kind))
        for name, kinds in hints.items()
        if any(_PATH in getattr(kind, "__metadata__", ()) for kind in kinds)
    }


def _lists_with_paths(cls: type) -> set[str]:
    """A dataclass's settings that are lists of `PathOrWord`."""
    hints = typing.get_type_hints(cls, include_extras=True).items()
    return {name for name, hint in hints if any(typing.get_args(kind)[:1] == (PathOrWord,) for kind in _kinds(hint))}


def _lists_of_paths(cls: type) -> set[str]:
    """A dataclass's settings that are lists of `PathName`."""
    hints = typing.get_type_hints(cls, include_extras=True).items()
    return {name for name, hint in hints if any(typing.get_args(kind)[:1] == (PathName,) for kind in _kinds(hint))}


def write_toml(path: Path, stage: str, config: Any) -> None:
    """Write resolved settings as a file that `read_toml` takes back; settings that are None are left out."""
    lines, paths, lists = [f"[{stage}]"], path_settings(type(config)), _lists_with_paths(type(config))
    folders = _lists_of_paths(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value is not None and field.name != "out":
            if field.name in paths and value not in paths[field.name]:
                value = _seen_from(path, value)
            elif field.name in lists:
                value = [_seen_from(path, word) if os.path.isfile(word) else word for word in value]
            elif field.name in folders:
                value = [_seen_from(path, word) for word in value]
            lines.append(f"{field.name} = {_toml(value)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def from_command_line(
    cls: type[C], arguments: Sequence[str], settings: Mapping[str, Any], prog: str, beside: type | None = None
) -> C:
    """A settings dataclass from flags, with a file's settings as if they had been given first.

    Args:
      cls: the dataclass.
      arguments: the flags; numbers of a list may be ranges, both ends included, and joined by commas: 0-9,12 14.
      settings: what `read_toml` gave.
      prog: how the command is called, for the help.
      beside: flags that the help explains too, and that were taken from the arguments before (a dataclass).
    Raises: SystemExit(2) with one clear message on an unknown flag or a value of the wrong type (by tyro); InputError
      for a range that is none.
    """
    import tyro

    words = [word for key, value in settings.items() for word in _as_flag(key, value)]
    words = list(_spelled_out([*words, *arguments], cls))
    only = (tyro.conf.AvoidSubcommands,)
    if beside is None or not {"-h", "--help"} & set(arguments):
        return tyro.cli(cls, args=words, prog=prog, config=only)
    named = dataclasses.make_dataclass(
        "Named",
        [(name, tyro.conf.OmitArgPrefixes[kind]) for name, kind in (("settings", cls), ("of_every_stage", beside))],
    )
    return tyro.cli(named, args=words, prog=prog, description=inspect.getdoc(cls), config=only)


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


def _names(cls: type) -> list[str]:
    return [field.name for field in dataclasses.fields(cls)]


def _kinds(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or what is none."""
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)


def _from(file: Path, value: str) -> str:
    """A path in a file, as seen from the working folder."""
    path = os.path.expanduser(value)
    if os.path.isabs(path):
        return path
    joined = os.path.join(file.parent, path)
    short = os.path.normpath(joined)  # not where a link to a folder is followed by ..
    return short if os.path.realpath(short) == os.path.realpath(joined) else joined


def _from_if_there(file: Path, word: Any) -> Any:
    """A word of a list: as `_from` where it names a file there."""
    found = _from(file, word) if isinstance(word, str) else word
    return found if isinstance(word, str) and os.path.isfile(found) else word


def _seen_from(file: Path, value: str) -> str:
    """A path as it is written into a file, so that both may be moved together."""
    if os.path.isabs(os.path.expanduser(value)):
        return value
    return os.path.relpath(os.path.realpath(value), os.path.realpath(file.parent))


def _spelled_out(words: Sequence[str], cls: type) -> Iterator[str]:
    """Flags with ranges of numbers written out: --units 0-2,7 as --units 0 1 2 7."""
    hints = typing.get_type_hints(cls)
    lists = {"--" + name.replace("_", "-") for name, hint in hints.items() if tuple[int, ...] in _kinds(hint)}
    flag = ""
    for word in words:
        if word.startswith("--"):
            flag, equals, value = word.partition("=")
            flag = flag.replace("_", "-")
            if flag in lists and equals and _NUMBERS.fullmatch(value):
                yield flag
                yield from _numbers(flag, value)
            else:
                yield word
        elif flag in lists and _NUMBERS.fullmatch(word):
            yield from _numbers(flag, word)
        else:
            yield word


def _numbers(flag: str, text: str) -> Iterator[str]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        low, high = int(first), int(last or first)
        if not low <= high < low + _MOST_NUMBERS:
            raise InputError(f"{flag}: expected a range from its lower number to its higher, found {part}")
        yield from map(str, range(low, high + 1))


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
