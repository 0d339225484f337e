"""Files of `torch.save`, both serialisations, read as data: what they hold, as records, and the numbers behind it.

A zip file has the pickle in NAME/data.pkl and every storage, uncompressed, in NAME/data/KEY; the older form is five
pickles (magic number, version, system, content, keys) and then the storages in the order of the keys.
"""

import mmap
import zipfile
from collections.abc import Callable
from typing import IO, Any

from linkjax.errors import InputError, UnsafeFileError
from linkjax_converters.reader.machine import Machine, load
from linkjax_converters.reader.records import Budget, Persistent, Span
from linkjax_converters.reader.torch_storage import MAGIC, Storage, UnknownNumbers, described, storage_of

Storages = dict[int, Storage | UnknownNumbers]
_MOST_ENTRIES = 1 << 20


def read_torch_file(file: IO[bytes], size: int) -> tuple[Any, Storages]:
    """The content of a file as records, and its storages by the identity of the record that stands for each.

    Raises: InputError or UnsafeFileError in one sentence, without the file's name.
    """
    view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return _zipped(file, view, size) if bytes(view[:4]) == b"PK\x03\x04" else _old(view)


def _zipped(file: IO[bytes], view: memoryview, size: int) -> tuple[Any, Storages]:
    entries = _entries(file, size)
    pickles = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
    if len(pickles) != 1:
        raise InputError("expected a PyTorch state dict, found a zip file of another kind")
    prefix = pickles[0].removesuffix("data.pkl")
    order = f"{prefix}byteorder"
    if order in entries and bytes(_span(entries[order], view).view[:6]) not in (b"little", b""):
        raise InputError("its tensors were written on a big-endian machine; save the weights again on another")
    span = _span(entries[pickles[0]], view)
    content, machine = load(span.view, span.start, Budget())

    def stored(key: str) -> Span:
        entry = entries.get(f"{prefix}data/{key}")
        if entry is None:
            raise InputError("truncated: a tensor's numbers are not in the file; get the file again")
        return _span(entry, view)

    return content, {id(record): _storage(record, stored) for record in _outside(machine)}


def _entries(file: IO[bytes], size: int) -> dict[str, zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(file) as archive:
            listed = archive.infolist()
    except zipfile.BadZipFile as error:
        what = "a truncated" if "not a zip" in str(error) else "a damaged"
        raise InputError(f"expected a whole PyTorch state dict, found {what} one; get the file again") from None
    except Exception:  # zipfile raises many kinds on damaged lists of entries
        raise InputError("expected a whole PyTorch state dict, found a damaged one; get the file again") from None
    if len(listed) > _MOST_ENTRIES:
        raise InputError("holds more files than any state dict; refused as a bomb")
    if any(entry.filename.rpartition("/")[2] == "constants.pkl" for entry in listed):
        raise InputError(
            "a TorchScript archive (code and weights together); save the state_dict() of the network it was made from: "
            "torch.save(torch.jit.load(FILE).state_dict(), NEW)"
        )
    # torch stores without compression, so the parts of a whole file cannot add up to more than the file.
    if sum(entry.file_size for entry in listed) > size:
        raise UnsafeFileError("it unpacks to more than its own size, as no state dict does; nothing was read")
    entries = {entry.filename: entry for entry in listed}
    if len(entries) < len(listed):
        raise InputError("damaged: the zip file names an entry twice; get the file again")
    return entries


def _span(entry: zipfile.ZipInfo, view: memoryview) -> Span:
    """Where the bytes of an entry lie: its list gives the local header, which tells the length of name and extras."""
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1 or entry.compress_size != entry.file_size:
        raise InputError("is compressed or encrypted, as torch.save writes nothing; unpack it first")
    at = entry.header_offset
    header = bytes(view[at : at + 30]) if at >= 0 else b""
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise InputError("damaged: an entry of the zip file is not where it should be; get the file again")
    begin = at + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
    if begin + entry.file_size > len(view):
        raise InputError("truncated: an entry of the zip file is longer than the file; get the file again")
    return Span(view[begin : begin + entry.file_size], begin)


def _old(view: memoryview) -> tuple[Any, Storages]:
    budget, position = Budget(), 0

    def following() -> tuple[Any, Machine]:
        nonlocal position
        value, machine = load(view[position:], position, budget)
        position += machine.position
        return value, machine

    value, _ = following()
    if value != MAGIC or type(value) is not int:
        raise InputError("is a pickle, but none that torch.save wrote; save the model's state_dict() with torch.save")
    following()  # version
    system, _ = following()
    if isinstance(system, dict) and system.get("little_endian") is False:
        raise InputError("its tensors were written on a big-endian machine; save the weights again on another")
    content, machine = following()
    keys, _ = following()
    records = _outside(machine)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys) or len(set(keys)) < len(keys):
        raise InputError("damaged: its list of storages is none; get the file again")
    sizes = {key: dtype.itemsize for dtype, key, _, _ in map(described, records)}
    data: dict[str, Span] = {}
    for key in keys:
        if key not in sizes:
            raise InputError("damaged: it holds numbers that no tensor uses; get the file again")
        length = int.from_bytes(view[position : position + 8], "little") * sizes[key]
        begin = position + 8
        if begin + length > len(view):
            raise InputError(
                f"truncated: {length} bytes of numbers are announced and {max(len(view) - begin, 0)} remain; "
                "get the file again"
            )
        data[key] = Span(view[begin : begin + length], begin)
        position = begin + length

    def stored(key: str) -> Span:
        if key not in data:
            raise InputError("truncated: a tensor's numbers are not in the file; get the file again")
        return data[key]

    return content, {id(record): _storage(record, stored) for record in records}


def _outside(machine: Machine) -> list[Persistent]:
    if machine.nested:
        raise UnsafeFileError(
            "nests a tensor file in a tensor file, which no weight file needs; refused, nothing was run"
        )
    return machine.persistent


def _storage(record: Persistent, stored: Callable[[str], Span]) -> Storage | UnknownNumbers:
    try:
        return storage_of(record, stored)
    except UnknownNumbers as error:  # matters only where a network uses it
        return error
