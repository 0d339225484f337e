"""All classes of a large classifier at once: one link, one anchor of each, every class in the results."""

import shutil

import numpy as np
import pytest

from linkjax.storage import artifacts, checkpoint
from tests import worlds
from tests.stages.conftest import do

CLASSES = 1000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two samples of every class, a link from them, and two units swept in all classes."""
    made = tmp_path_factory.mktemp("thousand")
    checkpoint.save_model(made / "generator", worlds.generator(CLASSES), source={"file": "random weights"})
    checkpoint.save_model(made / "classifier", worlds.classifier(CLASSES), source={"file": "random weights"})
    models = ["--generator", made / "generator", "--classifier", made / "classifier"]
    counts = ["--n-train", "1", "--n-val", "0", "--n-test", "1", "--keep", "all", "--truncation", "1"]
    do("pairs", *models, "--out", made / "pairs", *counts, "--batch-size", "500")
    do("link", "--pairs", made / "pairs", "--out", made / "link", "--method", "ridge")
    inputs = [*models, "--pairs", made / "pairs", "--link", made / "link"]
    # One sample of each class: no way to steer by.
    few = ["--directions", "kernel", "--range", "link", "--units", "0", "1", "--samples", "1", "--steps", "3"]
    few += ["--random-directions", "0", "--picture-units", "0"]
    do("sweep", *inputs, *few, "--out", made / "sweep", "--batch-size", "500")
    do("select", "--sweep", made / "sweep", "--out", made / "selection", "--draws", "200", "--flips", "500")
    return made


def test_every_class_is_drawn_linked_swept_and_selected_in(folder):
    pairs, swept, selected = (
        artifacts.Artifact(folder / name, kind)
        for name, kind in (("pairs", "pairs"), ("sweep", "sweep"), ("selection", "selection"))
    )
    assert pairs.summary["splits"]["train"] == [0, CLASSES]
    for made in (pairs, swept):
        labels = made.read("label")
        np.testing.assert_array_equal(np.unique(labels), np.arange(CLASSES))
    found = selected.open()
    assert found["class_effect"].shape[:2] == (2, CLASSES)
    live = selected.read("flag") == 0
    assert live.any() and np.isfinite(selected.read("class_effect")[live, :, 0, 0]).all()
    low, high = (selected.read(name)[live, 0, 0] for name in ("low", "high"))
    assert (low < high).all()
    assert found["ablation_logit"].shape[2] == CLASSES


def test_the_page_shows_the_classes_that_fit(folder, tmp_path):
    results = ["--pairs", folder / "pairs", "--link", folder / "link", "--sweep", folder / "sweep"]
    do("report", *results, "--selection", folder / "selection", "--out", tmp_path / "page")
    page = (tmp_path / "page" / "index.html").read_text()
    assert f"the 24 of {CLASSES} classes with the largest changes" in page
    shutil.rmtree(tmp_path / "page")
