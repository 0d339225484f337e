import numpy as np
import pytest

import linkjax
from linkjax import artifacts
from linkjax.analysis.counterfactual import Outcome
from linkjax.cli import main
from tests import tolerances
from tests.stages.conftest import COUNTERFACTUAL, do


def arrays(path):
    made = artifacts.Artifact(path, "counterfactual")
    data = made.open()
    return {name: made.read(data, name) for name in data.variables}, made


def test_a_reached_image_is_the_target_and_comes_from_the_stored_shift(world):
    found, made = arrays(world.counterfactual)
    generator, classifier, link = (linkjax.load(path) for path in (world.generator, world.classifier, world.link))
    assert len(found["target"]) == 5 * 4 and (found["target"] != found["label"]).all()
    pairs = artifacts.Artifact(world.pairs, "pairs")
    data = pairs.open()
    ids, labels = (pairs.read(data, name) for name in ("sample_id", "label"))
    rows = [
        np.flatnonzero((ids == i) & (labels == c))[0] for i, c in zip(found["sample_id"], found["label"], strict=True)
    ]
    r = pairs.read(data, "r")[rows]
    w = link(np.maximum(r - found["shift"], 0))
    assert np.abs(w - found["w"]).max() < tolerances.STAGE_W * 10
    prediction = np.argmax(classifier(classifier.preprocess(generator.synthesis(found["w"]))).logits, axis=1)
    there = np.isin(found["outcome"], [Outcome.REACHED, Outcome.ALREADY])
    assert there.any()
    np.testing.assert_array_equal(prediction[there], found["target"][there])
    assert sum(made.summary["outcomes"].values()) == 20
    assert (found["steps"][found["outcome"] == Outcome.MAX_STEPS] == 20).all()


def test_a_kill_one_device_and_batch_size_change_nothing(world, tmp_path, killed_after, one_device):
    flags = ["counterfactual", *world.linked, "--out", str(tmp_path / "out"), *COUNTERFACTUAL, "--batch-size", "6"]
    killed_after(2)
    assert main(flags) == 1
    killed_after(10**6)
    do(*flags)
    whole, resumed = arrays(world.counterfactual)[0], arrays(tmp_path / "out")[0]
    for name in ("outcome", "steps", "target", "sample_id"):
        np.testing.assert_array_equal(whole[name], resumed[name])
    assert np.abs(whole["shift"] - resumed["shift"]).max() < tolerances.STAGE_R * np.abs(whole["shift"]).max()


def test_the_original_start_is_a_search_of_its_own_name(world, tmp_path):
    flags = [*world.linked, *COUNTERFACTUAL, "--start", "uniform", "--origins", "2", "--max-steps", "5"]
    do("counterfactual", *flags, "--out", tmp_path / "both", "--targets", "0", "1")
    do("counterfactual", *flags, "--out", tmp_path / "one", "--targets", "1")
    both, one = arrays(tmp_path / "both")[0], arrays(tmp_path / "one")[0]
    np.testing.assert_allclose(both["shift"][both["target"] == 1], one["shift"], atol=1e-4)
    assert (one["distance_r"] > 0.5).all()


def test_a_classifier_without_a_head_is_refused(world, tmp_path, capsys):
    from linkjax import checkpoint
    from tests import worlds

    checkpoint.save_model(tmp_path / "headless", worlds.classifier(num_classes=0), source={})
    flags = ["--generator", world.generator, "--classifier", str(tmp_path / "headless"), "--pairs", world.pairs]
    assert main(["counterfactual", *flags, "--link", world.link, "--out", str(tmp_path / "x")]) == 2
    assert "no class head" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"), [(["--targets", "9"], "from 0 to 4"), (["--origins", "9"], "classes of the pairs")]
)
def test_unknown_classes_are_one_sentence(world, tmp_path, capsys, flags, said):
    assert main(["counterfactual", *world.linked, "--out", str(tmp_path / "x"), *flags]) == 2
    assert said in capsys.readouterr().err
