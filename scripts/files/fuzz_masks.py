"""Feed broken masks, palettes and class maps to their readers and count what leaves them.

  python scripts/files/fuzz_masks.py [--what png|npy|json|palettes|maps] [--inputs N] [--seconds S] [--seed K]

Bytes changed, inserted or cut, also inside the chunks of a PNG, whose checksums are then set right; JSON with values
exchanged for hostile ones; palettes that disagree or end early; tables of classes with what is no class. Prints the
number of inputs, how they ended and the slowest, and keeps every file that made anything but labels, a map, or one of
linkjax's own one-sentence errors. Exit code 1 if there was any.
"""

import argparse
import collections
import json
import random
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(1, str(Path(__file__).parents[2] / "converters"))

from linkjax.errors import InputError
from linkjax.outside import class_map, masks
from scripts.files import fuzz_weight_files
from tests.outside.masks import test_fuzz as damages

SIZE = 16
STEMS = ("000000", "000001")
SEEN = ("cat", "border collie", "pug")
MAP_WORDS = ("0", "4", "9", "10", "-1", "1e9", "9" * 40, "pug", "Border Collie", "", "  ", "é" * 300, '"', "\x00", "٣")


def masks_of(folder: Path) -> None:
    """Read as the segment stage does.

    Raises: AssertionError if labels are not as the stage needs them.
    """
    found = masks.read(folder, STEMS, SIZE)
    for labels in found.labels.values():
        assert labels.shape == (SIZE, SIZE) and labels.dtype == np.int64 and labels.min() >= -1
        assert labels.max() < len(found.part_names)


def damaged_masks(kind: str) -> Callable[[random.Random, Path], None]:
    """Writes one damaged mask of a format: as bytes, or in what the format holds."""
    whole: list[bytes] = []

    def write(rng: random.Random, folder: Path) -> None:
        if not whole:
            whole.extend(damages.seeds(Path(tempfile.mkdtemp()))[kind])
        content = rng.choice(whole)
        if rng.randrange(3) == 0 or kind == ".npy":
            content = damages.damaged(content, kind, rng)
        elif kind == ".png":
            content = changed_png(rng, content)
        else:
            value = json.loads(content)
            for _ in range(rng.randrange(1, 4)):
                value = fuzz_weight_files.changed(rng, value)
            content = fuzz_weight_files.as_json(value)
        (folder / f"{STEMS[0]}{kind}").write_bytes(content)

    return write


def changed_png(rng: random.Random, content: bytes) -> bytes:
    """A PNG of which one chunk was changed, dropped or repeated; checksums are right."""
    chunks, place = [], 8
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    at = rng.randrange(len(chunks))
    name, data = chunks[at]
    if rng.randrange(6) == 0:
        chunks[at : at + 1] = [(name, data)] * rng.choice((0, 2))
    elif name == b"IDAT" and rng.randrange(4):
        chunks[at] = (name, zlib.compress(fuzz_weight_files.scrambled(rng, zlib.decompress(data))))
    else:
        chunks[at] = (name, fuzz_weight_files.scrambled(rng, data))
    written = (
        len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big") for name, data in chunks
    )
    return content[:8] + b"".join(written)


def palettes(rng: random.Random, folder: Path) -> None:
    """Two indexed masks whose palettes may or may not agree; sometimes damaged too."""
    colours = [rng.randrange(256) for _ in range(3 * rng.choice((1, 2, 3, 4, 16, 256)))]
    for stem in STEMS:
        labels = np.frombuffer(rng.randbytes(SIZE**2), np.uint8).reshape(SIZE, SIZE) % np.uint8(
            rng.choice((1, 2, 3, 255))
        )
        image = Image.fromarray(labels).convert("P") if rng.randrange(8) else Image.fromarray(labels)
        if image.mode == "P":
            own = list(colours)
            for _ in range(rng.choice((0, 0, 1, 4))):
                own[rng.randrange(len(own))] = rng.randrange(256)
            if rng.randrange(4) == 0:
                triples = [own[place : place + 3] for place in range(0, len(own), 3)]
                rng.shuffle(triples)
                own = [value for triple in triples for value in triple]
            image.putdata(labels.ravel().tolist())
            image.putpalette(own[: 3 * rng.randrange(1, len(own) // 3 + 1)])
        options = {"transparency": rng.randrange(256)} if rng.randrange(4) == 0 and image.mode == "P" else {}
        image.save(folder / f"{stem}.png", **options)
    if rng.randrange(3) == 0:
        file = folder / f"{rng.choice(STEMS)}.png"
        file.write_bytes(damages.damaged(file.read_bytes(), ".png", rng))


def maps(rng: random.Random, folder: Path) -> None:
    """A table of classes, as lines or as JSON."""
    rows = [[rng.choice(MAP_WORDS) for _ in range(rng.choice((1, 2, 2, 2, 2, 3)))] for _ in range(rng.randrange(6))]
    if rng.randrange(2):
        text = "\n".join(rng.choice((",", ", ", "\t")).join(row) for row in rows)
        suffix = ".csv"
    else:
        text = "{" + ",".join(f'"{row[0]}": {rng.choice(damages.JUNK).decode()}' for row in rows) + "}"
        suffix = ".json"
    data = text.encode()
    if data and rng.randrange(3) == 0:
        data = damages.damaged(data, suffix, rng)
    (folder / f"map{suffix}").write_bytes(data)


def map_of(folder: Path) -> None:
    """Read as the pairs stage does.

    Raises: AssertionError if a class is none of the classifier's.
    """
    [file] = folder.iterdir()
    found = class_map.of((4, 9), ("Pug", "border collie"), 10, SEEN, len(SEEN), str(file), needed=False)
    assert len(found) == 2 and all(-1 <= each < len(SEEN) for each in found)


READERS: dict[str, tuple[Callable[[random.Random, Path], None], Callable[[Path], None]]] = {
    **{kind.removeprefix("."): (damaged_masks(kind), masks_of) for kind in (".png", ".npy", ".json")},
    "palettes": (palettes, masks_of),
    "maps": (maps, map_of),
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
    rng, (write, read) = random.Random(args.seed), READERS[what]
    folder = Path(tempfile.mkdtemp(prefix="linkjax-fuzz-"))
    inside = folder / "input"
    inside.mkdir()
    counts: collections.Counter[str] = collections.Counter()
    slowest, leaks, start = 0.0, 0, time.perf_counter()
    while counts.total() < args.inputs and time.perf_counter() - start < args.seconds:
        for old in inside.iterdir():
            old.unlink()
        write(rng, inside)
        began = time.process_time()
        try:
            read(inside)
            ending = "read"
        except InputError as error:
            ending = "refused in one sentence" if "\n" not in str(error) else "LEAK of many lines"
        except KeyboardInterrupt:
            break
        except BaseException as error:
            ending = f"LEAK {type(error).__name__}"
        slowest = max(slowest, time.process_time() - began)
        if ending.startswith("LEAK"):
            for file in inside.iterdir():
                file.rename(folder / f"leak-{leaks}-{file.name}")
            leaks += 1
        counts[ending] += 1
    took = f"{time.process_time():.0f} CPU-s so far, slowest {slowest * 1e3:.1f} ms"
    print(f"{what}: {counts.total()} inputs, {took}, {leaks} leaks ({folder})", flush=True)
    for ending, count in counts.most_common():
        print(f"{count:9d}  {ending}")
    return 1 if leaks else 0


if __name__ == "__main__":
    sys.exit(main())
