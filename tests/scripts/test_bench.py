"""scripts/bench.py runs, compares and stores, at toy sizes."""

import json
import os
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture(scope="module")
def bench():
    """The script as a module, with its folder on the path, as where it runs."""
    sys.path.insert(0, str(SCRIPTS))
    import bench

    yield bench
    sys.path.pop(0)


def test_a_toy_run_compares_sides_names_the_machine_and_keeps_other_cases(bench, tmp_path, monkeypatch):
    monkeypatch.setattr("gc.collect", lambda: 0)  # between all that is timed; it takes seconds where much was imported
    out = tmp_path / "figures.json"
    out.write_text(json.dumps({"cases": {"screening": {"rows": [1]}}, "notes": {}}))
    toy = ["--tiny", "--repeats", "1", "--out", str(out)]
    bench.main([*toy, "--only", "synthesis64", "regions", "--batches", "1"])
    figures = json.loads(out.read_text())
    assert figures["machine"] and figures["ceilings"]["matrix"]["float32"] > 0 and figures["ceilings"]["memory"] > 0
    cases = figures["cases"]
    assert set(cases) == {"screening", "synthesis64", "regions"} and cases["screening"] == {"rows": [1]}
    ours, *others = cases["synthesis64"]["rows"]
    assert ours["side"] == "linkjax" and ours["limit"] > 0 and ours["compile_seconds"] > 0
    pytest.importorskip("torch", reason="compared with PyTorch where it is installed")
    assert [other["side"] for other in others] == ["PyTorch"]
    assert others[0]["ratio"] > 0 and others[0]["difference"] < 1e-5


COUNTED = {
    "encode": ["alexnet: both", "alexnet: network"],
    "sweep": ["program: all of a sweep", "program: synthesis", "stage: synthesis", "stage: the stage"],
    "screening": ["all units, one anchor: 64 forward products", "gradient in w", "one synthesis"],
    "link": ["ols, float64 products: 200 × 16 → 4"],
}
COMPARED = {"encode": "alexnet: network", "sweep": "program: all of a sweep", "screening": "gradient in w"}


FULL = [
    pytest.mark.full,
    pytest.mark.skipif("LINKJAX_FULL" not in os.environ, reason="half a minute of compilation: set LINKJAX_FULL=1"),
]


@pytest.mark.parametrize(
    "case", ["encode", "link", *(pytest.param(name, marks=FULL) for name in ("screening", "sweep"))]
)
def test_a_case_counts_what_it_measures(bench, tmp_path, monkeypatch, case):
    monkeypatch.setattr("gc.collect", lambda: 0)
    out = tmp_path / "figures.json"
    bench.main(["--tiny", "--repeats", "1", "--out", str(out), "--archs", "alexnet", "--only", case])
    rows = json.loads(out.read_text())["cases"][case]["rows"]
    ours = {row["what"]: row for row in rows if row["side"] == "linkjax"}
    for part in COUNTED[case]:
        assert min(ours[part][name] for name in ("operations", "bytes", "limit", "share")) > 0, part
    if case in COMPARED:
        pytest.importorskip("torch", reason="compared with PyTorch where it is installed")
        [theirs] = [row for row in rows if row["side"] == "PyTorch" and row["what"] == COMPARED[case]]
        assert theirs["ratio"] > 0


def test_the_full_size_must_be_asked_for(bench):
    with pytest.raises(SystemExit):
        bench.main(["--only", "synthesis256"])
