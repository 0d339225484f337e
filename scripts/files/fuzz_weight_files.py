"""Feed broken safetensors, preprocessing files and class names to their readers and count what leaves them.

  python scripts/files/fuzz_weight_files.py [--what safetensors|preprocessing|names] [--inputs N] [--seconds S]
       [--seed K]

Bytes changed, inserted or cut; JSON with values, names and numbers exchanged for hostile ones. Prints the number of
inputs, how they ended, the slowest, and every exception that is not linkjax's own (kept as files in the folder it
names). Exit code 1 if there was any.
"""

import argparse
import collections
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(1, str(Path(__file__).parents[2] / "converters"))

from linkjax.errors import InputError
from linkjax_converters.class_names import read_class_names
from linkjax_converters.preprocessing import read_preprocessing
from linkjax_converters.state_dict import read_state_dict

HOSTILE = (
    0, 1, -1, 2**31, 2**62, 2**64, 10**400, 1e308, -0.0, 0.5, True, None, "", "F32", "F8_E4M3", "é" * 50, "\udcff", [],
    "a\nb\x1b[2J", {}, [0, 1], [3, 224, 224], [[[[]]]], {"shortest_edge": 256}, {"height": 8, "width": 9}, "bicubic",
    "squash", float("inf"), float("nan"),
)  # fmt: skip
PREPROCESSING = (
    {"architecture": "resnet50", "pretrained_cfg": {"input_size": [3, 224, 224], "interpolation": "bicubic",
     "crop_pct": 0.95, "crop_mode": "center", "mean": [0.4, 0.5, 0.6], "std": [0.2, 0.2, 0.2], "label_names": ["a"]}},
    {"do_resize": True, "size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3, "do_rescale": True,
     "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    {"size": {"height": 64, "width": 64}, "do_center_crop": True, "crop_size": {"height": 56, "width": 56},
     "image_mean": [0.5] * 3, "id2label": {"0": "cat", "1": "dog"}},
)  # fmt: skip
NAMES = ({"0": ["n0", "tench"], "1": ["n1", "crane"]}, ["a", "b", "c"], {"id2label": {"0": "a", "1": "b"}})


def safetensors(rng: random.Random) -> tuple[dict, bytes]:
    """The header and the data of a small sound file."""
    header, data = {"__metadata__": {"format": "pt"}}, b""
    for place, (kind, dtype) in enumerate((("F32", "f4"), ("F16", "f2"), ("BOOL", "?"), ("BF16", "u2"))):
        array = np.ones((rng.randrange(3), 2), dtype)
        header[f"layer{place}.weight"] = {
            "dtype": kind, "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]
        }  # fmt: skip
        data += array.tobytes()
    return header, data


def changed(rng: random.Random, value: object, depth: int = 0) -> object:
    """A JSON value in which something was exchanged for something hostile."""
    if rng.randrange(4 + 2 * depth) == 0 or not isinstance(value, dict | list) or not value:
        return rng.choice(HOSTILE)
    value = dict(value) if isinstance(value, dict) else list(value)
    key = rng.choice(list(value)) if isinstance(value, dict) else rng.randrange(len(value))
    if isinstance(value, dict) and rng.randrange(4) == 0:
        value[rng.choice(("", "x", "\n", "dtype", "size", "id2label", "mean"))] = value.pop(key)
    else:
        value[key] = changed(rng, value[key], depth + 1)
    return value


def scrambled(rng: random.Random, content: bytes) -> bytes:
    """Bytes replaced, inserted or cut at up to five places."""
    data = bytearray(content)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(data)) if data else 0
        data[at : at + rng.randrange(9)] = rng.randbytes(rng.randrange(9))
    return bytes(data)


def as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def made(rng: random.Random, what: str) -> bytes:
    """One broken input."""
    if what == "safetensors":
        header, data = safetensors(rng)
        text = as_json(changed(rng, header) if rng.randrange(2) else header)
        text = scrambled(rng, text) if rng.randrange(4) == 0 else text
        whole = len(text).to_bytes(8, "little") + text + data
        return whole if rng.randrange(2) else scrambled(rng, whole)
    content = rng.choice(PREPROCESSING if what == "preprocessing" else NAMES)
    for _ in range(rng.randrange(1, 4)):
        content = changed(rng, content)
    text = as_json(content)
    return scrambled(rng, text) if rng.randrange(3) == 0 else text


READERS = {
    "safetensors": (read_state_dict, "x.safetensors"),
    "preprocessing": (read_preprocessing, "config.json"),
    "names": (read_class_names, "names.json"),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", choices=READERS, action="append", help="which reader; none: all, one after the other")
    parser.add_argument("--inputs", type=int, default=10**9, help="stop each after this many inputs")
    parser.add_argument("--seconds", type=float, default=60, help="stop each after this long")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    return max([fuzz(what, args) for what in args.what or READERS])


def fuzz(what: str, args: argparse.Namespace) -> int:
    """Exit code of one reader's run."""
    rng, (read, name) = random.Random(args.seed), READERS[what]
    folder = Path(tempfile.mkdtemp(prefix="linkjax-fuzz-"))
    counts: collections.Counter[str] = collections.Counter()
    slowest, leaks, start = 0.0, 0, time.perf_counter()
    while counts.total() < args.inputs and time.perf_counter() - start < args.seconds:
        data = made(rng, what)
        (folder / name).write_bytes(data)
        began = time.perf_counter()
        try:
            read(folder / name)
            ending = "read"
        except InputError as error:
            ending = "refused in one sentence" if "\n" not in str(error) else "LEAK of many lines"
        except KeyboardInterrupt:
            break
        except BaseException as error:
            ending = f"LEAK {type(error).__name__}"
        if ending.startswith("LEAK"):
            (folder / f"leak-{leaks}").write_bytes(data)
            leaks += 1
        counts[ending] += 1
        slowest = max(slowest, time.perf_counter() - began)
    seconds = time.perf_counter() - start
    took = f"{seconds:.0f} s, slowest {slowest * 1e3:.1f} ms"
    print(f"{what}: {counts.total()} inputs in {took}, {leaks} leaks ({folder})")
    for ending, count in counts.most_common():
        print(f"{count:9d}  {ending}")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
