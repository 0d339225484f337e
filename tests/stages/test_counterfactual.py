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


MINIMAL = ["--samples", "1", "--methods", "closed_form", "head_whitened", "--rounds", "6", "--pictures", "2"]


def test_methods_search_the_same_samples_and_report_what_they_took(world, tmp_path):
    do("counterfactual", *world.linked, *MINIMAL, "--out", tmp_path / "out")
    found, made = arrays(tmp_path / "out")
    assert list(artifacts.names(made.open(), "method")) == ["closed_form", "head_whitened"]
    np.testing.assert_array_equal(found["method_of"], np.repeat([0, 1], 20))
    for name in ("target", "label", "sample_id"):
        np.testing.assert_array_equal(found[name][:20], found[name][20:])
    generator, classifier, link = (linkjax.load(path) for path in (world.generator, world.classifier, world.link))
    changed = np.maximum(np.tile(found["start"], (2, 1)) - found["shift"], 0)
    there = found["outcome"] == Outcome.REACHED
    assert there[20:].any()
    seen = classifier(classifier.preprocess(generator.synthesis(link(changed)))).logits
    np.testing.assert_array_equal(np.argmax(seen, axis=1)[there], found["target"][there])
    np.testing.assert_array_equal(found["head_prediction"][there], np.argmax(classifier.head(changed), axis=1)[there])
    assert [row["method"] for row in made.summary["methods"]] == ["closed_form", "head_whitened"]
    assert found["image_end"].shape[0] == 4 and (found["picture_row"][2:] - 20 == found["picture_row"][:2]).all()
    lengths = np.linalg.norm(changed - np.tile(found["start"], (2, 1)), axis=1)
    np.testing.assert_allclose(found["distance_r"], lengths, rtol=1e-4, atol=1e-5)


def test_least_changes_do_not_depend_on_devices_batches_or_a_kill(world, tmp_path, killed_after, request):
    flags = ["counterfactual", *world.linked, *MINIMAL, "--origins", "0", "1"]
    do(*flags, "--out", tmp_path / "whole")
    request.getfixturevalue("one_device")
    again = [*flags, "--out", str(tmp_path / "resumed"), "--batch-size", "5"]
    killed_after(2)
    assert main(again) == 1
    killed_after(10**6)
    do(*again)
    whole, resumed = arrays(tmp_path / "whole")[0], arrays(tmp_path / "resumed")[0]
    np.testing.assert_array_equal(whole["outcome"], resumed["outcome"])
    there = whole["outcome"] == Outcome.REACHED
    gap = np.abs(whole["shift"] - resumed["shift"])[there].max()
    assert gap < tolerances.STAGE_MINIMAL * np.abs(whole["shift"]).max()


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
    ("flags", "said"),
    [
        (["--targets", "9"], "from 0 to 4"),
        (["--origins", "9"], "classes of the pairs"),
        (["--methods", "head_l1", "head_l1"], "each once"),
        (["--shrinkage", "2"], "at most 1"),
    ],
)
def test_unknown_classes_are_one_sentence(world, tmp_path, capsys, flags, said):
    assert main(["counterfactual", *world.linked, "--out", str(tmp_path / "x"), *flags]) == 2
    assert said in capsys.readouterr().err
