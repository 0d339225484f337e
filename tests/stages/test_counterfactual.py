import jax
import numpy as np
import pytest

import linkjax
from linkjax.analysis.counterfactuals.counterfactual import Outcome
from linkjax.cli import main
from linkjax.storage import artifacts
from tests import tolerances
from tests.stages.conftest import COUNTERFACTUAL, assert_same_bits, chunks_done, do

WALKED = ("path_target", "path_log_odds", "flip", "place_r", "seen_w", "metric_end")  # a few of each kind


def arrays(path):
    made = artifacts.Artifact(path, "counterfactual")
    data = made.open()
    return {name: made.read(name) for name in data.variables}, made


def test_a_reached_image_is_the_target_and_comes_from_the_stored_shift(world):
    found, made = arrays(world.counterfactual)
    generator, classifier, link = (linkjax.load(path) for path in (world.generator, world.classifier, world.link))
    assert len(found["target"]) == 5 * 4 and (found["target"] != found["label"]).all()
    pairs = artifacts.Artifact(world.pairs, "pairs")
    ids, labels = (pairs.read(name) for name in ("sample_id", "label"))
    rows = [
        np.flatnonzero((ids == i) & (labels == c))[0] for i, c in zip(found["sample_id"], found["label"], strict=True)
    ]
    r = pairs.read("r")[rows]
    w = link(np.maximum(r - found["shift"], 0))
    assert np.abs(w - found["w"]).max() < tolerances.STAGE_W * 10
    prediction = np.argmax(classifier(classifier.preprocess(generator.synthesis(found["w"]))).logits, axis=1)
    there = np.isin(found["outcome"], [Outcome.REACHED, Outcome.ALREADY])
    assert there.any()
    np.testing.assert_array_equal(prediction[there], found["target"][there])
    assert sum(made.summary["outcomes"].values()) == 20
    assert (found["steps"][found["outcome"] == Outcome.MAX_STEPS] == 20).all()


def test_a_kill_fewer_devices_and_batch_size_change_nothing(world, tmp_path, killed_after, on_devices):
    flags = ["counterfactual", *world.linked, "--out", str(tmp_path / "out"), *COUNTERFACTUAL, "--batch-size", "6"]
    for devices, batches, done in ((2, 2, 2), (1, 8, 4)):  # among the searches, then among the paths
        on_devices(devices)
        killed_after(batches)
        assert main(flags) == 1
        assert len(chunks_done(tmp_path / "out")) >= done
    killed_after(10**6)
    on_devices(2)
    do(*flags)
    assert_same_bits(tmp_path / "out", world.counterfactual, "counterfactual")


def test_a_path_leads_from_the_sample_to_the_stored_counterfactual(world):
    found, made = arrays(world.counterfactual)
    generator, classifier, link = (linkjax.load(path) for path in (world.generator, world.classifier, world.link))
    t = found["path_t"]
    assert t[0] == 0 and t[8] == 1 and len(t) == 13
    for point in (0, 4, 8):
        r = np.maximum(found["start"] - t[point] * found["shift"], 0)
        logits = classifier(classifier.preprocess(generator.synthesis(link(r)))).logits
        p = np.asarray(jax.nn.softmax(logits))
        for name, label in (("path_target", "target"), ("path_origin", "label")):
            np.testing.assert_allclose(found[name][:, point], p[np.arange(20), found[label]], atol=2e-3)
    reached = found["outcome"] == Outcome.REACHED
    np.testing.assert_array_equal(found["path_prediction"][reached, 8], found["target"][reached])
    assert (found["flip"][reached] > 0).all() and (found["flip"][reached] <= 1).all()
    change = np.maximum(found["start"] - found["shift"], 0) - found["start"]
    largest = np.abs(change).max(axis=1)
    np.testing.assert_allclose(np.abs(found["top_change"][:, 0]), largest, rtol=1e-5)
    pairs = list(zip(found["pair_origin"], found["pair_target"], strict=True))
    mine = (found["label"] == pairs[0][0]) & (found["target"] == pairs[0][1]) & reached
    named = found["top_unit"][mine]
    counts = np.bincount(named[named >= 0], minlength=16)
    np.testing.assert_array_equal(found["transition_count"][0, 0], counts)
    assert len(pairs) == 20 and found["pair_flipped"].sum() == reached.sum()
    assert artifacts.names(made.open(), "part") == ["image"] and made.summary["paths"][0]["valid_again"] == 1


def test_parts_are_measured_at_both_ends_of_a_path(world, tmp_path):
    from linkjax.storage import checkpoint
    from tests import worlds

    head = worlds.segmenter(linkjax.load(world.generator), ("ear", "tail"))
    checkpoint.save_model(tmp_path / "segmenter", head, source={"weights": {}})
    flags = [*world.linked, "--samples", "1", "--methods", "closed_form", "--origins", "0", "1", "--pictures", "0"]
    flags += ["--path-points", "2", "--path-beyond", "0", "--rounds", "4", "--segmenter", str(tmp_path / "segmenter")]
    do("counterfactual", *flags, "--out", tmp_path / "out")
    found, made = arrays(tmp_path / "out")
    names, metrics = (list(artifacts.names(made.open(), name)) for name in ("part", "metric"))
    assert names == ["image", "ear", "tail"] and "segmenter" in made.manifest["weights"]
    share = found["metric_end"][:, 1:, metrics.index("area_share")]
    np.testing.assert_allclose(share.sum(axis=1), 1, atol=1e-5)  # two parts fill the image
    area = (found[f"metric_{name}"][..., metrics.index("area")] for name in ("start", "end", "change"))
    start, end, change = area
    np.testing.assert_allclose(change[:, 1:], np.log((end + 0.5) / (start + 0.5))[:, 1:], atol=1e-5)


MINIMAL = ["--samples", "1", "--methods", "closed_form", "head_whitened", "--rounds", "6", "--pictures", "2",
           "--path-points", "0"]  # fmt: skip


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


def test_least_changes_do_not_depend_on_devices_batches_or_a_kill(world, tmp_path, killed_after, on_devices):
    flags = ["counterfactual", *world.linked, *MINIMAL, "--origins", "0", "1"]
    do(*flags, "--out", tmp_path / "whole")
    on_devices(2)
    again = [*flags, "--out", str(tmp_path / "resumed"), "--batch-size", "5"]
    killed_after(2)
    assert main(again) == 1
    assert chunks_done(tmp_path / "resumed")
    on_devices(1)
    killed_after(10**6)
    do(*again)
    assert_same_bits(tmp_path / "resumed", tmp_path / "whole", "counterfactual")


def test_the_original_start_is_a_search_of_its_own_name(world, tmp_path):
    flags = [*world.linked, *COUNTERFACTUAL, "--start", "uniform", "--origins", "2", "--max-steps", "5",
             "--path-points", "0"]  # fmt: skip
    do("counterfactual", *flags, "--out", tmp_path / "both", "--targets", "0", "1")
    do("counterfactual", *flags, "--out", tmp_path / "one", "--targets", "1")
    both, one = arrays(tmp_path / "both")[0], arrays(tmp_path / "one")[0]
    np.testing.assert_allclose(both["shift"][both["target"] == 1], one["shift"], atol=1e-4)
    assert (one["distance_r"] > 0.5).all()


def test_a_classifier_without_a_head_is_refused(world, tmp_path, capsys):
    from linkjax.storage import checkpoint
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
        (["--path-points", "1"], "no path of 1 point"),
        (["--fdr", "1"], "between 0 and 1"),
        (["--path-points", "0", "--segmenter", "nowhere"], "raise --path-points"),
    ],
)
def test_unknown_classes_are_one_sentence(world, tmp_path, capsys, flags, said):
    assert main(["counterfactual", *world.linked, "--out", str(tmp_path / "x"), *flags]) == 2
    assert said in capsys.readouterr().err
