"""What the tests' tolerances leave: of each in tests/tolerances.py the largest share of it that any comparison took.

`python scripts/numerics/measure_tolerances.py [--out FILE.json] [pytest's arguments]`, in an environment with
`linkjax[dev]`. In place of each tolerance stands a number that notes what it, or a multiple of it, is compared with, in
tests and in what they call. A share of 0.5 is half the tolerance; more than 0.5 is marked, for another processor may
need more; what is 0 everywhere could be compared to the bit.
"""

import argparse
import json
import operator
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

_RECORDS = "LINKJAX_TOLERANCE_RECORDS"
_NOTES: list[Any] = []  # the file that notes are written to
_TEST = [""]


class Tolerance(float):
    """A float that notes how much of it each comparison took."""

    name: str

    def __new__(cls, value: float, name: str) -> "Tolerance":
        made = super().__new__(cls, value)
        made.name = name
        return made

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **named: Any) -> Any:
        plain = [float(each) if isinstance(each, Tolerance) else each for each in inputs]
        result = getattr(ufunc, method)(*plain, **named)
        if ufunc in (np.less, np.less_equal):
            note(self.name, plain[0], plain[1])
        elif ufunc in (np.greater, np.greater_equal):
            note(self.name, plain[1], plain[0])
        elif np.ndim(result) == 0 and ufunc in (np.multiply, np.add, np.maximum, np.divide):
            return Tolerance(result, self.name)
        return result

    def __gt__(self, other: Any) -> Any:
        return self._compared(other, operator.gt)

    def __ge__(self, other: Any) -> Any:
        return self._compared(other, operator.ge)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, operator.mul)

    def __add__(self, other: Any) -> Any:
        return self._with(other, operator.add)

    def __truediv__(self, other: Any) -> Any:
        return self._with(other, operator.truediv)

    __rmul__, __radd__ = __mul__, __add__

    def _compared(self, other: Any, holds: Any) -> Any:
        note(self.name, other, float(self))
        return holds(float(self), other)

    def _with(self, other: Any, make: Any) -> Any:
        result = make(float(self), other)
        return Tolerance(result, self.name) if np.ndim(result) == 0 else result


def note(name: str, found: Any, allowed: Any) -> None:
    """The largest share of what was allowed that anything found takes; what is not finite is left out."""
    found, allowed = np.broadcast_arrays(np.abs(np.asarray(found, float)), np.asarray(allowed, float))
    share = np.divide(found, allowed, out=np.zeros(found.shape), where=(allowed > 0) & np.isfinite(found))
    _NOTES[0].write(json.dumps({"name": name, "share": float(np.max(share, initial=0.0)), "test": _TEST[0]}) + "\n")


def _watch(given: Any) -> Any:
    """`assert_allclose` or `allclose`: their limit is a sum of two parts, of which one is a tolerance of ours."""

    def watched(actual: Any, desired: Any, rtol: float = 1e-7, atol: float = 0, **named: Any) -> Any:
        for each in (rtol, atol):
            if isinstance(each, Tolerance):
                apart = np.abs(np.asarray(actual, float) - np.asarray(desired, float))
                note(each.name, apart, float(atol) + float(rtol) * np.abs(np.asarray(desired, float)))
        return given(actual, desired, rtol=float(rtol), atol=float(atol), **named)

    return watched


def pytest_configure(config: pytest.Config) -> None:
    """Put what notes in the place of every tolerance, before any test is imported."""
    if not os.environ.get(_RECORDS) or (config.getoption("numprocesses", None) and not hasattr(config, "workerinput")):
        return
    from tests import tolerances

    _NOTES[:] = [(Path(os.environ[_RECORDS]) / f"{os.getpid()}.jsonl").open("w", buffering=1)]
    for name, value in list(vars(tolerances).items()):
        if name.isupper() and isinstance(value, float):
            setattr(tolerances, name, Tolerance(value, name))
        elif name.isupper() and isinstance(value, dict):
            setattr(tolerances, name, {key: Tolerance(each, name) for key, each in value.items()})
    np.testing.assert_allclose, np.allclose = _watch(np.testing.assert_allclose), _watch(np.allclose)


def pytest_runtest_logstart(nodeid: str) -> None:
    """Comparisons from now on are this test's."""
    _TEST[0] = nodeid


# As a program: runs pytest with the plugin above and lists tolerances.


def main() -> int:
    """Run, sum up, print, write."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--out", type=Path, help="write all figures there, as JSON")
    chosen, others = given.parse_known_args()
    root = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as folder:
        paths = os.pathsep.join([str(Path(__file__).parent), str(root), os.environ.get("PYTHONPATH", "")])
        environment = {**os.environ, _RECORDS: folder, "PYTHONPATH": paths}
        command = [sys.executable, "-m", "pytest", "-p", "measure_tolerances", *others]
        code = subprocess.run(command, cwd=root, env=environment).returncode
        lines = [json.loads(line) for each in Path(folder).glob("*.jsonl") for line in each.read_text().splitlines()]
    found: dict[str, dict] = {}
    for line in lines:
        entry = found.setdefault(line["name"], {"comparisons": 0, "share": 0.0, "test": ""})
        entry["comparisons"] += 1
        if line["share"] >= entry["share"]:
            entry["share"], entry["test"] = float(f"{line['share']:.3g}"), line["test"]
    for name, entry in sorted(found.items(), key=lambda item: -item[1]["share"]):
        mark = "!" if entry["share"] > 0.5 else " "
        print(f"{mark} {entry['share']:8.3g}  {name}  of {entry['comparisons']} comparisons  {entry['test']}")
    if chosen.out:
        chosen.out.write_text(json.dumps(dict(sorted(found.items())), indent=1) + "\n", encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
