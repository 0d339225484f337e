"""How long the embedded world takes: to load, and to run in full and with --fast, each in a process of its own.

    python scripts/bench_demo.py [--json docs/figures/demo.json]

Compile caches are cold, but for the third run, which finds the first one's. Prints a table, the machine, and what the
runs found.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

_LOAD = """
import time
start = time.perf_counter()
import linkjax
from linkjax.demo.bundle import MODELS, open_bundle
bundle = open_bundle()
models = [linkjax.load(bundle.path(name)) for name in MODELS]
print(time.perf_counter() - start)
"""


def _summary(out: Path, stage: str) -> Any:
    return json.loads((out / stage / "manifest.json").read_text())["summary"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    figures: dict[str, object] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load average": os.getloadavg(),
    }
    loads = [float(subprocess.run([sys.executable, "-c", _LOAD], capture_output=True, text=True, check=True).stdout)
             for _ in range(3)]  # fmt: skip
    figures["load seconds, with imports"] = round(min(loads), 2)
    with tempfile.TemporaryDirectory() as folder:
        for name, flags in (("demo", []), ("demo --fast", ["--fast"]), ("demo, compiled before", [])):
            out = Path(folder) / name.replace(" ", "").replace(",", "")
            start = time.perf_counter()
            command = [sys.executable, "-m", "linkjax.cli", "demo", "--out", str(out), *flags]
            cache = Path(folder) / ("cache" + "-fast" * bool(flags))
            environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
            environment.pop("JAX_COMPILATION_CACHE_DIR", None)
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
            figures[f"{name} seconds"] = round(time.perf_counter() - start, 1)
            summary = _summary(out, "recovery")
            figures[f"{name} recovery"] = {
                key: round(value, 4) if isinstance(value, float) else value
                for key, value in summary.items()
                if key != "units"
            }
            if not flags:
                figures |= {f"{name} {stage}": _summary(out, stage) for stage in ("selection", "planted-selection")}
                figures[f"{name} congruence"] = _summary(out, "congruence")["rows"]
                figures[f"{name} counterfactual methods"] = _summary(out, "counterfactual")["methods"]
    for key, value in figures.items():
        print(f"{key}: {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
