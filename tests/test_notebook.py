"""The notebook runs from its first cell to its last, as it is committed."""

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests import compiling

COMPILED = "as shipped"
NOTEBOOK = Path(__file__).parents[1] / "examples" / "walkthrough.ipynb"


@pytest.mark.filterwarnings("ignore")  # of the kernel's own making
def test_the_walkthrough_runs_and_finds_the_units_that_carry_ears():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    environment = {**os.environ, "XLA_FLAGS": compiling.xla_flags()}  # one device, as a reader has
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute(env=environment)
    texts = [output.get("text", "") for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    [lines] = [text for text in texts if text.startswith("unit ")]
    assert "unit 0: single; ear_size" in lines and "noise" not in lines
    pictures = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]  # fmt: skip
    assert len(pictures) >= 5
