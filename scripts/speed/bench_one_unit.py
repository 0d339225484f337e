"""What a first answer costs in Python: one unit of the embedded world, from a new process, in processor seconds.

`python scripts/speed/bench_one_unit.py [--out FILE.json]`: imports, the models, two animals, one unit at three values,
and random directions, drawn and measured; with no compiled program on disk, and again with those of the first time.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

_PROGRAM = """
import linkjax
linkjax.compile_cache.enable()
study = linkjax.demo_study()
swept = linkjax.sweep(study, linkjax.sample(study, 0, [0, 1]), units=[3], steps=3)
assert swept["fidelity"].notnull().all()
"""


def spent(cache: str) -> float:
    """Processor seconds, user's and system's, of one such process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    subprocess.run([sys.executable, "-c", _PROGRAM], check=True, env=environment, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure, print, write."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--out", type=Path)
    chosen = given.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        found = {name: round(spent(cache), 1) for name in ("cold", "warm")}
    print(found, "processor seconds")
    if chosen.out:
        chosen.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
