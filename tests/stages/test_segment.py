import shutil
import time

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import linkjax
from linkjax.analysis.metrics import parts
from linkjax.cli import main
from linkjax.errors import InputError
from linkjax.models.linear_segmenter import LinearSegmenter
from linkjax.models.segmenter import Segmenter
from linkjax.outside.label.learning import Learner
from linkjax.outside.label.store import Store
from linkjax.storage import artifacts, checkpoint, manifest
from tests import worlds
from tests.stages.conftest import do

NAMES = ("background", "cap", "stem")
LABELLED = 8


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """A generator, twelve pictures of it, and masks of eight that a hidden linear head drew."""
    folder = tmp_path_factory.mktemp("segment")
    generator = worlds.generator()
    checkpoint.save_model(folder / "generator", generator, source={"file": "random weights"})
    do(
        "segment",
        "--generator",
        folder / "generator",
        "--draw",
        "12",
        "--truncation",
        "1",
        "--out",
        folder / "pictures",
    )
    hidden = worlds.segmenter(generator, NAMES)
    pictures = artifacts.Artifact(folder / "pictures", "pictures")
    _, scores = parts.draw_with_parts(generator, hidden, pictures.read("w"))
    truth = np.asarray(jnp.argmax(scores - jnp.mean(scores, axis=(0, 1, 2), keepdims=True), axis=-1), np.uint8)
    (folder / "masks").mkdir()
    (folder / "masks" / "parts.txt").write_text("\n".join(NAMES))
    for row in range(LABELLED):
        Image.fromarray(truth[row]).save(folder / "masks" / f"{row:06d}.png")
    return folder, truth


def flags(folder, out, *more):
    return [
        "segment", "--generator", str(folder / "generator"), "--images", str(folder / "pictures"), "--masks",
        str(folder / "masks"), "--out", str(out), *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(drawn):
    do(*flags(drawn[0], drawn[0] / "segmenter", "--folds", "2", "--suggest", "2"))
    return drawn[0] / "segmenter"


def test_the_label_page_learns_from_masks_and_keeps_a_segmenter_that_is_better(drawn, trained, tmp_path):
    folder, truth = drawn
    shutil.copytree(folder / "masks", tmp_path / "masks")
    store = Store(folder / "pictures", tmp_path / "masks")

    def learnt(learner, by, masks):
        end = time.monotonic() + 120
        while time.monotonic() < end:
            state = learner.state()
            if (state["by"], state["masks"], state["learning"]) == (by, masks, False):
                return state
            time.sleep(0.02)
        raise TimeoutError(learner.state())

    with Learner(store, quiet=0.0) as learner:
        state = learnt(learner, "masks", LABELLED)
        assert state["iou"] > 0.5 and state["said"] == "" and int(state["next"]) >= LABELLED
        agreed = [np.mean(np.frombuffer(learner.prediction(stem), np.uint8) == truth[row].ravel())
                  for row, stem in enumerate(store.stems)]  # fmt: skip
        assert min(agreed[:LABELLED]) > 0.8 and np.mean(agreed[LABELLED:]) > 0.6
        version = state["version"]
        store.remove("000007")
        learner.changed()
        assert learnt(learner, "masks", LABELLED - 1)["version"] > version
        (store.folder / "000000.png").write_bytes(b"damaged")  # said, and what was learnt stays
        learner.changed()
        end = time.monotonic() + 120
        while "000000.png" not in learner.state()["said"] and time.monotonic() < end:
            time.sleep(0.02)
        assert "000000.png" in learner.state()["said"]
        assert learner.prediction("000011") is not None
    with Learner(Store(folder / "pictures", tmp_path / "none", NAMES), segmenter=str(trained), quiet=0.0) as learner:
        state = learnt(learner, "segmenter", 0)
        assert state["iou"] is None and learner.prediction("000011") is not None and state["next"] in store.stems
    with pytest.raises(InputError, match="expected one of the parts a, b, c, found background, cap, stem"):
        Learner(Store(folder / "pictures", tmp_path / "other", ("a", "b", "c")), segmenter=str(trained))


def test_draw_writes_pictures_their_latents_and_what_to_do(drawn):
    folder, _ = drawn
    pictures = artifacts.Artifact(folder / "pictures", "pictures")
    w, label = pictures.read("w"), pictures.read("label")
    np.testing.assert_array_equal(label, np.arange(12) % worlds.CLASSES)
    again = np.asarray(linkjax.to_uint8(linkjax.load(folder / "generator").synthesis(w)))
    for row in (0, 11):
        stored = np.asarray(Image.open(folder / "pictures" / "images" / f"{row:06d}.png")).astype(int)
        assert np.abs(stored - again[row]).max() <= 1
    assert "--masks" in (folder / "pictures" / "README.txt").read_text()


def test_one_device_draws_the_pictures_and_trains_the_head_of_two(drawn, trained, tmp_path, one_device):
    folder, _ = drawn
    draw = ["segment", "--generator", folder / "generator", "--draw", "12", "--truncation", "1", "--batch-size", "5"]
    do(*draw, "--out", tmp_path / "pictures")
    here, there = (artifacts.Artifact(path / "pictures", "pictures") for path in (tmp_path, folder))
    assert here.manifest["id"] == there.manifest["id"]
    one, two = (each.read("w") for each in (here, there))
    np.testing.assert_array_equal(one, two)
    for row in range(12):
        image, other = ((path / "pictures" / "images" / f"{row:06d}.png").read_bytes() for path in (tmp_path, folder))
        assert image == other
    do(*flags(folder, tmp_path / "segmenter", "--folds", "2", "--suggest", "2", "--batch-size", "5"))
    weights = [manifest.read(head)["sha256"] for head in (tmp_path / "segmenter", trained)]
    assert weights[0] == weights[1]
    one, two = (manifest.read(head)["source"]["overlap"] for head in (tmp_path / "segmenter", trained))
    assert one["iou"] == pytest.approx(two["iou"], abs=1e-2)  # a border pixel of 2048 labelled ones


def test_a_head_trained_from_masks_finds_the_parts_in_other_pictures(drawn, trained):
    folder, truth = drawn
    segmenter = linkjax.load(trained)
    assert isinstance(segmenter, LinearSegmenter) and segmenter.spec.part_names == NAMES
    pictures = artifacts.Artifact(folder / "pictures", "pictures")
    w = pictures.read("w")
    _, scores = parts.draw_with_parts(linkjax.load(folder / "generator"), segmenter, w)
    found = np.asarray(jnp.argmax(scores, axis=-1))
    assert np.mean(found[:LABELLED] == truth[:LABELLED]) > 0.97
    assert np.mean(found[LABELLED:] == truth[LABELLED:]) > 0.8


def test_the_manifest_holds_overlap_suggestions_and_the_generator(drawn, trained):
    source = manifest.read(trained)["source"]
    assert source["weights"]["generator"] == manifest.read(drawn[0] / "generator")["sha256"]
    assert source["overlap"]["folds"] == 2 and len(source["overlap"]["iou"]) == 3
    assert source["overlap"]["mean"] > 0.5 and sum(source["overlap"]["pixels"]) == LABELLED * 16 * 16
    unlabelled = {f"{row:06d}" for row in range(LABELLED, 12)}
    assert len(source["suggestions"]) == 2 and set(source["suggestions"]) < unlabelled
    overlays = sorted(path.name for path in (trained / "overlays").iterdir())
    assert len(overlays) == LABELLED + 2 and overlays[0] == "labelled_000000.png"


def test_the_few_shot_network_is_trained_too(drawn, tmp_path):
    more = ["--head", "S", "--epochs", "1", "--map-size", "16", "--folds", "2", "--suggest", "0", "--overlays", "0"]
    do(*flags(drawn[0], tmp_path / "cnn", *more))
    segmenter = linkjax.load(tmp_path / "cnn")
    assert isinstance(segmenter, Segmenter) and segmenter.spec.layers[0] == "input" and not segmenter.spec.margins
    source = manifest.read(tmp_path / "cnn")["source"]
    assert source["overlap"]["size"] == 16 and source["suggestions"] == []


def test_one_mask_is_enough_to_train_and_too_few_to_measure(drawn, tmp_path, capsys):
    folder, _ = drawn
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "000003.png").write_bytes((folder / "masks" / "000003.png").read_bytes())
    do(*flags(folder, tmp_path / "one", "--masks", str(tmp_path / "masks"), "--suggest", "0"))
    assert "cannot be held out" in capsys.readouterr().out
    assert manifest.read(tmp_path / "one")["source"]["overlap"]["folds"] == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--images", "nowhere"], "found nothing there"),
        (["--masks", "nowhere"], "expected a folder of masks"),
        (["--draw", "3"], "either --draw"),
        (["--folds", "1"], "2 or more"),
        (["--balance", "3"], "from 0 to 1"),
        (["--layers", "L9"], "no layer named L9"),
        (["--part-names", "background", "cap"], "found 2"),
    ],
)
def test_wrong_use_is_one_sentence(drawn, tmp_path, capsys, change, said):
    assert main([*flags(drawn[0], tmp_path / "out"), *change]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert said in error
    assert not (tmp_path / "out").exists()


def test_pictures_of_another_generator_are_refused(drawn, tmp_path, capsys):
    shutil.copytree(drawn[0] / "pictures", tmp_path / "pictures")
    made = manifest.read(tmp_path / "pictures")
    manifest.write(tmp_path / "pictures", {**made, "weights": {"generator": "0" * 64}})
    assert main([*flags(drawn[0], tmp_path / "out"), "--images", str(tmp_path / "pictures")]) == 2
    assert "made with another generator" in capsys.readouterr().err


def test_settings_without_pictures_or_masks_say_what_to_do(tmp_path, capsys):
    assert main(["segment", "--generator", "g", "--out", str(tmp_path / "out")]) == 2
    assert "--draw 20" in capsys.readouterr().err
