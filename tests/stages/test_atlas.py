from pathlib import Path

import numpy as np

from linkjax import artifacts
from linkjax.atlas import pictures
from tests.stages.conftest import do


def test_the_pictures_are_those_of_the_sweep(world, selection, tmp_path):
    given = ["--sweep", world.sweep, "--selection", selection, "--pairs", world.pairs, "--tile", "16"]
    do("atlas", world.folder, "--out", tmp_path / "atlas", *given, "--quality", "100", "--samples", "2")
    swept = artifacts.Artifact(Path(world.sweep), "sweep")
    data = swept.open()
    stored, units, samples, flag = (
        swept.read(data, name) for name in ("picture", "picture_unit", "picture_sample", "flag")
    )
    for row, unit in enumerate(units):
        sheet = np.asarray(pictures.read_strip(tmp_path / "atlas" / "data", int(unit)), np.float32)
        shown = pictures.chosen_samples(swept.read(data, "label").tolist(), 2).tolist()
        for column, sample in enumerate(samples.tolist()):
            anchor = shown.index(sample)
            for step in range(stored.shape[2]):
                tile = sheet[16 * anchor : 16 * anchor + 16, 16 * step : 16 * step + 16]
                assert np.abs(tile - stored[row, column, step]).mean() < 12  # compressed, with colours of 2 × 2 pixels
    drawn = {int(path.stem) for path in (tmp_path / "atlas" / "data" / "strips").iterdir()}
    assert drawn == set(np.flatnonzero(flag == 0).tolist())
