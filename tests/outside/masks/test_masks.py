import json
import struct
import zlib

import jax
import numpy as np
import pytest
from PIL import Image

from linkjax.demo import factors, world
from linkjax.errors import InputError
from linkjax.outside import masks
from linkjax.outside.masks import parsing
from linkjax.outside.masks.coco import _uncompressed

SIZE = world.SIZE
STEMS = ("000000", "000001", "000002")


@pytest.fixture(scope="module")
def truth():
    drawn = world.render(factors.factors_of(*factors.sample(jax.random.key(3), 2)))
    return {stem: np.asarray(labels, np.int64) for stem, labels in zip(STEMS, drawn.labels, strict=False)}


def run_lengths(mask):
    """Counts column by column, beginning with pixels outside."""
    flat = np.concatenate([[False], mask.T.ravel()])
    edges = np.flatnonzero(np.diff(flat.astype(int)))
    runs = np.diff(np.concatenate([[0], edges, [mask.size]])).tolist()
    return runs


def compressed(counts):
    """COCO's text for counts: pycocotools' rleToString."""
    text = ""
    for index, count in enumerate(counts):
        value = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            digit = value & 0x1F
            value >>= 5
            more = value != (-1 if digit & 0x10 else 0)
            text += chr((digit | (0x20 if more else 0)) + 48)
    return text


def coco(truth, spelling):
    annotations = []
    for image, labels in enumerate(truth.values()):
        for part in range(1, len(world.PARTS)):
            if (labels == part).any():
                counts = run_lengths(labels == part)
                counts = compressed(counts) if spelling == "text" else counts
                segmentation = {"size": [SIZE, SIZE], "counts": counts}
                annotations.append({"image_id": image, "category_id": 10 + part, "segmentation": segmentation})
    return {
        "images": [
            {"id": n, "file_name": f"images/{stem}.png", "height": SIZE, "width": SIZE} for n, stem in enumerate(truth)
        ],
        "categories": [{"id": 10 + n, "name": name} for n, name in enumerate(world.PARTS)],
        "annotations": annotations,
    }


def write(folder, truth, how):
    for stem, labels in truth.items():
        if how == "indexed":
            indexed = Image.fromarray(labels.astype(np.uint8))
            indexed.putpalette([7, 8, 9] * 256)  # the colours say nothing
            assert indexed.mode == "P"
            indexed.save(folder / f"{stem}.png")
        elif how == "grey":
            Image.fromarray(labels.astype(np.uint8)).save(folder / f"{stem}.png")
        elif how == "npy":
            np.save(folder / f"{stem}.npy", labels[None].astype(np.int16))
    if how.startswith("coco"):
        (folder / "all.json").write_text(json.dumps(coco(truth, how.removeprefix("coco "))))


@pytest.mark.parametrize("how", ["indexed", "grey", "npy", "coco text", "coco list"])
def test_every_format_gives_the_labels_that_were_written(truth, tmp_path, how):
    write(tmp_path, truth, how)
    found = masks.read(tmp_path, STEMS, SIZE, world.PARTS)
    assert found.part_names == world.PARTS and list(found.labels) == list(truth)
    for stem, labels in truth.items():
        np.testing.assert_array_equal(found.labels[stem], labels)


def test_names_come_from_the_setting_then_parts_txt_then_the_masks(truth, tmp_path):
    write(tmp_path, truth, "grey")
    assert masks.read(tmp_path, STEMS, SIZE).part_names[:2] == ("background", "part 1")
    (tmp_path / "parts.txt").write_text("\n".join(world.PARTS) + "\n")
    assert masks.read(tmp_path, STEMS, SIZE).part_names == world.PARTS
    upper = tuple(name.upper() for name in world.PARTS)
    assert masks.read(tmp_path, STEMS, SIZE, upper).part_names == upper


def test_a_polygon_covers_the_pixels_it_covers_by_half_or_more():
    y, x = np.mgrid[:32, :32] + 0.5
    box = parsing.fill_polygon([[3, 5], [11, 5], [11, 20], [3, 20]], 32, "here")
    np.testing.assert_array_equal(box, (x > 3) & (x < 11) & (y > 5) & (y < 20))
    np.testing.assert_array_equal(parsing.fill_rectangle([[11, 20], [3, 5]], 32, "here"), box)
    disc = parsing.fill_circle([[16, 15], [16, 5]], 32, "here")
    distance = np.hypot(x - 16, y - 15)
    assert disc[distance < 9.3].all() and not disc[distance > 10.7].any()
    assert abs(disc.sum() - 100 * np.pi) < 6


def labelme(shapes, **more):
    return {"imageHeight": 16, "imageWidth": 16, "shapes": shapes, **more}


def shape(label, points, kind="polygon"):
    return {"label": label, "points": points, "shape_type": kind}


CAP = shape("cap", [[0, 0], [16, 0], [16, 8], [0, 8]])
STEM = shape("stem", [[4, 4], [8, 16]], "rectangle")


def test_labelme_shapes_are_painted_in_order_and_ignored_ones_do_not_count(tmp_path):
    hole = shape("__ignore__", [[0, 0], [2, 2]], "rectangle")
    (tmp_path / "000001.json").write_text(json.dumps(labelme([CAP, STEM, hole])))
    found = masks.read(tmp_path, STEMS, 16)
    expected = np.zeros((16, 16), int)
    expected[:8] = 1
    expected[4:, 4:8] = 2
    expected[:2, :2] = parsing.UNLABELLED
    assert found.part_names == ("background", "cap", "stem")
    np.testing.assert_array_equal(found.labels["000001"], expected)


def test_coco_polygons_are_painted_in_order(tmp_path):
    whole = {
        "images": [{"id": 5, "file_name": "000002.png"}],
        "categories": [{"id": 2, "name": "stem"}, {"id": 1, "name": "cap"}],
        "annotations": [
            {
                "image_id": 5,
                "category_id": 1,
                "segmentation": [[0, 0, 16, 0, 16, 8, 0, 8], [0, 12, 2, 12, 2, 16, 0, 16]],
            },
            {"image_id": 5, "category_id": 2, "segmentation": [[4, 4, 8, 4, 8, 16, 4, 16]]},
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(whole))
    found = masks.read(tmp_path / "coco.json", STEMS, 16)
    expected = np.zeros((16, 16), int)
    expected[:8] = expected[12:, :2] = 1
    expected[4:, 4:8] = 2
    assert found.part_names == ("background", "cap", "stem")
    np.testing.assert_array_equal(found.labels["000002"], expected)


def test_a_label_of_two_lines_is_a_name_of_one(tmp_path):
    (tmp_path / "000000.json").write_text(json.dumps(labelme([CAP, {**STEM, "label": "a\nb\x1b"}])))
    assert masks.read(tmp_path, STEMS, 16).part_names == ("background", "a b", "cap")


def test_255_is_a_pixel_nobody_labelled(tmp_path):
    labels = np.zeros((16, 16), np.uint8)
    labels[0], labels[1] = 255, 1
    Image.fromarray(labels).save(tmp_path / "000000.png")
    np.save(tmp_path / "000001.npy", labels)
    for found in masks.read(tmp_path, STEMS, 16).labels.values():
        assert (found[0] == parsing.UNLABELLED).all() and (found[1] == 1).all() and (found[2:] == 0).all()


def test_compressed_run_lengths_are_read_back():
    rng = np.random.default_rng(0)
    for _ in range(50):
        counts = rng.integers(0, 5000, rng.integers(1, 30)).tolist()
        assert _uncompressed(compressed(counts), "here") == counts


def huge_png():
    """A PNG that declares 60 000 × 60 000 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def huge_npy():
    """A NumPy header that declares 4 TB."""
    text = "{'descr': '<i8', 'fortran_order': False, 'shape': (1000000, 500000), }"
    text += " " * (63 - (len(text) + 10) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


def pickled_npy(tmp_path):
    np.save(tmp_path / "pickled.npy", np.array([{"a": 1}] * 256, object).reshape(16, 16), allow_pickle=True)
    return (tmp_path / "pickled.npy").read_bytes()


def of(segmentation, **more):
    entry = {"image_id": 1, "category_id": 1, "segmentation": segmentation, **more}
    return {
        "images": [{"id": 1, "file_name": "000000.png"}],
        "categories": [{"id": 1, "name": "cap"}],
        "annotations": [entry],
    }


WRONG = {
    "a huge PNG": ("000000.png", lambda _: huge_png(), "damaged or another file|60000×60000"),
    "no PNG": ("000000.png", lambda _: b"GIF89a", "expected a PNG mask"),
    "a cut PNG": ("000000.png", lambda _: huge_png()[:30], "expected a PNG mask"),
    "a huge array": ("000000.npy", lambda _: huge_npy(), "found 1000000×500000"),
    "a pickle": ("000000.npy", pickled_npy, "whole numbers, found object"),
    "no array": ("000000.npy", lambda _: b"\x80\x04K\x01.", "saved by np.save"),
    "damaged JSON": ("000000.json", lambda _: b"{", "damaged JSON"),
    "deep JSON": ("000000.json", lambda _: b"[" * 100_000, "damaged JSON"),
    "a list": ("000000.json", lambda _: b"[1]", "another kind"),
    "no shapes": ("000000.json", lambda _: b"{}", "labelme's shapes"),
    "a line": ("000000.json", lambda _: labelme([shape("cap", [[0, 0], [1, 1]], "line")]), "draw it as a polygon"),
    "two points": ("000000.json", lambda _: labelme([shape("cap", [[0, 0], [1, 1]])]), "3 points"),
    "far points": ("000000.json", lambda _: labelme([shape("cap", [[0, 0], [1, 1e9], [2, 0]])]), "far outside"),
    "endless points": ("000000.json", lambda _: b'{"shapes":[{"label":"a","points":[[0,0],[1,NaN],[1,2]]}]}', "points"),
    "points beyond floats": (
        "000000.json",
        lambda _: labelme([shape("cap", [[0, 0], [1, 10**400], [2, 0]])]),
        "points",
    ),
    "a size of two lines": ("000000.json", lambda _: labelme([CAP], imageWidth="1\n6"), r"found 16×'1\\n6'"),
    "another size": ("000000.json", lambda _: labelme([CAP], imageHeight=99), "found 99×16"),
    "runs too long": ("c.json", lambda _: of({"size": [16, 16], "counts": [10**9]}), "add up to 16×16"),
    "runs below zero": ("c.json", lambda _: of({"size": [16, 16], "counts": [300, -44]}), "add up to 16×16"),
    "huge runs": ("c.json", lambda _: of({"size": [10**9, 10**9], "counts": [1]}), "run lengths of 16×16"),
    "runs without a size": ("c.json", lambda _: of({"size": True, "counts": [256]}), "found True"),
    "damaged runs": ("c.json", lambda _: of({"size": [16, 16], "counts": "\x10\x7f"}), "damaged text"),
    "endless runs": ("c.json", lambda _: of({"size": [16, 16], "counts": "o" * 999}), "damaged text"),
    "odd polygon": ("c.json", lambda _: of([[1, 2, 3]]), "expected a polygon"),
    "no segmentation": ("c.json", lambda _: of(None), "polygons or run lengths"),
    "unknown picture": ("c.json", lambda _: of([], image_id=7), "id of a picture"),
    "unknown category": ("c.json", lambda _: of([], category_id=7), "id of a category"),
    "a stranger": ("strange.json", lambda _: labelme([CAP]), "'strange', which is none"),
}


@pytest.mark.parametrize("what", WRONG)
def test_bad_and_hostile_files_are_refused_in_one_sentence(tmp_path, what):
    name, make, said = WRONG[what]
    content = make(tmp_path)
    folder = tmp_path / "masks"
    folder.mkdir()
    (folder / name).write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    with pytest.raises(InputError, match=said) as error:
        masks.read(folder, STEMS, 16)
    assert "\n" not in str(error.value)


def test_masks_that_do_not_fit_are_refused_in_one_sentence(tmp_path):
    def folder(name, **files):
        made = tmp_path / name
        made.mkdir()
        for stem, labels in files.items():
            Image.fromarray(np.asarray(labels, np.uint8)).save(made / f"{stem.strip('_')}.png")
        return made

    blank, far = np.zeros((16, 16)), np.full((16, 16), 250)
    two = folder("two", _000000=blank + 1)
    np.save(two / "000000.npy", blank.astype(int))
    colour = folder("colour")
    Image.new("RGB", (16, 16)).save(colour / "000000.png")
    for path, names, said in (
        (tmp_path / "nowhere", (), "found nothing there"),
        (folder("empty"), (), "found none"),
        (folder("blank", _000000=blank), (), "parts besides the background"),
        (folder("small", _000000=blank[:8, :8]), (), "found 8×8"),
        (folder("levels", _000000=far), (), "number the parts"),
        (folder("unnamed", _000000=blank + 2), ("background", "cap"), "from 0 to 1 in the mask of 000000, found 2"),
        (folder("nothing", _000000=blank + 255), ("background", "cap"), "labelled pixels"),
        (folder("twice", _000000=blank), ("cap", "cap"), "two different names"),
        (two, (), "two of different formats"),
        (colour, (), "found colours"),
    ):
        with pytest.raises(InputError, match=said):
            masks.read(path, STEMS, 16, names)
