"""Feed broken state dicts to the reader and count what leaves it.

  python scripts/files/fuzz_state_dict.py [--inputs N] [--seconds S] [--seed K]

Both serialisations of PyTorch: bytes changed, inserted or cut anywhere, and, for zip files, inside the pickle with a
checksum that fits again. Prints the number of inputs, how they ended, the slowest, and every exception that is not
linkjax's own (kept as files in the folder it names). Exit code 1 if there was any.
"""

import argparse
import collections
import io
import random
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(1, str(Path(__file__).parents[2] / "converters"))

from linkjax.errors import InputError, UnsafeFileError
from linkjax_converters.state_dict import read_state_dict
from tests.reference.pickle_mutations import mutated, random_opcodes


def sources() -> list[bytes]:
    """Small but whole files: plain, nested and half-precision weights, in both serialisations."""
    weights = {"conv.weight": torch.arange(24.0).reshape(2, 3, 2, 2), "bn.num_batches_tracked": torch.tensor(3)}
    halves = {f"module.{key}": tensor.bfloat16() for key, tensor in weights.items()}
    found = []
    for content in (weights, {"epoch": 3, "state_dict": weights}, halves):
        for zipped in (True, False):
            stream = io.BytesIO()
            torch.save(content, stream, _use_new_zipfile_serialization=zipped)
            found.append(stream.getvalue())
    return found


def damaged(rng: random.Random, whole: list[bytes]) -> bytes:
    """One broken file."""
    source = rng.choice(whole)
    if rng.randrange(3) == 0 and source.startswith(b"PK"):
        stream = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(source)) as old, zipfile.ZipFile(stream, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                new.writestr(name, changed(rng, content) if name.endswith("data.pkl") else content)
        return stream.getvalue()
    if rng.randrange(6) == 0:
        return mutated(rng, whole)
    return changed(rng, source)


def changed(rng: random.Random, content: bytes) -> bytes:
    """Bytes replaced, inserted or cut at up to five places."""
    data = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(data)) if data else 0
        piece = random_opcodes(rng, 2) if rng.randrange(4) == 0 else rng.randbytes(rng.randrange(9))
        data[at : at + rng.randrange(9)] = piece
    return bytes(data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10**9, help="stop after this many inputs")
    parser.add_argument("--seconds", type=float, default=60, help="stop after this long")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    rng, whole = random.Random(args.seed), sources()
    folder = Path(tempfile.mkdtemp(prefix="linkjax-fuzz-"))
    path = folder / "weights.pth"
    counts: collections.Counter[str] = collections.Counter()
    slowest, leaks, start = 0.0, 0, time.perf_counter()
    while counts.total() < args.inputs and time.perf_counter() - start < args.seconds:
        data = damaged(rng, whole)
        path.write_bytes(data)
        began = time.perf_counter()
        try:
            read_state_dict(path)
            ending = "read"
        except UnsafeFileError:
            ending = "refused: asks for a call, or for more than it holds"
        except InputError as error:
            ending = "refused: damaged, cut or of another kind" if "\n" not in str(error) else "LEAK of many lines"
        except KeyboardInterrupt:
            break
        except BaseException as error:
            ending = f"LEAK {type(error).__name__}"
        if ending.startswith("LEAK"):
            (folder / f"leak-{leaks}.pth").write_bytes(data)
            leaks += 1
        counts[ending] += 1
        slowest = max(slowest, time.perf_counter() - began)
    seconds = time.perf_counter() - start
    print(f"{counts.total()} inputs in {seconds:.0f} s, slowest {slowest * 1e3:.1f} ms, {leaks} leaks ({folder})")
    for ending, count in counts.most_common():
        print(f"{count:9d}  {ending}")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
