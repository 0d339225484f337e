"""Which calls of a pickle are known to build plain data; all others are refused. Nothing is called either way."""

import re
import sys
from collections.abc import Callable
from typing import Any

from linkjax.errors import InputError, UnsafeFileError
from linkjax_converters.pickle_records import Call, Global, Span, shown

# Standard modules of other Python versions: sys.stdlib_module_names knows only those of the one that runs.
OTHER_STDLIB = frozenset(
    ["__builtin__", "_winreg", "aifc", "asynchat", "asyncore", "audioop", "binhex", "cgi", "cgitb", "chunk", "commands", "copy_reg", "cPickle", "cStringIO", "crypt", "distutils", "dummy_thread", "dummy_threading", "exceptions", "formatter", "imghdr", "imp", "lib2to3", "macpath", "mailcap", "msilib", "new", "nis", "nntplib", "ossaudiodev", "parser", "pipes", "popen2", "Queue", "sets", "smtpd", "sndhdr", "spwd", "StringIO", "sunau", "symbol", "telnetlib", "test", "thread", "urllib2", "UserDict", "UserList", "uu", "xdrlib"]
)
STDLIB = sys.stdlib_module_names | OTHER_STDLIB | {"dill"}

# Classes of the standard library that only hold data.
DATA_CLASSES = frozenset(
    ["argparse.Namespace", "types.SimpleNamespace", "types.MethodType", "types.CodeType", "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath", "pathlib.PureWindowsPath", "pathlib._local.PosixPath", "pathlib._local.WindowsPath", "datetime.datetime", "datetime.date", "datetime.time", "datetime.timedelta", "datetime.timezone", "decimal.Decimal", "fractions.Fraction", "uuid.UUID", "collections.deque", "collections.Counter", "builtins.object", "builtins.complex", "builtins.bytearray", "builtins.slice", "builtins.range", "builtins.int", "builtins.float", "builtins.str", "builtins.bool", "builtins.tuple", "builtins.bytes"]
)

# Functions that only rebuild data from their arguments, under every spelling seen in snapshots.
REBUILDERS = frozenset(
    ["torch_utils.persistence._reconstruct_persistent_obj", "torch.storage._load_from_bytes", "torch._utils._rebuild_tensor", "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor_v3", "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state", "torch._utils._rebuild_qtensor", "torch._utils._rebuild_sparse_tensor", "torch._utils._rebuild_device_tensor_from_numpy", "torch._utils._rebuild_meta_tensor_no_storage", "torch.device", "torch.dtype", "torch.Size", "torch.serialization._get_layout", "torch._tensor._rebuild_from_type_v2", "torch.tensor._rebuild_from_type", "numpy.dtype", "numpy.ndarray", "numpy.random._pickle.__randomstate_ctor", "numpy.random._pickle.__generator_ctor", "numpy.random._pickle.__bit_generator_ctor", "dill._dill._create_array", "dill._dill._create_type", "dill._dill._create_code", "dill._dill._create_function", "dill._dill._create_cell", "dill._dill._create_weakref", "dill._dill._create_weakproxy", "dill._dill._create_lock", "dill._dill._create_rlock", "dill._dill._create_ftype", "dill._dill._create_namedtuple", "dill._dill._create_dtypemeta", "functools.partial"]
)
NUMPY_FUNCTIONS = frozenset({"scalar", "_reconstruct", "_frombuffer"})
NUMPY_MODULES = re.compile(r"numpy\.(core|_core)\.(multiarray|_multiarray_umath|numeric)")
MAX_NAME = 500  # characters of a dotted name
PYTHON_2_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg", "UserDict": "collections"}
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
    module = PYTHON_2_MODULES.get(function.module, function.module)
    if module in ("dill", "dill.dill"):
        module = "dill._dill"
    if function.name in NUMPY_FUNCTIONS and NUMPY_MODULES.fullmatch(module):
        module = "numpy"
    return Global(module, function.name) if module != function.module else function


def is_foreign_class(function: Global) -> bool:
    """Whether a name is that of a class (CapWords) outside the standard library: a network's part, kept as a record."""
    name = function.name.rpartition(".")[2].lstrip("_")
    return function.module.partition(".")[0] not in STDLIB and name[:1].isupper()


def call(function: Any, args: Any) -> Any:
    """The record, or plain value, that stands for `function(*args)`.

    Errors: UnsafeFileError naming the call, for all but known reconstructors and classes of networks.
    """
    if not isinstance(function, Global):
        raise refused("call something the file itself made")
    if not isinstance(args, tuple):
        raise refused(f"call {shown(function.path)} without an argument list")
    function = canonical(function)
    path = function.path
    if path in _SYMBOLIC:
        return _SYMBOLIC[path](function, args)
    if path in REBUILDERS or path in DATA_CLASSES or is_foreign_class(function):
        return Call(function, args)
    if function.module == "numpy" and function.name in NUMPY_FUNCTIONS:
        return Call(function, args)
    raise refused(f"call {shown(path)}")


def instance(cls: Any, args: Any) -> Any:
    """The record that stands for `cls.__new__(cls, *args)`."""
    if isinstance(cls, Global) and canonical(cls).path in _WRAPPERS:
        raise refused(f"make an instance of {shown(cls.path)}")
    return call(cls, args)


def _contents(function: Global, args: tuple[Any, ...]) -> Any:
    """A mapping: empty ones, the common case, as a dict at once; others keep their arguments (copies could be repeated)."""
    return Call(function, args) if args else {}


def _defaultdict(function: Global, args: tuple[Any, ...]) -> Any:
    _deferred(args[0] if args else None)
    return Call(function, args)


def _deferred(function: Any) -> None:
    """Refuse a call that is only put off: a default factory, a partial, a method, when its function is not harmless."""
    if function is None:
        return
    if not isinstance(function, Global):
        if isinstance(function, Call):
            return  # made by the file, itself already looked at
        raise refused("put off a call of something that is no function")
    top = canonical(function).module.partition(".")[0]
    known = canonical(function).path
    if top in STDLIB and known not in DATA_CLASSES and known not in REBUILDERS and known not in _SYMBOLIC:
        raise refused(f"call {shown(known)}")


def _partial(function: Global, args: tuple[Any, ...]) -> Call:
    _deferred(args[0] if args else None)
    return Call(function, args)


def _wrapped(function: Global, args: tuple[Any, ...]) -> Any:
    """A rebuilder that takes the real function as its first argument: dill's arrays, torch's subclass tensors."""
    inner = canonical(args[0]) if args and isinstance(args[0], Global) else None
    if inner is None or (
        inner.path not in REBUILDERS and inner.path not in ("numpy._reconstruct", "numpy._frombuffer")
    ):
        raise refused(f"call {shown(inner.path) if inner else 'something the file itself made'}")
    return Call(function, args)


def _wrapped_class(function: Global, args: tuple[Any, ...]) -> Any:
    """`copyreg` makes an instance of its first argument; the record keeps all arguments, as copies could be repeated."""
    cls = args[0] if args else None
    if not isinstance(cls, Global):
        raise refused("make an instance of something the file itself made")
    return instance(cls, args)


def _import_module(function: Global, args: tuple[Any, ...]) -> Global:
    if not args or not isinstance(args[0], str):
        raise refused("import something that is no module name")
    return named(args[0], "")


def _get_attr(function: Global, args: tuple[Any, ...]) -> Any:
    if len(args) >= 2 and isinstance(args[1], str):
        owner, name = args[:2]
        if isinstance(owner, Global):
            return named(owner.module, f"{owner.name}.{name}" if owner.name else name)
        if isinstance(owner, Call):
            return Call(function, args)
    raise refused("look up an attribute of something that is no module and no object")


def _getattr(function: Global, args: tuple[Any, ...]) -> Any:
    if args and isinstance(args[0], Global):
        raise refused(f"call builtins.getattr on {shown(args[0].path)}")
    return _get_attr(function, args)


def _load_type(function: Global, args: tuple[Any, ...]) -> Global:
    if not args or not isinstance(args[0], str):
        raise refused("look up a type without a name")
    return named("types", args[0])


def _eval_repr(function: Global, args: tuple[Any, ...]) -> Any:
    """dill writes a range as text to evaluate; that text alone is understood."""
    found = RANGE.fullmatch(args[0]) if args and isinstance(args[0], str) else None
    if found is None:
        raise refused(f"evaluate {shown(args[0] if args and isinstance(args[0], str) else 'a value')!r} as code")
    return Call(Global("builtins", "range"), tuple(int(g) for g in found.groups() if g is not None))


def _encode(function: Global, args: tuple[Any, ...]) -> Any:
    """Bytes in old protocols: text to encode as Latin-1; left as it is until it is needed."""
    if args and isinstance(args[0], str) and (len(args) < 2 or args[1] in ("latin1", "latin-1", "utf-8")):
        return Call(function, args)
    raise refused("encode something that is no text")


def _empty_bytes(function: Global, args: tuple[Any, ...]) -> Any:
    return Call(function, args) if args else Span(memoryview(b""), None)


def _record(function: Global, args: tuple[Any, ...]) -> Any:
    return Call(function, args)


_SYMBOLIC: dict[str, Callable[[Global, tuple[Any, ...]], Any]] = {
    "collections.OrderedDict": _contents,
    "collections.defaultdict": _defaultdict,
    "collections.UserDict": _contents,
    "builtins.dict": _contents,
    "builtins.list": _record,
    "builtins.set": _record,
    "builtins.frozenset": _record,
    "builtins.bytes": _empty_bytes,
    "builtins.getattr": _getattr,
    "copyreg._reconstructor": _wrapped_class,
    "copyreg.__newobj__": _wrapped_class,
    "functools.partial": _partial,
    "types.MethodType": _partial,
    "_codecs.encode": _encode,
    "dill._dill._create_array": _wrapped,
    "torch._tensor._rebuild_from_type_v2": _wrapped,
    "torch.tensor._rebuild_from_type": _wrapped,
    "dill._dill._import_module": _import_module,
    "dill._dill._get_attr": _get_attr,
    "dill._dill._getattribute": _get_attr,
    "dill._dill._load_type": _load_type,
    "dill._dill._eval_repr": _eval_repr,
}
_WRAPPERS = (
    frozenset(_SYMBOLIC) - DATA_CLASSES - {f"builtins.{n}" for n in ("dict", "list", "set", "frozenset", "bytes")}
)
_WRAPPERS -= {"collections.OrderedDict", "collections.defaultdict", "collections.UserDict", "functools.partial"}
