"""scripts/bench.py runs, compares and stores, at toy sizes."""

import json
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


def test_the_full_size_must_be_asked_for(bench):
    with pytest.raises(SystemExit):
        bench.main(["--only", "synthesis256"])
