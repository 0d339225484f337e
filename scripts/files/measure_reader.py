"""Time and memory of reading a full-size snapshot: the imagenet256 architecture, 233 million float32 numbers, 0.93 GB.

  python scripts/files/measure_reader.py [--entries G,G_ema]

Writes random weights in the official layout into a temporary folder, reads them in a fresh process (twice: the second
time the file is in the system's cache), and prints the file's size, the seconds, and the peak of that process's memory
above what it had before. With `--entries G,G_ema` the file holds two different networks; one is read.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(1, str(Path(__file__).parents[2] / "converters"))

from linkjax_converters.reader.snapshot import read_snapshot


def peak() -> int:
    """Peak resident memory of this process in bytes (Linux counts kilobytes, macOS bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def read(path: str) -> None:
    """The fresh process: read, and say what it took."""
    before, seconds = peak(), []
    for _ in range(2):
        arrays = None  # of the first time
        start = time.perf_counter()
        arrays = read_snapshot(path).arrays
        seconds.append(round(time.perf_counter() - start, 2))
    total = sum(array.nbytes for array in arrays.values())
    print(json.dumps({"baseline": before, "peak": peak(), "seconds": seconds, "arrays": total, "number": len(arrays)}))


def main() -> None:
    if len(sys.argv) == 3 and sys.argv[1] == "--read":
        return read(sys.argv[2])
    # Imported here: the fresh process that reads must not count them.
    from linkjax.models.generator_spec import imagenet_spec
    from tests.reference.official_generator import official_network
    from tests.reference.official_pickle import ForeignDiscriminator, Spelling, network_entries, write_snapshot

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", default="G_ema", help="networks in the file, each with weights of its own")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="linkjax-reader-") as folder:
        path = Path(folder) / "full.pkl"
        networks = {
            name: official_network(imagenet_spec(256), seed=i) for i, name in enumerate(args.entries.split(","))
        }
        start = time.perf_counter()
        spelling = Spelling(location="cuda:0")
        write_snapshot(path, network_entries(networks.pop("G_ema"), D=ForeignDiscriminator(), **networks), spelling)
        written = time.perf_counter() - start
        size = path.stat().st_size
        print(f"wrote {size / 1e9:.3f} GB ({args.entries}) in {written:.1f} s, peak memory {peak() / 1e9:.2f} GB")
        output = subprocess.check_output([sys.executable, __file__, "--read", str(path)], env=os.environ, text=True)
    found = json.loads(output)
    used = found["peak"] - found["baseline"]
    print(f"read {found['number']} arrays, {found['arrays'] / 1e9:.3f} GB, in {found['seconds']} s")
    print(
        f"peak memory {used / 1e9:.3f} GB above the {found['baseline'] / 1e9:.3f} GB of the imports: "
        f"{used / size:.2f} of the file, {used / found['arrays']:.2f} of the arrays"
    )
    return None


if __name__ == "__main__":
    main()
