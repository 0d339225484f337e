"""A small made-up run, its atlas, and a browser that opens it from disk."""

import pytest

from linkjax.atlas import run
from scripts import make_atlas_run
from tests.atlas import browser as browsers

UNITS = 60
SHAPE = {
    "steps": 3,
    "parts": ("image", "ear", "hind leg"),
    "metrics": ("luminance", "red_green", "area", "centroid_y", "axis_major"),
    "classes": ("dachshund", "corgi", "<b>whippet</b>", "pug"),
    "fdr": 0.1,
}


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Folder with run/ and atlas/."""
    folder = tmp_path_factory.mktemp("atlas")
    make_atlas_run.make_run(folder / "run", UNITS, **SHAPE)
    config = run.Config(run=str(folder / "run"), out=str(folder / "atlas"), tile=16, title="Dogs & <others>")
    make_atlas_run.draw_pictures(folder / "atlas", config, 32)
    run.run(config)
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """A headless Chromium without a network."""
    if browsers.program() is None:
        pytest.skip("no Chromium is installed, which the atlas is tried in: apt-get install chromium")
    made = browsers.Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()


@pytest.fixture
def page(browser, made):
    """`page(fragment)`: the browser with the atlas open there, wide and light."""

    def at(fragment: str = "", width: int = 1440, height: int = 900, dark: bool = False):
        browser.resize(width, height, dark)
        browser.open(f"file://{made}/atlas/index.html#{fragment}")
        return browser

    return at
