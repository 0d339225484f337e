"""What the embedded world costs and finds: to load, and to run in full and with --fast, each in a process of its own.

    python scripts/speed/bench_demo.py [--json docs/figures/demo.json]
    python scripts/speed/bench_demo.py --bundle world-a world-b [--json docs/figures/demo_worlds.json]   # these alone

Compile caches are cold, but for the third run, which finds the first one's. Prints seconds, CPU-seconds, the machine,
and what the runs found. Bundles of other planted units (`train_demo.py --world`) are scored by the steps of the full
demo that are about planted units, as the embedded world is, and by `linkjax demo --fast`.
"""

import argparse
import json
import os
import platform
import resource
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

_PLANTED = """
import sys
from pathlib import Path
from linkjax.demo import run, steps
from linkjax.demo.bundle import open_bundle
bundle = open_bundle(Path(sys.argv[1]))
for _, name, settings in steps.plan(Path(sys.argv[2]), bundle, 0, False):
    run.take(name, settings, bundle)
    if name == "recovery":
        break
"""


def _summary(out: Path, stage: str) -> Any:
    return json.loads((out / stage / "manifest.json").read_text())["summary"]


def _run(folder: Path, name: str, flags: list[str], cache: str) -> tuple[Path, dict[str, float]]:
    """Where a demo was made, and its seconds and CPU-seconds."""
    out = folder / name.replace(" ", "").replace(",", "")
    command = [sys.executable, "-m", "linkjax.cli", "demo", "--out", str(out), *flags]
    return out, _timed(command, folder / cache)


def _timed(command: list[str], cache: Path) -> dict[str, float]:
    """Seconds and CPU-seconds of a command."""
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": round(time.perf_counter() - start, 1), "CPU-seconds": round(cpu, 1)}


def _recovery(out: Path) -> dict[str, Any]:
    found = _summary(out, "recovery")
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in found.items() if k != "units"}


def _embedded(folder: Path) -> dict[str, Any]:
    """Everything about the embedded world."""
    loads = [float(subprocess.run([sys.executable, "-c", _LOAD], capture_output=True, text=True, check=True).stdout)
             for _ in range(3)]  # fmt: skip
    figures: dict[str, Any] = {"load seconds, with imports": round(min(loads), 2)}
    for name, flags in (("demo", []), ("demo --fast", ["--fast"]), ("demo, compiled before", [])):
        out, cost = _run(folder, name, flags, "cache" + "-fast" * bool(flags))
        figures |= {f"{name} {what}": value for what, value in cost.items()}
        figures |= told(out, name, full=not flags)
    return figures


def told(out: Path, name: str, full: bool) -> dict[str, Any]:
    """What a finished demo found."""
    figures: dict[str, Any] = {f"{name} recovery": _recovery(out)}
    if full:
        for stage in ("selection", "planted-selection"):
            figures[f"{name} {stage}"] = {k: v for k, v in _summary(out, stage).items() if k != "selected"}
        figures |= {f"{name} {stage}": _summary(out, stage)
                    for stage in ("sweep", "planted-sweep", "comparison", "planted-comparison")}  # fmt: skip
        figures[f"{name} congruence"] = _summary(out, "congruence")["rows"]
        figures[f"{name} counterfactual methods"] = _summary(out, "counterfactual")["methods"]
    return figures


def _world(folder: Path, bundle: Path) -> dict[str, Any]:
    """What is found on a bundle of other planted units."""
    fast, _ = _run(folder, f"{bundle.name}-fast", ["--fast", "--bundle", str(bundle.absolute())], "cache")
    out = folder / bundle.name
    cost = _timed([sys.executable, "-c", _PLANTED, str(bundle.absolute()), str(out)], folder / "cache")
    manifest = json.loads((bundle / "manifest.json").read_text())
    units = json.loads((bundle / "planted_units.json").read_text())
    learned = [row["learned"] for row in units if row["kind"] != "noise"]
    trained = {name: manifest["training"]["planted"][name] for name in ("steps", "images")}
    return {"seed": manifest["seed"], **trained, "least R² of a selective unit": min(learned), **cost,
            "recovery": _recovery(out), "recovery, --fast": _recovery(fast)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--bundle", type=Path, nargs="+", default=[], help="score these worlds alone")
    parser.add_argument(
        "--finished", type=Path, help="take what a finished full demo of this folder found, and no times"
    )
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        figures = json.loads(arguments.json.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        if arguments.bundle:
            found = {bundle.name: _world(Path(folder), bundle) for bundle in arguments.bundle}
            figures["worlds"] = {**figures.get("worlds", {}), **found}
        elif arguments.finished:
            figures = {"worlds": figures.get("worlds", {}), **told(arguments.finished, "demo", full=True)}
        else:
            machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "load average": os.getloadavg()}
            figures = {"worlds": figures.get("worlds", {}), **machine, **_embedded(Path(folder))}
    for key, value in figures.items():
        print(f"{key}: {value}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
