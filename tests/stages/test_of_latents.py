"""`pairs --latents`: the stored samples of other pairs, seen by another classifier."""

import numpy as np
import pytest

import linkjax
from linkjax.cli import main
from linkjax.models import build
from linkjax.storage import artifacts, checkpoint
from tests import tolerances, worlds
from tests.stages.conftest import assert_same_bits, chunks_done, do

COPIED = ("w", "label", "sample_id", "split")


@pytest.fixture(scope="module")
def other(world):
    """Another classifier of the same classes, and the world's pairs as it sees them."""
    folder = world.folder / "other"
    checkpoint.save_model(folder, worlds.classifier(seed=9), source={})
    flags = ["--generator", world.generator, "--classifier", str(folder), "--latents", world.pairs]
    do("pairs", *flags, "--out", world.folder / "other_pairs", "--batch-size", "24")
    return flags, world.folder / "other_pairs"


def test_samples_are_the_same_bit_by_bit_and_r_is_the_other_classifiers(world, other):
    flags, made = other
    here, there = linkjax.open(made), linkjax.open(world.pairs)
    for name in COPIED:
        np.testing.assert_array_equal(here[name].values, there[name].values)
    generator, classifier = linkjax.load(world.generator), linkjax.load(flags[3])
    rows = [0, 77, 199]
    seen = classifier(classifier.preprocess(generator.synthesis(here["w"].values[rows])))
    assert np.abs(here["r"].values[rows] - seen.penultimate).max() < tolerances.STAGE_R * np.abs(seen.penultimate).max()
    np.testing.assert_array_equal(here["prediction"].values[rows], seen.logits.argmax(axis=1))
    for name in ("groups", "splits", "classes", "w_dim"):
        assert here.attrs["summary"][name] == there.attrs["summary"][name]
    share = (here["prediction"] == here["label"]).values.mean()
    assert here.attrs["summary"]["recognised"] == share < 1
    assert here.attrs["inputs"] == {"latents": there.attrs["id"]}


def test_batch_size_a_kill_and_other_devices_change_nothing(other, tmp_path, killed_after, on_devices):
    flags, whole = other
    flags = [*flags, "--out", str(tmp_path / "pairs"), "--batch-size", "7"]
    on_devices(1)
    killed_after(10)  # a chunk is eight batches
    assert main(["pairs", *flags]) == 1
    assert chunks_done(tmp_path / "pairs")
    killed_after(10**6)
    on_devices(8)
    do("pairs", *flags)
    assert_same_bits(tmp_path / "pairs", whole, "pairs")


def test_a_sample_that_is_not_finite_keeps_its_row_and_is_named(world, tmp_path, capsys):
    classifier = worlds.classifier()
    arrays = {name: np.asarray(leaf) for name, leaf in build.leaves(classifier).items()}
    arrays["last.bias"] = np.full_like(arrays["last.bias"], np.nan)
    checkpoint.save_model(tmp_path / "broken", build.fill(type(classifier), classifier.spec, arrays), source={})
    flags = ["--generator", world.generator, "--classifier", str(tmp_path / "broken"), "--latents", world.pairs]
    do("pairs", *flags, "--out", tmp_path / "pairs")
    said = capsys.readouterr().out
    assert "kept as they are" in said and "200 samples with numbers that are not finite" in said
    assert artifacts.Artifact(tmp_path / "pairs", "pairs").summary["nonfinite"] == 200
    assert main(["pairs", *flags, "--out", str(tmp_path / "stopped"), "--nonfinite", "stop"]) == 1


def test_another_generator_or_other_samples_are_refused_in_a_sentence(world, tmp_path, capsys):
    checkpoint.save_model(tmp_path / "generator", worlds.generator(seed=5), source={})
    out = ["--latents", world.pairs, "--out", str(tmp_path / "pairs")]
    for flags, said in (
        (["--generator", str(tmp_path / "generator"), "--classifier", world.classifier], "with another generator"),
        ([*world.models, "--precision", "bfloat16"], "in another precision"),
        ([*world.models, "--seed", "3"], "seed: expected none beside --latents"),
        ([*world.models, "--classes", "1", "2"], "classes: expected none beside --latents"),
        ([*world.models, "--latents", world.link], "expected pairs, found link"),
    ):
        assert main(["pairs", *out, *flags]) == 2
        error = capsys.readouterr().err.strip()
        assert said in error and "\n" not in error
    assert not (tmp_path / "pairs").exists()
