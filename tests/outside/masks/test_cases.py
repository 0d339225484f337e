"""Masks as other programs write them: small files of each kind, with the labels all of them mean."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from linkjax.errors import InputError
from linkjax.outside import masks

CASES = Path(__file__).parents[2] / "cases" / "masks"
PICTURES = [f"{number:06d}" for number in range(4)]
SIZE = 64


def _truth(stem):
    with np.load(CASES / "truth.npz") as data:
        return data[stem] if stem in data.files else data[data.files[PICTURES.index(stem)]]


def _read(name):
    return masks.read(CASES / name, PICTURES, SIZE)


def _write(folder, labels, stem="000000"):
    Image.fromarray(labels.astype(np.uint8)).save(folder / f"{stem}.png")


def test_black_and_white_masks_are_refused_and_255_beside_labels_stays_unlabelled(tmp_path):
    with pytest.raises(InputError, match="only 0 and 255 in the mask of 000000; if 255 is a part, number it 1"):
        _read("black_and_white")
    np.save(tmp_path / "000000.npy", np.where(np.eye(SIZE), 255, 0).astype(np.uint8))
    with pytest.raises(InputError, match="only 0 and 255"):
        masks.read(tmp_path, PICTURES, SIZE, ("background", "dog"))
    (tmp_path / "000000.npy").unlink()
    labels = np.zeros((SIZE, SIZE))
    labels[:8], labels[8:16] = 1, 255
    _write(tmp_path, labels)
    found = masks.read(tmp_path, PICTURES, SIZE).labels["000000"]
    assert (found[8:16] == -1).all() and (found[:8] == 1).all()


def test_a_rectangle_of_four_corners_is_that_of_two(tmp_path):
    found = _read("rectangles_of_four_corners")
    assert found.part_names[0] == "background" and len(found.labels) == 4
    for stem, labels in found.labels.items():
        content = json.loads((CASES / "rectangles_of_four_corners" / f"{stem}.json").read_text(encoding="utf-8-sig"))
        expected = np.zeros((SIZE, SIZE), int)
        for shape in content["shapes"]:
            corners = np.array(shape["points"])
            shape["points"] = [corners.min(axis=0).tolist(), corners.max(axis=0).tolist()]
            (x0, y0), (x1, y1) = np.round(shape["points"]).astype(int)
            expected[y0:y1, x0:x1] = found.part_names.index(shape["label"])
        (tmp_path / f"{stem}.json").write_text(json.dumps(content))
        two = masks.read(tmp_path, PICTURES, SIZE, found.part_names).labels[stem]
        np.testing.assert_array_equal(labels, two)
        assert (labels > 0).any()
        (tmp_path / f"{stem}.json").unlink()


def test_a_box_without_segmentation_is_refused():
    with pytest.raises(InputError, match="annotation 0 has a box but no segmentation; draw polygons"):
        _read("coco_boxes_alone")


def test_palettes_in_another_order_are_refused_and_those_that_agree_are_read(tmp_path):
    with pytest.raises(InputError, match="save all masks with one palette") as caught:
        _read("palettes_in_another_order")
    assert "index" in str(caught.value) and "000000.png" in str(caught.value)
    folder = tmp_path / "agreeing"
    folder.mkdir()
    for name in ("000000.png", "000001.png", "parts.txt"):
        shutil.copy(CASES / "palettes_in_another_order" / name, folder)
    found = masks.read(folder, PICTURES, SIZE)
    for stem in ("000000", "000001"):
        np.testing.assert_array_equal(found.labels[stem], _truth(stem))


def test_upper_case_suffixes_are_read_and_files_of_other_kinds_are_told(tmp_path):
    found = _read("upper_case_suffix")
    assert sorted(found.labels) == PICTURES
    for stem, labels in found.labels.items():
        np.testing.assert_array_equal(labels, _truth(stem))
    folder = tmp_path / "masks"
    shutil.copytree(CASES / "upper_case_suffix", folder)
    (folder / "notes.docx").write_bytes(b"")
    said = masks.read(folder, PICTURES, SIZE).warnings()
    assert said == ["1 files of other kinds beside the masks passed over: notes.docx"]


def test_a_byte_order_mark_is_read_and_another_encoding_is_named(tmp_path):
    found = _read("json_with_byte_order_mark")
    assert len(found.labels) == 4 and any("ä" in name for name in found.part_names)
    text = (CASES / "json_with_byte_order_mark" / "000000.json").read_text(encoding="utf-8-sig")
    (tmp_path / "000000.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match="in UTF-8, found another encoding at byte"):
        masks.read(tmp_path, PICTURES, SIZE)
    (tmp_path / "000000.json").write_bytes(text.encode("utf-16"))
    with pytest.raises(InputError, match="found UTF-16"):
        masks.read(tmp_path, PICTURES, SIZE)
    (tmp_path / "000000.json").write_bytes(text.encode("utf-8"))
    (tmp_path / "parts.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(found.part_names).encode() + b"\r\n")
    assert masks.read(tmp_path, PICTURES, SIZE).part_names == found.part_names


@pytest.mark.parametrize(
    "shape",
    [
        {"shape_type": "polygon", "points": [[1, 1], [30, 30], [60, 60]]},
        {"shape_type": "polygon", "points": [[-9, -9], [-9, -2], [-2, -2]]},
        {"shape_type": "rectangle", "points": [[5, 5], [40, 5]]},
        {"shape_type": "circle", "points": [[5, 5], [5, 5]]},
    ],
)
def test_a_shape_that_covers_no_pixel_is_named_and_refused(tmp_path, shape):
    content = {"imageHeight": SIZE, "imageWidth": SIZE, "shapes": [{"label": "dog", **shape}]}
    (tmp_path / "000000.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="shape 0"):
        masks.read(tmp_path, PICTURES, SIZE)


def test_a_blank_mask_is_no_labelled_picture_and_an_absent_part_is_told(tmp_path):
    labels = np.zeros((SIZE, SIZE))
    _write(tmp_path, labels, "000001")
    with pytest.raises(InputError, match="found none in the masks of 000001"):
        masks.read(tmp_path, PICTURES, SIZE, ("background", "body", "ear"))
    labels[:9] = 1
    _write(tmp_path, labels)
    found = masks.read(tmp_path, PICTURES, SIZE, ("background", "body", "ear"))
    assert list(found.labels) == ["000000"] and found.blank == ("000001",) and found.absent == ("ear",)
    assert found.warnings()[0] == "no mask holds ear: nothing will be found of it"
