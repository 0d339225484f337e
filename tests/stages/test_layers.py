"""A step may enter some rows of W+ alone."""

import numpy as np
import pytest

import linkjax
from linkjax.cli import main
from linkjax.demo import bundle
from linkjax.errors import InputError
from linkjax.stages import layers
from tests import tolerances, worlds


def test_rows_are_named_by_number_or_by_the_rate_at_which_their_layers_work():
    spec = linkjax.load(bundle.EMBEDDED / "generator").spec
    assert layers.band_rows(spec) == {"coarse": [0, 1, 2], "middle": [3, 4], "fine": [5, 6]}
    assert np.flatnonzero(layers.mask("coarse,6", spec)).tolist() == [0, 1, 2, 6]
    assert np.flatnonzero(layers.mask("1-2,4", spec)).tolist() == [1, 2, 4]
    for words, said in (
        ("5-4", "found '5-4'"),
        ("0-7", "rows from 0 to 6"),
        ("rough", "found 'rough'"),
        ("", "found ''"),
    ):
        with pytest.raises(InputError, match=said):
            layers.mask(words, spec)
    with pytest.raises(InputError, match="no fine ones, by sampling rate; it has coarse 0-5"):
        layers.mask("fine", worlds.generator().spec)


def test_a_sweep_of_some_layers_draws_the_anchor_with_these_rows_moved(world, tmp_path, capsys):
    generator, classifier, link = (linkjax.load(path) for path in (world.generator, world.classifier, world.link))
    study, stored = linkjax.Study(generator, classifier, link), linkjax.open(world.sweep)
    anchors = linkjax.anchors(linkjax.open(world.pairs), each=1)
    unit = int(np.flatnonzero(stored["flag"].values == 0)[0])
    some = {"units": [unit], "steps": 3, "random_directions": 0, "picture_units": 0}
    found = linkjax.sweep(study, anchors, layers="0-2", **some)
    step = (found["value"].values[:, 0, 2] - anchors["r"].values[:, unit])[:, None] * np.asarray(link.steer)[unit]
    w_plus = np.repeat(anchors["w"].values[:, None], generator.spec.num_ws, axis=1)
    w_plus[:, :3] += step[:, None]
    again = np.asarray(classifier(classifier.preprocess(generator.synthesis(w_plus))).penultimate)[:, unit]
    largest = np.abs(found["obtained"].values).max()
    assert np.abs(found["obtained"].values[:, 0, 2] - again).max() < tolerances.STAGE_R * largest
    assert np.abs(found["obtained"].values - stored["obtained"].sel(unit=[unit]).values).max() > 1e-3 * largest
    whole = linkjax.sweep(study, anchors, layers="0-5", **some)["obtained"].values
    assert np.abs(whole - stored["obtained"].sel(unit=[unit]).values).max() < tolerances.STAGE_R * largest
    capsys.readouterr()
    for flags, said in ((["--layers", "0-9"], "rows from 0 to 5"), (["--layers", "0", "--screening", "x"], "all rows")):
        assert main(["sweep", *world.linked, *flags, "--out", str(tmp_path / "no")]) == 2
        told = capsys.readouterr().err
        assert said in told and told.count("\n") == 1
