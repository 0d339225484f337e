import json

import numpy as np
import pytest

import linkjax
from linkjax.analysis.spaces import depth
from linkjax.cli import main
from linkjax.stages.depth import layers, stage
from linkjax.storage import artifacts, checkpoint, manifest
from tests import graphs
from tests.stages.conftest import DEPTH, assert_same_bits, do


def test_every_layer_is_told_by_name_and_the_last_is_the_classifiers_own(world, reached):
    found = linkjax.open(reached)
    assert found["layer"].values.tolist() == ["layer1", "layer3", "r"]
    assert found["units"].values.tolist() == [4, 8, 16]
    assert found.sizes["layer_unit"] == 28 and found["own"].shape == (28,)
    for name in depth.MEASURES:
        value, low, high = (found[name + after].values for after in ("", "_low", "_high"))
        assert (low <= value + 1e-9).all() and (value <= high + 1e-9).all(), name
    assert ((found["effective_rank"] > 1) & (found["effective_rank"] <= found["units"])).all()
    table = (reached / "layers.csv").read_text().splitlines()
    assert table[0].startswith('"layer","units","r2"') and len(table) == 4
    assert not (reached / artifacts.WORK).exists()
    stages = ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")
    assert layers.layers_of(linkjax.load(world.classifier)) == stages  # as they follow each other, not by name


def test_what_is_told_of_r_is_what_the_stored_pairs_tell(world, reached):
    """Streamed from images drawn again, block by block, or from r as `pairs` stored it."""
    pairs = artifacts.Artifact(world.pairs, "pairs")
    r, w, split, label = (pairs.read(name) for name in ("r", "w", "split", "label"))
    of = {name: split == name for name in ("train", "val", "test")}
    known = linkjax.fit_link(r[of["train"]], w[of["train"]], "ridge", alpha=float(linkjax.open(reached)["alpha"][-1]))
    rows = np.concatenate([np.flatnonzero(of["test"] & (label == each))[:4] for each in np.unique(label)])
    error = ((w[rows] - np.asarray(known(r[rows]))) ** 2).sum()
    expected = 1 - error / ((w[rows] - w[rows].mean(axis=0)) ** 2).sum()
    assert float(linkjax.open(reached)["r2"][-1]) == pytest.approx(expected, abs=1e-4)


def test_devices_batches_and_a_kill_change_no_bit(world, reached, tmp_path, on_devices, killed_after, monkeypatch):
    monkeypatch.setattr(stage, "_SAVE_SECONDS", -1.0)
    monkeypatch.setattr(stage, "_ROWS", 1024)
    command = ["depth", *world.models, "--pairs", world.pairs, *DEPTH, "--out", str(tmp_path / "again")]
    on_devices(1)
    killed_after(6)  # 120 images to fit on are 5 batches of 24, 40 of validation follow
    assert main([*command, "--batch-size", "24"]) == 1
    kept = manifest.partial(tmp_path / "again") / artifacts.WORK / "train.npz"
    assert kept.exists() and not (tmp_path / "again").exists()
    monkeypatch.undo()
    on_devices(1)
    do(*command, "--batch-size", "12")
    assert_same_bits(tmp_path / "again", reached, "depth")


def test_an_imported_classifier_tells_of_its_outermost_modules_and_the_page_shows_them(world, tmp_path):
    checkpoint.save_model(tmp_path / "imported", graphs.classifier(side=16), source={})
    models = ["--generator", world.generator, "--classifier", tmp_path / "imported"]
    names = layers.layers_of(linkjax.load(tmp_path / "imported"))
    do("depth", *models, "--pairs", world.pairs, *DEPTH[-6:], "--out", tmp_path / "depth")
    found = linkjax.open(tmp_path / "depth")
    assert tuple(found["layer"].values) == (*names, "r") and names
    do("report", "--depth", tmp_path / "depth", "--out", tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "How deep the link reaches" in page and "predicted fidelity" in page


def test_what_cannot_be_measured_is_refused_in_a_sentence(world, tmp_path, capsys):
    fewer = json.loads((world.folder / "pairs" / "manifest.json").read_text())
    fewer["summary"]["splits"].pop("val")
    (tmp_path / "pairs").mkdir()
    (tmp_path / "pairs" / "manifest.json").write_text(json.dumps(fewer))
    for flags, said in (
        (["--layers", "layer9"], "layers: expected some of"),
        (["--layers", "layer1", "layer1"], "layers: expected each once"),
        (["--layers", "r"], "which is always there"),
        (["--moments-gib", "1e-9"], "more than --moments-gib"),
        (["--samples", "3"], "samples: expected 4 or more"),
        (["--alphas", "-1"], "alphas: expected one or more"),
        (["--pairs", tmp_path / "pairs"], "has no val split"),
        (["--pairs", world.link], "expected pairs, found link"),
    ):
        command = ["depth", *world.models, "--pairs", world.pairs, "--out", tmp_path / "out", *flags]
        assert main([str(word) for word in command]) == 2, flags
        error = capsys.readouterr().err.strip()
        assert said in error and error.startswith("linkjax: ") and error.count("\n") == 0, error
    assert not (tmp_path / "out").exists()
