"""Does the number of XLA's threads move a number? A sweep and a screening of the embedded world with 1, 2, 8 and 16.

`python scripts/numerics/measure_threads.py [--threads 1 2 8 16] [--avx2] [--json FILE]`. Each number of threads (the
environment's `NPROC`) is a process of its own. Prints, for every number but the first, the arrays that differ from
those of the first, and by how much of the array's largest value. `--avx2`: XLA and oneDNN limited to AVX2.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

_MEASURE = """
import sys
import numpy as np
import linkjax
study = linkjax.demo_study("planted")
anchors = linkjax.sample(study, 3, classes=range(3))
swept = linkjax.sweep(study, anchors, units=[0, 1], steps=2, random_directions=1, picture_units=1)
screened = linkjax.screen(study, anchors)
made = {f"{stage} {name}": array.values for stage, found in (("sweep", swept), ("screen", screened))
        for name, array in found.data_vars.items() if array.dtype.kind in "fiu"}
np.savez(sys.argv[1], **made)
"""
_LIMIT = {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2", "DNNL_MAX_CPU_ISA": "AVX2"}


def arrays(threads: int, limit: dict[str, str], cache: str, out: Path) -> dict[str, np.ndarray]:
    """What is measured with so many threads."""
    environment = {**os.environ, **limit, "NPROC": str(threads), "JAX_COMPILATION_CACHE_DIR": cache}
    subprocess.run([sys.executable, "-c", _MEASURE, str(out)], env=environment, check=True)
    with np.load(out) as found:
        return dict(found)


def differing(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> dict[str, float]:
    """Arrays that are not the same bits, and the largest difference in parts of the largest value."""
    worst = {}
    for name, values in expected.items():
        if found[name].tobytes() != values.tobytes():
            apart = np.abs(found[name].astype(float) - values.astype(float))
            worst[name] = float(f"{np.nanmax(apart) / np.nanmax(np.abs(values.astype(float))):.2g}")
    return worst


def main() -> None:
    """Measure, print, write."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--threads", type=int, nargs="+", default=[1, 2, 8, 16])
    given.add_argument("--avx2", action="store_true")
    given.add_argument("--json", type=Path)
    chosen = given.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        made = {
            count: arrays(count, _LIMIT if chosen.avx2 else {}, f"{folder}/programs", Path(folder) / f"{count}.npz")
            for count in chosen.threads
        }
    first = made.pop(chosen.threads[0])
    differ = {count: differing(found, first) for count, found in made.items()}
    for count, names in differ.items():
        print(f"{count} threads against {chosen.threads[0]}: {len(names)} of {len(first)} arrays differ {names or ''}")
    if chosen.json:
        kept = json.loads(chosen.json.read_text(encoding="utf-8")) if chosen.json.exists() else {}
        kept["limited to AVX2" if chosen.avx2 else "as it is"] = differ
        chosen.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
