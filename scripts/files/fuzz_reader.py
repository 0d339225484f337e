"""Feed broken snapshots to the reader and count what leaves it.

  python scripts/files/fuzz_reader.py [--inputs N] [--seconds S] [--seed K]

Prints the number of inputs, how they ended, the slowest, and every exception that is not linkjax's own (kept as files
in the folder it names). Exit code 1 if there was any.
"""

import argparse
import collections
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(1, str(Path(__file__).parents[2] / "converters"))

from linkjax.errors import InputError, UnsafeFileError
from linkjax_converters.reader.snapshot import read_snapshot
from tests.reference.pickle_mutations import mutated, seeds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10**9, help="stop after this many inputs")
    parser.add_argument("--seconds", type=float, default=60, help="stop after this long")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    rng = random.Random(args.seed)
    folder = Path(tempfile.mkdtemp(prefix="linkjax-fuzz-"))
    sources = seeds(folder)
    path = folder / "net.pkl"
    counts: collections.Counter[str] = collections.Counter()
    slowest, crashes, start = 0.0, 0, time.perf_counter()
    inputs = 0
    while inputs < args.inputs and time.perf_counter() - start < args.seconds:
        data = mutated(rng, sources)
        if rng.randrange(4) == 0:  # broken twice
            data = mutated(rng, [data + b"..."])
        path.write_bytes(data)
        began = time.perf_counter()
        try:
            read_snapshot(path)
            ending = "read"
        except UnsafeFileError:
            ending = "refused: asks for a call"
        except InputError as error:
            ending = "refused: damaged, cut or of another kind"
            if "no name" in str(error) or "Error in the opcode" in str(error):
                ending = "refused at the last border"
                (folder / f"border-{counts[ending]}.pkl").write_bytes(data)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                break
            ending = f"CRASH {type(error).__name__}"
            (folder / f"crash-{crashes}.pkl").write_bytes(data)
            crashes += 1
        counts[ending] += 1
        inputs += 1
        slowest = max(slowest, time.perf_counter() - began)
    seconds = time.perf_counter() - start
    print(f"{inputs} inputs in {seconds:.0f} s, slowest {slowest * 1e3:.1f} ms, {crashes} crashes ({folder})")
    for ending, count in counts.most_common():
        print(f"{count:9d}  {ending}")
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
