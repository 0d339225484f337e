"""The notebook runs from its first cell to its last, as it is committed."""

import ast
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient

from tests import compiling

COMPILED = "in one piece"
EXAMPLES = Path(__file__).parents[2] / "examples"


def _run(name: str, folder: Path):
    """Its cells after all of them ran in a folder of their own, and the texts and pictures these show."""
    notebook = nbformat.read(EXAMPLES / name, as_version=4)
    commands = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": commands, "XLA_FLAGS": compiling.xla_flags()}  # one device, as a reader has
    root = str(EXAMPLES.parent)
    environment["PYTHONPATH"] = os.pathsep.join([root, f"{root}/converters", os.environ.get("PYTHONPATH", "")])
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=1200, kernel_name="python3", resources=resources).execute(env=environment)
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    texts = [output["text"] for output in outputs if "text" in output]
    return texts, [output for output in outputs if "image/png" in output.get("data", {})]


@pytest.mark.timeout(1800)  # on a busy machine
@pytest.mark.filterwarnings("ignore")  # of the kernel's own making
def test_the_walkthrough_runs_and_finds_the_units_that_carry_ears(tmp_path):
    texts, pictures = _run("walkthrough.ipynb", tmp_path)
    [lines] = [text for text in texts if text.startswith("unit ")]
    assert "unit 0: single; ear_size" in lines and "noise" not in lines
    assert len(pictures) >= 5


@pytest.mark.full
@pytest.mark.skipif(
    "LINKJAX_FULL" not in os.environ, reason="two minutes of training and compilation: set LINKJAX_FULL=1"
)
@pytest.mark.filterwarnings("ignore")
def test_a_classifier_of_ones_own_turns_out_to_read_the_light(tmp_path):
    pytest.importorskip("torch", reason="the notebook trains a PyTorch network")
    texts, pictures = _run("own_classifier.ipynb", tmp_path)
    [told] = [text for text in texts if text.startswith("the decision for short")]
    legs, light = (abs(float(number)) for number in re.findall(r"-?0\.\d+", told))
    assert light > legs and len(pictures) == 5
    assert any("weights/legs" in text for text in texts)


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.ipynb")))
def test_a_notebook_is_committed_without_output_and_uses_public_names_alone(name):
    for cell in nbformat.read(EXAMPLES / name, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        assert not cell.outputs and cell.execution_count is None
        for node in ast.walk(ast.parse(TransformerManager().transform_cell(cell.source))):
            if isinstance(node, ast.Attribute):
                assert not node.attr.startswith("_") and node.attr != "meshgrid"
            if isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("linkjax.")
