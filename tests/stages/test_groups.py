"""A link for each group of classes, and the stages after it, which stay with the classes of their link."""

import numpy as np
import pytest

import linkjax
from linkjax.cli import main
from linkjax.stages import inputs
from linkjax.storage import artifacts, manifest
from tests import tolerances
from tests.stages.conftest import CONGRUENCE, COUNTERFACTUAL, ENCODE, EVALUATE, SCREEN, SWEEP, do

RIDGE = ["--method", "ridge", "--alphas", "0.1", "1", "10"]
CLASSES = (1, 3)


@pytest.fixture(scope="module")
def links(world, tmp_path_factory):
    """A folder of three links: of classes 1 and 3, of 0 and 2, of 4."""
    out = tmp_path_factory.mktemp("groups") / "links"
    do("link", "--pairs", world.pairs, "--out", out, "--groups", "1,3", "0,2", "4", *RIDGE)
    return out


@pytest.fixture(scope="module")
def flags(world, links):
    return [*world.models, "--pairs", world.pairs, "--link", str(links / "group_0")]


def kernel(path):
    return np.asarray(linkjax.load(path).kernel[...])


def test_each_link_is_the_one_fitted_on_its_classes_alone(world, links, tmp_path):
    do("link", "--pairs", world.pairs, "--out", tmp_path / "link", "--classes", "1", "3", *RIDGE)
    assert np.array_equal(kernel(links / "group_0"), kernel(tmp_path / "link"))
    found = [manifest.read(links / f"group_{number}")["source"]["classes"] for number in range(3)]
    assert found == [[1, 3], [0, 2], [4]]


def test_groups_that_were_made_are_kept_and_the_missing_one_is_made(world, links, tmp_path, capsys):
    out = tmp_path / "links"
    command = ["link", "--pairs", world.pairs, "--out", str(out), "--groups", "each", "--alpha", "1"]
    do(*command)
    before = {label: (out / f"class_{label}" / "manifest.json").stat().st_mtime_ns for label in (0, 4)}
    (out / "class_4").rename(tmp_path / "kept")
    capsys.readouterr()
    do(*command, "--rows", "64")  # a setting that moves nothing
    said = capsys.readouterr().out
    assert said.count("made before") == 4 and "class_4 (5 of 5): 1 classes, 4" in said
    assert (out / "class_0" / "manifest.json").stat().st_mtime_ns == before[0]
    assert np.allclose(kernel(out / "class_4"), kernel(tmp_path / "kept"), atol=tolerances.STAGE_LINK)
    assert main([*command[:-1], "2", "--method", "ridge"]) == 2
    assert "class_0 is there already, with other method, alpha; give" in capsys.readouterr().err


def test_groups_beside_classes_or_in_the_folder_of_a_link_are_refused(world, tmp_path, capsys):
    command = ["link", "--pairs", world.pairs, "--groups", "0,1", "--out"]
    assert main([*command, str(tmp_path / "links"), "--classes", "0"]) == 2
    assert "groups, classes: expected one of them, found both" in capsys.readouterr().err
    assert main([*command, world.link]) == 2
    assert "exists already" in capsys.readouterr().err


def test_evaluation_is_on_the_test_samples_of_the_links_classes(world, flags, links, tmp_path, capsys):
    do("evaluate", *flags, "--out", tmp_path / "evaluation", *EVALUATE)
    assert "classes: 2 of the 5 that the pairs hold, those the link was fitted on" in capsys.readouterr().out
    made = artifacts.Artifact(tmp_path / "evaluation", "evaluation")
    assert made.summary["classes"] == [1, 3] and made.summary["class_names"] == ["class 1", "class 3"]
    rows = {row["name"]: row for row in made.summary["rows"]}
    assert rows["link"]["samples"] == made.summary["samples"] == 16
    pairs = artifacts.Artifact(world.pairs, "pairs")
    label = pairs.read("label")
    split = {name: np.arange(*pairs.summary["splits"][name]) for name in ("train", "test")}
    test, train = (rows[np.isin(label[rows], CLASSES)] for rows in (split["test"], split["train"]))
    w, predicted = pairs.read("w", test), np.asarray(linkjax.load(links / "group_0")(pairs.read("r", test)))
    spread = ((w - w.mean(axis=0)) ** 2).sum()
    assert rows["link"]["r2"] == pytest.approx(1 - float(((w - predicted) ** 2).sum() / spread), abs=1e-5)
    means = {c: pairs.read("w", train[label[train] == c]).mean(0) for c in CLASSES}
    of_class = np.stack([means[c] for c in label[test]])
    assert rows["class mean"]["r2"] == pytest.approx(1 - float(((w - of_class) ** 2).sum() / spread), abs=1e-5)


def test_the_page_names_the_classes_of_a_link(world, links, tmp_path):
    do("report", "--pairs", world.pairs, "--link", links / "group_0", "--out", tmp_path / "report")
    assert ">class 1, class 3<" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_all_classes_are_taken_where_asked(world, flags, tmp_path, capsys):
    do("evaluate", *flags, "--classes", "all", "--out", tmp_path / "all", *EVALUATE)
    assert artifacts.Artifact(tmp_path / "all", "evaluation").summary["samples"] == 40
    assert main(["evaluate", *flags, "--classes", "1", "9", "--out", str(tmp_path / "wrong")]) == 2
    assert "classes: expected some of [0, 1, 2, 3, 4]" in capsys.readouterr().err


def test_sweep_and_screening_take_anchors_of_the_links_classes(world, flags, segmenter, tmp_path):
    segmented = [*flags, "--segmenter", segmenter]
    do("sweep", *segmented, "--out", tmp_path / "sweep", *SWEEP)
    do("screen", *segmented, "--out", tmp_path / "screening", *SCREEN)
    do("sweep", *segmented, "--classes", "4", "--out", tmp_path / "other", *SWEEP)
    for name, expected in (("sweep", [1, 3]), ("other", [4]), ("screening", [1, 3])):
        made = artifacts.Artifact(tmp_path / name, name.replace("other", "sweep"))
        assert np.unique(made.read("label")).tolist() == expected
        # a unit's range and σ are of the classes the link knows, whichever the anchors are of
        pairs = artifacts.Artifact(world.pairs, "pairs")
        start, stop = pairs.summary["splits"]["train"]
        known = np.isin(pairs.read("label", slice(start, stop)), CLASSES)
        expected_std = pairs.read("r", slice(start, stop))[known].std(axis=0)
        np.testing.assert_allclose(made.read("unit_std"), expected_std, rtol=1e-4, atol=1e-6)


def test_congruence_counterfactuals_and_photographs_stay_with_them_too(world, flags, photographs, tmp_path, capsys):
    do("congruence", *flags, "--out", tmp_path / "congruence", *CONGRUENCE)
    made = artifacts.Artifact(tmp_path / "congruence", "congruence")
    assert set(np.unique(made.read("path_label"))) == {1, 3}
    do("counterfactual", *flags, "--out", tmp_path / "counterfactual", *COUNTERFACTUAL)
    made = artifacts.Artifact(tmp_path / "counterfactual", "counterfactual")
    assert made.read("label").tolist() == [1, 3] and made.read("target").tolist() == [3, 1]
    do("evaluate", *flags, "--out", tmp_path / "evaluation", *EVALUATE)
    seen = ["--evaluation", str(tmp_path / "evaluation"), "--photographs", photographs, *ENCODE]
    do("encode", *flags, "--out", tmp_path / "encoding", *seen, "--batch-size", "8")
    assert artifacts.Artifact(tmp_path / "encoding", "encoding").summary["rows"][1]["samples"] == 16


def test_one_class_has_no_other_to_turn_into_unless_it_is_named(world, links, tmp_path, capsys):
    flags = [*world.models, "--pairs", world.pairs, "--link", str(links / "group_2"), *COUNTERFACTUAL]
    assert main(["counterfactual", *flags, "--out", str(tmp_path / "none")]) == 2
    assert "name some with --targets" in capsys.readouterr().err
    do("counterfactual", *flags, "--targets", "all", "--out", tmp_path / "all")
    made = artifacts.Artifact(tmp_path / "all", "counterfactual")
    assert made.read("target").tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("stage", ["evaluate", "sweep", "congruence"])
def test_no_class_and_a_class_twice_are_refused(flags, tmp_path, capsys, stage):
    for given in ([], ["1", "1"]):
        assert main([stage, *flags, "--out", str(tmp_path / "out"), "--classes", *given]) == 2
        assert "classes: expected one or more, each once, found " in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_no_group_and_no_origin_are_refused(world, flags, tmp_path, capsys):
    assert main(["link", "--pairs", world.pairs, "--out", str(tmp_path / "links"), "--groups"]) == 2
    assert "groups: expected one or more, found none" in capsys.readouterr().err
    assert main(["counterfactual", *flags, *COUNTERFACTUAL, "--origins", "--out", str(tmp_path / "out")]) == 2
    assert "origins, targets: expected one class or more of each" in capsys.readouterr().err


def test_an_evaluation_on_other_classes_is_no_measure_for_photographs(flags, photographs, tmp_path, capsys):
    do("evaluate", *flags, "--classes", "all", "--out", tmp_path / "all", *EVALUATE)
    seen = ["--evaluation", str(tmp_path / "all"), "--photographs", str(photographs), *ENCODE]
    assert main(["encode", *flags, *seen, "--out", str(tmp_path / "encoding")]) == 2
    said = "is of classes [0, 1, 2, 3, 4], but the link was fitted on [1, 3]; evaluate it on these"
    assert said in capsys.readouterr().err


def test_a_link_of_classes_that_the_pairs_do_not_hold_is_refused(world, flags, links, tmp_path, capsys):
    do("pairs", *world.models, "--classes", "0", "2", "--n-train", "9", "--n-val", "0", "--n-test", "2",
       "--truncation", "1", "--out", tmp_path / "pairs")  # fmt: skip
    others = [*world.models, "--pairs", str(tmp_path / "pairs"), "--link", str(links / "group_0")]
    assert main(["evaluate", *others, "--out", str(tmp_path / "evaluation")]) == 2
    assert "was fitted on classes [1, 3], of which the pairs in" in capsys.readouterr().err


def test_a_link_that_does_not_say_its_classes_is_taken_for_one_of_all(world):
    link = inputs.model(world.link, "link")
    del link.manifest["source"]["classes"]
    assert inputs.classes("link", link, world.link, artifacts.Artifact(world.pairs, "pairs")) is None
