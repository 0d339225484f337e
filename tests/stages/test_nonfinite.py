"""Weights that make certain samples overflow: they are counted, named, left out, or end the run."""

import functools
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
import zarr

import linkjax
from linkjax.analysis import pairs as analysis
from linkjax.analysis.links import mlp
from linkjax.cli import main
from linkjax.models import build
from linkjax.storage import artifacts, checkpoint, loading, manifest
from tests import worlds
from tests.stages.conftest import COUNTERFACTUAL, do
from tests.stages.photographs import folder

PAIRS = ["--n-train", "6", "--n-val", "0", "--n-test", "0", "--truncation", "1", "--batch-size", "24", "--keep", "all"]
HUGE = 3.4e38  # near the largest float32: a sum of activations above 1, which half of the samples have, overflows


def altered(path, out, **changes):
    """A model with some weights changed, said to come from where it came from."""
    model, manifest = loading.load_with_manifest(path)
    leaves = {name: np.array(leaf) for name, leaf in build.leaves(model).items()}
    for name, (where, value) in changes.items():
        leaves[name.replace("__", ".")][where] = value
    checkpoint.save_model(out, build.fill(type(model), model.spec, leaves), source=manifest["source"])
    return str(out)


def stopped(capsys, *arguments):
    """The sentence of a run that was told to stop."""
    assert main([*map(str, arguments), "--nonfinite", "stop"]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("linkjax: ") and "--nonfinite exclude" in error
    return error


@pytest.fixture(scope="module")
def linked(world, tmp_path_factory):
    """Flags of the world, with a link whose first value overflows for half of the samples."""
    link = altered(world.link, tmp_path_factory.mktemp("overflow") / "link", kernel=((slice(None), 0), HUGE))
    return [*world.models, "--pairs", world.pairs, "--link", link]


def test_candidates_whose_class_scores_are_not_finite_are_left_out_of_the_pairs(world, tmp_path, capsys):
    classifier = altered(world.classifier, tmp_path / "classifier", last__kernel=((slice(None), 0), HUGE))
    flags = ["pairs", "--generator", world.generator, "--classifier", classifier, *PAIRS]
    out = tmp_path / "pairs"
    message = stopped(capsys, *flags, "--out", out)
    do(*flags, "--out", out)  # the same command, told to go on
    made = artifacts.Artifact(out, "pairs")
    kept, label = (made.read(name) for name in ("sample_id", "label"))
    drawn, seen, bad = linkjax.load(world.generator), linkjax.load(classifier), []
    for group in made.summary["groups"]:
        ids = np.arange(group["tried"])
        labels = np.full(len(ids), group["label"], np.int32)
        images = drawn.synthesis(drawn.mapping(analysis.named_latents(0, labels, ids, 8), labels))
        good = np.isfinite(seen(seen.preprocess(images)).logits).all(axis=1)
        np.testing.assert_array_equal(kept[label == group["label"]], ids[good][:6])
        bad += [(group["label"], int(each)) for each in ids[~good]]
    assert made.summary["nonfinite"] == len(bad) > 3
    assert {tuple(each) for each in made.summary["nonfinite_samples"]} <= set(bad)
    label, sample = made.summary["nonfinite_samples"][0]
    said = f"class {label} sample {sample}"
    assert said in message and said in capsys.readouterr().out


def test_a_class_whose_latents_are_never_finite_is_named(world, tmp_path, capsys):
    generator = altered(world.generator, tmp_path / "generator", mapping__embed=(2, np.nan))
    flags = ["pairs", "--generator", generator, "--classifier", world.classifier, *PAIRS, "--out", tmp_path / "pairs"]
    assert "class 2 sample 0" in stopped(capsys, *flags)
    assert main([*map(str, flags)]) == 1
    assert "(120 candidates were not finite)" in capsys.readouterr().err


def expected(world, linked, split="test"):
    """(class, sample id) of pairs whose linked image is not finite."""
    made = artifacts.Artifact(world.pairs, "pairs")
    rows = slice(*made.summary["splits"][split])
    r, label, ids = (made.read(name, rows) for name in ("r", "label", "sample_id"))
    images = linkjax.load(world.generator).synthesis(linkjax.load(linked[-1])(jnp.asarray(r)))
    good = np.isfinite(images).all(axis=(1, 2, 3))
    assert 3 < good.sum() < len(good) - 3
    return [list(name) for name in zip(label[~good].tolist(), ids[~good].tolist(), strict=True)]


def test_evaluate_leaves_them_out_of_every_number(world, linked, tmp_path, capsys):
    flags = ["evaluate", *linked, "--out", tmp_path / "evaluation", "--shuffled-samples", "0", "--pictures", "2"]
    message = stopped(capsys, *flags)
    do(*flags)
    summary = artifacts.Artifact(tmp_path / "evaluation", "evaluation").summary
    bad = expected(world, linked)
    assert summary["nonfinite"] == len(bad) and summary["nonfinite_samples"] == bad[:20]
    assert f"class {bad[0][0]} sample {bad[0][1]}" in message
    assert f"left out {len(bad)} linked images" in capsys.readouterr().out
    [row] = [row for row in summary["rows"] if row["name"] == "link"]
    assert np.isfinite([row["mse"], row["cosine_r"], row["top1"]]).all()


def test_encode_leaves_photographs_empty_and_says_which(world, linked, tmp_path, capsys):
    root = folder(tmp_path / "photographs", 12)
    flags = ["encode", *linked, "--out", tmp_path / "encoding", "--photographs", root, "--pictures", "2"]
    message = stopped(capsys, *flags)
    do(*flags)
    made = artifacts.Artifact(tmp_path / "encoding", "encoding")
    summary = made.summary
    flag = made.read("flag")
    assert 0 < summary["nonfinite"] == int((flag == 2).sum()) < 12 and summary["readable"] == 12
    assert summary["rows"][0]["samples"] == 12 - summary["nonfinite"]
    assert (made.read("prediction")[flag == 2] == -1).all()
    assert np.isnan(made.read("encoded")[flag == 2]).all() and np.isfinite(made.read("encoded")[flag == 0]).all()
    assert summary["nonfinite_samples"][0][0] in message


def test_sweep_names_anchor_and_unit_and_keeps_the_other_units(world, tmp_path, capsys):
    link = altered(world.link, tmp_path / "link", kernel=((10, 0), np.nan))
    sizes = ["--samples", "1", "--steps", "3", "--picture-units", "0", "--random-directions", "0"]
    flags = [*world.models, "--pairs", world.pairs, "--link", link, "--out", tmp_path / "sweep", *sizes]
    flags = ["sweep", *flags, "--units", "0", "10", "--directions", "kernel"]
    assert "unit 10" in stopped(capsys, *flags)
    do(*flags)
    made = artifacts.Artifact(tmp_path / "sweep", "sweep")
    obtained, measured = (made.read(name) for name in ("obtained", "measured"))
    assert np.isfinite(obtained[:, 0]).all()
    assert np.isnan(obtained[:, 1]).all() and np.isnan(measured[:, 1]).all()
    assert made.summary["nonfinite"] == obtained[:, 1].size
    assert {unit for *_, unit in made.summary["nonfinite_samples"]} == {10}


def test_counterfactual_counts_and_names_searches(world, linked, tmp_path, capsys):
    flags = ["counterfactual", *linked, "--out", tmp_path / "counterfactual", *COUNTERFACTUAL]
    message = stopped(capsys, *flags)
    do(*flags)
    summary = artifacts.Artifact(tmp_path / "counterfactual", "counterfactual").summary
    assert summary["nonfinite"] == summary["outcomes"]["nonfinite"] > 0
    origin, sample, target = summary["nonfinite_samples"][0]
    assert f"class {origin} sample {sample} to class {target}" in message


def test_congruence_names_where_paths_start(world, linked, tmp_path, capsys):
    sizes = ["--samples", "20", "--paths", "8", "--steps", "3", "--draws", "20", "--permutations", "20"]
    flags = ["congruence", *linked, "--out", tmp_path / "congruence", *sizes]
    stopped(capsys, *flags)
    do(*flags)
    summary = artifacts.Artifact(tmp_path / "congruence", "congruence").summary
    rows = {(row["question"], row["scope"]): row["count"] for row in summary["rows"]}
    lost = summary["nonfinite"] - (20 - rows["fit", "link"])
    assert rows["fit", "link"] < 20 and 0 < lost == 8 - rows["r2", "link"]  # linked samples, and paths through the link
    assert rows["r2", "W"] == 8 and summary["left_out_for_balance"] == 0  # the route through W is sound
    assert "samples, links or paths from them" in capsys.readouterr().out


def test_congruence_counts_the_samples_left_out_so_that_classes_keep_equal_numbers(world, tmp_path, capsys):
    shutil.copytree(world.pairs, tmp_path / "pairs")
    made = artifacts.Artifact(tmp_path / "pairs", "pairs")
    start, _ = made.summary["splits"]["test"]  # 8 samples of each of 5 classes
    zarr.open_group(tmp_path / "pairs" / artifacts.DATA)["r"][[start + 1, start + 9, start + 20], 0] = np.nan
    flags = ["congruence", *world.models, "--pairs", tmp_path / "pairs", "--link", world.link, "--paths", "0"]
    do(*flags, "--out", tmp_path / "congruence", "--draws", "20", "--permutations", "20")
    summary = artifacts.Artifact(tmp_path / "congruence", "congruence").summary
    assert (summary["samples_per_class"], summary["samples"]) == (6, 30)
    assert summary["nonfinite"] == 3 and summary["left_out_for_balance"] == 7  # places 1 and 4, of 5 classes
    assert "left out 7 finite samples more" in capsys.readouterr().out
    do("report", "--pairs", world.pairs, "--congruence", tmp_path / "congruence", "--out", tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "so that classes keep equal numbers: 7 samples" in page


def test_screen_leaves_out_anchors_whose_derivatives_are_not_finite(world, tmp_path, capsys):
    generator = linkjax.load(world.generator)
    checkpoint.save_model(tmp_path / "sound", worlds.segmenter(generator, ("rest", "part")), source={})
    name = next(name for name in build.leaves(linkjax.load(tmp_path / "sound")) if name.endswith("bias"))
    segmenter = altered(tmp_path / "sound", tmp_path / "segmenter", **{name.replace(".", "__"): (1, np.nan)})
    flags = ["screen", *world.linked, "--segmenter", segmenter, "--out", tmp_path / "screening", "--samples", "1"]
    assert "class 0 sample" in stopped(capsys, *flags)
    do(*flags)
    made = artifacts.Artifact(tmp_path / "screening", "screening")
    assert made.summary["nonfinite"] == made.summary["samples"] == 5
    assert (made.read("class_count") == 0).all() and np.isnan(made.read("effect")).all()


def test_pictures_to_label_leave_out_what_is_not_finite(world, tmp_path, capsys):
    generator = altered(world.generator, tmp_path / "generator", mapping__embed=(2, np.nan))
    flags = ["segment", "--generator", generator, "--draw", "10", "--truncation", "1", "--out", tmp_path / "pictures"]
    assert "2 pictures" in stopped(capsys, *flags)
    do(*flags)
    made = artifacts.Artifact(tmp_path / "pictures", "pictures")
    assert made.summary["pictures"] == 8 == len(list((tmp_path / "pictures" / "images").iterdir()))
    assert 2 not in made.read("label") and made.summary["nonfinite"] == 2


@pytest.mark.parametrize(
    "wide", [[], ["--moments-gib", "1e-9", "--method", "elastic_net"]], ids=["moments", "streamed"]
)
def test_a_link_names_the_pairs_it_cannot_be_fitted_on(world, tmp_path, capsys, wide):
    shutil.copytree(world.pairs, tmp_path / "pairs")
    made = artifacts.Artifact(tmp_path / "pairs", "pairs")
    start, _ = made.summary["splits"]["train"]
    bad = [start + 2, start + 30]
    stored = zarr.open_group(tmp_path / "pairs" / artifacts.DATA)
    stored["r"][[bad[0]], 0], stored["w"][[bad[1]], 1] = np.nan, np.inf
    named = [f"class {made.read('label')[row]} sample {made.read('sample_id')[row]}" for row in bad]
    flags = ["link", "--pairs", tmp_path / "pairs", "--out", tmp_path / "link", "--rows", "16", *wide]
    assert main(list(map(str, flags))) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"2 train pairs with numbers that are not finite: {', '.join(named)}; make " in said
    assert not (tmp_path / "link").exists()


def test_a_network_whose_training_diverges_says_so_and_keeps_the_best_before(world, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mlp, "Training", functools.partial(mlp.Training, learning_rate=1e30))
    do("link", "--pairs", world.pairs, "--out", tmp_path / "link", "--method", "mlp", "--hidden", "4", "--epochs", "9")
    assert "diverged in epoch: " in capsys.readouterr().out
    diagnostics = manifest.read(tmp_path / "link")["source"]["diagnostics"]
    assert diagnostics["diverged_in_epoch"] == diagnostics["epochs"] < 9
    weights = build.leaves(linkjax.load(tmp_path / "link"))
    # Units that do not vary within classes have no direction: NaN by design.
    assert all(np.isfinite(leaf).all() for name, leaf in weights.items() if not name.startswith("steering."))
