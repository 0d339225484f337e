import numpy as np
import pytest

import linkjax
from linkjax.cli import main
from linkjax.storage import artifacts, checkpoint
from tests import worlds
from tests.stages.conftest import EVALUATE, assert_same_bits, chunks_done, do


def test_the_table_is_what_a_plain_computation_gives(world):
    made = artifacts.Artifact(world.evaluation, "evaluation")
    rows = {row["name"]: row for row in made.summary["rows"]}
    pairs = artifacts.Artifact(world.pairs, "pairs")
    train, test = (slice(*pairs.summary["splits"][split]) for split in ("train", "test"))
    r, w, label = (pairs.read(name, test) for name in ("r", "w", "label"))
    generator, classifier = linkjax.load(world.generator), linkjax.load(world.classifier)
    predicted = linkjax.load(world.link)(r)
    spread = ((w - w.mean(axis=0)) ** 2).sum()
    assert rows["link"]["r2"] == pytest.approx(1 - float(((w - predicted) ** 2).sum() / spread), abs=1e-5)
    again = classifier(classifier.preprocess(generator.synthesis(predicted)))
    top1 = np.mean(np.argmax(again.logits, axis=1) == np.argmax(classifier.head(r), axis=1))
    assert rows["link"]["top1"] == pytest.approx(top1)
    both = [(r[:, u], np.asarray(again.penultimate)[:, u]) for u in range(16)]
    correlation = [np.corrcoef(*pair)[0, 1] for pair in both if min(np.ptp(pair[0]), np.ptp(pair[1])) > 0]
    assert made.summary["median_unit_correlation"] == pytest.approx(float(np.median(correlation)), abs=1e-3)
    of_class = np.stack([pairs.read("w", train)[pairs.read("label", train) == c].mean(0) for c in range(5)])
    expected = 1 - float(((w - of_class[label]) ** 2).sum() / spread)
    assert rows["class mean"]["r2"] == pytest.approx(expected, abs=1e-5)


def test_the_link_beats_its_baselines_and_shuffled_pairs_explain_nothing(world):
    rows = {row["name"]: row for row in artifacts.Artifact(world.evaluation, "evaluation").summary["rows"]}
    assert rows["link"]["unit_correlation"] > rows["class mean"]["unit_correlation"]
    assert rows["link"]["r2"] > rows["shuffled"]["r2"]
    assert rows["shuffled"]["r2"] < 0.1


def test_a_kill_and_eight_devices_instead_of_two_change_nothing(world, tmp_path, killed_after, on_devices):
    flags = ["evaluate", *world.linked, "--out", str(tmp_path / "evaluation"), *EVALUATE]
    on_devices(2)
    killed_after(9)
    assert main([*flags, "--batch-size", "9"]) == 1
    assert chunks_done(tmp_path / "evaluation")
    killed_after(10**6)
    on_devices(8)
    do(*flags, "--batch-size", "9")
    whole, resumed = (artifacts.Artifact(path, "evaluation") for path in (world.evaluation, tmp_path / "evaluation"))
    assert_same_bits(tmp_path / "evaluation", world.evaluation, "evaluation")
    for one, other in zip(whole.summary["rows"], resumed.summary["rows"], strict=True):
        assert one["r2"] == pytest.approx(other["r2"], abs=1e-5)


def test_pictures_are_the_images_of_w_and_of_its_link(world):
    made = artifacts.Artifact(world.evaluation, "evaluation")
    data = made.open()
    assert data["image_original"].dims == ("picture", "y", "x", "rgb")
    assert data["image_original"].shape == data["image_linked"].shape == (4, 16, 16, 3)
    assert data["image_linked"].dtype == np.uint8 and made.read("image_linked").std() > 5


def test_inputs_made_with_other_weights_are_refused(world, tmp_path, capsys):
    checkpoint.save_model(tmp_path / "other", worlds.classifier(seed=9), source={})
    flags = ["--generator", world.generator, "--classifier", str(tmp_path / "other"), "--pairs", world.pairs]
    out = str(tmp_path / "evaluation")
    assert main(["evaluate", *flags, "--link", world.link, "--out", out]) == 2
    assert "was made with another classifier" in capsys.readouterr().err
    do("pairs", *flags[:4], "--out", tmp_path / "pairs", "--keep", "all", "--n-train", "9", "--n-val", "0",
       "--n-test", "2")  # fmt: skip
    flags[-1] = str(tmp_path / "pairs")
    assert main(["evaluate", *flags, "--link", world.link, "--out", out]) == 2
    assert "the link" in capsys.readouterr().err
    assert not (tmp_path / "evaluation").exists()
