"""The training script of the demo's bundle runs from nothing to a measured bundle, and goes on where it stopped."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from linkjax.storage.checkpoint import load_model
from tests import compiling

SCRIPT = Path(__file__).parents[2] / "scripts" / "train_demo.py"


def _run(out: Path, *flags: str) -> subprocess.CompletedProcess:
    # Two devices, so that the batch is really split; a process of its own, so that training need not be strict.
    environment = os.environ | {"XLA_FLAGS": compiling.xla_flags(2), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, str(SCRIPT), "--out", str(out), "--channels", "8", "8", "8", "--batch-size", "2", *flags]
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.full
@pytest.mark.skipif("LINKJAX_FULL" not in os.environ, reason="minutes of compilation: set LINKJAX_FULL=1 to run it")
def test_training_makes_a_bundle_with_failed_gates_named_and_goes_on_from_its_checkpoint(tmp_path: Path):
    some = ("generator", "breeds", "judge")
    first = _run(tmp_path / "bundle", "--stages", *some, "--steps", "1", "--classifier-steps", "1")
    assert first.returncode == 0, first.stderr
    flags = ("--steps", "2", "--classifier-steps", "2", "--pictures", "32", "--labelled", "20")
    second = _run(tmp_path / "bundle", *flags)
    assert second.returncode == 1, second.stderr
    assert "PSNR (dB)" in second.stdout and "FAILED" in second.stdout
    for name, kind in (("generator", "generator"), ("breeds", "classifier"), ("planted", "classifier")):
        _, manifest = load_model(tmp_path / "bundle" / name)
        assert manifest["kind"] == kind
        assert manifest["source"]["steps"] == manifest["source"]["devices"] == 2
        resumed = [entry["step"] for entry in manifest["source"]["history"]]
        assert resumed == ([2] if name == "planted" else [1, 2])
    judge = json.loads((tmp_path / "bundle.work" / "judge.json").read_text())
    assert [entry["step"] for entry in judge["history"]] == [1, 2]
    bundle = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert {gate["name"] for gate in bundle["gates"]} >= {"IoU tail", "R² ear_size", "PSNR of the animal (dB)"}
    units = json.loads((tmp_path / "bundle" / "planted_units.json").read_text())
    assert len(units) == 36  # UNITS of scripts/demo/planted.py
