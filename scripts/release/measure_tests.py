"""What the tests cost: CPU-minutes and memory of each worker with the programs it starts, and which files take them.

`python scripts/release/measure_tests.py [--out FILE.json] [pytest's arguments]`, in an environment with `linkjax[dev]`.
Processor time is user and system time of a process and of the children it has waited for, so it does not depend on what
else the machine does; memory is resident memory, looked at five times a second, shared pages counted once a process.
"""

import argparse
import collections
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

_RECORDS = "LINKJAX_TEST_RECORDS"
_COMPILING = {
    "/jax/core/compile/jaxpr_trace_duration": "traced",
    "/jax/core/compile/jaxpr_to_mlir_module_duration": "lowered",
    "/jax/core/compile/backend_compile_duration": "compiled",
}


# In each process of pytest: notes every phase of every test.


def _cpu() -> float:
    """Seconds of processor time of this process and the children it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


class _Notes:
    """Writes one line a phase of a test to a file of this process."""

    def __init__(self, folder: Path):
        self.file = (folder / f"{os.getpid()}.jsonl").open("w", buffering=1)
        self.compiler = collections.Counter()
        self.resident, self.peak, self.tree = 0, 0, 0
        threading.Thread(target=self._watch, daemon=True).start()
        self.before: tuple[float, collections.Counter] = (_cpu(), collections.Counter())

    def listen(self) -> None:
        """Count what JAX compiles."""
        import jax

        def lasted(name: str, seconds: float, **_: object) -> None:
            if kind := _COMPILING.get(name):
                self.compiler[kind] += seconds
                self.compiler[f"n_{kind}"] += 1

        jax.monitoring.register_event_duration_secs_listener(lasted)
        jax.monitoring.register_event_listener(
            lambda name, **_: self.compiler.update(from_disk=int(name.endswith("/cache_hits")))
        )

    def _watch(self) -> None:
        this = psutil.Process()
        while True:
            tree = 0
            for each in [this, *this.children(recursive=True)]:
                try:
                    held = each.memory_info().rss
                except psutil.Error:
                    continue
                tree += held
                if each is this:
                    self.resident = held
            self.peak, self.tree = max(self.peak, self.resident), max(self.tree, tree)
            time.sleep(0.2)

    def note(self, test: str, phase: str) -> None:
        """All that happened since the last note."""
        now, compiler = _cpu(), self.compiler.copy()
        since = {name: compiler[name] - self.before[1][name] for name in compiler}
        self.before = now, compiler
        memory = {"resident": self.resident, "peak": self.peak, "tree": self.tree}
        self.peak, self.tree = 0, 0
        line = {"test": test, "phase": phase, "cpu": now - self._spent, "total": now, **since, **memory}
        self._spent = now
        self.file.write(json.dumps(line) + "\n")

    _spent = 0.0


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get(_RECORDS) and not (config.getoption("numprocesses", None) and not hasattr(config, "workerinput")):
        config.pluginmanager.register(_Phases(_Notes(Path(os.environ[_RECORDS]))))


class _Phases:
    def __init__(self, notes: _Notes):
        self.notes = notes

    def pytest_collection_finish(self) -> None:
        self.notes.listen()
        self.notes.note("collection", "collection")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not hasattr(report, "node"):
            self.notes.note(report.nodeid, report.when or "")


# As a program: runs pytest with the plugin above and adds up.


def _summary(folder: Path) -> dict:
    workers, files, tests = [], collections.defaultdict(collections.Counter), collections.Counter()
    for each in folder.glob("*.jsonl"):
        lines = [json.loads(line) for line in each.read_text().splitlines()]
        workers.append(
            {
                "cpu_s": lines[-1]["total"],
                "peak_bytes": max(line["peak"] for line in lines),
                "peak_bytes_with_children": max(line["tree"] for line in lines),
                "tests": len({line["test"] for line in lines}) - 1,
            }
        )
        for line in lines:
            file = files[line["test"].split("::")[0]]
            for name in ("cpu", "traced", "lowered", "compiled", "n_compiled", "from_disk"):
                file[name] += line.get(name, 0)
            file["peak"] = max(file["peak"], line["tree"])
            tests[line["test"], line["phase"]] += line["cpu"]
    by_cost = sorted(files.items(), key=lambda item: -item[1]["cpu"])
    return {
        "workers": workers,
        "files": {name: {key: round(value, 2) for key, value in file.items()} for name, file in by_cost},
        "dearest": [[*test, round(seconds, 2)] for test, seconds in tests.most_common(60)],
    }


def main() -> int:
    """Run, add up, print, write."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--out", type=Path, help="write all figures there, as JSON")
    chosen, others = given.parse_known_args()
    root = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as folder:
        paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, _RECORDS: folder, "PYTHONPATH": paths}
        start = time.monotonic()
        command = [sys.executable, "-m", "pytest", "-p", "measure_tests", *others]
        code = subprocess.run(command, cwd=root, env=environment).returncode
        wall = time.monotonic() - start
        summary = _summary(Path(folder))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    summary = {
        "exit_code": code,
        "processor": platform.processor() or platform.machine(),
        "wall_s": wall,
        "cpu_minutes": (used.ru_utime + used.ru_stime) / 60,
        **summary,
    }
    print(f"{summary['cpu_minutes']:.1f} CPU-minutes in {wall / 60:.1f} minutes")
    for worker in summary["workers"]:
        gigabytes = worker["peak_bytes"] / 1e9, worker["peak_bytes_with_children"] / 1e9
        print(f"a worker: {worker['cpu_s'] / 60:.1f} CPU-minutes, at most {gigabytes[0]:.1f} GB, ", end="")
        print(f"with the programs it started {gigabytes[1]:.1f} GB")
    for name, file in list(summary["files"].items())[:30]:
        print(f"{file['cpu']:7.1f} s  {file['compiled']:6.1f} s compiling {file['n_compiled']:5.0f} programs  {name}")
    if chosen.out:
        chosen.out.write_text(json.dumps(summary, indent=1) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
