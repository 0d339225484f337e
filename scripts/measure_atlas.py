"""How large an atlas is and how fast it answers, in a real browser: `python scripts/measure_atlas.py OUT`.

Makes the made-up runs of `make_atlas_run.py` in OUT, unless they are there: 2048 units × 10 anchors with pictures of
3 × 5 steps of 256² images, and 10 000 units without pictures. Opens each from disk in a headless Chromium; what it
finds goes to docs/figures/atlas.json.
"""

import argparse
import json
import platform
import statistics
import tempfile
from pathlib import Path

from linkjax.atlas import run
from scripts import make_atlas_run
from scripts.atlas_browser import Browser

FIGURES = Path(__file__).parents[1] / "docs" / "figures" / "atlas.json"
QUERIES = {
    "one effect": "ear.area > 0",
    "two effects and two numbers": "ear.area > 0 and not leg.axis_major < 0 and fidelity > 0.5 and off_range < 0.5",
    "words": "ear larger",
    "everything again": "",
}
SORTS = ("fidelity", "q", "unit", "size")
_REPEATED = 5


def make(folder: Path, units: int, pictures: bool) -> None:
    if (folder / "atlas" / "manifest.json").is_file():
        return
    config = run.Config(run=str(folder / "run"), out=str(folder / "atlas"), pictures=pictures)
    if not (folder / "run" / "selection" / "manifest.json").is_file():
        make_atlas_run.make_run(folder / "run", units)
    if pictures:
        make_atlas_run.draw_pictures(folder / "atlas", config, 256)
    run.run(config)


def sizes(folder: Path) -> dict[str, float]:
    """Megabytes (10⁶ bytes) and numbers of files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    in_mb = {path: path.stat().st_size / 1e6 for path in files}
    drawn = [path for path in files if {"strips", "small"} & set(path.parts)]
    index = folder / "data" / "index.js"
    return {
        "megabytes": round(sum(in_mb.values()), 1),
        "megabytes_of_pictures": round(sum(in_mb[path] for path in drawn), 1),
        "megabytes_read_first": round(in_mb[index] + sum(in_mb[p] for p in files if p.parent == folder), 2),
        "files": len(files),
    }


def times(browser: Browser, address: str) -> dict[str, float]:
    """Milliseconds, medians of some; megabytes of memory after use."""
    first = []
    for _ in range(_REPEATED):
        browser.open(address)
        first.append(browser.run("Atlas.ready"))
    found = {"first_view_ms": statistics.median(first)}

    def timed(changes: dict[str, object]) -> list[float]:
        text = f"{{...Atlas.state, ...{json.dumps(changes)}}}"
        code = "(async () => { const t = performance.now(); await Atlas.find(%s); return performance.now() - t; })()"
        return [browser.run(code % text) for _ in range(_REPEATED + 1)]

    for name, query in QUERIES.items():
        each = timed({"q": query.replace(" and off_range < 0.5", " and off_range < 0.5")})
        found[f"query_ms: {name}, files unread"] = round(each[0], 1)
        found[f"query_ms: {name}"] = round(statistics.median(each[1:]), 1)
    for sort in SORTS:
        each = timed({"sort": sort, "e": "leg.area" if sort == "size" else ""})
        found[f"sort_ms: {sort}"] = round(statistics.median(each[1:]), 1)
    # look at a hundred units, the map, and all of the list, then see what is held
    browser.run("(async () => { for (let k = 0; k < 100; k++) { Atlas.openUnit(Atlas.index.unit[k * 7]); "
                "await new Promise((done) => setTimeout(done, 30)); } })()")  # fmt: skip
    browser.run("(async () => { Atlas.go({view: 'map'}); const list = document.getElementById('list'); "
                "for (let k = 0; k < 40; k++) { list.scrollTop = k * list.scrollHeight / 40; "
                "await new Promise((done) => setTimeout(done, 30)); } })()")  # fmt: skip
    found["megabytes_held: script"] = round(browser.run("performance.memory.usedJSHeapSize") / 1e6)
    found["megabytes_held: process"] = round(browser.renderer_memory() / 1e6)
    assert browser.messages == [], browser.messages
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--units", type=int, nargs=2, default=(2048, 10000), metavar=("PICTURED", "NUMBERS"))
    given = parser.parse_args()
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as profile:
        for units, pictured in zip(given.units, (True, False), strict=True):
            folder = (given.out / str(units)).absolute()
            make(folder, units, pictured)
            browser = Browser(Path(profile) / str(units))
            browser.resize(1440, 900)
            measured = times(browser, f"file://{folder}/atlas/index.html")
            version = browser.send("Browser.getVersion")["product"]
            browser.close()
            results[f"{units} units{'' if pictured else ', no pictures'}"] = {**sizes(folder / "atlas"), **measured}
            results["browser"] = version
    results["machine"] = f"{platform.machine()}, {platform.system()}, one page, software rendering"
    FIGURES.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
