"""What is linear in r is swept, tested and shown as units are, by its name."""

import zipfile

import numpy as np
import pytest

import linkjax
from linkjax.analysis.links import steering
from linkjax.analysis.units import readouts as solving
from linkjax.atlas import pictures
from linkjax.cli import main
from linkjax.errors import InputError
from linkjax.outside import readout_files
from linkjax.stages.readouts import resolve
from tests import tolerances
from tests.stages.conftest import SELECT, SWEEP, do

UNITS = 16  # of the small classifier


def _live(world):
    return [int(unit) for unit in np.flatnonzero(linkjax.open(world.sweep)["flag"].values == 0)]


@pytest.fixture(scope="module")
def swept(world, tmp_path_factory):
    """A sweep of two logits' difference, a unit, two together, a probe, and an autoencoder's latent."""
    folder = tmp_path_factory.mktemp("readouts")
    rng = np.random.default_rng(4)
    rows = np.abs(rng.normal(size=(2, UNITS))).astype(np.float32)
    rows[1] *= -1  # behind its ReLU for the most part
    np.savez(folder / "latents.npz", encoder=rows, decoder=rows + 0.1, encoder_bias=np.ones(2), names=["one", "two"])
    a, b = _live(world)[:2]
    words = ["0:1", f"u{a}", f"u{a}+u{b}", str(folder / "latents.npz")]
    do("sweep", *world.linked, *SWEEP, "--readouts", *words, "--out", folder / "sweep")
    return folder, linkjax.open(folder / "sweep"), rows, (a, b)


def test_readouts_are_raised_and_read_in_the_place_of_units(world, swept):
    _, found, rows, (a, b) = swept
    assert found["unit_name"].values.tolist() == ["0:1", f"u{a}", f"u{a}+u{b}", "one", "two"]
    assert found.attrs["summary"]["readouts"] == 5 and 3 <= found.attrs["summary"]["readouts_rank"] <= 5
    generator, classifier, link = (linkjax.load(path) for path in (world.generator, world.classifier, world.link))
    pairs = linkjax.open(world.pairs)
    sample = int(np.flatnonzero((found["value"][:, 3, 0] != found["value"][:, 3, 2]).values)[0])
    same = pairs["sample_id"].values == found["sample_id"].values[sample]
    [row, *_] = np.flatnonzero(same & (pairs["label"].values == found["label"].values[sample]))
    w, r = (pairs[name].values[row : row + 1] for name in ("w", "r"))
    head = np.asarray(classifier.head_kernel)
    std = np.asarray(link.unit_std)
    together = np.zeros(UNITS, np.float32)
    together[[a, b]] = 1 / std[[a, b]]
    weights = np.stack([head[:, 0] - head[:, 1], np.eye(UNITS)[a], together, *rows], axis=1)
    wanted = np.concatenate([np.zeros((UNITS, 3)), (rows + 0.1).T], axis=1)
    steps = solving.directions(steering.of_link(link), link.spec.steer_lambda, weights, wanted)
    np.testing.assert_allclose(found["steer"], np.nan_to_num(steps), rtol=1e-4, atol=1e-6)
    for unit, read in (
        (1, lambda x: x[:, a]),
        (2, lambda x: x @ together),
        (3, lambda x: np.maximum(x @ rows[0] + 1, 0)),
    ):
        own = read(r)
        np.testing.assert_allclose(found["value"][sample, unit, 1], own[0], rtol=1e-5)
        moved = w + (found["value"].values[sample, unit, 2] - own[0]) * np.nan_to_num(steps)[unit].astype(np.float32)
        again = np.asarray(classifier(classifier.preprocess(generator.synthesis(moved))).penultimate)
        largest = np.nanmax(np.abs(found["obtained"].values[:, unit]))
        assert abs(found["obtained"].values[sample, unit, 2] - read(again)[0]) < tolerances.STAGE_R * largest


def test_a_unit_as_a_readout_does_what_the_unit_does(world, swept):
    _, found, _, (a, _) = swept
    units, one = linkjax.open(world.sweep), found.sel(unit_name=f"u{a}")
    for name in ("value", "obtained", "fidelity", "effect", "measured"):
        expected = units[name].sel(unit=a).values
        largest = np.nanmax(np.abs(expected))
        np.testing.assert_allclose(one[name].values, expected, rtol=1e-3, atol=2e-3 * largest, err_msg=name)


def test_a_selection_and_the_page_tell_readouts_by_name(world, swept, tmp_path):
    folder, found, _, (a, b) = swept
    do("select", "--sweep", folder / "sweep", *SELECT, "--fdr", "0.9", "--out", folder / "selection")
    stored = linkjax.open(folder / "selection")
    assert stored["unit_name"].values.tolist() == found["unit_name"].values.tolist()
    table = linkjax.select(stored, f"fidelity > {float(np.nanmin(stored['fidelity'])) - 1}", fdr=0.9)
    assert set(table["unit_name"].values) <= set(found["unit_name"].values) and table.sizes["row"]
    assert "unit_name" in (folder / "selection" / "selected.csv").read_text().splitlines()[0]
    do("report", "--sweep", folder / "sweep", "--selection", folder / "selection", "--out", folder / "page")
    page = next((folder / "page").glob("*.html")).read_text()
    assert f"u{a}+u{b}" in page and "independent directions in " in page
    in_memory = linkjax.select(found, None, fdr=0.9, draws=50, flips=200, against=("sign",))
    assert set(in_memory["unit_name"].values) <= set(found["unit_name"].values)


def test_the_atlas_shows_readouts_by_name_and_draws_them_in_the_layers_of_the_sweep(world, tmp_path, monkeypatch):
    drawn, store = {}, pictures.store

    def watched(folder, name, key, images, tile, quality):
        drawn[name] = images.astype(int)
        store(folder, name, key, images, tile, quality)

    monkeypatch.setattr(pictures, "store", watched)
    unit = _live(world)[0]
    words = ["--readouts", "0:1", f"u{unit}", "--layers", "0-2", "--random-directions", "0"]
    flags = [flag for flag in SWEEP if flag not in ("--random-directions", "4")]
    do("sweep", *world.linked, *flags, *words, "--out", tmp_path / "run" / "sweep")
    do("atlas", tmp_path / "run", "--out", tmp_path / "atlas", "--samples", "2", "--tile", "16")
    stored = linkjax.open(tmp_path / "run" / "sweep")["picture"].values
    assert set(drawn) == {"strips/0", "strips/1"}  # no samples in which they are highest
    for place in (0, 1):
        assert np.abs(drawn[f"strips/{place}"] - stored[place]).max() <= 1
    index = (tmp_path / "atlas" / "data" / "index.js").read_text()
    assert '"names":["' in index and f'"u{unit}"]' in index and '"flips"' not in index


def test_a_sweep_of_readouts_in_memory_is_the_stored_one(world, swept):
    folder, stored, _, (a, b) = swept
    study = linkjax.Study(*(linkjax.load(path) for path in (world.generator, world.classifier, world.link)))
    words = ["0:1", f"u{a}", f"u{a}+u{b}", str(folder / "latents.npz")]
    found = linkjax.sweep(
        study, linkjax.anchors(linkjax.open(world.pairs), each=1), readouts=words, steps=3, picture_units=0,
        random_directions=4,
    )  # fmt: skip
    for name in ("value", "obtained", "effect", "random_slope", "steer", "r2"):
        np.testing.assert_array_equal(found[name].values, stored[name].values, err_msg=name)


def test_readouts_are_screened_as_units_are(world, screening, segmenter, swept, capsys, tmp_path):
    _, _, _, (a, _) = swept
    models = (linkjax.load(path) for path in (world.generator, world.classifier, world.link, segmenter))
    anchors = linkjax.anchors(linkjax.open(world.pairs), each=2)
    found = linkjax.screen(linkjax.Study(*models), anchors, readouts=["0:1", f"u{a}"], batch_size=8)
    expected = linkjax.open(screening)["effect"].values[a]
    largest = np.nanmax(np.abs(expected))
    np.testing.assert_allclose(found.sel(unit_name=f"u{a}")["effect"].values, expected, rtol=1e-3, atol=1e-3 * largest)
    flags = ["--segmenter", segmenter, "--screening", screening, "--readouts", "0:1", "--out", str(tmp_path / "no")]
    capsys.readouterr()
    assert main(["sweep", *world.linked, *flags]) == 2
    assert "give both the same --readouts" in capsys.readouterr().err


def _npz(folder, **arrays):
    np.savez(folder / "rows.npz", **arrays)
    return str(folder / "rows.npz")


def test_what_cannot_be_read_is_refused_in_one_sentence(world, tmp_path, capsys):
    good = np.ones((2, UNITS), np.float32)
    nan, zero = good.copy(), good.copy()
    nan[1, 3], zero[0] = np.nan, 0
    link, classifier = linkjax.load(world.link), linkjax.load(world.classifier)
    for arrays, said in (
        ({"readouts": good.T}, "expected readouts as numbers .* transpose it"),
        ({"readouts": nan}, "not finite in row 1"),
        ({"readouts": zero}, "row 0 of readouts is zero everywhere"),
        ({"readouts": good, "names": ["same", "same"]}, "a name for each, found 'same' 2 times"),
        ({"readouts": good, "names": ["one"]}, "expected 2 names"),
        ({"rows": good}, "expected readouts, or encoder and decoder, found rows"),
        ({"encoder": good}, "expected a decoder"),
        ({"encoder": good, "decoder": good[:1]}, "as many rows of decoder"),
        ({"readouts": good, "scale": good}, "found scale too"),
        ({"readouts": np.array([None])}, "expected numbers or text"),
    ):
        with pytest.raises(InputError, match=said):
            resolve([_npz(tmp_path, **arrays)], classifier, link, {})
    for word, said in (
        ("u99", "units from u0 to u15"), ("0:99", "classes from 0 to 4"), ("0:cat", "found 'cat'; known are dog"),
        ("0:0", "two different classes"), ("a:b:c", "expected a file"), ("no.npz", "cannot read these readouts"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=said):
            resolve([word], classifier, link, {3: "dog"})
    with pytest.raises(InputError, match="found 'dog' 2 times"):
        resolve(["dog", "logits"], classifier, link, {2: "dog"})
    capsys.readouterr()
    for flags, said in (
        (["--readouts", "0:1", "--directions", "kernel"], "leave --directions kernel out"),
        (["--readouts", "0:1", "--mode", "absolute"], "leave --mode absolute out"),
        (["--readouts", "cat"], "expected a class of the classifier"),
        (["--readouts", "0:1", "--units", "3"], "units: expected numbers from 0 to 0"),
    ):
        assert main(["sweep", *world.linked, *flags, "--out", str(tmp_path / "no")]) == 2
        told = capsys.readouterr().err
        assert said in told and told.count("\n") == 1 and not (tmp_path / "no").exists()


def test_files_that_lie_about_their_size_are_refused(tmp_path):
    path = tmp_path / "rows.npz"
    with zipfile.ZipFile(path, "w") as archive:
        header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 16), }".ljust(117) + b"\n"
        archive.writestr("readouts.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(InputError, match="shorter than its shape"):
        readout_files.read(str(path), UNITS)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(InputError, match="expected arrays saved by"):
        readout_files.read(str(path), UNITS)
    (tmp_path / "rows.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(InputError, match=r"rows\.safetensors: "):
        readout_files.read(str(tmp_path / "rows.safetensors"), UNITS)
