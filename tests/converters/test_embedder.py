"""Image-text models: the image tower as a graph, words as vectors, held against PyTorch."""

import json

import numpy as np
import pytest
from PIL import Image

import linkjax
from linkjax import cli
from linkjax.storage import manifest, word_vectors
from tests.tolerances import GRAPH

torch = pytest.importorskip("torch", reason="image-text models are converted with PyTorch")

from tests.reference import torch_towers as towers  # noqa: E402

WORDS = "long legs\nshort legs\n\nred coat  # of whatever red\n"
SEEN = ["--resize", "0", "--crop", "0", "--input-size", str(towers.SIDE)]


@pytest.fixture
def words(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text(WORDS, encoding="utf-8")
    return str(path)


def convert(source, out, words, *flags):
    return cli.main(["convert", "embedder", source, str(out), "--words", words, *map(str, flags)])


def expected_vectors(text, templates):
    """By the text tower itself: mean over templates of unit vectors, of each word and of none."""
    rows = []
    for word in ("long legs", "short legs", "red coat", ""):
        with torch.no_grad():
            found = text([" ".join(template.format(word).split()) for template in templates]).numpy()
        rows.append((found / np.linalg.norm(found, axis=1, keepdims=True)).mean(axis=0))
    return np.stack(rows)


def test_a_users_towers(words, tmp_path, capsys):
    (tmp_path / "templates.txt").write_text("{}\nan animal with {}\n", encoding="utf-8")
    flags = [*SEEN, "--mean", "0.4", "0.5", "0.6", "--templates", tmp_path / "templates.txt"]
    assert convert("tests.reference.torch_towers:factory", tmp_path / "out", words, *flags) == 0
    said = capsys.readouterr().out
    assert "within" in said and f"3 words by 2 templates: vectors of {towers.WIDTH} numbers" in said
    model, (image, text) = linkjax.load(tmp_path / "out", check=True), towers.factory()
    x = np.random.default_rng(1).standard_normal((2, towers.SIDE, towers.SIDE, 3)).astype(np.float32)
    with torch.no_grad():
        expected = image(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))).numpy()
    assert np.abs(np.asarray(model(x).penultimate) - expected).max() < GRAPH * np.abs(expected).max()
    assert model.spec.preprocessing.mean == (0.4, 0.5, 0.6)
    listed = word_vectors.read(tmp_path / "out" / word_vectors.FILE)
    assert listed.words == ("long legs", "short legs", "red coat")
    rows = expected_vectors(text, ("{}", "an animal with {}"))
    np.testing.assert_allclose(np.concatenate([listed.vectors, listed.neutral[None]]), rows, atol=1e-6)
    source = manifest.read(tmp_path / "out")["source"]
    assert source["words"]["sha256"] == listed.sha256 and source["words"]["count"] == 3


def test_bad_input_is_one_sentence_and_makes_nothing(words, tmp_path, capsys):
    def refused(source, listed=words, *flags):
        assert convert(source, tmp_path / "out", listed, *flags) == 2
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and not (tmp_path / "out").exists(), lines
        return lines[0]

    def file(name, text):
        (tmp_path / name).write_bytes(text)
        return str(tmp_path / name)

    own = "tests.reference.torch_towers"
    assert "its images have 12 numbers and its texts 7" in refused(f"{own}:uneven", words, *SEEN)
    assert "expected (image tower, function of a list of texts)" in refused(f"{own}:image_alone", words, *SEEN)
    assert "cannot be imported" in refused("nobody.knows:it")
    assert "there is no 'nothing'" in refused(f"{own}:nothing")
    assert "found none" in refused(f"{own}:factory", str(tmp_path / "missing.txt"))
    assert "long legs stands there twice" in refused(f"{own}:factory", file("w.txt", b"long legs\nlong legs\n"))
    assert "another encoding" in refused(f"{own}:factory", file("w.txt", b"\xff\xfe\x00"))
    assert "found 0" in refused(f"{own}:factory", file("w.txt", b"# nothing\n"))
    assert "without one {}" in refused(f"{own}:factory", words, "--templates", file("t.txt", b"a photo\n"))
    for kind in ("hf", "open_clip"):
        pytest.importorskip({"hf": "transformers"}.get(kind, kind))
        assert "expected" in refused(f"{kind}:{tmp_path}")


def test_a_folder_of_hugging_face(words, tmp_path, capsys):
    """CLIPModel with its byte-pair tokenizer, from files alone."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install transformers")
    folder = tmp_path / "clip"
    folder.mkdir()
    letters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256))]
    letters += [chr(256 + place) for place in range(256 - len(letters))]
    merges = [("l", "e"), ("le", "g"), ("leg", "s</w>"), ("o", "n"), ("l", "on"), ("lon", "g</w>")]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    vocabulary += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: place for place, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)
    small = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    end = {
        "bos_token_id": len(vocabulary) - 2,
        "eos_token_id": len(vocabulary) - 1,
        "pad_token_id": len(vocabulary) - 1,
    }
    config = transformers.CLIPConfig(
        text_config={**small, **end, "vocab_size": len(vocabulary), "max_position_embeddings": 16},
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=20,
    )
    torch.manual_seed(0)
    network = transformers.CLIPModel(config).eval()
    for value in network.parameters():
        torch.nn.init.normal_(value, 0, 0.1)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        '{"do_resize": true, "size": 32, "resample": 3, "do_center_crop": true, "crop_size": 32, "do_normalize": true,'
        '"image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}'
    )
    assert convert(f"hf:{folder}", tmp_path / "out", words) == 0
    model = linkjax.load(tmp_path / "out", check=True)
    assert model.spec.num_units == 20 and model.spec.preprocessing.interpolation == "bicubic"
    tokens = tokenizer(["long legs"], return_tensors="pt")
    with torch.no_grad():
        found = network.get_text_features(**tokens)
    row = (found if isinstance(found, torch.Tensor) else found.pooler_output)[0].numpy()
    (tmp_path / "plain.txt").write_text("{}\n")
    assert convert(f"hf:{folder}", tmp_path / "plain", words, "--templates", tmp_path / "plain.txt") == 0
    listed = word_vectors.read(tmp_path / "plain" / word_vectors.FILE)
    np.testing.assert_allclose(listed.vectors[0], row / np.linalg.norm(row), atol=1e-5)


@pytest.mark.parametrize("vision", [
    {"layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
    {"layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
], ids=["transformer", "resnet"])  # fmt: skip
def test_a_folder_of_open_clip(words, tmp_path, vision):
    """Its own weights, tokenizer and record of preprocessing; either image tower."""
    open_clip = pytest.importorskip("open_clip", reason="open_clip is not installed: pip install open_clip_torch")
    from safetensors.torch import save_file

    folder = tmp_path / "clip"
    folder.mkdir()
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1}
    config = {"embed_dim": 32, "vision_cfg": {"image_size": 64, **vision}, "text_cfg": text}
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**config).state_dict(), folder / "open_clip_model.safetensors")
    seen = {"size": 64, "mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28], "interpolation": "bicubic"}
    record = {**seen, "mode": "RGB", "resize_mode": "shortest", "fill_color": 0}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": record}))
    (tmp_path / "templates.txt").write_text("{}\n")
    flags = ("--templates", str(tmp_path / "templates.txt"))
    assert convert(f"open_clip:{folder}", tmp_path / "out", words, *flags) == 0

    model = linkjax.load(tmp_path / "out", check=True)
    network, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    images = np.random.default_rng(0).integers(0, 256, (2, 80, 80, 3)).astype(np.uint8)
    with torch.no_grad():
        expected = network.eval().encode_image(torch.stack([preprocess(Image.fromarray(each)) for each in images]))
        texts = network.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(["long legs"])).numpy()
    found = np.asarray(model(model.preprocess(images)).penultimate)
    assert np.abs(found - expected.numpy()).max() < GRAPH * np.abs(expected.numpy()).max()
    read = word_vectors.read(tmp_path / "out" / word_vectors.FILE)
    row = read.vectors[read.words.index("long legs")]
    np.testing.assert_allclose(row, texts[0] / np.linalg.norm(texts[0]), atol=GRAPH)
