from pathlib import Path

import numpy as np

import linkjax
from linkjax.atlas import examples, flips, pictures
from linkjax.atlas.read import Results
from linkjax.report.source import Context, Source
from linkjax.storage import artifacts
from tests.stages.conftest import SWEEP, do


def test_the_pictures_are_those_of_the_sweep_and_of_the_searches(world, selection, tmp_path, monkeypatch):
    drawn, store = {}, pictures.store

    def watched(folder, name, key, images, tile, quality):
        drawn[name] = images.astype(int)
        store(folder, name, key, images, tile, quality)

    monkeypatch.setattr(pictures, "store", watched)
    given = ["--sweep", world.sweep, "--selection", selection, "--pairs", world.pairs, "--tile", "16"]
    given += ["--counterfactual", world.counterfactual, "--samples", "2"]
    beside = tmp_path / "along-the-kernel"
    do("sweep", *world.linked, "--out", beside, *SWEEP, "--directions", "kernel", "--units", "0")
    given += ["--beside", beside, "--examples", "3"]
    do("atlas", world.folder, "--out", tmp_path / "atlas", *given)
    swept = artifacts.Artifact(Path(world.sweep), "sweep")
    stored, units, samples, flag = (swept.read(name) for name in ("picture", "picture_unit", "picture_sample", "flag"))
    anchors = pictures.chosen_samples(swept.read("label").tolist(), 2).tolist()
    assert anchors == samples.tolist()
    for row, unit in enumerate(units):
        assert np.abs(drawn[f"strips/{unit}"] - stored[row]).max() <= 1
        assert pictures.read_sheet(tmp_path / "atlas" / "data", f"strips/{unit}").size == (16 * 3, 16 * 2)
    other = artifacts.Artifact(beside, "sweep")
    assert np.abs(drawn["beside/strips/0"] - other.read("picture")[0]).max() <= 1

    found = examples.highest(Results({"sweep": Path(world.sweep), "pairs": Path(world.pairs)}), 3)
    generator, pairs = linkjax.load(world.generator), artifacts.Artifact(Path(world.pairs), "pairs")
    w = pairs.read("w")[found.rows[5]]
    expected = np.asarray(linkjax.to_uint8(generator.synthesis(w)), int)
    assert np.abs(drawn[examples.name(5)][0] - expected).max() <= 1
    strips = {name for name in drawn if name.startswith("strips")}
    assert strips == {f"strips/{unit}" for unit in np.flatnonzero(flag == 0)}

    found = Source("counterfactual", world.counterfactual, ("counterfactual",))
    searches = flips.Flips(found, Context([found]))
    generator, link = linkjax.load(world.generator), linkjax.load(world.link)
    films = [(pair, film) for pair, film in enumerate(searches.films()) if film is not None]
    assert films and {name for name in drawn if "films" in name} == {f"films/{pair}" for pair, _ in films}
    pair, film = films[0]
    assert searches.reached[film.row] and searches.pair[film.row] == pair
    start, shift = found.array("start", "item", "unit")[film.row], found.array("shift", "sample", "shift")[film.row]
    r = np.maximum(start - searches.t[film.points][:, None] * shift, 0).astype(np.float32)
    expected = np.asarray(linkjax.to_uint8(generator.synthesis(link(r))), int)
    assert np.abs(drawn[f"films/{pair}"][0] - expected).max() <= 1
