import csv

import numpy as np
import pytest
from PIL import Image

import linkjax
from linkjax.cli import main
from linkjax.outside.photographs import decode
from linkjax.outside.photographs.folder import Folder
from linkjax.storage import artifacts
from tests import tolerances
from tests.stages.conftest import assert_same_bits, chunks_done, do
from tests.stages.photographs import folder, picture


@pytest.fixture(scope="module")
def made(encoding):
    return artifacts.Artifact(encoding, "encoding")


def framed(root) -> np.ndarray:
    source = Folder(root)
    items = source.items(range(len(source)))
    return np.stack([decode.read(item, (decode.Framing(16, 16),))[0] for item in items])


def test_the_numbers_are_what_a_plain_computation_gives(world, photographs, made):
    generator, classifier, link = (linkjax.load(path) for path in (world.generator, world.classifier, world.link))
    seen = classifier(classifier.preprocess(framed(photographs)))
    r, w = np.asarray(seen.penultimate), np.asarray(link(seen.penultimate))
    again = classifier(classifier.preprocess(generator.synthesis(w)))
    for name, expected in (("r", r), ("w", w), ("encoded", np.asarray(again.penultimate))):
        assert np.abs(made.read(name) - expected).max() < tolerances.STAGE_R * np.abs(expected).max(), name
    probability = np.exp(seen.logits - np.log(np.exp(seen.logits).sum(axis=1, keepdims=True)))
    assert np.abs(made.read("probability") - -np.sort(-probability, axis=1)).max() < tolerances.STAGE_PROBABILITY
    kept = np.mean(np.argmax(seen.logits, axis=1) == np.argmax(again.logits, axis=1))
    assert made.summary["rows"][0]["kept"] == pytest.approx(kept)
    pairs = artifacts.Artifact(world.pairs, "pairs")
    train = pairs.read("r", slice(*pairs.summary["splits"]["train"])).astype(np.float64)
    a, b = r - train.mean(0), np.asarray(again.penultimate) - train.mean(0)
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert np.abs(made.read("centred_cosine") - cosine).max() < 1e-4
    covariance = np.cov(train.T, bias=True)
    floor = made.summary["shrinkage"] * np.trace(covariance) / len(covariance)
    inverse = np.linalg.inv(covariance + floor * np.eye(len(covariance)))
    expected = np.sqrt(np.einsum("ni,ij,nj->n", a, inverse, a) / np.trace(covariance @ inverse))
    assert np.abs(made.read("distance") / expected - 1).max() < 1e-3


def test_groups_named_as_classes_are_compared_with_what_the_classifier_sees(made):
    rows = {row["name"]: row for row in made.summary["groups"]}
    assert sum(row["samples"] for row in rows.values()) == made.summary["readable"] == 20
    assert rows["class 0"]["recognised"] is not None and rows["Class_1"]["recognised"] is not None
    assert rows["others"]["recognised"] is None


def test_strange_images_are_farther_than_the_test_pairs(made):
    photographs, pairs = made.summary["rows"]
    assert photographs["distance"] > pairs["distance"] and photographs["distance_percentile"] > 60
    assert 0.5 < pairs["distance"] < 2  # 1 in the root mean square of the training pairs
    assert pairs["kept"] is not None and pairs["centred_cosine"] is not None


def test_the_table_has_a_line_for_each_photograph(made):
    with open(made.path / "photographs.csv", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["photograph"] for line in lines[:2]] == ["Class_1/01.png", "Class_1/04.png"] and len(lines) == 20
    distance = made.read("distance")
    assert np.allclose([float(line["distance"]) for line in lines], distance, rtol=1e-5)


def test_pictures_stand_beside_their_linked_images(world, photographs, made):
    rows = made.read("picture_row")
    assert np.array_equal(made.read("image_photograph"), framed(photographs)[rows])
    w = made.read("w", rows)
    drawn = np.asarray(linkjax.to_uint8(linkjax.load(world.generator).synthesis(w)))
    assert np.abs(made.read("image_linked").astype(int) - drawn).max() <= 1


def test_a_kill_fewer_devices_and_another_batch_size_change_nothing(
    world, photographs, made, tmp_path, killed_after, on_devices
):
    out = tmp_path / "encoding"
    flags = ["encode", *world.linked, "--evaluation", world.evaluation, "--photographs", str(photographs)]
    flags += ["--out", str(out), "--pictures", "4"]
    on_devices(2)
    killed_after(9)  # chunks of 8 batches of one
    assert main([*flags, "--batch-size", "1"]) == 1
    assert chunks_done(out)
    killed_after(10**6)
    on_devices(1)
    do(*flags, "--batch-size", "5")
    assert_same_bits(out, made.path, "encoding")
    assert made.id == artifacts.Artifact(out, "encoding").id


def test_an_unreadable_photograph_stops_the_run_or_is_counted(world, tmp_path, capsys):
    root = folder(tmp_path / "photographs", 4)
    (root / "others" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut short")
    flags = ["encode", *world.linked, "--photographs", str(root), "--batch-size", "8", "--pictures", "9"]
    assert main([*flags, "--out", str(tmp_path / "stopped")]) == 2
    said = capsys.readouterr().err
    assert "others/broken.jpg: expected a photograph" in said and "--unreadable skip" in said
    assert not (tmp_path / "stopped").exists()
    do(*flags, "--unreadable", "skip", "--out", tmp_path / "skipped")
    made = artifacts.Artifact(tmp_path / "skipped", "encoding")
    assert (made.summary["samples"], made.summary["readable"]) == (5, 4)
    assert "broken.jpg" in made.summary["unreadable"][0]
    [bad] = np.flatnonzero(made.read("flag"))
    assert np.isnan(made.read("r")[bad]).all() and (made.read("prediction")[bad] == -1).all()
    assert len(made.read("picture_row")) == 4
    do("report", "--pairs", world.pairs, "--encoding", tmp_path / "skipped", "--out", tmp_path / "report")
    assert "could not be read: 1" in (tmp_path / "report" / "index.html").read_text(encoding="utf-8")


def test_wrong_use_is_one_sentence_and_leaves_nothing(world, tmp_path, capsys):
    root, out = folder(tmp_path / "photographs", 3), tmp_path / "out"
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"")
    (tmp_path / "file").write_text("in the way")
    cases = [
        ([], "found neither"),
        (["--photographs", root, "--dataset", "imagenet_v2"], "found both"),
        (["--photographs", tmp_path / "nowhere"], "expected a folder of photographs"),
        (["--photographs", root, "--evaluation", world.pairs], "expected evaluation, found pairs"),
        (["--photographs", root, "--batch-size", "0"], "batch-size"),
        (["--photographs", tmp_path / "bad", "--unreadable", "skip"], "none could be read"),
        (["--photographs", root, "--out", tmp_path / "file" / "out"], "cannot write here"),
    ]
    for flags, said in cases:
        assert main(["encode", *world.linked, "--out", str(out), *map(str, flags)]) == 2, said
        message = capsys.readouterr().err
        assert said in message and "Traceback" not in message
        assert not out.exists()


def test_sweeps_and_counterfactuals_start_from_photographs(world, made, tmp_path):
    flags = [*world.linked, "--encoding", str(made.path), "--samples", "1", "--batch-size", "8"]
    do("sweep", *flags, "--out", tmp_path / "sweep", "--units", "0", "1", "2", "--steps", "3", "--picture-units", "0",
       "--random-directions", "0")  # fmt: skip
    swept = artifacts.Artifact(tmp_path / "sweep", "sweep")
    seen = made.read("prediction")[:, 0]
    assert sorted(swept.read("label")) == sorted(set(seen))
    rows = swept.read("sample_id")
    assert (seen[rows] == swept.read("label")).all()
    search = [
        "--origins",
        str(seen[0]),
        "--targets",
        *(str(c) for c in range(5)),
        "--max-steps",
        "2",
        "--start",
        "zero",
    ]
    do("counterfactual", *flags, "--out", tmp_path / "counterfactual", *search, "--pictures", "0")
    found = artifacts.Artifact(tmp_path / "counterfactual", "counterfactual")
    assert (found.read("sample_id") == 0).all() and found.summary["samples"] == 4
    assert found.manifest["inputs"]["encoding"] == swept.manifest["inputs"]["encoding"] == made.id


def test_a_run_is_not_resumed_on_other_photographs(world, tmp_path, capsys, killed_after):
    root = folder(tmp_path / "photographs", 3)
    flags = ["encode", *world.linked, "--photographs", str(root), "--out", str(tmp_path / "out"), "--batch-size", "8"]
    killed_after(0)
    assert main(flags) == 1
    killed_after(10**6)
    Image.fromarray(picture(7)).save(root / "new.png")
    assert main(flags) == 2
    assert "inputs.photographs" in capsys.readouterr().err
