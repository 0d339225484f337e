"""A pickle machine that imports nothing and calls nothing: it turns the opcodes of a file into inert records.

Protocols 0 to 5. Bytes objects are views of the source, so a file of a gigabyte costs no memory to walk. Nested data
never recurses here: the depth of a file costs heap, not stack. One file, since all opcodes share one stack and memo.
"""

import re
import struct
from collections.abc import Callable
from typing import Any

from linkjax.errors import InputError, LinkjaxError, UnsafeFileError
from linkjax_converters.reader import policy
from linkjax_converters.reader.records import Budget, Call, Global, Persistent, Span, as_key, damaged

MAX_TEXT = 1 << 26  # bytes of one text; the source code stored beside a network is some 30 kB
MAX_LINE = 1 << 16  # bytes of one line of the text opcodes
MAX_INTEGER = 1 << 10  # bytes of one integer
MAX_MEMO = 1 << 31
TORCH_FILE = "torch.storage._load_from_bytes"  # its argument is a file with pickles of its own

_OPCODES: dict[int, Callable[["Machine"], None]] = {}


def load(view: memoryview, start: int | None = 0, budget: Budget | None = None) -> tuple[Any, "Machine"]:
    """Read one pickle from the beginning of `view`.

    Args:
      view: the bytes (of a file map, or of bytes in memory).
      start: where `view` starts in its file; None if it lies in no file.
      budget: how much may still be done; shared between a file and what is nested in it.
    Returns: the value, and the machine (`position` after the pickle, `nested` torch files, `persistent` ids).
    Errors: InputError for damaged or oversized pickles, UnsafeFileError for one that asks for a call.
    """
    machine = Machine(view, start, budget or Budget())
    try:
        return machine.run(), machine
    except LinkjaxError:
        raise
    except ValueError:
        raise damaged("a text or a number is not written as one", machine.position) from None
    except Exception as error:  # the border to bytes from outside: whatever they do inside, one sentence leaves
        raise damaged(f"{type(error).__name__} in the opcode before it", machine.position) from None


class Machine:
    """The stack, marks and memo of one pickle."""

    def __init__(self, view: memoryview, start: int | None, budget: Budget) -> None:
        self.view = view
        self.start = start
        self.budget = budget
        self.size = len(view)
        self.position = 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.nested: list[Call] = []
        self.persistent: list[Persistent] = []

    def run(self) -> Any:
        """Run opcodes up to STOP; the value on top of the stack."""
        view, size, opcodes, budget = self.view, self.size, _OPCODES, self.budget
        while True:
            if self.position >= size:
                raise self.truncated("ends before the pickle does")
            opcode = view[self.position]
            self.position += 1
            if opcode == 0x2E:  # STOP
                return self.pop()
            handler = opcodes.get(opcode)
            if handler is None:
                raise damaged(f"no pickle opcode has the number {opcode}", self.position - 1)
            budget.opcodes -= 1
            if budget.opcodes < 0:
                raise InputError("asks for more objects than any snapshot has; refused as a pickle bomb")
            handler(self)

    def truncated(self, what: str) -> InputError:
        """The error for a file shorter than it says."""
        return InputError(f"truncated: {what} ({self.size} bytes); get the file again")

    def take(self, count: int) -> memoryview:
        """The next `count` bytes, if there are as many."""
        begin = self.position
        if count > self.size - begin:
            raise self.truncated(f"byte {begin} announces {count} more bytes and {self.size - begin} remain")
        self.position = begin + count
        return self.view[begin : begin + count]

    def unsigned(self, width: int) -> int:
        """The next little-endian unsigned integer of `width` bytes."""
        return int.from_bytes(self.take(width), "little")

    def line(self) -> str:
        """The next line, Latin-1, without its end."""
        end, length = -1, 128
        while end < 0 and length <= MAX_LINE:
            chunk = bytes(self.view[self.position : self.position + length])
            end, length = chunk.find(b"\n"), 8 * length
        if end < 0:
            raise self.truncated(f"a line of text at byte {self.position} has no end")
        self.position += end + 1
        return chunk[:end].decode("latin-1")

    def pop(self) -> Any:
        """Take the top of the stack."""
        if not self.stack:
            raise damaged("it takes from an empty stack", self.position)
        return self.stack.pop()

    def top(self) -> Any:
        """Look at the top of the stack."""
        if not self.stack:
            raise damaged("it looks at an empty stack", self.position)
        return self.stack[-1]

    def pop_mark(self) -> list[Any]:
        """All items since the last mark."""
        if not self.marks:
            raise damaged("it goes back to a mark that is not there", self.position)
        items, self.stack = self.stack, self.marks.pop()
        return items

    def call(self, function: Any, args: Any) -> None:
        """Push what stands for `function(*args)`; refuse all that is not known to build data."""
        value = policy.call(function, args)
        if isinstance(value, Call) and value.function.path == TORCH_FILE:
            self.nested.append(value)
        self.stack.append(value)

    def put(self, index: int) -> None:
        """Remember the top of the stack."""
        if not 0 <= index < MAX_MEMO:
            raise damaged("a memo index is out of range", self.position)
        self.memo[index] = self.top()

    def get(self, index: int) -> None:
        """Push a remembered value."""
        if index not in self.memo:
            raise damaged("it refers to an object that is not there", self.position)
        self.stack.append(self.memo[index])

    def text(self, count: int) -> None:
        """Push the next `count` bytes as text."""
        if count > MAX_TEXT:
            raise InputError(f"announces a text of {count} bytes at byte {self.position}; refused as a pickle bomb")
        self.stack.append(str(self.take(count), "utf-8", "surrogatepass"))

    def data(self, count: int) -> None:
        """Push the next `count` bytes as a view."""
        begin = self.position
        self.stack.append(Span(self.take(count), None if self.start is None else self.start + begin))

    def integer(self, count: int) -> None:
        """Push the next `count` bytes as a signed integer."""
        if count > MAX_INTEGER:
            raise InputError(f"announces an integer of {count} bytes at byte {self.position}; refused as a pickle bomb")
        self.stack.append(int.from_bytes(self.take(count), "little", signed=True))

    def set_items(self, items: list[Any]) -> None:
        """Put pairs key, value into the mapping on top of the stack."""
        target = self.top()
        if len(items) % 2:
            raise damaged("a key has no value", self.position)
        if isinstance(target, Call):
            target.items = {} if target.items is None else target.items
            target = target.items
        if not isinstance(target, dict):
            raise damaged("it puts keys into something that is no mapping", self.position)
        for i in range(0, len(items), 2):
            target[as_key(items[i])] = items[i + 1]

    def append(self, items: list[Any]) -> None:
        """Append to the sequence on top of the stack."""
        target = self.top()
        if isinstance(target, Call):
            target.appends = [] if target.appends is None else target.appends
            target = target.appends
        if not isinstance(target, list):
            raise damaged("it appends to something that is no list", self.position)
        target.extend(items)


def _op(code: bytes) -> Callable[[Callable[[Machine], None]], Callable[[Machine], None]]:
    def register(handler: Callable[[Machine], None]) -> Callable[[Machine], None]:
        _OPCODES[code[0]] = handler
        return handler

    return register


def _constant(code: bytes, value: Any) -> None:
    _OPCODES[code[0]] = lambda m: m.stack.append(value)


for _code, _value in ((b"N", None), (b"\x88", True), (b"\x89", False), (b")", ())):
    _constant(_code, _value)

_OPCODES.update(
    {
        ord("}"): lambda m: m.stack.append({}),
        ord("]"): lambda m: m.stack.append([]),
        0x8F: lambda m: m.stack.append(set()),
        ord("K"): lambda m: m.stack.append(m.unsigned(1)),
        ord("M"): lambda m: m.stack.append(m.unsigned(2)),
        ord("J"): lambda m: m.integer(4),
        0x8A: lambda m: m.integer(m.unsigned(1)),
        0x8B: lambda m: m.integer(m.unsigned(4)),
        ord("G"): lambda m: m.stack.append(struct.unpack(">d", m.take(8))[0]),
        0x8C: lambda m: m.text(m.unsigned(1)),
        ord("X"): lambda m: m.text(m.unsigned(4)),
        0x8D: lambda m: m.text(m.unsigned(8)),
        ord("C"): lambda m: m.data(m.unsigned(1)),
        ord("B"): lambda m: m.data(m.unsigned(4)),
        0x8E: lambda m: m.data(m.unsigned(8)),
        0x96: lambda m: m.data(m.unsigned(8)),  # a bytearray
        0x94: lambda m: m.put(len(m.memo)),
        ord("q"): lambda m: m.put(m.unsigned(1)),
        ord("r"): lambda m: m.put(m.unsigned(4)),
        ord("p"): lambda m: m.put(_decimal(m)),
        ord("h"): lambda m: m.get(m.unsigned(1)),
        ord("j"): lambda m: m.get(m.unsigned(4)),
        ord("g"): lambda m: m.get(_decimal(m)),
        ord("F"): lambda m: m.stack.append(_float(m, m.line())),
        ord("a"): lambda m: m.append([m.pop()]),
        ord("e"): lambda m: m.append(m.pop_mark()),
        ord("u"): lambda m: m.set_items(m.pop_mark()),
        ord("t"): lambda m: _push(m, tuple(m.pop_mark())),
        ord("l"): lambda m: _push(m, m.pop_mark()),
        ord("2"): lambda m: m.stack.append(m.top()),
        ord("1"): lambda m: _drop(m.pop_mark()),
        ord("V"): lambda m: m.stack.append(m.line().encode("latin-1").decode("raw-unicode-escape")),
        ord("T"): lambda m: _latin(m, m.unsigned(4)),
        ord("U"): lambda m: _latin(m, m.unsigned(1)),
        ord("P"): lambda m: _persistent(m, m.line()),
        ord("Q"): lambda m: _persistent(m, m.pop()),
        ord("c"): lambda m: m.stack.append(policy.named(m.line(), m.line())),
    }
)


def _push(machine: Machine, value: Any) -> None:
    machine.stack.append(value)


def _drop(items: list[Any]) -> None:
    del items


def _decimal(machine: Machine) -> int:
    text = machine.line()
    if not text.isdecimal() or len(text) > 10:
        raise damaged("a memo index is no number", machine.position)
    return int(text)


def _float(machine: Machine, text: str) -> float:
    if len(text) > 100:
        raise damaged("a number is not written as one", machine.position)
    return float(text)


def _latin(machine: Machine, count: int) -> None:
    if count > MAX_TEXT:
        raise InputError(f"announces a text of {count} bytes at byte {machine.position}; refused as a pickle bomb")
    machine.stack.append(str(machine.take(count), "latin-1"))


def _persistent(machine: Machine, key: Any) -> None:
    record = Persistent(key)
    machine.persistent.append(record)
    machine.stack.append(record)


@_op(b"\x80")
def _protocol(machine: Machine) -> None:
    protocol = machine.unsigned(1)
    if protocol > 5:
        raise damaged(f"pickle protocol {protocol} does not exist", machine.position)


@_op(b"\x95")
def _frame(machine: Machine) -> None:
    count = machine.unsigned(8)
    if count > machine.size - machine.position:
        left = machine.size - machine.position
        raise machine.truncated(f"byte {machine.position} announces {count} more bytes and {left} remain")


@_op(b"(")
def _mark(machine: Machine) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


@_op(b"0")
def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.pop_mark()


@_op(b"I")
def _int_line(machine: Machine) -> None:
    text = machine.line()
    machine.stack.append({"00": False, "01": True}[text] if text in ("00", "01") else _number(machine, text))


@_op(b"L")
def _long_line(machine: Machine) -> None:
    machine.stack.append(_number(machine, machine.line().removesuffix("L")))


def _number(machine: Machine, text: str) -> int:
    if not re.fullmatch(r"[ ]*[+-]?[0-9]{1,1000}[ ]*", text):
        raise damaged("an integer is not written as one", machine.position)
    return int(text)


_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


@_op(b"S")
def _string_line(machine: Machine) -> None:
    text = machine.line()
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
        raise damaged("a text has no quotes", machine.position)
    machine.stack.append(_ESCAPE.sub(_unescape, text[1:-1]))


def _unescape(found: re.Match[str]) -> str:
    code = found[1]
    if code[0] == "x" and len(code) == 3:
        return chr(int(code[1:], 16))
    if code.isdecimal():
        return chr(int(code, 8) & 0xFF)
    return _LETTERS.get(code, code)


@_op(b"\x85")
def _tuple1(machine: Machine) -> None:
    machine.stack.append((machine.pop(),))


@_op(b"\x86")
def _tuple2(machine: Machine) -> None:
    b, a = machine.pop(), machine.pop()
    machine.stack.append((a, b))


@_op(b"\x87")
def _tuple3(machine: Machine) -> None:
    c, b, a = machine.pop(), machine.pop(), machine.pop()
    machine.stack.append((a, b, c))


@_op(b"d")
def _dict(machine: Machine) -> None:
    items = machine.pop_mark()
    machine.stack.append({})
    machine.set_items(items)


@_op(b"s")
def _set_item(machine: Machine) -> None:
    value, key = machine.pop(), machine.pop()
    machine.set_items([key, value])


@_op(b"\x90")
def _add_items(machine: Machine) -> None:
    items, target = machine.pop_mark(), machine.top()
    if isinstance(target, Call):
        machine.append(items)
    elif isinstance(target, set):
        target.update(map(as_key, items))
    else:
        raise damaged("it adds members to something that is no set", machine.position)


@_op(b"\x91")
def _frozen_set(machine: Machine) -> None:
    members = machine.pop_mark()  # first: it puts another stack in place
    machine.stack.append({as_key(v) for v in members})


@_op(b"\x93")
def _stack_global(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise damaged("the name of a class is no text", machine.position)
    machine.stack.append(policy.named(module, name))


@_op(b"R")
def _reduce(machine: Machine) -> None:
    args, function = machine.pop(), machine.pop()
    machine.call(function, args)


@_op(b"\x81")
def _new_object(machine: Machine) -> None:
    args, cls = machine.pop(), machine.pop()
    machine.call(cls, args)


@_op(b"\x92")
def _new_object_with_keywords(machine: Machine) -> None:
    _, args, cls = machine.pop(), machine.pop(), machine.pop()  # keywords: no class of a network is made with them
    machine.call(cls, args)


@_op(b"i")
def _instance_line(machine: Machine) -> None:
    cls = policy.named(machine.line(), machine.line())
    machine.call(cls, tuple(machine.pop_mark()))


@_op(b"o")
def _instance_of_stack(machine: Machine) -> None:
    items = machine.pop_mark()
    if not items:
        raise damaged("an object has no class", machine.position)
    machine.call(items[0], tuple(items[1:]))


@_op(b"b")
def _build(machine: Machine) -> None:
    state, target = machine.pop(), machine.top()
    if isinstance(target, Global):
        raise policy.refused(f"change {policy.shown(target.path)}")
    if isinstance(target, Call):
        target.state = state
    elif not isinstance(target, dict | list | set):  # a subclass's own attributes; its contents matter alone
        raise damaged("it sets the state of a plain value", machine.position)


def _extension(machine: Machine) -> None:
    raise UnsafeFileError("uses the pickle extension registry, which no weight file needs; refused, nothing was run")


def _out_of_band(machine: Machine) -> None:
    raise InputError("keeps its data outside the file (pickle protocol 5 buffers); save it again without")


for _code in (b"\x82", b"\x83", b"\x84"):
    _op(_code)(_extension)
for _code in (b"\x97", b"\x98"):
    _op(_code)(_out_of_band)
