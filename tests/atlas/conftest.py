"""A small made-up run, its atlas, and a browser that opens it from disk."""

import numpy as np
import pytest

from linkjax.atlas import flips, pictures, run
from linkjax.outside.photographs.folder import Folder
from linkjax.report.source import Context, Source
from linkjax.stages import encode
from linkjax.storage import artifacts
from scripts.atlas import browser as browsers
from scripts.atlas import make_run as make_atlas_run
from tests.report import synthetic
from tests.stages import photographs as taken

UNITS = 60
SHAPE = {
    "steps": 3,
    "parts": ("image", "ear", "hind leg"),
    "metrics": ("luminance", "red_green", "area", "centroid_y", "axis_major", "chroma"),
    "classes": ("dachshund", "corgi", "<b>whippet</b>", "pug"),
    "fdr": 0.1,
}


def encoded(out, photographs):
    """An encoding of photographs, as the stage writes it; the first is flagged as unreadable."""
    pairs, files = artifacts.Artifact(out.parent / "pairs", "pairs"), Folder(photographs)
    names = {"generator": "generator", "classifier": "classifier", "link": "link", "pairs": "pairs"}
    config = encode.Config(out=str(out), photographs=str(photographs), **names)
    made_from = {"pairs": pairs.id, "photographs": files.identity}
    weights = make_atlas_run.WEIGHTS
    rng, flag = np.random.default_rng(5), (np.arange(len(files)) == 0).astype(np.int8)
    r = np.where(flag[:, None] == 1, np.nan, rng.normal(0, 1, (len(files), UNITS)))
    r[:, 1] = 0.0  # the same in all
    with artifacts.Writer(out, "encoding", config, weights, made_from) as writer:
        writer.put("r", ("sample", "unit"), r.astype(np.float32))
        writer.put("flag", ("sample",), flag)
        writer.put("prediction", ("sample", "rank"), np.arange(len(files), dtype=np.int32)[:, None] % 4)
        writer.finish({"samples": len(files)})


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """Folder with run/ and atlas/."""
    folder = tmp_path_factory.mktemp("atlas")
    make_atlas_run.make_run(folder / "run", UNITS, **SHAPE)
    make_atlas_run.make_beside(folder / "run", 8)
    make_atlas_run.make_compared(folder / "run", UNITS)
    make_atlas_run.make_names(folder / "run")
    encoded(folder / "run" / "encoding", taken.folder(folder / "photographs", groups=("dogs", "<b>cats</b>")))
    searched = synthetic.counterfactual(folder / "run" / "counterfactual")
    config = run.Config(run=str(folder / "run"), out=str(folder / "atlas"), tile=16, title="Dogs & <others>")
    make_atlas_run.draw_pictures(folder / "atlas", config, 32)
    found = Source("counterfactual", searched, ("counterfactual",))
    searches = flips.Flips(found, Context([found]))
    for pair, film in enumerate(searches.films()):
        if film is not None:
            frames = np.stack([synthetic.animal(t, t, t, size=16) for t in searches.t[film.points]])
            key = flips.film_key(searches, film, config.tile, config.quality)
            pictures.store(folder / "atlas.partial" / "data", f"films/{pair}", key, frames[None], 16, config.quality)
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
