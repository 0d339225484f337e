from pathlib import Path

import numpy as np

import linkjax
from linkjax import artifacts
from linkjax.atlas import flips, pictures
from linkjax.report.source import Context, Source
from tests.stages.conftest import do


def test_the_pictures_are_those_of_the_sweep_and_of_the_searches(world, selection, tmp_path, monkeypatch):
    drawn, store = {}, pictures.store

    def watched(folder, name, key, images, tile, quality):
        drawn[name] = images.astype(int)
        store(folder, name, key, images, tile, quality)

    monkeypatch.setattr(pictures, "store", watched)
    given = ["--sweep", world.sweep, "--selection", selection, "--pairs", world.pairs, "--tile", "16"]
    given += ["--counterfactual", world.counterfactual, "--samples", "2"]
    do("atlas", world.folder, "--out", tmp_path / "atlas", *given)
    swept = artifacts.Artifact(Path(world.sweep), "sweep")
    data = swept.open()
    stored, units, samples, flag = (
        swept.read(data, name) for name in ("picture", "picture_unit", "picture_sample", "flag")
    )
    anchors = pictures.chosen_samples(swept.read(data, "label").tolist(), 2).tolist()
    assert anchors == samples.tolist()
    for row, unit in enumerate(units):
        assert np.abs(drawn[pictures.strip(unit)] - stored[row]).max() <= 1
        assert pictures.read_sheet(tmp_path / "atlas" / "data", pictures.strip(unit)).size == (16 * 3, 16 * 2)
    strips = {name for name in drawn if name.startswith("strips")}
    assert strips == {pictures.strip(unit) for unit in np.flatnonzero(flag == 0)}

    found = Source("counterfactual", world.counterfactual, ("counterfactual",))
    searches = flips.Flips(found, Context([found]))
    generator, link = linkjax.load(world.generator), linkjax.load(world.link)
    films = [(pair, film) for pair, film in enumerate(searches.films()) if film is not None]
    assert films and set(drawn) - strips == {f"films/{pair}" for pair, _ in films}
    pair, film = films[0]
    assert searches.reached[film.row] and searches.pair[film.row] == pair
    start, shift = found.array("start", "item", "unit")[film.row], found.array("shift", "sample", "shift")[film.row]
    r = np.maximum(start - searches.t[film.points][:, None] * shift, 0).astype(np.float32)
    expected = np.asarray(linkjax.to_uint8(generator.synthesis(link(r))), int)
    assert np.abs(drawn[f"films/{pair}"][0] - expected).max() <= 1
