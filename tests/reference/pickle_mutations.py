"""Broken and random pickles: what a fuzzer feeds to the reader of snapshots."""

import pickle
import random
from pathlib import Path

import numpy as np

from tests.reference.official_pickle import (
    ForeignDiscriminator,
    Module,
    Network,
    Spelling,
    network_entries,
    storage_file,
    write_snapshot,
)

OPCODES = [
    op.encode("latin-1") for op in "()N}]0012tRbQuseadloJKM\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x94.G"
]
WORDS = (
    "os", "system", "builtins", "eval", "torch._utils", "_rebuild_tensor_v2", "_rebuild_parameter", "torch.storage",
    "_load_from_bytes", "collections", "OrderedDict", "numpy", "dtype", "ndarray", "dill._dill", "_get_attr",
    "_import_module", "_create_array", "_eval_repr", "_load_type", "numpy.core.multiarray", "scalar", "_reconstruct",
    "_parameters", "_buffers", "_modules", "G_ema", "state", "class_name", "torch", "FloatStorage", "storage", "Size",
    "torch_utils.persistence", "_reconstruct_persistent_obj", "copyreg", "__newobj__", "functools", "partial", "net",
    "Net", "f8",
)  # fmt: skip


def seeds(folder: Path) -> list[bytes]:
    """Small but complete snapshots, in every spelling, and Python's own pickles in every protocol."""
    weights = {
        "weight": np.ones((2, 3), np.float32),
        "sub.bias": np.ones(2, np.float16),
        "sub.w_avg": np.ones((), "f8"),
    }
    attributes = {"z_dim": 4, "size": np.array([3, 4]), "rate": np.float64(2), "names": ["a", "b"], "pad": (1, -2)}
    modules = {"": Module("Generator", attributes), "sub": Module("Embedding", {"n": None, "t": True})}
    network = Network(weights, modules)
    found = []
    for dill in ("0.3.4", "new"):
        for numpy in ("core", "_core"):
            path = folder / "seed.pkl"
            entries = network_entries(network, D=ForeignDiscriminator() if dill == "new" else None)
            write_snapshot(path, entries, Spelling(dill, numpy, "cuda:0"))
            found += [path.read_bytes()] * 4  # more often than the rest: they reach deepest
    value = {"G_ema": [1, -2, 2**70, 1.5, "é", b"xy", (1, (2, {3})), None, True, frozenset([1]), bytearray(b"z"), 1j]}
    found += [pickle.dumps(value, protocol) for protocol in range(6)]
    found.append(storage_file("f4", 2, "cpu") + bytes(8))
    return found


def mutated(rng: random.Random, sources: list[bytes]) -> bytes:
    """One broken input: bytes changed, cut, spliced, repeated, or opcodes strung together at random."""
    kind = rng.randrange(6)
    if kind == 0:
        return b"\x80\x04" + random_opcodes(rng, rng.randrange(1, 60)) + b"."
    data = bytearray(rng.choice(sources))
    if kind == 1:
        for _ in range(rng.randrange(1, 8)):
            data[rng.randrange(len(data))] = rng.choice((rng.randrange(256), 0, 255, 127, rng.choice(OPCODES)[0]))
    elif kind == 2:
        del data[rng.randrange(len(data)) :]
    elif kind == 3:
        other = rng.choice(sources)
        begin = rng.randrange(len(other))
        data[rng.randrange(len(data)) :] = other[begin : begin + rng.randrange(1, len(other) + 1)]
    elif kind == 4:
        begin = rng.randrange(len(data))
        piece = bytes(data[begin : begin + rng.randrange(1, 40)])
        data[begin:begin] = piece * rng.randrange(1, 30)
    else:
        position = rng.randrange(2, len(data))
        data[position:position] = random_opcodes(rng, rng.randrange(1, 12))
    return bytes(data)


def random_opcodes(rng: random.Random, count: int) -> bytes:
    """Opcodes with arguments that mostly fit."""
    made = []
    for _ in range(count):
        kind = rng.randrange(10)
        word = rng.choice(WORDS).encode()
        if kind < 4:
            opcode = rng.choice(OPCODES)
            width = {b"K": 1, b"M": 2, b"J": 4, b"G": 8}.get(opcode, 0)
            made.append(opcode + rng.randbytes(width))
        elif kind == 4:
            made.append(b"\x8c" + bytes([len(word)]) + word)
        elif kind == 5:
            made.append(b"c" + word + b"\n" + rng.choice(WORDS).encode() + b"\n")
        elif kind == 6:
            made.append(b"h" + bytes([rng.randrange(12)]))
        elif kind == 7:
            made.append(b"C" + bytes([4]) + rng.randbytes(4))
        elif kind == 8:
            made.append(rng.choice((b"V", b"S", b"I", b"L", b"F", b"P", b"p", b"g", b"i")) + word + b"\n")
        else:
            made.append(
                rng.choice((b"X", b"B", b"T", b"\x8a", b"\x8b", b"\x8d", b"\x8e", b"\x95", b"\x96")) + rng.randbytes(8)
            )
    return b"".join(made)
