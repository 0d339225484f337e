"""What is packaged: every folder of code under both source roots, and nothing of the tests."""

import tomllib
from pathlib import Path

from setuptools import find_packages

ROOT = Path(__file__).parents[1]


def test_the_wheel_holds_every_folder_of_code_and_no_other():
    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"][
        "find"
    ]
    packaged = {name for root in found["where"] for name in find_packages(str(ROOT / root), include=found["include"])}
    folders = {
        ".".join(path.parent.relative_to(root).parts)
        for root, package in ((ROOT, "linkjax"), (ROOT / "converters", "linkjax_converters"))
        for path in (root / package).rglob("*.py")
    }
    assert packaged == folders
    assert {"linkjax", "linkjax_converters", "linkjax_converters.reader"} <= packaged
