"""`linkjax.open`: any result as xarray, with names and its manifest."""

import numpy as np
import pytest

import linkjax
from linkjax.errors import InputError
from linkjax.storage import artifacts, manifest
from tests.storage.test_artifacts import WEIGHTS, Config, make

NAMED = {"classes": [4, 5], "class_names": ["pug", "corgi"]}


def test_samples_are_selected_by_their_split_and_by_their_class(tmp_path):
    with artifacts.Writer(tmp_path / "pairs", "pairs", Config("x"), WEIGHTS, classes=NAMED) as out:
        out.put("r", ("sample", "unit"), np.arange(12.0).reshape(6, 2))
        out.put("label", ("sample",), np.array([4, 4, 5, 5, 4, 5], np.int32))
        out.finish({"splits": {"train": [0, 4], "test": [4, 6]}})
    pairs = linkjax.open(tmp_path / "pairs")
    assert pairs.sel(split="test")["r"].values.tolist() == [[8.0, 9.0], [10.0, 11.0]]
    assert pairs.sel(split="train").sel(class_of="corgi")["r"].values[:, 0].tolist() == [4.0, 6.0]
    assert pairs.attrs["summary"]["class_names"] == ["pug", "corgi"]
    assert pairs.attrs == manifest.read(tmp_path / "pairs")


def test_searches_are_selected_by_their_method(tmp_path):
    with artifacts.Writer(tmp_path / "found", "counterfactual", Config("x"), WEIGHTS, classes=NAMED) as out:
        out.put("steps", ("sample",), np.arange(4))
        out.put("method", ("method",), ["original", "head_l2"])
        out.put("method_of", ("sample",), np.array([0, 0, 1, 1], np.int32))
        out.put("pair_flipped", ("method",), np.array([3, 5]))
        out.finish({})
    found = linkjax.open(str(tmp_path / "found"))
    assert found.sel(method_of="head_l2")["steps"].values.tolist() == [2, 3]
    assert found["pair_flipped"].sel({"method": "head_l2"}).item() == 5


def test_missing_chunks_are_named_when_a_result_is_opened(tmp_path):
    made = make(tmp_path / "pairs")
    next(file for file in (made.path / "data.zarr" / "w" / "c").rglob("*") if file.is_file()).unlink()
    with pytest.raises(InputError, match="2 of 3 stored chunks of 'w'"):
        linkjax.open(made.path)


def test_a_link_is_opened_as_its_arrays(tmp_path):
    from linkjax.storage import checkpoint

    r, w = (np.random.default_rng(0).normal(size=(9, size)).astype(np.float32) for size in (3, 2))
    link = linkjax.fit_link(r, w, method="ridge", alpha=1.0)
    checkpoint.save_model(tmp_path / "link", link, source={})
    opened = linkjax.open(tmp_path / "link")
    assert opened["kernel"].dims == ("unit", "w") == opened["steer"].dims and opened.attrs["kind"] == "link"
    np.testing.assert_array_equal(opened["kernel"], link.kernel[...])


def test_what_has_no_arrays_is_one_sentence(tmp_path):
    manifest.write(tmp_path, manifest.build("report", computed=False))
    with pytest.raises(InputError, match=r"expected a result with arrays, found report"):
        linkjax.open(tmp_path)
    with pytest.raises(InputError, match="nothing there"):
        linkjax.open(tmp_path / "nowhere")
