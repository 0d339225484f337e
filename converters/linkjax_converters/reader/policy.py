"""Which calls of a pickle are known to build plain data; all others are refused. Nothing is called either way."""

import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from linkjax.errors import InputError, UnsafeFileError, shown
from linkjax_converters.reader.records import Call, Global, Persistent, Span

MAX_NAME = 500  # characters of a dotted name


def _paths(names: Mapping[str, str]) -> frozenset[str]:
    """Dotted names out of {module: "name name …"}."""
    return frozenset(f"{module}.{name}" for module, row in names.items() for name in row.split())


# Standard modules of other Python versions: sys.stdlib_module_names knows only those of the one that runs.
STDLIB = (
    sys.stdlib_module_names
    | {
        "dill",
        "__builtin__",
        "_winreg",
        "aifc",
        "asynchat",
        "asyncore",
        "audioop",
        "binhex",
        "cPickle",
        "cStringIO",
        "cgi",
    }
    | {"cgitb", "chunk", "commands", "copy_reg", "crypt", "distutils", "dummy_thread", "dummy_threading", "exceptions"}
    | {"formatter", "imghdr", "imp", "lib2to3", "macpath", "mailcap", "msilib", "new", "nis", "nntplib", "ossaudiodev"}
    | {
        "parser",
        "pipes",
        "popen2",
        "Queue",
        "sets",
        "smtpd",
        "sndhdr",
        "spwd",
        "StringIO",
        "sunau",
        "symbol",
        "telnetlib",
    }
    | {"test", "thread", "urllib2", "UserDict", "UserList", "uu", "xdrlib"}
)

# Classes of the standard library that only hold data (MethodType and CodeType run nothing until they are called).
DATA_CLASSES = _paths(
    {
        "argparse": "Namespace",
        "builtins": "object complex bytearray slice range int float str bool tuple list dict set frozenset",
        "collections": "Counter deque",
        "datetime": "date datetime time timedelta timezone",
        "decimal": "Decimal",
        "fractions": "Fraction",
        "pathlib": "PosixPath PurePosixPath PureWindowsPath WindowsPath",
        "pathlib._local": "PosixPath PurePosixPath PureWindowsPath WindowsPath",
        "types": "CodeType SimpleNamespace",
        "uuid": "UUID",
    }
)

# Functions that only rebuild data from their arguments, under every spelling seen in snapshots.
REBUILDERS = _paths(
    {
        "torch_utils.persistence": "_reconstruct_persistent_obj",
        "torch": "Size device dtype",
        "torch.storage": "_load_from_bytes",
        "torch.serialization": "_get_layout",
        "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter _rebuild_qtensor "
        "_rebuild_parameter_with_state _rebuild_sparse_tensor _rebuild_device_tensor_from_numpy "
        "_rebuild_meta_tensor_no_storage",
        "numpy": "dtype ndarray scalar _reconstruct _frombuffer",
        "numpy.random._pickle": "__randomstate_ctor __generator_ctor __bit_generator_ctor",
        "numpy.random.bit_generator": "__pyx_unpickle_SeedSequence",
        "dill._dill": "_create_cell _create_code _create_dtypemeta _create_function _create_lock "
        "_create_namedtuple _create_rlock _create_type _create_typing_tuple _create_weakproxy _create_weakref "
        "_setitems",
    }
)
NUMPY_FUNCTIONS = frozenset({"scalar", "_reconstruct", "_frombuffer"})
NUMPY_MODULES = re.compile(r"numpy\.(core|_core)\.(multiarray|_multiarray_umath|numeric)")
MODULES = {
    "__builtin__": "builtins",
    "copy_reg": "copyreg",
    "UserDict": "collections",
    "dill": "dill._dill",
    "dill.dill": "dill._dill",
}
RANGE = re.compile(r"range\((-?\d{1,18}), (-?\d{1,18})(?:, (-?\d{1,18}))?\)")


def refused(what: str) -> UnsafeFileError:
    """The error for a file that asks for more than data."""
    return UnsafeFileError(f"asks to {what}, which no weight file needs; refused, nothing was run")


def named(module: str, name: str) -> Global:
    """A name, if it is short enough to be one."""
    if len(module) + len(name) > MAX_NAME:
        raise InputError("a class name of the file is longer than any real one; refused as a pickle bomb")
    return Global(module, name)


def canonical(function: Global) -> Global:
    """One spelling per function: Python 3 module names, today's dill module, one numpy module."""
    module = MODULES.get(function.module, function.module)
    if function.name in NUMPY_FUNCTIONS and NUMPY_MODULES.fullmatch(module):
        module = "numpy"
    return function if module == function.module else Global(module, function.name)


def is_foreign_class(function: Global) -> bool:
    """Whether a name is that of a class (CapWords) outside the standard library: part of some network."""
    name = function.name.rpartition(".")[2].lstrip("_")
    return function.module.partition(".")[0] not in STDLIB and name[:1].isupper()


def call(function: Any, args: Any) -> Any:
    """The record, or plain value, that stands for `function(*args)`.

    A record keeps the argument tuple as it is: a file can ask for the same call a million times, copies would add up.

    Errors: UnsafeFileError naming the call, for all but known reconstructors and classes of networks.
    """
    if isinstance(function, Persistent) and isinstance(function.key, tuple) and function.key[:1] == ("module",):
        raise UnsafeFileError(
            "holds a whole pickled network with its source code; nothing was run. In its own program save the model's "
            "state_dict() alone: torch.save(model.state_dict(), FILE)"
        )
    if not isinstance(function, Global):
        raise refused("call something the file itself made")
    if not isinstance(args, tuple):
        raise refused(f"call {shown(function.path)} without an argument list")
    function = canonical(function)
    path = function.path
    special = _SPECIAL.get(path)
    if special is not None:
        return special(function, args)
    if path in REBUILDERS or path in DATA_CLASSES or is_foreign_class(function):
        return Call(function, args)
    raise refused(f"call {shown(path)}")


def _mapping(function: Global, args: tuple[Any, ...]) -> Any:
    """A mapping; the empty ones, by far the most, become a dict at once."""
    return Call(function, args) if args else {}


def _defaultdict(function: Global, args: tuple[Any, ...]) -> Any:
    _check_deferred(args[0] if args else None)
    return Call(function, args)


def _deferred(function: Global, args: tuple[Any, ...]) -> Call:
    """A partial or a method: a call put off."""
    _check_deferred(args[0] if args else None)
    return Call(function, args)


def _deferred_by_type(function: Global, args: tuple[Any, ...]) -> Call:
    """dill's partial: its type, then its function."""
    _check_deferred(args[1] if len(args) > 1 else None)
    return Call(function, args)


def _check_deferred(function: Any) -> None:
    """Refuse a call that is only put off, when its function is a standard one that builds no data."""
    if isinstance(function, Global):
        function = canonical(function)
        path = function.path
        harmless = path in DATA_CLASSES or path in REBUILDERS or path in _SPECIAL
        if function.module.partition(".")[0] in STDLIB and not harmless:
            raise refused(f"call {shown(path)}")
    elif function is not None and not isinstance(function, Call):
        raise refused("put off a call of something that is no function")


def _wrapped(function: Global, args: tuple[Any, ...]) -> Any:
    """A rebuilder that takes the real function as its first argument: dill's arrays, torch's subclass tensors."""
    inner = canonical(args[0]) if args and isinstance(args[0], Global) else None
    if inner is None:
        raise refused("call something the file itself made")
    if inner.path not in REBUILDERS:
        raise refused(f"call {shown(inner.path)}")
    return Call(function, args)


def _copyreg(function: Global, args: tuple[Any, ...]) -> Any:
    """`copyreg.__newobj__(cls, …)` and `_reconstructor(cls, base, state)`: an instance of their first argument."""
    cls = args[0] if args else None
    if not isinstance(cls, Global):
        raise refused("make an instance of something the file itself made")
    if _SPECIAL.get(canonical(cls).path) is _copyreg:
        raise refused(f"make an instance of {shown(cls.path)}")
    return call(cls, args)


def _import_module(function: Global, args: tuple[Any, ...]) -> Global:
    """The module's name; nothing is imported."""
    if not args or not isinstance(args[0], str):
        raise refused("import something that is no module name")
    return named(args[0], "")


def _get_attr(function: Global, args: tuple[Any, ...]) -> Any:
    """The dotted name; nothing is looked up."""
    if len(args) >= 2 and isinstance(args[1], str):
        owner, name = args[:2]
        if isinstance(owner, Global):
            return named(owner.module, f"{owner.name}.{name}" if owner.name else name)
        if isinstance(owner, str):
            return named("builtins", name)  # dill's way to write a builtin function
        return Call(function, args)
    raise refused("look up an attribute without a name")


def _getattr(function: Global, args: tuple[Any, ...]) -> Any:
    if args and isinstance(args[0], Global):
        if args[0].path == "dill._dill" and args[1:2] == ("_setattr",):
            return Global("dill._dill", "_setattr")
        if args[0].module.partition(".")[0] not in STDLIB:
            return _get_attr(function, args)  # torch.channels_last, a class's method: a longer name, still not called
        raise refused(f"call builtins.getattr on {shown(args[0].path)}")
    return _get_attr(function, args)


def _set_cell(function: Global, args: tuple[Any, ...]) -> Any:
    """dill's way to fill the cell of a closure after it is made."""
    if len(args) == 3 and isinstance(args[0], Call) and args[0].function.path == "dill._dill._create_cell":
        return Call(function, args)
    raise refused("call builtins.setattr")


def _load_type(function: Global, args: tuple[Any, ...]) -> Global:
    if not args or not isinstance(args[0], str):
        raise refused("look up a type without a name")
    if args[0] == "PartialType":
        return Global("functools", "partial")
    builtin = f"builtins.{args[0]}" in DATA_CLASSES or f"builtins.{args[0]}" in _SPECIAL
    return named("builtins" if builtin else "types", args[0])


def _eval_repr(function: Global, args: tuple[Any, ...]) -> Any:
    """dill writes a range, and two constants, as text to evaluate; those texts alone are understood."""
    text = args[0] if args and isinstance(args[0], str) else ""
    if text in ("Ellipsis", "NotImplemented"):
        return Global("builtins", text)
    found = RANGE.fullmatch(text)
    if found is None:
        raise refused(f"evaluate '{shown(text)}' as code")
    return Call(Global("builtins", "range"), tuple(int(g) for g in found.groups() if g is not None))


def _encode(function: Global, args: tuple[Any, ...]) -> Any:
    """Bytes in old protocols: text to encode as Latin-1; left as it is until it is needed."""
    if args and isinstance(args[0], str) and (len(args) < 2 or args[1] in ("latin1", "latin-1", "utf-8")):
        return Call(function, args)
    raise refused("encode something that is no text")


def _bytes(function: Global, args: tuple[Any, ...]) -> Any:
    return Call(function, args) if args else Span(memoryview(b""), None)


_SPECIAL: dict[str, Callable[[Global, tuple[Any, ...]], Any]] = {
    "_codecs.encode": _encode,
    "builtins.bytes": _bytes,
    "builtins.dict": _mapping,
    "builtins.getattr": _getattr,
    "collections.OrderedDict": _mapping,
    "collections.UserDict": _mapping,
    "collections.defaultdict": _defaultdict,
    "copyreg.__newobj__": _copyreg,
    "copyreg._reconstructor": _copyreg,
    "dill._dill._create_array": _wrapped,
    "dill._dill._create_ftype": _deferred_by_type,
    "dill._dill._eval_repr": _eval_repr,
    "dill._dill._get_attr": _get_attr,
    "dill._dill._getattr": _get_attr,
    "dill._dill._setattr": _set_cell,
    "dill._dill._getattribute": _get_attr,
    "dill._dill._import_module": _import_module,
    "dill._dill._load_type": _load_type,
    "functools.partial": _deferred,
    "torch._tensor._rebuild_from_type_v2": _wrapped,
    "torch.tensor._rebuild_from_type": _wrapped,
    "types.MethodType": _deferred,
}
