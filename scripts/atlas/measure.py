"""How large an atlas is and how fast it answers, in a real browser: `python scripts/atlas/measure.py OUT`.

Makes made-up runs (`make_atlas_run.py`) in OUT, unless they are there: three classifiers of 2048 units × 10 anchors
with pictures of 3 × 5 steps of 256² images, and one of 10 000 units without pictures. Opens each from disk in a
headless Chromium; what it finds goes to docs/figures/atlas.json. A time ends when what was asked for is painted.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from linkjax.atlas import run
from scripts.atlas import make_run as make_atlas_run
from scripts.atlas.browser import Browser
from scripts.speed.benchmarks import machine

FIGURES = Path(__file__).parents[2] / "docs" / "figures" / "atlas.json"
CLASSIFIERS = 3
QUERIES = {
    "one effect": "ear.area > 0",
    "two effects and two numbers": "ear.area > 0 and not leg.axis_major < 0 and fidelity > 0.5 and off_range < 0.5",
    "words": "ear larger",
}
SORTS = {
    "fidelity": {"sort": "fidelity"}, "q": {"sort": "q"}, "unit": {"sort": "unit"},
    "size of an effect": {"sort": "size", "e": "leg.area"},
}  # fmt: skip
_REPEATED = 7
_PAINTED = """
(async () => {
  const frame = () => new Promise(requestAnimationFrame);
  await new Promise((done) => setTimeout(done, 60)); // a browser takes some 20 new addresses a second from a page
  await frame();
  const start = performance.now();
  Atlas.lastSearch = undefined;
  Atlas.go({...Atlas.state, ...%s});
  while (Atlas.lastSearch === undefined) await new Promise((done) => setTimeout(done));
  await frame();
  await new Promise((done) => setTimeout(done));
  return [performance.now() - start, Atlas.lastSearch];
})()
"""


def make(folder: Path, units: int, pictures: bool, seed: int = 0) -> None:
    if (folder / "atlas" / "manifest.json").is_file():
        return
    config = run.Config(run=str(folder / "run"), out=str(folder / "atlas"), pictures=pictures)
    if not (folder / "run" / "selection" / "manifest.json").is_file():
        make_atlas_run.make_run(folder / "run", units, seed=seed)
    if pictures:
        make_atlas_run.draw_pictures(folder / "atlas", config, 256, seed)
    run.run(config)


def sizes(folder: Path) -> dict[str, float]:
    """Megabytes (10⁶ bytes) and numbers of files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    in_mb = {path: path.stat().st_size / 1e6 for path in files}
    drawn = [path for path in files if {"strips", "small"} & set(path.parts)]
    index = folder / "data" / "index.js"
    return {
        "megabytes": round(sum(in_mb.values()), 1),
        "megabytes of strips": round(sum(in_mb[path] for path in drawn), 1),
        "megabytes read first": round(in_mb[index] + sum(in_mb[p] for p in files if p.parent == folder), 2),
        "files": len(files),
    }


def address(folder: Path) -> str:
    return f"file://{folder}/atlas/index.html"


def times(browser: Browser, folder: Path) -> dict[str, float]:
    """Milliseconds, medians of some; megabytes of memory after use."""
    first = []
    for _ in range(_REPEATED):
        browser.open(address(folder))
        first.append(browser.run("Atlas.ready"))
    found = {"first view, ms": round(statistics.median(first))}
    nothing = {"q": "", "sort": "auto", "e": ""}

    def painted(changes: dict[str, str]) -> list[list[float]]:
        each = []
        for _ in range(_REPEATED + 1):
            each.append(browser.run(_PAINTED % json.dumps(nothing | changes)))
            browser.run(_PAINTED % json.dumps(nothing | {"caution": "none"}))
            browser.run(_PAINTED % json.dumps(nothing | {"caution": ""}))
        return each

    asked = {f"query, ms: {name}": {"q": text} for name, text in QUERIES.items()}
    asked |= {f"sort, ms: {name}": changes for name, changes in SORTS.items()}
    for name, changes in asked.items():
        (before, _), *rest = painted(changes)
        found[f"{name}, the first time"] = round(before, 1)
        found[name] = round(statistics.median(whole for whole, _ in rest), 1)
        found[f"{name}, without painting"] = round(statistics.median(search for _, search in rest), 1)
    # look at a hundred units, the map, and all of the list, then see what is held
    browser.run("(async () => { for (let k = 0; k < 100; k++) { Atlas.openUnit(Atlas.index.unit[k * 7]); "
                "await new Promise((done) => setTimeout(done, 30)); } })()")  # fmt: skip
    browser.run("(async () => { Atlas.go({view: 'map'}); const list = document.getElementById('list'); "
                "for (let k = 0; k < 40; k++) { list.scrollTop = k * list.scrollHeight / 40; "
                "await new Promise((done) => setTimeout(done, 30)); } })()")  # fmt: skip
    found["megabytes held by the script"] = round(browser.run("performance.memory.usedJSHeapSize") / 1e6)
    found["megabytes held by the page's process"] = round(browser.renderer_memory() / 1e6)
    assert browser.messages == [], browser.messages
    return found


def measure(folders: list[Path], profile: Path) -> tuple[dict[str, float], str]:
    """The first of some atlases used, then the others opened beside it; and the browser's version."""
    browser = Browser(profile)
    browser.resize(1440, 900)
    found = {**sizes(folders[0] / "atlas"), **times(browser, folders[0])}
    if len(folders) > 1:
        found["megabytes of the largest"] = max(sizes(folder / "atlas")["megabytes"] for folder in folders)
        for folder in folders[1:]:
            browser.open_beside(address(folder))
        held = f"megabytes held by the processes of {len(folders)} pages"
        found[held] = round(browser.renderer_memory(all_pages=True) / 1e6)
    version = browser.send("Browser.getVersion")["product"]
    browser.close()
    return found, version


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--units", type=int, nargs=2, default=(2048, 10000), metavar=("PICTURED", "NUMBERS"))
    given = parser.parse_args()
    pictured, numbers = given.units
    results: dict[str, object] = {"machine": machine.name()}
    cases = {
        f"{pictured} units": [(given.out / f"{pictured}-{seed}", pictured, True, seed) for seed in range(CLASSIFIERS)],
        f"{numbers} units, no pictures": [(given.out / str(numbers), numbers, False, 0)],
    }
    with tempfile.TemporaryDirectory() as profile:
        for name, each in cases.items():
            for folder, *how in each:
                make(folder.absolute(), *how)
            found, version = measure([folder.absolute() for folder, *_ in each], Path(profile) / name)
            results |= {"browser": f"{version}, software rendering", name: found}
    FIGURES.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps(results, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
