import dataclasses
from pathlib import Path

import numpy as np
import pytest

import linkjax
from linkjax.analysis import pairs as analysis
from linkjax.cli import main
from linkjax.errors import InputError
from linkjax.models import build
from linkjax.models.classifier import Classifier
from linkjax.report.source import Context, Source
from linkjax.stages import inputs
from linkjax.stages import pairs as stage
from linkjax.stages.counterfactual import settings
from linkjax.stages.counterfactual.searches import searches_of
from linkjax.stages.pairs import arrays
from linkjax.storage import artifacts, checkpoint
from tests import tolerances, worlds
from tests.stages.conftest import PAIRS, chunks_done, do


def read(path, *names):
    made = artifacts.Artifact(path, "pairs")
    return {name: made.read(name) for name in names or ("w", "r", "label", "sample_id", "prediction")}


def test_every_kept_pair_is_recognised_and_no_sample_is_drawn_twice(world):
    found = read(world.pairs)
    np.testing.assert_array_equal(found["prediction"], found["label"])
    named = list(zip(found["label"].tolist(), found["sample_id"].tolist(), strict=True))
    assert len(set(named)) == len(named) == 5 * (24 + 8 + 8)
    assert len(np.unique(found["w"], axis=0)) == len(named)


def test_splits_hold_their_own_ids_and_as_many_of_each_class_as_asked(world):
    made, found = artifacts.Artifact(world.pairs, "pairs"), read(world.pairs)
    for split, count in (("train", 24), ("val", 8), ("test", 8)):
        rows = slice(*made.summary["splits"][split])
        start = analysis.SPLITS[split]
        assert ((found["sample_id"][rows] >= start) & (found["sample_id"][rows] < start + (1 << 30))).all()
        np.testing.assert_array_equal(np.bincount(found["label"][rows]), [count] * 5)


def test_a_pair_can_be_made_again_from_its_name(world):
    found, generator, classifier = read(world.pairs), linkjax.load(world.generator), linkjax.load(world.classifier)
    rows = [0, 60, 199]
    label = found["label"][rows]
    z = analysis.named_latents(0, label, found["sample_id"][rows], 8)
    w = generator.mapping(z, label)
    r = classifier(classifier.preprocess(generator.synthesis(w))).penultimate
    assert np.abs(found["w"][rows] - w).max() < tolerances.STAGE_W
    assert np.abs(found["r"][rows] - r).max() < tolerances.STAGE_R * np.abs(r).max()


def test_the_acceptance_rate_is_what_was_counted(world):
    summary = artifacts.Artifact(world.pairs, "pairs").summary
    tried = sum(group["tried"] for group in summary["groups"])
    assert summary["acceptance"] == pytest.approx(200 / tried)
    assert tried > 200  # a random classifier rejects some


def test_batch_size_a_kill_and_eight_devices_instead_of_two_change_nothing(
    world, tmp_path, killed_after, on_devices, capsys
):
    flags = [*world.models, "--out", str(tmp_path / "pairs"), *PAIRS[:-1]]
    on_devices(1)
    killed_after(20)  # a chunk of 56 candidates is three times five batches of 12
    assert main(["pairs", *flags, "7"]) == 1
    assert chunks_done(tmp_path / "pairs")
    assert "the same command goes on" in capsys.readouterr().err
    assert not (tmp_path / "pairs").exists()
    killed_after(10**6)
    on_devices(8)
    do("pairs", *flags, "7")
    whole, resumed = read(world.pairs), read(tmp_path / "pairs")
    for name in ("label", "sample_id", "prediction", "w", "r"):
        np.testing.assert_array_equal(whole[name], resumed[name])


def test_original_seeding_gives_the_rows_of_numpys_random_state(world, tmp_path):
    flags = ["--seeding", "original", "--keep", "all", "--classes", "1", "3", "--seed", "5"]
    sizes = ["--n-train", "4", "--n-val", "2", "--n-test", "2", "--truncation", "1", "--batch-size", "8"]
    do("pairs", *world.models, "--out", tmp_path / "pairs", *flags, *sizes)
    found, generator = read(tmp_path / "pairs"), linkjax.load(world.generator)
    rows = np.random.RandomState(5).randn(4, 8)
    for first, label in ((0, 1), (4, 3)):  # classes share the same z, as there
        w = generator.mapping(rows.astype(np.float32), np.full(4, label))
        assert np.abs(found["w"][first : first + 4] - w).max() < tolerances.STAGE_W
    assert len(np.unique(found["w"].round(5), axis=0)) == 16  # but no split repeats another's


def test_named_latents_do_not_depend_on_their_neighbours():
    label, ids = np.array([3, 1, 3]), np.array([7, 7, 2**32 - 1])
    together = analysis.named_latents(1, label, ids, 16)
    for row in range(3):
        np.testing.assert_array_equal(together[row], analysis.named_latents(1, label[[row]], ids[[row]], 16)[0])
    assert len(np.unique(together, axis=0)) == 3
    many = analysis.named_latents(0, np.zeros(4000, int), np.arange(4000), 8)
    assert abs(many.mean()) < 0.03 and abs(many.std() - 1) < 0.02


def test_a_hopeless_class_is_named_with_its_rate_and_ways_out(world, tmp_path, capsys):
    flags = ["--n-train", "40", "--n-val", "0", "--n-test", "0", "--max-attempts", "1", "--batch-size", "40"]
    assert main(["pairs", *world.models, "--out", str(tmp_path / "pairs"), *flags]) == 1
    said = capsys.readouterr().err
    assert "the classifier recognised" in said and "--max-attempts" in said and "--keep all" in said
    assert not (tmp_path / "pairs").exists()
    do("pairs", *world.models, "--out", tmp_path / "pairs", *flags[:6], "--max-attempts", "20", *flags[8:])  # goes on


def test_unconditional_generators_and_headless_classifiers_keep_all(tmp_path, capsys):
    generator, classifier = worlds.save(tmp_path, num_classes=0, head=False)
    flags = ["--generator", generator, "--classifier", classifier, "--n-train", "4", "--n-val", "0", "--n-test", "2"]
    assert main(["pairs", *flags, "--out", str(tmp_path / "pairs")]) == 2
    assert "add --keep all" in capsys.readouterr().err
    do("pairs", *flags, "--out", tmp_path / "pairs", "--keep", "all")
    found = read(tmp_path / "pairs")
    assert (found["label"] == -1).all() and (found["prediction"] == -1).all()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--classes", "7"], "expected ids from 0 to 4"),
        (["--classes", "1", "1"], "different class ids"),
        (["--classes", "1", "2", "--class-names", "one"], "one name for each"),
        (["--truncation", "1.5"], "from 0 to 1"),
        (["--n-train", "0"], "above 0"),
    ],
)
def test_wrong_settings_are_one_sentence_and_exit_code_2(world, tmp_path, capsys, flags, said):
    assert main(["pairs", *world.models, "--out", str(tmp_path / "pairs"), *flags]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and error.count("\n") == 0
    assert not (tmp_path / "pairs").exists()


@pytest.mark.parametrize(("units", "rows"), [(2048, 1024), (4096, 1024), (94080, 44)])
def test_wide_activations_are_stored_in_chunks_of_fewer_rows(units, rows):
    made = {}

    class Writer:
        def array(self, name, dims, shape, dtype, chunks, **attributes):
            made[name] = chunks

    arrays.make_arrays(Writer(), 5000, units, 512)
    assert made["r"] == (rows, units) and made["w"] == (rows, 512) and made["label"] == (rows,)


def test_two_classes_of_one_name_are_refused():
    with pytest.raises(InputError, match="expected different names, found 'crane' twice"):
        stage.Config("out", "generator", "classifier", classes=(134, 517), class_names=("crane", "crane"))


def test_a_classifier_with_a_list_of_its_own_recognises_the_same_images(world, tmp_path):
    """The world's classifier with its classes in another order, and two more that no image is seen as."""
    names = ["pug", "corgi", "cat", "owl", "fox"]
    order = [2, 4, 0, 1, 3]  # its class c is the generator's order[c]
    known = linkjax.load(world.classifier)
    theirs = (*(names[each] for each in order), "jeep", "cab")
    spec = dataclasses.replace(known.spec, num_classes=7, class_names=theirs)
    arrays = {name: np.asarray(leaf) for name, leaf in build.leaves(known).items()}
    arrays["last.kernel"] = np.pad(arrays["last.kernel"][:, order], ((0, 0), (0, 2)))
    arrays["last.bias"] = np.pad(arrays["last.bias"][order], (0, 2), constant_values=-1e6)
    checkpoint.save_model(tmp_path / "classifier", build.fill(Classifier, spec, arrays), source={})
    flags = ["--generator", world.generator, "--classifier", str(tmp_path / "classifier"), "--truncation", "1"]
    flags += ["--n-train", "2", "--n-val", "0", "--n-test", "2", "--batch-size", "8"]
    do("pairs", *flags, "--class-names", *names, "--classes", "0-4", "--out", tmp_path / "pairs")
    made, whole = (artifacts.Artifact(Path(path), "pairs") for path in (tmp_path / "pairs", world.pairs))
    found = {"sample_id": made.read("sample_id"), "label": made.read("label")}
    np.testing.assert_array_equal(found["label"], np.tile(np.repeat(np.arange(5), 2), 2))
    first = np.concatenate([24 * np.arange(5)[:, None] + [0, 1], 160 + 8 * np.arange(5)[:, None] + [0, 1]]).ravel()
    np.testing.assert_array_equal(found["sample_id"], whole.read("sample_id")[first])
    called = inputs.as_seen(made, found["label"])
    np.testing.assert_array_equal(made.read("prediction"), called)
    assert [theirs[each] for each in called[:10:2]] == names and made.summary["class_names"] == names
    searches = settings.Config("x", *flags[1:4:2], str(tmp_path / "pairs"), "link", samples=1)
    link = inputs.Model(None, {"source": {}})
    items = searches_of(searches, link, made, None, 7)
    assert [theirs[each] for each in items["origin"][::4]] == names
    assert all(a != b for a, b in zip(items["origin"], items["target"], strict=True)) and len(items["target"]) == 20
    context = Context([Source("pairs", tmp_path / "pairs", ("pairs",))])
    assert [context.class_name(0), context.seen_name(0), context.seen_name(6)] == ["pug", "cat", "cab"]


def test_classes_that_cannot_be_told_apart_are_refused_before_any_work(world, tmp_path, capsys):
    checkpoint.save_model(tmp_path / "classifier", worlds.classifier(num_classes=3), source={})
    flags = ["--generator", world.generator, "--classifier", str(tmp_path / "classifier")]
    assert main(["pairs", *flags, "--out", str(tmp_path / "pairs")]) == 2
    assert "the generator has 5 classes, the classifier 3" in capsys.readouterr().err
    small = ["--n-train", "2", "--n-val", "0", "--n-test", "0", "--classes", "4", "--batch-size", "8"]
    do("pairs", *flags, "--out", tmp_path / "pairs", "--keep", "all", *small, "--class-names", "corgi")
    made = artifacts.Artifact(tmp_path / "pairs", "pairs")
    assert inputs.as_seen(made, [4, 0]).tolist() == [-1, -1]
    context = Context([Source("pairs", tmp_path / "pairs", ("pairs",))])
    assert (context.class_name(4), context.seen_name(2)) == ("corgi", "class 2")
