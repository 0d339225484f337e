"""Whether a convolution's bits depend on an image's place among those it is computed with.

`python scripts/numerics/measure_places.py [--out FILE.json]`, and with DNNL_MAX_CPU_ISA=AVX2 in the environment as on a
processor without AVX-512: for convolutions of 45 shapes, the same image in every place of a share; in how many of them
the places differ, by size of share. `ops.chunked.MOST_SHARED` is a size for which none does.
"""

import argparse
import itertools
import json
import os
from pathlib import Path

import jax
import numpy as np

from linkjax.ops.conv import conv

SIDES, INPUTS, OUTPUTS = (4, 7, 8, 9, 16), (3, 8, 16), (4, 8, 16)
SHARES = (1, 2, 4, 6, 8, 12, 16, 24)


def differing(share: int) -> int:
    """Shapes in which one image of a share is not computed as another, to the bit."""
    rng, count, run = np.random.default_rng(0), 0, jax.jit(lambda x, kernel: conv(x, kernel, padding=1))
    for side, inputs, outputs in itertools.product(SIDES, INPUTS, OUTPUTS):
        image = rng.normal(size=(1, side, side, inputs)).astype(np.float32)
        kernel = rng.normal(size=(3, 3, inputs, outputs)).astype(np.float32)
        found = np.asarray(run(np.repeat(image, share, axis=0), kernel))
        count += bool((found != found[:1]).any())
    return count


def main() -> None:
    """Measure, print, write."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--out", type=Path, help="to add to, under the limit of the processor")
    chosen = given.parse_args()
    limit = os.environ.get("DNNL_MAX_CPU_ISA", "none")
    found = {str(share): differing(share) for share in SHARES}
    print(f"limit {limit}: of {len(SIDES) * len(INPUTS) * len(OUTPUTS)} shapes differ, by share:", found)
    if chosen.out:
        known = json.loads(chosen.out.read_text(encoding="utf-8")) if chosen.out.exists() else {}
        chosen.out.write_text(json.dumps({**known, limit: found}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
