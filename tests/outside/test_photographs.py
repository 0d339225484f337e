import io
import os
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from linkjax.errors import InputError
from linkjax.models.classifier_spec import Preprocessing
from linkjax.ops import resize
from linkjax.outside.photographs import decode
from linkjax.outside.photographs.decode import Framing, Item
from linkjax.outside.photographs.folder import Folder
from linkjax.outside.photographs.prepared import Prepared
from linkjax.stages.encode.stage import Encoding
from tests.stages.photographs import folder, picture

WHOLE = Framing(40, 40)


def stored(image: Image.Image, kind: str = "png", **options) -> Item:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return Item(f"it.{kind}", file, -1)


def read(item: Item, how: Framing = WHOLE) -> np.ndarray:
    return decode.read(item, (how,))[0]


def test_a_photograph_is_framed_as_a_generated_image_of_its_size_would_be():
    import jax.numpy as jnp

    pixels = picture(0, 50, 73)
    height, width = resize.shorter_side(50, 73, 32)
    expected = np.asarray(resize.resize_bytes(jnp.asarray(pixels)[None], height, width, 24))[0]
    found = read(stored(Image.fromarray(pixels)), Framing(32, 24))
    assert found.dtype == np.uint8 and np.array_equal(found, expected)


def test_the_classifiers_own_sizes_come_before_the_generators():
    assert decode.framing(Preprocessing(), 512) == Framing(256, 224)
    assert decode.framing(Preprocessing(resize=None, crop=None), 64) == Framing(64, 64)
    assert decode.framing(Preprocessing(resize=128, crop=None), 64) == Framing(128, 128)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_shown_upright(orientation):
    upright = Image.fromarray(picture(1, 40, 40))
    undo = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_90",
            7: "TRANSVERSE", 8: "ROTATE_270"}  # fmt: skip
    turned = upright.transpose(Image.Transpose[undo[orientation]]) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(read(stored(turned, exif=exif)), np.asarray(upright))


def test_every_colour_mode_becomes_rgb():
    pixels = picture(2, 40, 40)
    image = Image.fromarray(pixels)
    grey = np.asarray(image.convert("L"))
    same = {"CMYK": ("jpeg", 12), "P": ("png", 40), "RGB": ("bmp", 0)}
    for mode, (kind, away) in same.items():
        found = read(stored(image.convert(mode), kind, **({"quality": 100} if kind == "jpeg" else {})))
        assert np.abs(found.astype(int) - np.asarray(image.convert(mode).convert("RGB"))).max() <= away, mode
    assert np.array_equal(read(stored(image.convert("L"))), np.repeat(grey[..., None], 3, 2))
    deep = Image.fromarray(grey.astype(np.uint16) * 256 + 255)
    assert np.array_equal(read(stored(deep)), np.repeat(grey[..., None], 3, 2))
    clear = np.dstack([pixels, np.zeros((40, 40), np.uint8)])
    assert (read(stored(Image.fromarray(clear))) == 255).all()  # the colour under full transparency is not seen
    assert (read(stored(Image.fromarray(np.dstack([grey, 0 * grey])))) == 255).all()
    with pytest.raises(decode.Unreadable, match="floating-point"):
        read(stored(Image.fromarray(grey.astype(np.float32)), "tiff"))


def test_what_is_no_photograph_is_named_in_one_sentence(tmp_path, monkeypatch):
    whole = stored(Image.fromarray(picture(3)), "jpeg").file.read()
    cases = {"text": b"hello", "empty": b"", "cut": whole[: len(whole) // 2], "png": b"\x89PNG\r\n\x1a\nrubbish"}
    for name, content in cases.items():
        with pytest.raises(decode.Unreadable, match=f"{name}.jpg: expected a photograph") as error:
            read(Item(f"{name}.jpg", io.BytesIO(content), -1))
        assert "\n" not in str(error.value)
    with pytest.raises(decode.Unreadable, match="No such file"):
        read(Item("gone.jpg", tmp_path / "gone.jpg", -1))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with ThreadPoolExecutor(2) as pool:
        for size in (15, 40):  # Pillow warns of the first and refuses the second
            bomb = stored(Image.fromarray(picture(4, size, 10)))
            [found] = decode.read_many([bomb], (WHOLE,), pool)
            assert isinstance(found, decode.Unreadable) and "at most 100 pixels" in str(found)


def test_a_folder_lists_photographs_by_path_and_counts_the_rest(tmp_path):
    found = Folder(folder(tmp_path / "photographs"))
    names = [found.name(row) for row in range(len(found))]
    assert names == sorted(names) and len(names) == 12 and found.others == 1
    assert found.groups == ("Class_1", "class 0", "others")
    items = list(found.items([0, 11]))
    assert [found.groups[item.group] for item in items] == ["Class_1", "others"]
    assert len(Folder(tmp_path / "photographs", samples=5)) == 5


def test_links_below_a_folder_are_followed_once(tmp_path):
    root = folder(tmp_path / "photographs", 3)
    elsewhere = folder(tmp_path / "elsewhere", 2)
    (root / "linked").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(root)
    assert len(Folder(root)) == 5


def test_a_changed_folder_has_another_identity(tmp_path):
    root = folder(tmp_path / "photographs", 3)
    before = Folder(root).identity
    assert Folder(root).identity == before
    Image.fromarray(picture(9)).save(root / "new.png")
    assert Folder(root).identity != before


def test_a_folder_without_photographs_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("a")
    (tmp_path / "empty").mkdir()
    for name, said in (("notes", "found only 1 of another kind"), ("empty", "found none"), ("nowhere", "nothing there"),
                       ("notes/a.txt", "found a file")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            Folder(tmp_path / name)


def test_a_data_set_without_its_extra_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(InputError, match=r"linkjax\[data\]"):
        Prepared("imagenet_v2", "test")


def test_a_prepared_data_set_gives_its_own_bytes_and_labels_without_a_download(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets")
    pixels = [picture(seed, 30, 45) for seed in range(7)]

    class TinyPictures(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"image": tfds.features.Image(), "label": tfds.features.ClassLabel(names=["a", "b", "c"])}
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager):
            return {"test": self._generate_examples()}

        def _generate_examples(self):
            for index, image in enumerate(pixels):
                yield index, {"image": stored(Image.fromarray(image)).file, "label": index % 3}

    TinyPictures(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    made = Prepared("tiny_pictures", "test", str(tmp_path))
    assert len(made) == 7 and made.groups == ("a", "b", "c")
    found = {read(item, Framing(30, 30)).tobytes(): item.group for item in made.items(range(7))}
    for index, image in enumerate(pixels):
        assert found[read(stored(Image.fromarray(image)), Framing(30, 30)).tobytes()] == index % 3
    assert [item.name for item in Prepared("tiny_pictures", "test", str(tmp_path), samples=2).items([1])] == ["test[6]"]
    for arguments, said in (
        (("tiny_pictures", "train", str(tmp_path)), "expected one of test"),
        (("tiny_pictures", "test", str(tmp_path / "elsewhere")), "nothing there"),
        (("no_such_pictures", "test", str(tmp_path)), "does not know"),
    ):
        with pytest.raises(InputError, match=said):
            Prepared(*arguments)


CASES = Path(__file__).parents[1] / "cases" / "photographs"


def _case(name, how=None):
    with Image.open(CASES / "upright.png") as image:
        side = min(image.size)
    return read(Item(name, CASES / name, -1), how or Framing(side, side))


def test_a_tiff_with_an_orientation_is_turned_once():
    np.testing.assert_array_equal(_case("orientation_6.tif"), _case("upright.png"))
    np.testing.assert_array_equal(_case("orientation_6.png"), _case("upright.png"))


@pytest.mark.parametrize("name", ["grey_16bit_file_of_8bit_values.png", "grey_32bit_file_of_8bit_values.tif"])
def test_greyscale_that_does_not_use_its_bits_is_unreadable(name):
    assert _case("grey_8bit.png").max() > 0
    with pytest.raises(decode.Unreadable, match=r"16 or 32 bits whose values go from .* scale it to its range"):
        _case(name)


def test_twelve_bits_are_unreadable_and_sixteen_are_read():
    ramp = np.linspace(0, 65535, 40 * 40).reshape(40, 40).astype(np.uint16)
    assert (read(stored(Image.fromarray(ramp)))[..., 0] == ramp >> 8).all()
    for bits in (12, 14):
        with pytest.raises(decode.Unreadable, match=f"from 0 to {2**bits - 1}; scale it"):
            read(stored(Image.fromarray(ramp >> (16 - bits))))


def deep_png(pixels, kind):
    """A PNG of 16 bits a channel, which Pillow cannot write: kind 2 is RGB, 4 grey with alpha, 6 RGB with alpha."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    size = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, kind, 0, 0, 0)
    chunks = ((b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    whole = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return Item("deep.png", io.BytesIO(b"\x89PNG\r\n\x1a\n" + b"".join(whole)), -1)


@pytest.mark.parametrize(("kind", "channels"), [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_a_channel_are_read_and_eight_in_sixteen_are_unreadable(kind, channels):
    pixels = np.random.default_rng(0).integers(0, 65536, (40, 40, channels)).astype(np.uint16)
    if channels in (2, 4):
        pixels[..., -1] = 65535
    colours = pixels[..., :3] if channels > 2 else np.repeat(pixels[..., :1], 3, axis=2)
    assert (read(deep_png(pixels, kind)) == colours >> 8).all()
    for bits in (8, 12, 14):
        dark = pixels >> (16 - bits)
        if channels in (2, 4):
            dark[..., -1] = 65535  # an opaque picture may be dark all the same
        with pytest.raises(decode.Unreadable, match="found 16 bits whose values end below"):
            read(deep_png(dark, kind))


def test_a_pipe_that_is_called_a_photograph_is_unreadable_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.jpg")
    found = Folder(tmp_path)
    [item] = found.items([0])
    with pytest.raises(decode.Unreadable, match=r"a\.jpg: expected a photograph, found a pipe"):
        decode.read(item, [WHOLE])


def test_a_link_without_a_suffix_that_leads_nowhere_is_not_lost(tmp_path):
    Image.fromarray(picture(0, 40, 40)).save(tmp_path / "a.png")
    (tmp_path / "b").symlink_to(tmp_path / "gone")
    (tmp_path / "notes").write_text("of mine")
    found = Folder(tmp_path)
    assert [found.name(row) for row in range(len(found))] == ["a.png", "b"] and found.others == 1
    with pytest.raises(decode.Unreadable, match="No such file"):
        decode.read(next(found.items([1])), [WHOLE])


def test_of_a_strip_only_the_square_that_is_kept_is_made():
    strip = _case("strip_8000x1.png", Framing(64, 56))
    assert strip.shape == (56, 56, 3)
    pixels = picture(3, 20, 700)
    found = read(stored(Image.fromarray(pixels)), Framing(32, 32))
    whole = Image.fromarray(pixels).resize((1120, 32), Image.Resampling.BILINEAR)
    expected = np.asarray(whole)[:, 544:576].astype(int)
    assert np.abs(found - expected).max() <= 1


def test_links_that_lead_nowhere_are_unreadable_files(tmp_path):
    Image.fromarray(picture(0, 40, 40)).save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "c.png")
    (tmp_path / "d").symlink_to(tmp_path / "d")
    found = Folder(tmp_path)
    assert [found.name(row) for row in range(len(found))] == ["a.png", "b.png", "c.png", "d"] and found.identity
    with ThreadPoolExecutor(1) as pool:
        made = decode.read_many(list(found.items(range(4))), (WHOLE,), pool)
    assert isinstance(made[0], list) and all(isinstance(each, decode.Unreadable) for each in made[1:])


def test_a_name_that_is_no_utf_8_is_shown_escaped(tmp_path):
    folder = os.fsencode(tmp_path) + b"/h\xfcnde"
    os.mkdir(folder)
    with open(folder + b"/h\xfcndchen.png", "wb") as file:
        Image.fromarray(picture(0, 40, 40)).save(file, "png")
    found = Folder(tmp_path)
    assert found.name(0) == "h\\xfcnde/h\\xfcndchen.png" and found.groups == ("h\\xfcnde",) and found.identity
    [item] = found.items([0])
    assert read(item).shape == (40, 40, 3) and item.name.encode()


def test_a_data_sets_labels_are_matched_by_name_and_are_ids_only_where_lists_are_as_long(capsys):
    def labels(groups, classes, names=(), numbered=True):
        source = SimpleNamespace(groups=groups, numbered=numbered)
        pairs = SimpleNamespace(summary={"classes": [1, 0], "class_names": ["church", "tench"]})
        spec = SimpleNamespace(num_classes=classes, class_names=names)
        this = SimpleNamespace(source=source, reference=SimpleNamespace(pairs=pairs), spec=spec)
        return Encoding._labels(this).tolist()

    assert labels(("church", "tench"), 2) == [1, 0, -1]  # another order than the classifier's
    assert labels(("gas pump", "tench"), 3, ("tench", "church", "gas pump")) == [2, 0, -1]
    assert labels(("n01", "n02"), 2) == [0, 1, -1]
    assert capsys.readouterr().out == ""
    assert labels(("n01", "n02"), 1000) == [-1, -1, -1]
    assert "what was recognised is not counted" in capsys.readouterr().out
    assert labels(("n01", "tench"), 2, numbered=False) == [-1, 0, -1]
