"""What the tests' tolerances leave: of each in tests/tolerances.py the largest share of it that any comparison took.

`python scripts/numerics/measure_tolerances.py [--out FILE.json] [pytest's arguments]`, in an environment with
`linkjax[dev]`. Reads the values of assertions that hold, and what NumPy's `assert_allclose` was given. A share of 0.5
is half the tolerance; more than 0.5 is marked, for another processor may need more; what is 0 everywhere could be
compared to the bit.
"""

import argparse
import ast
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

_RECORDS = "LINKJAX_TOLERANCE_RECORDS"
_NAME = re.compile(r"tolerances\.([A-Z0-9_]+)")
_NUMBER = re.compile(r"(?:np\.)?float(?:32|64)\(([^()]*)\)|Array\(([^,()]*)[^()]*\)")


# In pytest: notes what each comparison with a tolerance took of it.


def _value(text: str) -> float:
    """A number, or products and quotients of numbers, as pytest writes them."""
    return float(
        eval(compile(ast.parse(_NUMBER.sub(r"\1\2", text).strip(), mode="eval"), "", "eval"), {"__builtins__": {}})
    )


class _Margins:
    """Writes one line a comparison: the tolerance's name, the share of it that was taken, the test."""

    def __init__(self, folder: Path):
        self.file = (folder / f"{os.getpid()}.jsonl").open("w", buffering=1)
        self.test = ""
        from tests import tolerances

        self.names = collections.defaultdict(list)
        for name, value in vars(tolerances).items():
            for each in value.values() if isinstance(value, dict) else [value]:
                if isinstance(each, float) and name.isupper():
                    self.names[each].append(name)
        given = np.testing.assert_allclose

        def watched(actual, desired, rtol=1e-7, atol=0, *positional, **named):
            given(actual, desired, rtol, atol, *positional, **named)
            caller = sys._getframe(1)
            if "/tests/" in caller.f_code.co_filename:
                self.close(actual, desired, rtol, atol, caller)

        np.testing.assert_allclose = watched

    def close(self, actual, desired, rtol, atol, caller) -> None:
        """What `assert_allclose` allowed, and how much of it was taken."""
        lines = Path(caller.f_code.co_filename).read_text(encoding="utf-8").splitlines()
        names = _NAME.findall(" ".join(lines[caller.f_lineno - 1 : caller.f_lineno + 4]))
        if not names:
            return
        actual, desired = np.asarray(actual, np.float64), np.asarray(desired, np.float64)
        allowed = atol + rtol * np.abs(desired)
        away = np.abs(actual - desired)
        taken = np.max(
            np.where(away > 0, away / np.where(allowed > 0, allowed, np.inf), 0.0), initial=0.0, where=~np.isnan(away)
        )
        self.note(names[0], float(taken))

    def note(self, name: str, share: float) -> None:
        self.file.write(json.dumps({"name": name, "share": share, "test": self.test}) + "\n")

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.test = nodeid

    def pytest_assertion_pass(self, item, lineno, orig, expl) -> None:
        """One line of an assertion that held: `found < allowed`, and what the names stand for."""
        names = _NAME.findall(orig)
        first = expl.split("\n")[0]
        sides = re.split(r"\s<=?\s", first)
        if len(names) != 1 or len(sides) not in (2, 3):
            if names:
                self.file.write(json.dumps({"name": names[0], "unread": orig[:200], "test": item.nodeid}) + "\n")
            return
        try:
            found, allowed = _value(sides[-2]), _value(sides[-1])
        except (SyntaxError, ValueError, TypeError, NameError):
            self.file.write(json.dumps({"name": names[0], "unread": first[:200], "test": item.nodeid}) + "\n")
            return
        self.note(names[0], abs(found) / allowed if allowed else 0.0)


def pytest_configure(config: pytest.Config) -> None:
    if os.environ.get(_RECORDS) and not (config.getoption("numprocesses", None) and not hasattr(config, "workerinput")):
        config.pluginmanager.register(_Margins(Path(os.environ[_RECORDS])))


# As a program: runs pytest with the plugin above and lists tolerances.


def main() -> int:
    """Run, sum up, print, write."""
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    given.add_argument("--out", type=Path, help="write all figures there, as JSON")
    chosen, others = given.parse_known_args()
    root = Path(__file__).parents[2]
    with tempfile.TemporaryDirectory() as folder:
        paths = os.pathsep.join([str(Path(__file__).parent), str(root), os.environ.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "pytest", "-p", "measure_tolerances", "-o", "enable_assertion_pass_hook=true"]
        environment = {**os.environ, _RECORDS: folder, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"}
        code = subprocess.run([*command, *others], cwd=root, env=environment).returncode
        lines = [json.loads(line) for each in Path(folder).glob("*.jsonl") for line in each.read_text().splitlines()]
    found: dict[str, dict] = {}
    for line in lines:
        entry = found.setdefault(line["name"], {"comparisons": 0, "share": 0.0, "test": "", "unread": 0})
        if "unread" in line:
            entry["unread"] += 1
            print("not read:", line["unread"])
            continue
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
