"""Feed broken graphs to the reader, and run what it lets through as far as shapes go; count what leaves them.

  python scripts/files/fuzz_graph.py [--inputs N] [--seconds S] [--seed K]

Two kinds, half of the inputs each: bytes changed, inserted or cut anywhere in the file; values of JSON exchanged for
others (names, operations, arguments, shapes, numbers large and small, whole branches). What is accepted is traced
for 2 images, without computing anything. Prints the number of inputs, how they ended, the slowest, and every exception
that is not linkjax's own sentence (kept as files in the folder it names). Exit code 1 if there was any.
"""

import argparse
import collections
import copy
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(1, str(Path(__file__).parents[2] / "converters"))

import jax
import jax.numpy as jnp

from linkjax.errors import InputError
from linkjax.models.graph import interpret, program
from linkjax.models.graph.operations import OPERATIONS
from tests.graphs import GRAPH

SLOW = 5.0  # seconds for one input that count as a failure
VALUES = (
    None, True, False, 0, 1, -1, 2, 3, 7, 1 << 16, 1 << 31, -(1 << 62), 10**30, 0.5, 1e300, float("inf"), "", "B", "2B",
    "99999999B", "B+1", "image", "maps", "scores", "stem", "\x1b[2J", "é" * 400, [], {}, [1, 1], [0, 1, 2, 3], [[1]],
    ["B", 8], {"value": "up"}, {"array": "last"}, {"value": "image"}, {"value": 3}, {"value": {"value": "up"}}, "same",
)  # fmt: skip


def places(value: Any, path: tuple = ()) -> list[tuple]:
    """Every place in a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(each for key, item in inner for each in places(item, (*path, key)))]


def at(value: Any, path: tuple) -> Any:
    for key in path:
        value = value[key]
    return value


def exchanged(rng: random.Random, sources: list[dict]) -> str:
    """A graph with a few values exchanged, operations given what others take, or nodes moved."""
    made = copy.deepcopy(rng.choice(sources))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        path = rng.choice(places(made)[1:])
        holder = at(made, path[:-1])
        way = rng.randrange(6)
        if way == 0:
            holder[path[-1]] = copy.deepcopy(at(made, rng.choice(places(made))))
        elif way == 1 and isinstance(made.get("nodes"), list) and made["nodes"]:
            node = rng.choice(made["nodes"])
            name = rng.choice(list(OPERATIONS))
            taken = OPERATIONS[name].parameters
            if isinstance(node, dict):
                node["operation"] = name
                node["arguments"] = {
                    key: rng.choice(([1, 1], [0], 1, 2.0, {"value": "maps"}, {"value": "mean"}, {"array": "stem"}))
                    for key in taken
                    if rng.random() < 0.8
                }
        elif way == 2 and isinstance(holder, dict):
            del holder[path[-1]]
        elif way == 3 and isinstance(holder, dict):
            holder[rng.choice(("dim", "groups", "shape", "__class__", "input"))] = rng.choice(VALUES)
        else:
            holder[path[-1]] = copy.deepcopy(rng.choice(VALUES))
    return json.dumps(made)


def changed(rng: random.Random, text: str) -> bytes:
    """Bytes replaced, inserted or cut at up to five places."""
    data = bytearray(text.encode())
    for _ in range(rng.randint(1, 5)):
        place, way = rng.randrange(len(data) + 1), rng.randrange(4)
        if way == 0:
            data[place : place + 1] = bytes([rng.randrange(256)])
        elif way == 1:
            data[place:place] = rng.choice((b"[", b"{", b'"', b"9", b"-", b"e9", b"\x00", b"NaN", b"null", b"Infinity"))
        elif way == 2:
            del data[place : place + rng.randint(1, 40)]
        else:
            other = rng.randrange(len(data) + 1)
            data[place:place] = data[other : other + rng.randint(1, 60)]
    return bytes(data)


def ended(content: str | bytes) -> str:
    """How one input ends."""
    try:
        made = program.read(content)
    except InputError as error:
        return "refused" if "\n" not in str(error) and len(str(error)) < 600 else f"a message of {len(str(error))}"
    arrays = {each.name: jax.ShapeDtypeStruct(each.shape, each.dtype) for each in made.arrays}
    images = jax.ShapeDtypeStruct((2, *made.side, 3), jnp.float32)
    try:
        jax.eval_shape(lambda a, x: interpret.run(made, a, x, (made.result,))[made.result].plain(), arrays, images)
    except InputError:
        return "does not fit"
    return "accepted"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sources = [GRAPH]
    texts = [json.dumps(GRAPH), program.read(json.dumps(GRAPH)).text]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-graph-"))
    counts: collections.Counter[str] = collections.Counter()
    slowest, wrong, start = 0.0, 0, time.perf_counter()
    for number in range(given.inputs):
        rng = random.Random(f"{given.seed}/{number}")
        content = changed(rng, rng.choice(texts)) if number % 2 else exchanged(rng, sources)
        begun = time.perf_counter()
        try:
            how = ended(content)
        except (Exception, RecursionError, MemoryError) as error:
            how = f"{type(error).__name__}: {str(error)[:80]}"
        seconds = time.perf_counter() - begun
        slowest = max(slowest, seconds)
        if how not in ("refused", "does not fit", "accepted") or seconds > SLOW:
            wrong += 1
            (folder / f"{number}.json").write_bytes(content if isinstance(content, bytes) else content.encode())
            how = how if seconds <= SLOW else f"slow: {how}"
        counts[how] += 1
        if time.perf_counter() - start > given.seconds:
            break
    print(f"{counts.total()} inputs in {time.perf_counter() - start:.0f} s, slowest {slowest:.2f} s")
    for how, count in counts.most_common():
        print(f"  {count:8} {how}")
    if wrong:
        print(f"{wrong} were not refused as they should be: {folder}")
    else:
        folder.rmdir()
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
