"""Pictures of an atlas for docs/reading-an-atlas.md: `python scripts/atlas/picture.py RUN/atlas`.

Opens the atlas of a finished `linkjax demo` in a headless Chromium, wide and narrow, light and dark, and writes what is
seen to docs/atlas/NAME.webp, each below 150 kB. Nothing on the page may be wider than the window, and the page may say
nothing on its console.
"""

import argparse
import io
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from PIL import Image

from scripts.atlas.browser import Browser

FOLDER = Path(__file__).parents[2] / "docs" / "atlas"
MOST_BYTES = 150_000
WIDE, NARROW = (1440, 900), (400, 860)
_ZOOM = "for (let k = 0; k < 3; k++) document.querySelector('[aria-label=\"Zoom in\"]').click()"
_BESIDE = "document.querySelector('.beside').scrollIntoView()"
#: Name → (state of the page, size of the window, dark, what is done on it).
VIEWS = {
    "find-wide-light": ("q=ear larger&view=matrix", WIDE, False, ""),
    "unit-wide-light": ("q=ear larger&unit={first}", WIDE, False, ""),
    "beside-wide-light": ("unit={beside}", WIDE, False, _BESIDE),
    "compare-wide-dark": ("q=ear larger&view=compare&pins={pins}", WIDE, True, ""),
    "map-wide-dark": ("view=map", WIDE, True, _ZOOM),
    "list-narrow-light": ("q=ear larger", NARROW, False, ""),
    "unit-narrow-dark": ("unit={first}", NARROW, True, ""),
}


def encoded(png: bytes) -> bytes:
    """A picture as WebP, as good as it may be below `MOST_BYTES`."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for quality in (80, 70, 60, 50):
        buffer = io.BytesIO()
        image.save(buffer, "WEBP", quality=quality, method=6)
        if buffer.tell() < MOST_BYTES:
            return buffer.getvalue()
    raise SystemExit(f"a picture of {image.size} does not fit into {MOST_BYTES} bytes")


def names(browser: Browser, address: str) -> dict[str, str]:
    """Units to show: the first, it and those nearest to it, and one that was raised along the kernel and does much."""
    browser.open(f"{address}#q=ear%20larger")
    found = browser.run("Atlas.found().rows.map((row) => Atlas.index.unit[row])")
    assert found, "no unit makes ears larger in this atlas"
    doubles = browser.run(f"Atlas.loadUnit(Atlas.rowOf({found[0]})).then((data) => data.doubles.map(([unit]) => unit))")
    pins = list(dict.fromkeys([found[0], *doubles[:1], *found[1:]]))[:4]
    strength = "Atlas.index.strength[Atlas.rowOf(unit)]"
    beside = browser.run(
        f"[...(Atlas.index.beside?.unit ?? [])].map((unit) => [{strength}, unit]).sort((a, b) => b[0] - a[0])"
    )
    return {
        "first": str(found[0]),
        "pins": ",".join(map(str, pins)),
        "beside": str(beside[0][1] if beside else found[0]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("atlas", type=Path, help="folder of an atlas")
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--scroll", type=int, nargs="*", default=(), help="pixels down the card, for more pictures")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    address = f"file://{given.atlas.absolute()}/index.html"
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(Path(profile))
        browser.resize(*WIDE)
        asked = names(browser, address)
        for name, (state, (width, height), dark, done) in VIEWS.items():
            browser.resize(width, height, dark)
            browser.open(f"{address}#{state.format(**asked).replace(' ', '%20')}")
            browser.run("new Promise((done) => setTimeout(done, 1500))")  # pictures are read after the page
            browser.run(done or "0")
            browser.run("new Promise((done) => setTimeout(done, 500))")
            wide = browser.run("document.documentElement.scrollWidth")
            assert wide <= width and browser.messages == [], (name, wide, browser.messages)
            (given.out / f"{name}.webp").write_bytes(encoded(browser.picture()))
            for down in given.scroll if "unit" in name else ():
                browser.run(f"document.getElementById('look').scrollTop = {down}")
                browser.run("new Promise((done) => setTimeout(done, 300))")
                (given.out / f"{name}-{down}.webp").write_bytes(encoded(browser.picture()))
        browser.close()
    for file in sorted(given.out.glob("*.webp")):
        print(file, f"{file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
