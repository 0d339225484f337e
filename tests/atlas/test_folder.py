import base64
import json
import os
import shutil

import numpy as np
import pytest

from linkjax import cli
from linkjax.analysis.units.effect_map import effect_map
from linkjax.atlas import examples, photographs, pictures, run, shards
from linkjax.atlas.read import Results, find
from linkjax.storage import artifacts, manifest
from scripts.atlas import make_run as make_atlas_run
from tests.atlas.conftest import SHAPE, UNITS


def content(path):
    text = path.read_text(encoding="ascii")
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


def unpack(packed):
    kinds = {"f4": "<f4", "f2": "<f2", "i4": "<i4", "i2": "<i2", "u1": "|u1"}
    return np.frombuffer(base64.b64decode(packed["d"]), kinds[packed["t"]]).reshape(packed["s"])


def again(made, out, *flags):
    return cli.main(["atlas", str(made / "run"), "--out", str(out), "--tile", "16", *flags])


@pytest.fixture
def swept(made, tmp_path):
    """The run without its counterfactuals, in a folder of its own."""
    shutil.copytree(made / "run", tmp_path / "swept" / "run", ignore=shutil.ignore_patterns("counterfactual"))
    return tmp_path / "swept"


def test_every_number_of_the_selection_is_in_a_shard(made):
    data = made / "atlas" / "data"
    table = Results({role: made / "run" / role for role in ("sweep", "selection")}).table
    known = unpack(content(data / "index.js")["known"])
    assert set(range(18)) - set(known.tolist()) == {11, 17}  # parts have no chroma
    for name in ("effect", "low", "high", "q"):
        expected = table[name].values.reshape(UNITS, -1)
        assert np.isnan(np.delete(expected, known, axis=1)).all()
        files = [data / "effects" / f"{place // 6}-{place % 6}.js" for place in known]
        by_place = np.stack([unpack(content(file)[name]) for file in files], axis=1)
        by_unit = np.concatenate([unpack(content(data / "units" / f"{i}.js")[name]) for i in range(4)])
        np.testing.assert_array_equal(by_place, expected[:, known])
        np.testing.assert_array_equal(by_unit, expected[:, known])


def test_pictures_that_are_there_are_not_drawn_again(made, tmp_path):
    """The made-up run has no models: had anything to be drawn, they would be missed."""
    assert again(made, tmp_path / "again", "--pictures-from", str(made / "atlas")) == 0
    for unit in (0, UNITS - 2):
        ours, theirs = (folder / "data" / "strips" / f"{unit}.js" for folder in (tmp_path / "again", made / "atlas"))
        assert ours.read_bytes() == theirs.read_bytes()
    assert not (made / "atlas" / "data" / "strips" / "49.js").exists()  # not swept


def test_pictures_of_other_settings_are_not_taken(made, tmp_path, capsys):
    assert again(made, tmp_path / "again", "--pictures-from", str(made / "atlas"), "--quality", "70") == 2
    assert "give --generator, or --no-pictures" in capsys.readouterr().err


def test_a_stopped_atlas_goes_on_and_a_finished_one_is_not_written_over(swept, tmp_path, capsys):
    config = run.Config(run=str(swept / "run"), out=str(tmp_path / "atlas"), tile=16)
    make_atlas_run.draw_pictures(tmp_path / "atlas", config, 32)
    (tmp_path / "atlas.partial" / "data" / "strips" / "7.js").write_text('__shard("strips/7",{"key":"')  # cut short
    assert again(swept, tmp_path / "atlas") == 2  # there is something to draw, and nothing to draw it with
    results = Results(find(swept / "run", {}))
    planned = run.plan(config, results)
    missing = pictures.missing(tmp_path / "atlas.partial" / "data", planned, None)
    assert missing.tolist() == [7]
    make_atlas_run.draw_pictures(tmp_path / "atlas", config, 32)
    assert again(swept, tmp_path / "atlas") == 0
    assert not (tmp_path / "atlas.partial").exists() and not (tmp_path / "atlas" / "run.json").exists()
    assert again(swept, tmp_path / "atlas") == 2
    assert "exists already" in capsys.readouterr().err


def test_a_sweep_alone_is_shown_as_untested(made, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.copytree(made / "run" / "sweep", tmp_path / "run" / "sweep")
    assert cli.main(["atlas", str(tmp_path / "run"), "--out", str(tmp_path / "atlas"), "--no-pictures"]) == 0
    index = content(tmp_path / "atlas" / "data" / "index.js")
    assert index["tested"] is False and index["pictures"] is None
    assert not unpack(index["counts"]).any()


def test_of_several_classifiers_in_a_run_the_results_of_the_sweep_that_was_given_are_taken(made, tmp_path):
    pairs = manifest.read(made / "run" / "sweep")["inputs"]["pairs"]
    for name in ("sweep", "selection", "counterfactual"):
        for copy, changed in ((f"mine-{name}", {}), (name, {"id": name})):
            shutil.copytree(made / "run" / name, tmp_path / copy)
            told = manifest.read(tmp_path / copy)
            inputs = {"sweep": "sweep", "pairs": "others"} if changed else {**told["inputs"], "pairs": pairs}
            manifest.write(tmp_path / copy, {**told, **changed, "inputs": inputs})
    assert find(tmp_path, {})["sweep"].name == "sweep"
    found = find(tmp_path, {"sweep": str(tmp_path / "mine-sweep")})
    assert {role: path.name for role, path in found.items()} == {
        role: f"mine-{role}" for role in ("sweep", "selection", "counterfactual")
    }


@pytest.mark.parametrize("case, words", [
    ("nothing", "expected a folder with finished results in it, found nothing there"),
    ("empty", "run linkjax sweep, or give --sweep"),
    ("stage", "found a sweep; give the folder around it"),
    ("two", "expected one selection in it, found first, second; choose with --selection"),
    ("other", "is of another sweep"),
])  # fmt: skip
def test_what_cannot_be_shown_is_named(made, tmp_path, capsys, case, words):
    folder = tmp_path / "run"
    if case == "empty":
        folder.mkdir()
    elif case == "stage":
        folder = made / "run" / "sweep"
    elif case in ("two", "other"):
        shutil.copytree(made / "run", folder, ignore=shutil.ignore_patterns("*-kernel"))
        shutil.move(folder / "selection", folder / "first")
    if case == "two":
        shutil.copytree(folder / "first", folder / "second")
    if case == "other":
        told = manifest.read(folder / "first")
        manifest.write(folder / "first", {**told, "inputs": {**told["inputs"], "sweep": "0" * 64}})
    assert cli.main(["atlas", str(folder), "--out", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_photographs_that_were_moved_or_changed_are_not_shown(made, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    for name in ("pairs", "sweep", "encoding"):
        (tmp_path / "run" / name).symlink_to(made / "run" / name)
    results = Results(find(tmp_path / "run", {}))
    found = photographs.find(tmp_path / "run", results, None)
    known = photographs.highest(found, results, 2)
    assert known.highest.rows.shape == (UNITS, 2) and 0 not in known.highest.rows  # the first could not be read
    assert (known.highest.rows[1] == -1).all() and photographs.of_units(known, slice(1, 2)) == [[]]
    file = next((made / "photographs").rglob("*.png"))
    before = file.stat()
    os.utime(file, (1, 1))
    assert photographs.highest(found, results, 2) is None
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "they were changed since" in capsys.readouterr().out


def test_a_sweep_along_the_kernel_is_told_beside(made, tmp_path, capsys):
    index = content(made / "atlas" / "data" / "index.js")
    assert index["directions"] == "steer" and index["beside"]["directions"] == "kernel"
    units = unpack(index["beside"]["unit"]).tolist()
    assert units == list(range(8)) and (made / "atlas" / "data" / "beside" / "strips" / "3.js").is_file()
    kernel = Results({"sweep": made / "run" / "sweep-kernel", "selection": made / "run" / "selection-kernel"})
    one, known = content(made / "atlas" / "data" / "beside" / "units" / "3.js"), unpack(index["known"])
    for name in ("effect", "q"):
        np.testing.assert_array_equal(unpack(one[name]), kernel.table[name].values[3].ravel()[known])
    assert one["fidelity"] == pytest.approx(float(kernel.table["fidelity"].values[3]), rel=1e-3)
    given = ("--no-pictures", "--beside", str(made / "run" / "sweep"))  # along the same directions
    assert again(made, tmp_path / "again", *given) == 2
    assert "along other directions than steer, found another" in capsys.readouterr().err


def test_partners_in_other_classifiers_are_those_of_the_comparison(made, tmp_path, capsys):
    found = content(made / "atlas" / "data" / "index.js")["compared"]["vit"]
    stored = artifacts.Artifact(made / "run" / "compared", "side_by_side")
    for name in ("partner", "agreement", "low", "high", "kind", "mutual", "used"):
        np.testing.assert_array_equal(unpack(found[name]), stored.read(name)[:UNITS])
    shutil.copytree(made / "run" / "compared", tmp_path / "other")
    told = manifest.read(tmp_path / "other")
    manifest.write(tmp_path / "other", {**told, "inputs": {"pairs": "0" * 64, "other_pairs_1": "1" * 64}})
    assert again(made, tmp_path / "again", "--no-pictures", "--compared", str(tmp_path / "other")) == 2
    assert "found one of other pairs" in capsys.readouterr().err


def test_examples_are_the_samples_in_which_a_unit_is_highest(made):
    pairs = artifacts.Artifact(made / "run" / "pairs", "pairs")
    r, label = (pairs.read(name) for name in ("r", "label"))
    found = examples.highest(Results(find(made / "run", {})), 4)
    order = np.argsort(-r, axis=0, kind="stable")[:4].T
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_array_equal(found.value, np.take_along_axis(r.T, order, axis=1))
    told = content(made / "atlas" / "data" / "units" / "0.js")["examples"][3]
    assert [each for each, _ in told] == label[order[3]].tolist()
    assert pictures.read_sheet(made / "atlas" / "data", examples.name(3)).size == (4 * 16, 16)


def test_names_cannot_break_out_of_a_shard():
    text = shards.text("index", {"name": '</script>"\u2028\\'})
    assert text.isascii() and content_of(text)["name"] == '</script>"\u2028\\'


def content_of(text):
    return json.loads(text[text.index("{") : text.rindex("}") + 1])


def test_halves_keep_three_digits_and_never_become_infinite():
    values = np.array([1.0, -3.14159, 1e6, 1e-4, np.nan])
    found = unpack(shards.pack(values, "f2")).astype(float)
    np.testing.assert_allclose(found[[0, 1, 3]], values[[0, 1, 3]], rtol=1e-3)
    assert found[2] == 65504 and np.isnan(found[4])


def test_a_unit_is_told_by_class(made):
    of = made / "run" / "pairs"
    pairs = artifacts.Artifact(of, "pairs")
    r, label = (pairs.read(name) for name in ("r", "label"))
    found = np.concatenate([unpack(content(made / "atlas/data/units" / f"{i}.js")["activations"]) for i in range(4)])
    expected = np.quantile(r[label == 2][:, 5], (0.1, 0.5, 0.9))
    np.testing.assert_allclose(found[5, 2], expected, rtol=1e-6)


def test_the_map_puts_like_units_together_and_says_what_it_shows():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 40))
    effects = np.concatenate([one + rng.normal(size=(5, 40)) * 0.01, other + rng.normal(size=(5, 40)) * 0.01])
    effects[3, :2] = np.nan
    found = effect_map(np.concatenate([effects, np.full((1, 40), np.nan)]))
    assert np.isnan(found.places[-1]).all()
    within = np.linalg.norm(np.diff(found.places[:3], axis=0), axis=1).max()
    assert within < 0.05 * np.linalg.norm(found.places[0] - found.places[9])
    assert found.share[0] > 0.95 and found.share.sum() <= 1
    assert np.abs(found.places[:-1]).max() == found.places[:-1, 0].max()  # the sign is settled
    np.testing.assert_array_equal(effect_map(np.zeros((3, 4))).share, 0)


def test_parts_and_metrics_have_words(made):
    index = content(made / "atlas" / "data" / "index.js")
    assert [part["id"] for part in index["parts"]] == ["image", "ear", "hind_leg"]
    assert [(metric["up"], metric["down"]) for metric in index["metrics"]][2:5] == [
        ("larger", "smaller"), ("lower in the image", "higher in the image"), ("longer", "shorter"),
    ]  # fmt: skip
    assert index["class_names"]["2"] == SHAPE["classes"][2]
