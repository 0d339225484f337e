"""Commands of the README, the pages and the experiments' files are ones that linkjax takes, to the last flag."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

import linkjax
from linkjax import cli
from linkjax.devices import compile_cache
from linkjax.stages import PIPELINE

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{page.name}" for page in sorted((ROOT / "docs").glob("*.md"))))
CONFIGS = [f"configs/{file.name}" for file in sorted((ROOT / "configs").glob("*.toml"))]
PLACEHOLDERS = re.compile(r"[…\[]|\b(STAGE|FILE|SOURCE|HOST|OUT|DIR)\b")
RUNS = (
    "linkjax.commands.experiment",
    "linkjax.outside.label.run",
    "linkjax.atlas.run",
    "linkjax.demo.run",
    "linkjax.commands.doctor",
)


def commands(path):
    """The lines that begin with `linkjax`, joined where they go on, in code of a page or in comments of a file."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if path.endswith(".md"):
        text = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    else:
        text = "\n".join(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#"))
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    found = [line.split("&&")[-1].strip() for line in lines if re.match(r"(\S.* && )?linkjax ", line.strip())]
    return [line for line in found if not PLACEHOLDERS.search(line)]


@pytest.mark.parametrize("path", [path for path in (*PAGES, *CONFIGS) if commands(path)])
def test_every_command_on_a_page_is_one_that_linkjax_takes(path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(compile_cache, "enable", lambda: None)
    monkeypatch.setattr(cli.joining, "find", lambda given: None)  # no other process is there to be joined
    ran = []
    for module in (*RUNS, *(stage.module.__name__ for stage in PIPELINE)):
        monkeypatch.setattr(importlib.import_module(module), "run", lambda *given, name=module: ran.append(name))
    for kind in ("generator", "classifier", "module", "embedder", "segmenter"):
        module = importlib.import_module(f"linkjax_converters.{kind}")
        name = f"convert_{kind}"
        monkeypatch.setattr(module, name, lambda *given, name=name, **more: [ran.append(name)])
    for count, line in enumerate(commands(path), 1):
        words = shlex.split(line.replace("my.toml", CONFIGS[0]), comments=True)[1:]
        assert cli.main(words) == 0, f"{line}\n{capsys.readouterr().err}"
        assert len(ran) == count, line


def test_the_pages_commands_are_found():
    assert len(commands("README.md")) >= 7 and any("convert module" in line for line in commands("README.md"))
    assert len(commands("docs/commands.md")) >= 14
    assert any("--masks my_masks --out" in line for line in commands("docs/commands.md"))  # two lines that are one


def test_every_name_of_linkjax_in_the_pages_is_there():
    for path in PAGES:
        text = (ROOT / path).read_text(encoding="utf-8")
        code = "\n".join(re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
        for name in set(re.findall(r"\blinkjax\.(\w+)", code)):
            assert hasattr(linkjax, name), f"{path}: linkjax.{name}"
