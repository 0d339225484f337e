"""An imported classifier in the stages."""

import numpy as np
import pytest

from linkjax.storage import artifacts, checkpoint
from tests import graphs, tolerances, worlds
from tests.stages.conftest import PAIRS, SELECT, SWEEP, do


@pytest.fixture
def models(tmp_path):
    """Flags that name a generator and a classifier with a graph."""
    checkpoint.save_model(tmp_path / "generator", worlds.generator(), source={})
    checkpoint.save_model(tmp_path / "classifier", graphs.classifier(side=16), source={})
    return ["--generator", tmp_path / "generator", "--classifier", tmp_path / "classifier"]


def arrays(path, kind, *names):
    made = artifacts.Artifact(path, kind)
    return [made.read(name) for name in names]


def test_an_imported_classifier_goes_through_the_stages(models, tmp_path, on_devices):
    pairs = [*models, *PAIRS, "--keep", "all", "--classes", "0", "1"]
    for devices in (1, 2):
        on_devices(devices)
        do("pairs", *pairs, "--out", tmp_path / f"pairs{devices}")
    one, two = (arrays(tmp_path / f"pairs{devices}", "pairs", "w", "r") for devices in (1, 2))
    assert one[1].shape[1] == 8 and np.ptp(one[1], axis=0).max() > 0
    np.testing.assert_array_equal(one[0], two[0])
    assert np.abs(one[1] - two[1]).max() <= tolerances.STAGE_R * np.abs(one[1]).max()
    linked = [*models, "--pairs", tmp_path / "pairs2", "--link", tmp_path / "link"]
    do("link", "--pairs", tmp_path / "pairs2", "--out", tmp_path / "link", "--method", "ridge", "--alphas", "1")
    do("sweep", *linked, *SWEEP, "--out", tmp_path / "sweep")
    do("select", "--sweep", tmp_path / "sweep", *SELECT, "--out", tmp_path / "selection")
    (obtained,) = arrays(tmp_path / "sweep", "sweep", "obtained")
    assert obtained.shape[1] == 8 and np.nanmax(np.abs(obtained)) > 0
