"""Names of units by words: resumed, on any devices and in any batches the same, and bad input in one sentence."""

import csv
from pathlib import Path

import numpy as np
import pytest

import linkjax
from linkjax.analysis.names import interventional, views
from linkjax.cli import main
from linkjax.stages.name import naming
from linkjax.storage import artifacts, checkpoint, word_vectors
from linkjax.storage.swept_values import read_asked
from tests import meshes, worlds
from tests.stages.conftest import SWEEP, assert_same_bits, chunks_done, do

WORDS = ("much left", "little left", "bright", "dark", "round")
FLAGS = ("--images", "30", "--draws", "500", "--batch-size", "8")


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    """A network of random weights, and words with random vectors."""
    folder = tmp_path_factory.mktemp("embedder") / "embedder"
    checkpoint.save_model(folder, worlds.classifier(0, seed=7), source={"file": "random weights"})
    vectors = np.random.default_rng(3).standard_normal((len(WORDS), 16)).astype(np.float32)
    listed = word_vectors.checked(WORDS, vectors, vectors.mean(axis=0), "words")
    word_vectors.write(folder / word_vectors.FILE, listed)
    return str(folder)


@pytest.fixture(scope="module")
def sweep(world, segmenter, embedder, tmp_path_factory):
    """Two units of the world, with parts, shown to the embedder too."""
    out = str(tmp_path_factory.mktemp("swept") / "sweep")
    flags = [*SWEEP, "--units", "3", "1", "5", "--segmenter", segmenter, "--picture-units", "0"]
    flags += ["--embedder", embedder]
    do("sweep", *world.linked, *flags, "--batch-size", "8", "--out", out)
    return out


@pytest.fixture(scope="module")
def named(sweep, embedder, tmp_path_factory):
    out = str(tmp_path_factory.mktemp("named") / "names")
    do("name", "--sweep", sweep, "--embedder", embedder, "--parts", "left", *FLAGS, "--out", out)
    return out


def test_changes_are_of_the_sweeps_pictures(world, segmenter, sweep, embedder, named):
    made = artifacts.Artifact(Path(sweep), "sweep")
    data, found = made.open(), linkjax.open(named)
    generator, network = linkjax.load(world.generator), linkjax.load(embedder)
    pairs = linkjax.open(world.pairs)
    unit, sample = int(np.flatnonzero(made.read("flag") == 0)[0]), 2
    same = (pairs["label"] == made.read("label")[sample]) & (pairs["sample_id"] == made.read("sample_id")[sample])
    row = int(np.flatnonzero(same)[0])
    w, r = pairs["w"].values[row], pairs["r"].values[row]
    number = int(made.read("unit")[unit])
    asked = read_asked(made, data)[sample, unit, [0, -1]]
    step = np.asarray(linkjax.load(world.link).steer)[number]
    images = generator.synthesis(w + (asked[:, None] - r[number]) * step)
    low, high = interventional.unit_rows(np.asarray(network(network.preprocess(linkjax.to_uint8(images))).penultimate))
    change = found["change"].sel(part="image").values[unit, sample]
    np.testing.assert_allclose(change, high - low, atol=2e-5)
    mean = found["change"].sel(part="image").values[unit].mean(axis=0)
    listed = word_vectors.read(Path(embedder) / word_vectors.FILE)
    toward = interventional.word_directions(listed.vectors, listed.neutral)
    expected = toward @ (mean / np.linalg.norm(mean))
    np.testing.assert_allclose(found["cosine"].sel(part="image").values[unit], expected, atol=1e-5)
    nearest = int(found["nearest"].sel(part="image", end="raises").values[unit])
    assert nearest in range(len(WORDS))
    rises, p = found["rises"].values == 1, found["p"].sel(part="image").values
    fidelity, error = (made.read(name) for name in ("fidelity", "fidelity_se"))
    np.testing.assert_array_equal(rises, (fidelity - 1.96 * error >= 0.5) & (made.read("flag") == 0))
    assert (np.isfinite(p) == rises[:, None]).all() and (p[rises] > 0).all()
    assert (found["name"].values[~rises] == "").all()


def test_names_need_no_pictures_where_the_sweep_showed_its_own_to_the_embedder(
    sweep, embedder, named, tmp_path, monkeypatch
):
    def drawn(*_):
        raise AssertionError("pictures were drawn")

    monkeypatch.setattr(naming.Naming, "_draw_changes", drawn)
    do("name", "--sweep", sweep, "--embedder", embedder, "--images", "0", *FLAGS[2:], "--out", str(tmp_path / "names"))
    found, expected = linkjax.open(tmp_path / "names"), linkjax.open(named).sel(part=["image"])
    for name in ("change", "random_change"):
        np.testing.assert_allclose(found[name].values, expected[name].values, atol=2e-5)
    assert np.isfinite(found["change"].values).any() and "seen_name" not in found
    np.testing.assert_array_equal(found["nearest"].values, expected["nearest"].values)


def test_batches_devices_and_a_stop_in_the_middle_change_no_bit(sweep, embedder, named, tmp_path, killed_after, capsys):
    again = ["name", "--sweep", sweep, "--embedder", embedder, "--parts", "left", *FLAGS[:-1]]
    meshes.use(1)
    try:
        do(*again, "3", "--out", str(tmp_path / "one"))
    finally:
        meshes.use(2)
    for batches, of_images in ((3, False), (2, True)):  # among the pairs of pictures, and among pictures of the pairs
        killed_after(batches)
        assert main([*again, "2", "--out", str(tmp_path / "two")]) == 1
        assert any(name.startswith("image ") for name in chunks_done(tmp_path / "two")) is of_images
    killed_after(10**6)
    do(*again, "8", "--out", str(tmp_path / "two"))
    for other in ("one", "two"):
        assert_same_bits(tmp_path / other, named, "names")


def test_the_table_says_what_the_arrays_say(named):
    found = linkjax.open(named)
    with open(Path(named) / "names.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    live = [row["unit"] for row in rows if row["part"] == "image"]
    assert [row["part"] for row in rows[:2]] == ["image", "left"]
    for unit in live:
        place = list(found["unit"].values).index(int(unit))
        row = next(each for each in rows if each["unit"] == unit)
        assert row["raises"] == str(found["name"].values[place, 0, 0])
        assert row["nearest words"].split("; ")[0] == WORDS[int(found["nearest"].values[place, 0, 0])]
    assert set(np.unique(found["verdict"].values)) <= set(range(5))
    assert found["seen_score"].dims == ("unit", "word")
    assert linkjax.open(named).attrs["summary"]["words"] == len(WORDS)


def test_readouts_are_named_too(world, embedder, tmp_path):
    flags = [*SWEEP[:4], "--random-directions", "4", "--picture-units", "0", "--readouts", "0:1", "2:3"]
    do("sweep", *world.linked, *flags, "--batch-size", "8", "--out", str(tmp_path / "sweep"))
    do("name", "--sweep", str(tmp_path / "sweep"), "--embedder", embedder, *FLAGS, "--out", str(tmp_path / "names"))
    found = linkjax.open(tmp_path / "names")
    assert list(found["unit_name"].values) == list(linkjax.open(tmp_path / "sweep")["unit_name"].values)


def test_bad_input_is_one_sentence(world, sweep, embedder, tmp_path, capsys):
    def said(*flags):
        code = main(["name", "--sweep", sweep, *flags, "--out", str(tmp_path / "out")])
        lines = capsys.readouterr().err.strip().splitlines()
        assert code == 2 and len(lines) == 1, lines
        return lines[0]

    assert "expected a folder of linkjax convert embedder" in said("--embedder", world.classifier)
    assert "parts: expected some of" in said("--embedder", embedder, "--parts", "nose")
    assert "expected at most the sweep's 1" in said("--embedder", embedder, "--samples", "9")
    (tmp_path / "bad.npz").write_bytes(b"PK nothing")
    assert "damaged" in said("--embedder", embedder, "--words", str(tmp_path / "bad.npz"))
    np.savez(tmp_path / "wide.npz", word=np.array(["a", "b"]), vector=np.ones((2, 5), np.float32))
    assert "words have vectors of 5 numbers" in said("--embedder", embedder, "--words", str(tmp_path / "wide.npz"))
    np.savez(tmp_path / "twice.npz", word=np.array(["a", "a"]), vector=np.ones((2, 16), np.float32))
    assert "a twice" in said("--embedder", embedder, "--words", str(tmp_path / "twice.npz"))
    np.savez(tmp_path / "pickle.npz", word=np.array(["a", None], object), vector=np.ones((2, 16), np.float32))
    assert "damaged" in said("--embedder", embedder, "--words", str(tmp_path / "pickle.npz"))


def test_a_part_is_cut_out_by_its_box():
    pixels = np.zeros((1, 16, 16, 3), np.uint8)
    pixels[0, 4:8, 10:14] = (200, 100, 50)
    labels = (pixels[..., 0] > 0).astype(np.int32)
    box = views.part_box(labels == 1)
    assert (float(box.side[0]), float(box.top[0]), float(box.left[0])) == (8.0, 2.0, 8.0)
    found = np.asarray(views.cut_out(pixels, labels, 1, box))[0]
    assert (found[6:10, 6:10] == (200, 100, 50)).all()  # twice as large, in the middle
    assert (found[:3] == views.GREY).all() and (found[:, -3:] == views.GREY).all()
