"""What a pickle turns into here: inert records that name what the file asked for, and do nothing."""

from collections.abc import Hashable
from typing import Any

from linkjax.errors import InputError

MAX_OPCODES = 2_500_000  # a full-size snapshot has about 0.3 million; the cap bounds time (seconds) and memory (< 1 GB)


class Global:
    """A name the file would import: `module.name`. Never imported."""

    __slots__ = ("module", "name")

    def __init__(self, module: str, name: str) -> None:
        self.module = module
        self.name = name

    @property
    def path(self) -> str:
        """`module.name`; the module alone where the record stands for a module."""
        return f"{self.module}.{self.name}" if self.name else self.module


class Call:
    """An object the file would have built with `function(*args)`, its state and its contents. Never built."""

    __slots__ = ("appends", "args", "function", "items", "state")

    def __init__(self, function: Global, args: tuple[Any, ...]) -> None:
        self.function = function
        self.args = args
        self.state: Any = None
        self.items: dict[Hashable, Any] | None = None
        self.appends: list[Any] | None = None


class Span:
    """Bytes of the file, not copied: a view of them, and where in the file they start (None: not in the file)."""

    __slots__ = ("start", "view")

    def __init__(self, view: memoryview, start: int | None) -> None:
        self.view = view
        self.start = start

    def __len__(self) -> int:
        return len(self.view)


class Persistent:
    """A reference to something outside the pickle, by the id the file gives."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key


class OpaqueKey:
    """A dict key or set member that is not a plain value; hashed by identity, so a file cannot choose its hash."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


class Budget:
    """How many opcodes may still run, over a file and all files nested in it."""

    __slots__ = ("opcodes",)

    def __init__(self, opcodes: int = MAX_OPCODES) -> None:
        self.opcodes = opcodes


def as_key(value: Any) -> Hashable:
    """A hashable stand-in for any value of a pickle.

    Only plain values are hashed: hashing a tuple nested a million times deep would overflow the C stack, and the hashes
    of tuples and of huge integers can be chosen to collide.
    """
    if value is None or isinstance(value, str | bool | float):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    return OpaqueKey(value)


def damaged(what: str, position: int) -> InputError:
    """The error for bytes that no pickle writer would have written."""
    return InputError(f"damaged pickle at byte {position}: {what}; get the file again")
