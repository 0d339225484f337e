import dataclasses
import errno
import json
import os
import shutil

import numpy as np
import pytest
import xarray as xr
import zarr

from linkjax.errors import InputError
from linkjax.storage import artifacts, manifest


@dataclasses.dataclass(frozen=True)
class Config:
    out: str
    n: int = 3
    batch_size: int = 2


WEIGHTS = {"generator": "a" * 64}


def writer(path, n=3, **options):
    return artifacts.Writer(path, "pairs", Config(str(path), n, **options), WEIGHTS, free=("batch_size",))


def make(path, n=3):
    with writer(path, n) as out:
        out.array("w", ("sample", "w"), (n, 2), np.float32, (1, 2))[...] = np.arange(n * 2).reshape(n, 2)
        out.put("part", ("part",), ["ear", "tail"])
        out.finish({"acceptance": 0.5})
    return artifacts.Artifact(path, "pairs")


def test_what_is_written_is_read_with_labels_manifest_and_settings(tmp_path):
    made = make(tmp_path / "run" / "pairs")
    data = made.open()
    assert data["w"].dims == ("sample", "w")
    np.testing.assert_array_equal(made.read("w"), np.arange(6).reshape(3, 2))
    assert artifacts.names(data, "part") == ["ear", "tail"]
    assert made.summary == {"acceptance": 0.5}
    assert made.manifest["weights"] == WEIGHTS
    assert made.manifest["config"]["n"] == 3
    assert "jax" in made.manifest["versions"]
    assert "n = 3" in (made.path / "config.toml").read_text()
    assert not manifest.partial(made.path).exists()


@pytest.mark.parametrize("name", ["a::b", "file:::x", "[1,2]", "a*?", "{a,b}", "back\\slash", "a%20b#c", "連 é"])
def test_arrays_under_any_name_are_read_again(tmp_path, name):
    for path in (tmp_path / name, tmp_path / f"parent {name}" / name):
        made = make(path)
        np.testing.assert_array_equal(made.read("w"), np.arange(6).reshape(3, 2))


def test_a_killed_run_leaves_nothing_that_is_taken_for_whole_and_is_resumed(tmp_path):
    path = tmp_path / "pairs"
    with pytest.raises(KeyboardInterrupt), writer(path) as out:
        out.array("w", ("sample", "w"), (3, 2), np.float32, (1, 2))[0] = 7.0
        out.mark("first", [1, 2])
        raise KeyboardInterrupt
    assert not path.exists()
    with pytest.raises(InputError, match="unfinished"):
        artifacts.Artifact(path, "pairs")
    with open(manifest.partial(path) / "done.jsonl", "a") as file:
        file.write('["second", tr')  # cut short by the kill
    with writer(path, batch_size=1) as out:
        assert out.done("first") == [1, 2]
        assert out.done("second") is None
        assert out.array("w", ("sample", "w"), (3, 2), np.float32, (1, 2))[0].tolist() == [7.0, 7.0]
        out.finish({})
    assert artifacts.Artifact(path, "pairs").manifest["config"]["batch_size"] == 1


def test_an_unfinished_run_with_other_settings_is_refused_and_kept(tmp_path):
    path = tmp_path / "pairs"
    with writer(path, n=3) as out:
        out.mark("first")
    with pytest.raises(InputError, match="n: 3 there, 4 now"):
        writer(path, n=4)
    with writer(path, n=3) as out:
        assert out.done("first")


def test_a_second_run_into_the_same_folder_is_refused(tmp_path):
    path = tmp_path / "pairs"
    with writer(path), pytest.raises(InputError, match="another run is writing it now"):
        writer(path)


def test_a_finished_folder_is_never_overwritten(tmp_path):
    made = make(tmp_path / "pairs")
    with pytest.raises(InputError, match="exists already"):
        writer(made.path)


def test_a_damaged_chunk_is_found_when_read(tmp_path):
    made = make(tmp_path / "pairs")
    chunk = made.path / artifacts.DATA / "w" / "c" / "1" / "0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(bytes(content))
    with pytest.raises(InputError, match="'w' is damaged"):
        made.read("w")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "damaged"),
        ("[]", "another file"),
        (json.dumps({"format": "linkjax", "format_version": 99, "kind": "pairs"}), "newer"),
        (json.dumps({"format": "linkjax", "format_version": 1, "kind": "sweep"}), "expected pairs, found sweep"),
    ],
)
def test_a_manifest_that_is_not_right_is_named(tmp_path, content, said):
    made = make(tmp_path / "pairs")
    (made.path / manifest.FILE).write_text(content)
    with pytest.raises(InputError, match=said):
        artifacts.Artifact(made.path, "pairs")


def test_other_weights_are_refused(tmp_path):
    made = make(tmp_path / "pairs")
    artifacts.check_weights(made.manifest, "generator", "a" * 64, "the pairs")
    with pytest.raises(InputError, match="made with another generator"):
        artifacts.check_weights(made.manifest, "generator", "b" * 64, "the pairs")


def unfinished(path):
    """A run that marked two chunks and was killed."""
    with writer(path) as out:
        out.array("w", ("sample", "w"), (3, 2), np.float32, (1, 2))[:2] = 7.0
        out.mark("first", [1, 2])
        out.mark("second", 0.1)
    return manifest.partial(path)


def change(file, old, new):
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("done.jsonl", b"[1, 2]", b"[1, 3]", "line 1"),  # JSON still, but not what was noted
        ("done.jsonl", b'"second"', b"second", "line 2"),
        ("run.json", b"pairs", b"sweep", "kind: sweep there, pairs now"),
        ("run.json", b"{", b"", "found a damaged file"),
        ("run.json", b"{", b"[", "found a damaged file"),
    ],
)
def test_damaged_notes_of_an_unfinished_run_are_named_and_never_used(tmp_path, name, old, new, said):
    partial = unfinished(tmp_path / "pairs")
    change(partial / name, old, new)
    before = {file: file.read_bytes() for file in partial.rglob("*") if file.is_file()}
    for _ in range(2):  # refused again: the first try has not mended, or lost, anything
        with pytest.raises(InputError, match=said) as error:
            writer(tmp_path / "pairs")
        assert "remove" in str(error.value)
    assert {file: file.read_bytes() for file in partial.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("moment", ["manifest", "rename", "notes"])
def test_a_run_killed_while_it_finishes_has_nothing_to_do_again(tmp_path, monkeypatch, moment):
    path = tmp_path / "pairs"
    unfinished(path)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with writer(path) as out, monkeypatch.context() as patch:
        target = {"manifest": (manifest, "write"), "rename": (os, "rename"), "notes": (os, "unlink")}[moment]
        patch.setattr(*target, killed)
        with pytest.raises(KeyboardInterrupt):
            out.finish({})
    if moment == "notes":  # it had its name already
        assert artifacts.Artifact(path, "pairs").summary == {}
        return
    assert not path.exists()
    with writer(path) as out:
        assert out.done("first") == [1, 2] and out.done("second") == 0.1
        out.finish({})
    assert {file.name for file in path.iterdir()} == {"data.zarr", "manifest.json", "config.toml"}


def test_a_note_without_room_on_the_disk_leaves_the_notes_as_they_were(tmp_path, monkeypatch):
    path = tmp_path / "pairs"
    unfinished(path)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with writer(path) as out, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            out.mark("third")
        assert out.done("third") is None
    with writer(path) as out:
        assert out.done("second") == 0.1 and out.done("third") is None
        out.mark("third")
    with writer(path) as out:
        assert out.done("third") is True


def test_what_a_kill_left_of_a_chunk_is_removed_and_the_chunk_is_as_before(tmp_path):
    """zarr writes a chunk beside the old one and renames it: a kill leaves the beginning of the new one."""
    chunk = unfinished(tmp_path / "pairs") / artifacts.DATA / "w" / "c" / "0" / "0"
    half = chunk.with_suffix(".0123456789abcdef.partial")
    half.write_bytes(chunk.read_bytes()[:10])
    with writer(tmp_path / "pairs") as out:
        assert not half.exists()
        np.testing.assert_array_equal(out.group["w"][...], [[7, 7], [7, 7], [np.nan, np.nan]])


def test_a_damaged_chunk_of_an_unfinished_run_ends_it_in_one_sentence(tmp_path):
    chunk = unfinished(tmp_path / "pairs") / artifacts.DATA / "w" / "c" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match="a stored chunk is damaged"), writer(tmp_path / "pairs") as out:
        out.group["w"][...]


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("w/c/1/0", "2 of 3 stored chunks of 'w'"),
        ("w", "the array 'w' is missing"),
        ("w/zarr.json", "damaged or missing"),
        ("zarr.json", "damaged or missing"),
        ("", "damaged or missing"),
    ],
)
def test_what_is_missing_is_not_read_as_nan(tmp_path, lost, said):
    made = make(tmp_path / "pairs")
    target = made.path / artifacts.DATA / lost
    shutil.rmtree(target) if target.is_dir() else target.unlink()
    with pytest.raises(InputError, match=said):
        made.read("w")


def test_damaged_metadata_of_an_array_is_named(tmp_path):
    made = make(tmp_path / "pairs")
    (made.path / artifacts.DATA / "w" / "zarr.json").write_text("{")
    with pytest.raises(InputError, match="damaged"):
        made.read("w")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="give another --out"):
        writer(tmp_path / "file" / "pairs")


def test_names_are_coordinates_and_xarray_opens_a_result_without_a_warning(tmp_path):
    with artifacts.Writer(
        tmp_path / "made", "pairs", Config("x"), WEIGHTS, classes={"classes": [7, 9], "class_names": ["pug", "pug"]}
    ) as out:
        out.array("effect", ("class", "part"), (2, 3), np.float32, (1, 3))[...] = np.arange(6).reshape(2, 3)
        out.array("logits", ("part", "ablated_class"), (3, 8), np.float32)[...] = np.arange(24).reshape(3, 8)
        out.put("class_id", ("class",), np.array([9, 7]))
        out.put("part", ("part",), ["ear", "größe", "h\udcfcnd"], units=["a", "b", "c"])
        out.put("split", ("sample",), ["train", "test"])
        out.finish({})
    raw = xr.open_zarr(tmp_path / "made" / "data.zarr")  # warnings are errors
    assert raw["effect"].sel({"class": "pug (7)", "part": "größe"}).item() == 4.0
    assert raw["logits"].sel(ablated_class="pug", part="ear").item() == 7.0  # the one of eight that has this name
    assert raw["logits"].sel(ablated_class="class 3").values.tolist() == [3.0, 11.0, 19.0]
    assert set(raw.coords) == {"class", "class_id", "part", "ablated_class", "ablated_class_id", "split"}
    assert raw["part"].values.tolist() == ["ear", "größe", "h\\udcfcnd"]
    assert raw["part"].attrs == {"units": ["a", "b", "c"]}
    same = artifacts.Artifact(tmp_path / "made", "pairs").open()
    assert same.identical(raw.drop_attrs(deep=False)) or same.drop_attrs(deep=False).identical(
        raw.drop_attrs(deep=False)
    )


def test_results_that_kept_names_in_an_attribute_are_read_as_those_of_today(tmp_path):
    path = tmp_path / "older"
    with artifacts.Writer(path, "pairs", Config("x"), WEIGHTS) as out:
        out.array("effect", ("class", "part"), (2, 2), np.float32)[...] = np.arange(4).reshape(2, 2)
        out.put("part", ("part",), np.arange(2), names=["ear", "tail"], units=["a", "b"])
        out.finish({"classes": [4, 5], "class_names": ["pug", "corgi"]})
    group = zarr.open_group(path / "data.zarr", mode="r+", use_consolidated=False)
    told = manifest.read(path)
    for name in ("class", "class_id"):
        del group[name], told["chunks"][name]
    manifest.write(path, told)
    group.create_array("class", data=np.array([5, 4]), dimension_names=("class",))
    read = artifacts.Artifact(path, "pairs").open()
    assert read["effect"].sel({"class": "pug", "part": "tail"}).item() == 3.0
    assert read["class_id"].values.tolist() == [5, 4]
    assert artifacts.names(read, "part") == ["ear", "tail"]
    assert read["part"].attrs == {"units": ["a", "b"]}


def test_missing_names_are_an_error_and_no_empty_text(tmp_path):
    made = make(tmp_path / "pairs")
    (chunk,) = [file for file in (made.path / "data.zarr" / "part").rglob("*") if file.is_file() and "c" in file.parts]
    chunk.unlink()
    with pytest.raises(InputError, match="0 of 1 stored chunks of 'part'"):
        made.open()
