"""The import rule, read off the syntax trees: data flows one way, and so do imports."""

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

from linkjax.stages import PIPELINE

ROOT = Path(__file__).parents[1]

# Each layer may import itself and the layers before it.
LAYERS = (
    ("errors",),
    ("config", "numerics"),
    ("ops",),
    ("models",),
    ("analysis",),
    ("devices",),
    ("storage",),
    ("outside",),
    ("report",),
    ("stages",),
    ("study",),
    ("atlas",),
    ("commands", "demo"),
    ("cli",),
)
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}
# Files outside the package's purpose stay behind one door each.
ONLY = {
    "orbax": {"checkpoint.py"},
    "zarr": {"artifacts.py", "in_memory.py", "arrays.py"},
    "tyro": {"config.py", "cli.py"},
}


def imports(path: Path) -> list[str]:
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def layer_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "linkjax" and parts[1] in RANK else None


@pytest.mark.parametrize("path", sources("linkjax"), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way_and_torch_stays_out(path):
    inside = path.relative_to(ROOT / "linkjax")
    own = inside.parts[0].removesuffix(".py")
    for name in imports(path):
        top = name.split(".")[0]
        assert top not in ("torch", "linkjax_converters"), f"{path} imports {name}"
        if top in ONLY:
            assert inside.name in ONLY[top], f"{path} imports {name}"
        layer = layer_of(name)
        if layer is not None and own in RANK:
            assert RANK[layer] <= RANK[own], f"{path}: {own} must not import {layer}"


def test_every_module_has_a_layer():
    names = {path.relative_to(ROOT / "linkjax").parts[0].removesuffix(".py") for path in sources("linkjax")}
    assert names - {"__init__"} == set(RANK)


def test_stages_never_import_each_other():
    """What is no stage itself (inputs, rows) may be shared."""
    stages = {stage.name for stage in PIPELINE}
    for path in sources("linkjax/stages"):
        own = path.relative_to(ROOT / "linkjax/stages").parts[0].removesuffix(".py")
        for name in imports(path):
            parts = name.split(".")
            if parts[:2] == ["linkjax", "stages"] and len(parts) > 2:
                assert parts[2] not in stages - {own}, f"{path} imports {name}"


def test_only_the_converters_import_torch_and_none_at_import():
    for path in sources("converters"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        top = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        names = [alias.name for node in top for alias in node.names] + [
            getattr(node, "module", "") or "" for node in top
        ]
        assert not any(name.split(".")[0] == "torch" for name in names), path


def test_importing_linkjax_starts_no_device_and_is_fast():
    code = (
        "import sys, linkjax; assert 'jax' not in sys.modules or not "
        "sys.modules['jax']._src.xla_bridge._backends; print('quiet')"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    seconds = time.perf_counter() - start
    assert done.stdout.strip() == "quiet", done.stderr
    assert seconds < 1.5


def test_importing_every_module_starts_no_device():
    modules = [
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for root, package in ((ROOT, "linkjax"), (ROOT / "converters", "converters"))
        for path in sources(package)
    ]
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "from jax._src import xla_bridge; assert not xla_bridge._backends; print('quiet')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "quiet", done.stderr
