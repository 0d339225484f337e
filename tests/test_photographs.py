import io
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from linkjax.errors import InputError
from linkjax.models.classifier_spec import Preprocessing
from linkjax.ops import resize
from linkjax.photographs import decode
from linkjax.photographs.decode import Framing, Item
from linkjax.photographs.folder import Folder
from linkjax.photographs.prepared import Prepared
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
