"""Files that ask for more than data, or for more than there is: one sentence, and nothing runs."""

import builtins
import os
import pickle
import struct
import subprocess
import time

import numpy as np
import pytest

from linkjax.errors import InputError, UnsafeFileError
from linkjax_converters.reader import machine
from linkjax_converters.reader.snapshot import read_snapshot
from tests.reference.official_pickle import (
    Module,
    Network,
    Raw,
    RawStorage,
    network_entries,
    storage_file,
    write_snapshot,
)


class Calls:
    """Pickles as a call of `function(*args)`."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def load(opcodes: bytes):
    return machine.load(memoryview(opcodes))[0]


def name(path: str) -> bytes:
    module, _, attribute = path.rpartition(".")
    return b"c" + module.encode() + b"\n" + attribute.encode() + b"\n"


def text(value: str) -> bytes:
    return b"\x8c" + bytes([len(value)]) + value.encode()


def call(path: str, *arguments: bytes) -> bytes:
    return name(path) + b"(" + b"".join(arguments) + b"tR"


TINY = Network({"weight": np.ones((2, 3), np.float32)}, {"": Module("Generator", {"z_dim": 4})})
TOUCH = text("touch ran")

CALLS = {
    "os.system": call("os.system", TOUCH),
    "posix.system": call("posix.system", TOUCH),
    "nt.system": call("nt.system", TOUCH),
    "os.popen": call("os.popen", TOUCH),
    "builtins.eval": call("builtins.eval", text("1")),
    "builtins.exec of Python 2": call("__builtin__.exec", text("1")),
    "builtins.__import__": call("builtins.__import__", text("os")),
    "builtins.open": call("builtins.open", text("ran"), text("w")),
    "builtins.setattr": call("builtins.setattr", name("os.path"), text("a"), text("b")),
    "builtins.getattr": call("builtins.getattr", name("os.path"), text("system")),
    "builtins.map": call("builtins.map", name("os.system"), b"]" + TOUCH + b"a"),
    "subprocess.Popen": call("subprocess.Popen", TOUCH),
    "subprocess.Popen by NEWOBJ": name("subprocess.Popen") + b"(" + TOUCH + b"t\x81",
    "subprocess.Popen by NEWOBJ_EX": name("subprocess.Popen") + b"(" + TOUCH + b"t}\x92",
    "subprocess.Popen by INST": b"(" + TOUCH + b"isubprocess\nPopen\n",
    "subprocess.Popen by OBJ": b"(" + name("subprocess.Popen") + TOUCH + b"o",
    "os.system by STACK_GLOBAL": text("os") + text("system") + b"\x93" + TOUCH + b"\x85R",
    "os.system by NEWOBJ": name("os.system") + TOUCH + b"\x85\x81",
    "os.system through copyreg": call("copyreg.__newobj__", name("os.system"), TOUCH),
    "copyreg through copyreg": call("copyreg.__newobj__", name("copyreg.__newobj__"), name("os.system"), TOUCH),
    "os.system through _reconstructor": call(
        "copy_reg._reconstructor", name("os.system"), name("builtins.object"), b"N"
    ),
    "os.system through partial": call("functools.partial", name("os.system"), TOUCH),
    "os.system through defaultdict": call("collections.defaultdict", name("os.system")),
    "os.system through a method": call("types.MethodType", name("os.system"), TOUCH),
    "os.system through a subclass tensor": call(
        "torch._tensor._rebuild_from_type_v2", name("os.system"), name("torch.Tensor"), b"(" + TOUCH + b"t", b"N"
    ),
    "os.system through dill's array": call("dill._dill._create_array", name("os.system"), TOUCH, b"N"),
    "os.system through dill's names": call(
        "dill._dill._get_attr", call("dill._dill._import_module", text("os")), text("system")
    )
    + TOUCH
    + b"\x85R",
    "eval through dill's names": call("dill._dill._get_attr", text("builtins"), text("eval")) + TOUCH + b"\x85R",
    "code through dill's text of a range": call("dill._dill._eval_repr", text("__import__('os').system('touch ran')")),
    "dill._dill._create_filehandle": call("dill._dill._create_filehandle", text("ran"), text("w")),
    "dill._dill._unmarshal": call("dill._dill._unmarshal", text("x")),
    "marshal.loads": call("marshal.loads", text("x")),
    "pickle.loads": call("pickle.loads", text("x")),
    "runpy.run_path": call("runpy.run_path", text("x")),
    "importlib.import_module": call("importlib.import_module", text("os")),
    "code.InteractiveInterpreter": call("code.InteractiveInterpreter"),
    "distutils.spawn.Spawner": call("distutils.spawn.Spawner", text("x")),
    "torch.load": call("torch.load", text("x.pt")),
    "torch.hub.load": call("torch.hub.load", text("someone/repository")),
    "numpy.load": call("numpy.load", text("x.npy")),
    "a function of an unknown package": call("nice_weights.load_everything", text("x")),
    "a closure of the file": call("dill._dill._create_function", b"N") + b")R",
    "an attribute of an object": call("dill._dill._get_attr", name("torch.nn.Linear") + b")\x81", text("x")) + b")R",
    "a text": text("os.system") + b")R",
    "a persistent id": b"Pos.system\n)R",
    "an environment variable": name("os.environ") + b"}" + text("PATH") + text("x") + b"sb",
    "a module's attribute": call("dill._dill._import_module", text("os")) + b"}b",
    "an extension code": b"\x82\x01",
    "a two-byte extension code": b"\x83\x01\x00",
    "a four-byte extension code": b"\x84\x01\x00\x00\x00",
}


@pytest.mark.parametrize("what", CALLS)
@pytest.mark.parametrize("where", ["alone", "discriminator", "dropped", "attribute", "tensor"])
def test_no_call_is_made_or_accepted(tmp_path, monkeypatch, what, where):
    monkeypatch.chdir(tmp_path)
    opcodes = CALLS[what]
    entries = network_entries(TINY)
    if where == "alone":
        (tmp_path / "net.pkl").write_bytes(b"\x80\x04" + opcodes + b".")
    else:
        if where == "discriminator":
            entries["D"] = Raw(opcodes)
        elif where == "dropped":
            entries["D"] = Raw(opcodes + b"0N")
        elif where == "attribute":
            entries["G_ema"] = Network(TINY.arrays, {"": Module("Generator", {"z_dim": Raw(opcodes)})})
        else:
            head = storage_file("f4", 1, "cpu")
            entries["G"] = Network(
                {"weight": RawStorage(b"\x80\x02" + opcodes + b"0" + head[2:] + b"\0" * 4)}, TINY.modules
            )
        write_snapshot(tmp_path / "net.pkl", entries)
    with pytest.raises(UnsafeFileError, match="nothing was run") as caught:
        read_snapshot("net.pkl")
    message = str(caught.value)
    assert "\n" not in message and len(message) < 300
    if what.count(".") and " " not in what:
        assert what in message
    assert os.listdir() == ["net.pkl"]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "function", [os.system, builtins.eval, builtins.exec, subprocess.Popen, subprocess.check_output, os.remove]
)
def test_what_python_itself_writes_for_a_call_is_refused(tmp_path, monkeypatch, function, protocol):
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"G_ema": Calls(function, "touch ran")}, protocol)
    (tmp_path / "net.pkl").write_bytes(data)
    with pytest.raises(UnsafeFileError, match=rf"asks to call \w+\.{function.__name__}"):
        read_snapshot("net.pkl")
    assert os.listdir() == ["net.pkl"]


def test_a_call_hidden_in_any_of_the_pickles_of_a_tensor_is_found(tmp_path):
    system = call("os.system", TOUCH)
    head = storage_file("f4", 1, "cpu")
    starts = [i for i in range(len(head) - 1) if head[i : i + 2] == b"\x80\x02"]
    assert len(starts) == 5
    for start in starts:
        payload = head[: start + 2] + system + b"0" + head[start + 2 :] + b"\0" * 4
        write_snapshot(tmp_path / "net.pkl", network_entries(Network({"weight": RawStorage(payload)}, TINY.modules)))
        with pytest.raises(UnsafeFileError, match=r"os\.system"):
            read_snapshot(tmp_path / "net.pkl")


def tensor(size=b"K\x02\x85", stride=b"K\x01\x85", offset=b"K\x00", payload=None) -> bytes:
    """Opcodes of a tensor over four float32 numbers."""
    payload = storage_file("f4", 4, "cpu") + bytes(16) if payload is None else payload
    storage = name("torch.storage._load_from_bytes") + b"B" + struct.pack("<I", len(payload)) + payload + b"\x85R"
    return call("torch._utils._rebuild_tensor_v2", storage, offset, size, stride, b"\x89", b"}")


def module(parameters: bytes = b"}", modules: bytes = b"}", **attributes: bytes) -> bytes:
    """Opcodes of a module of some network."""
    state = text("_parameters") + parameters + text("_buffers") + b"}" + text("_modules") + modules
    state += b"".join(text(key) + value for key, value in attributes.items())
    return name("net.Generator") + b")\x81}(" + state + b"ub"


def read(tmp_path, opcodes: bytes):
    (tmp_path / "net.pkl").write_bytes(b"\x80\x04}" + text("G_ema") + opcodes + b"s.")
    return read_snapshot(tmp_path / "net.pkl")


def with_tensor(opcodes: bytes) -> bytes:
    return module(b"}" + text("w") + opcodes + b"s")


def integer(value: int) -> bytes:
    return b"\x8a\x08" + value.to_bytes(8, "little", signed=True)


TENSORS = {
    "more numbers than the storage": dict(size=b"K\x05\x85"),
    "a huge size": dict(size=integer(2**60) + b"\x85"),
    "a huge size without strides": dict(size=integer(2**60) + b"\x85", stride=b"K\x00\x85"),
    "a repeated scalar without end": dict(size=b"J\xff\xff\xff\x7f\x85", stride=b"K\x00\x85"),
    "a huge empty size": dict(size=b"K\x00" + integer(2**61) + b"\x86", stride=b"K\x01K\x01\x86"),
    "a stride that leaves the storage": dict(stride=b"K\x04\x85"),
    "a negative stride": dict(stride=b"J\xff\xff\xff\xff\x85"),
    "a negative size": dict(size=b"J\xff\xff\xff\xff\x85"),
    "a negative offset": dict(offset=b"J\xff\xff\xff\xff"),
    "an offset beyond the storage": dict(offset=b"K\x03"),
    "a truth value as size": dict(size=b"\x88\x85"),
    "a text as size": dict(size=text("2") + b"\x85"),
    "a stride too few": dict(size=b"K\x01K\x01\x86"),
    "a hundred dimensions": dict(size=b"(" + b"K\x01" * 100 + b"t", stride=b"(" + b"K\x01" * 100 + b"t"),
    "fewer bytes than numbers": dict(payload=storage_file("f4", 4, "cpu") + bytes(15)),
    "an announced storage of a petabyte": dict(payload=storage_file("f4", 2**48, "cpu") + bytes(16)),
    "no bytes": dict(payload=b""),
    "bytes of another kind": dict(payload=b"\x89PNG" + bytes(50)),
    "a zip file as bytes": dict(payload=b"PK\x03\x04" + bytes(50)),
    "bytes of plain numbers": dict(payload=pickle.dumps(5, 2)),
}


@pytest.mark.parametrize("what", TENSORS)
def test_a_tensor_cannot_reach_beyond_its_bytes(tmp_path, what):
    with pytest.raises(InputError, match=r"damaged|truncated|not an old-format"):
        read(tmp_path, with_tensor(tensor(**TENSORS[what])))


def test_strided_and_shared_tensors_are_read_right(tmp_path):
    payload = storage_file("f4", 4, "cuda:0") + np.array([1, 2, 3, 4], "<f4").tobytes()
    square = b"K\x02K\x02\x86"
    found = read(tmp_path, with_tensor(tensor(square, b"K\x01K\x02\x86", payload=payload))).arrays["w"]
    np.testing.assert_array_equal(found, np.array([[1, 3], [2, 4]], np.float32), strict=True)
    found = read(tmp_path, with_tensor(tensor(b"K\x02\x85", b"K\x02\x85", b"K\x01", payload))).arrays["w"]
    np.testing.assert_array_equal(found, np.array([2, 4], np.float32), strict=True)
    found = read(tmp_path, with_tensor(tensor(b"K\x03\x85", b"K\x00\x85", b"K\x03", payload))).arrays["w"]
    np.testing.assert_array_equal(found, np.array([4, 4, 4], np.float32), strict=True)


BIG = b"\xff\xff\xff\xff"
BOMBS = {
    "a text of 4 GB": b"X" + BIG,
    "a text of 2^63 bytes": b"\x8d" + b"\xff" * 7 + b"\x7f",
    "bytes of 2^64": b"\x8e" + b"\xff" * 8,
    "a bytearray of 2^64": b"\x96" + b"\xff" * 8,
    "a frame of 2^64": b"\x95" + b"\xff" * 8,
    "an integer of 4 GB": b"\x8b" + BIG,
    "an old text of 4 GB": b"T" + BIG,
    "a memo index of 2^32": b"Nr" + BIG,
    "a memo index of 10^30": b"Np1" + b"0" * 30 + b"\n",
    "an integer of 10^5 digits": b"L" + b"9" * 10**5 + b"L\n",
    "a float of 10^5 digits": b"F" + b"9" * 10**5 + b"x\n",
    "a name of 10^5 letters": b"c" + b"a" * 10**5 + b"\nA\n",
    "an endless line": b"V" + b"a" * 10**6,
    "protocol 255": b"\x80\xff",
    "an opcode that does not exist": b"\xff",
    "buffers outside the file": b"\x97",
    "an empty stack": b"R",
    "a mark that is not there": b"t",
    "an object that is not there": b"hh",
    "a class that is a number": b"K\x01K\x02\x93",
    "a text that is no UTF-8": b"\x8c\x02\xff\xfe",
    "a float that is none": b"Fnot\n",
    "an integer that is none": b"I1_000\n",
    "a state for a number": b"K\x01}b",
    "a key for a list": b"]K\x00K\x01s",
    "a key without a value": b"}(K\x01u",
    "a member for a dict": b"}(K\x01\x90",
    "an item for a tuple": b")K\x01a",
    "an object without a class": b"(o",
    "nothing at all": b".",
}


@pytest.mark.parametrize("what", BOMBS)
def test_impossible_pickles_are_refused_at_once(what):
    start = time.process_time()
    with pytest.raises(InputError, match=r"damaged|truncated|bomb|outside the file"):
        load(b"\x80\x05" + BOMBS[what] + b".")
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    "level",
    [b"\x85", b"(t", b"]\x94", b"}" + text("a"), b"(l", b"cnet\nModule\n\x85\x81", b"(cnet\nModule\no", b"\x85Q"],
    ids=["tuple", "marks", "lists", "dicts", "mark lists", "objects", "old objects", "ids"],
)
def test_depth_costs_no_stack(tmp_path, level):
    closing = {b"]\x94": b"a", b"}" + text("a"): b"s"}.get(level, b"")
    depth = 20_000
    opcodes = level * depth + b"N" + closing * depth if closing else b"N" + level * depth
    if level == b"cnet\nModule\n\x85\x81":
        opcodes = b"cnet\nModule\n" * depth + b"N" + b"\x85\x81" * depth
    load(b"\x80\x04" + opcodes + b".")
    with pytest.raises(InputError):
        read(tmp_path, opcodes)
    with pytest.raises(InputError):
        read(tmp_path, module(size=opcodes, modules=opcodes))
    read(tmp_path, module(b"}", b"}", _hidden=opcodes))


def test_a_deep_tuple_as_a_key_does_not_overflow_the_stack():
    load(b"\x80\x04}N" + b"\x85" * 200_000 + b"Ns.")
    load(b"\x80\x04\x8f(N" + b"\x85" * 200_000 + b"\x90.")
    load(b"\x80\x04(N" + b"\x85" * 200_000 + b"\x91.")


def test_more_objects_than_any_snapshot_has_are_refused(tmp_path):
    with pytest.raises(InputError, match="pickle bomb"):
        load(b"\x80\x04" + b"N" * 3_000_000 + b".")
    payload = b"\x80\x02" + b"N0" * 50_000 + storage_file("f4", 1, "cpu")[2:] + bytes(4)
    storage = name("torch.storage._load_from_bytes") + b"B" + struct.pack("<I", len(payload)) + payload + b"\x85\x94"
    many = b"0".join([storage + b"R"] + [name("torch.storage._load_from_bytes") + b"h\x00R"] * 1000)
    with pytest.raises(InputError, match="pickle bomb"):
        read(tmp_path, many)


def test_values_that_double_at_each_level_are_refused(tmp_path):
    doubled = b"N" + b"\x94".join(b"2\x86" for _ in range(60))
    with pytest.raises(InputError, match="pickle bomb"):
        read(tmp_path, module(size=doubled))
    wide = b"(" + b"N" * 30 + b"t\x94" + b"".join(b"0(" + (b"h" + bytes([i])) * 30 + b"t\x94" for i in range(12))
    with pytest.raises(InputError, match="pickle bomb"):
        read(tmp_path, module(size=wide))


def test_modules_that_double_at_each_level_are_refused(tmp_path):
    inner = module() + b"\x94"
    for i in range(40):
        reference = b"h" + bytes([i])
        inner += b"0" + module(modules=b"}(" + text("a") + reference + text("b") + reference + b"u") + b"\x94"
    with pytest.raises(InputError, match="more modules"):
        read(tmp_path, inner)


def test_a_module_that_contains_itself_is_refused(tmp_path):
    state = text("_modules") + b"}" + text("a") + b"h\x00s"
    with pytest.raises(InputError, match="more modules"):
        read(tmp_path, name("net.Generator") + b")\x81\x94}" + state + b"sb")
    with pytest.raises(InputError, match="pickle bomb"):
        read(tmp_path, module(size=b"]\x94h\x00a"))


def test_one_storage_read_a_thousand_times_is_refused(tmp_path):
    payload = storage_file("f4", 10**6, "cpu") + bytes(4 * 10**6)
    first = name("torch.storage._load_from_bytes") + b"B" + struct.pack("<I", len(payload)) + payload + b"\x85R\x94"
    again = [
        text(str(i)) + call("torch._utils._rebuild_tensor_v2", b"h\x00", b"K\x00", b"J@B\x0f\x00\x85", b"K\x01\x85")
        for i in range(1000)
    ]
    parameters = first + b"0}(" + b"".join(again) + b"u"
    with pytest.raises(InputError, match="refused as a bomb"):
        read(tmp_path, module(parameters))


def test_numbers_of_an_unknown_type_matter_only_where_they_are_used(tmp_path):
    payload = storage_file("f4", 4, "cpu").replace(b"torch\nFloatStorage", b"torch\nQUInt8Storage") + bytes(16)
    with pytest.raises(InputError, match="numbers of type QUInt8Storage"):
        read(tmp_path, with_tensor(tensor(payload=payload)))
    write_snapshot(tmp_path / "net.pkl", network_entries(TINY, D=Raw(with_tensor(tensor(payload=payload)))))
    assert list(read_snapshot(tmp_path / "net.pkl").arrays) == ["weight"]


def test_names_that_could_collide_are_refused(tmp_path):
    parameters = b"}" + text("a.b") + tensor() + b"s"
    with pytest.raises(InputError, match="no dict of names"):
        read(tmp_path, module(parameters))


def test_messages_show_no_control_characters(tmp_path):
    data = b"\x80\x04" + text("os\x1b[31m\r") + text("sys\ntem") + b"\x93)R."
    with pytest.raises(UnsafeFileError) as caught:
        load(data)
    assert str(caught.value).isprintable()
