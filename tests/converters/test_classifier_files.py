"""Classifiers in the files people have: other names, heads and preprocessing; right, or refused with a reason."""

import json
from pathlib import Path

import numpy as np
import pytest

import linkjax
from linkjax.cli import main
from linkjax.errors import ConversionError, InputError
from linkjax_converters.class_names import read_class_names
from linkjax_converters.classifier import classifier_from_state_dict, convert_classifier
from linkjax_converters.preprocessing import read_preprocessing
from linkjax_converters.state_dict import read_state_dict
from tests.tolerances import CLASSIFIER

torch = pytest.importorskip("torch")

CASES = Path(__file__).parents[1] / "cases"
PARITY = Path(__file__).parents[1] / "parity"
BGR = {"channels": "bgr", "range": (0, 255), "mean": (103.939, 116.779, 123.68), "std": (1, 1, 1)}


def error(found, expected):
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


@pytest.fixture(scope="module")
def expected():
    return dict(np.load(CASES / "classifiers_expected.npz"))


@pytest.fixture(scope="module")
def weights():
    return read_state_dict(CASES / "model.safetensors")


def source(folder):
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["source"]


def saved(path, arrays):
    torch.save({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}, path)
    return path


def trunk(arrays):
    return {name: array for name, array in arrays.items() if not name.startswith("fc.")}


@pytest.mark.parametrize(
    ("file", "options", "r", "logits"),
    [
        ("two_networks.pth.tar", {}, "resnet18_r", "resnet18_logits"),
        ("two_networks.pth.tar", {"key": "state_dict_ema"}, "ema_r", "ema_logits"),
        ("compiled.pth", {}, "resnet18_r", "resnet18_logits"),
        ("lightning.ckpt", {}, "resnet18_r", "resnet18_logits"),
        ("model.safetensors", {}, "resnet18_r", "resnet18_logits"),
        ("without_head.pth", {"headless": True}, "resnet18_r", None),
        ("two_networks.pth.tar", {"headless": True}, "resnet18_r", None),
        ("vgg16_for_bgr_bytes.pth", BGR, "vgg16_bgr_r", "vgg16_bgr_logits"),
    ],
)
def test_the_file_gives_the_activations_and_scores_of_its_own_program(tmp_path, expected, file, options, r, logits):
    arch = "vgg16" if "vgg" in file else "resnet18"
    notes = convert_classifier(CASES / file, tmp_path / "out", arch, resize=0, **options)  # the images as they are
    model = linkjax.load(tmp_path / "out")
    found = model(model.preprocess(expected["images"]))
    assert error(found.penultimate, expected[r]) < CLASSIFIER
    assert found.logits is None if logits is None else error(found.logits, expected[logits]) < CLASSIFIER
    assert source(tmp_path / "out")["notes"] == notes
    assert any(note.startswith("preprocessing: ") for note in notes)


def test_what_was_taken_what_else_there_was_and_what_was_assumed_is_printed(tmp_path, capsys):
    two, bgr = str(CASES / "two_networks.pth.tar"), str(CASES / "vgg16_for_bgr_bytes.pth")
    assert main(["convert", "classifier", two, str(tmp_path / "a"), "--arch", "resnet18"]) == 0
    said = capsys.readouterr().out
    assert "took the network 'state_dict'" in said and "also holds 'state_dict_ema'" in said
    assert "assumed" in said and "--preprocessing" in said and "minus (0.485, 0.456, 0.406)" in said
    assert source(tmp_path / "a")["other_networks"] == ["state_dict_ema"]
    flags = ["--arch", "vgg16", "--channels", "bgr", "--range", "0", "255"]
    flags += ["--mean", "103.939", "116.779", "123.68", "--std", "1", "1", "1"]
    assert main(["convert", "classifier", bgr, str(tmp_path / "b"), *flags]) == 0
    assert "BGR in 0 … 255" in capsys.readouterr().out
    how = linkjax.load(tmp_path / "b").spec.preprocessing
    assert (how.channels, how.value_range, how.std) == ("bgr", (0.0, 255.0), (1.0, 1.0, 1.0))


def test_help_exits_0(capsys):
    assert main(["convert", "--help"]) == 0 and "classifier" in capsys.readouterr().out
    assert main(["convert", "classifier", "--help"]) == 0 and "--interpolation" in capsys.readouterr().out


@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "module._orig_mod.model.", "backbone.", "encoder_q.", "0.", "x.y."]
)
def test_any_prefix_that_all_share_is_dropped(weights, prefix):
    plain = classifier_from_state_dict(weights, "resnet18")
    model = classifier_from_state_dict({prefix + name: array for name, array in weights.items()}, "resnet18")
    assert model.spec == plain.spec
    np.testing.assert_array_equal(model.network.conv1.kernel[...], plain.network.conv1.kernel[...])


def test_an_attackers_copy_and_its_normaliser_are_told_apart_from_the_network(tmp_path, weights, expected):
    """MadryLab's files hold the network twice, and the mean and std it was trained with."""
    content = {f"module.model.{name}": array for name, array in weights.items()}
    content |= {f"module.attacker.model.{name}": array for name, array in weights.items()}
    for place in ("normalizer", "attacker.normalize"):
        content[f"module.{place}.new_mean"] = np.array([0.4, 0.5, 0.6], np.float32)[:, None, None]
        content[f"module.{place}.new_std"] = np.array([0.2, 0.3, 0.25], np.float32)[:, None, None]
    notes = convert_classifier(saved(tmp_path / "x.pth", content), tmp_path / "out", "resnet18")
    model = linkjax.load(tmp_path / "out")
    np.testing.assert_allclose(model.spec.preprocessing.mean, (0.4, 0.5, 0.6), rtol=1e-6)
    np.testing.assert_allclose(model.spec.preprocessing.std, (0.2, 0.3, 0.25), rtol=1e-6)
    assert any("copy of the same weights" in note for note in notes)
    why = source(tmp_path / "out")["ignored"]
    assert "copy" in why["attacker.model.conv1.weight"] and "normaliser" in why["normalizer.new_mean"]
    seen = model.preprocess(expected["images"])
    assert error(model(seen).logits, np.asarray(classifier_from_state_dict(weights, "resnet18")(seen).logits)) < 1e-6


def test_of_two_encoders_the_one_as_trained_is_taken_and_the_other_by_key(tmp_path, weights):
    other = {name: array + (array.dtype.kind == "f") for name, array in weights.items()}
    content = {f"module.encoder_k.{name}": array for name, array in other.items()}
    content |= {f"module.encoder_q.{name}": array for name, array in weights.items()}
    path = saved(tmp_path / "x.pth", content | {"module.queue": np.zeros((3, 4), np.float32)})
    for key, mine in ((None, weights), ("encoder_k", other)):
        out = tmp_path / f"out {key}"
        notes = convert_classifier(path, out, "resnet18", key=key)
        kernel = linkjax.load(out).network.conv1.kernel[...]
        np.testing.assert_array_equal(kernel, mine["conv1.weight"].transpose(2, 3, 1, 0))
        assert any("queue" in note for note in notes)
    with pytest.raises(ConversionError, match="--key"):
        twins = {f"{side}.{name}": array for side in ("left", "right") for name, array in weights.items()}
        classifier_from_state_dict(twins, "resnet18")


def test_a_head_behind_dropout_is_the_last_layer(weights):
    content = {name.replace("fc.", "fc.1."): array for name, array in weights.items()}
    model, plain = (classifier_from_state_dict(each, "resnet18") for each in (content, weights))
    assert model.spec == plain.spec
    np.testing.assert_array_equal(model.last.kernel[...], plain.last.kernel[...])


@pytest.mark.parametrize("arch", ["resnet18", "vgg16"])
def test_a_head_of_several_layers_gives_the_last_ones_input_as_r(tmp_path, weights, arch):
    own = weights if arch == "resnet18" else read_state_dict(CASES / "vgg16_for_bgr_bytes.pth")
    name = "fc" if arch == "resnet18" else "classifier.6"
    units = own[f"{name}.weight"].shape[1]
    head = torch.nn.Sequential(
        torch.nn.Linear(units, 9), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(9, 7)
    ).eval()
    content = {key: array for key, array in own.items() if not key.startswith(f"{name}.")}
    content |= {f"{name}.{key}": tensor.numpy() for key, tensor in head.state_dict().items()}
    notes = convert_classifier(saved(tmp_path / "x.pth", content), tmp_path / "out", arch)
    assert any("last layer's input" in note for note in notes)
    model, plain = linkjax.load(tmp_path / "out"), classifier_from_state_dict(own, arch)
    assert model.spec.num_units == 9 and model.spec.num_classes == 7 and model.spec.head == (9,)
    x = np.random.default_rng(0).normal(size=(3, 64, 64, 3)).astype(np.float32)
    found = model(x)
    with torch.no_grad():
        pooled = torch.from_numpy(np.array(plain(x).penultimate))
        assert error(found.penultimate, torch.relu(head[0](pooled)).numpy()) < CLASSIFIER
        assert error(found.logits, head(pooled).numpy()) < CLASSIFIER
    assert error(model.head(found.penultimate), np.asarray(found.logits)) < CLASSIFIER


def test_only_the_missing_head_is_named_as_the_cause(weights):
    with pytest.raises(ConversionError, match="--headless"):
        classifier_from_state_dict(trunk(weights), "resnet18")
    with pytest.raises(ConversionError, match="no architecture here"):
        classifier_from_state_dict({"patch_embed.proj.weight": np.zeros((4, 3, 2, 2), np.float32)}, "resnet18")


def test_class_names_lie_in_the_specification(tmp_path):
    (tmp_path / "names.txt").write_bytes("\ufeffzwei\r\nschöne\r\nHunde\r\nund\r\nKatzen\r\n".encode())
    convert_classifier(CASES / "model.safetensors", tmp_path / "a", "resnet18", class_names=tmp_path / "names.txt")
    assert linkjax.load(tmp_path / "a").spec.class_names == ("zwei", "schöne", "Hunde", "und", "Katzen")
    (tmp_path / "names.json").write_text(json.dumps({str(n): [f"n{n}", name] for n, name in enumerate("abcde")}))
    assert read_class_names(tmp_path / "names.json") == tuple("abcde")
    for content, said in (
        ("a\nb\n", "found 2 names"),
        ("crane\nb\nc\nd\ncrane\n", "classes 0 and 4 are both called crane"),
    ):
        (tmp_path / "names.txt").write_text(content)
        with pytest.raises(InputError, match=said):
            convert_classifier(
                CASES / "model.safetensors", tmp_path / "b", "resnet18", class_names=tmp_path / "names.txt"
            )
    assert not (tmp_path / "b").exists()


TIMM = {
    "architecture": "resnet50", "num_classes": 1000,
    "pretrained_cfg": {"input_size": [3, 224, 224], "test_input_size": [3, 288, 288], "interpolation": "bicubic",
                       "crop_pct": 0.95, "test_crop_pct": 1.0, "crop_mode": "center", "mean": [0.485, 0.456, 0.406],
                       "std": [0.229, 0.224, 0.225]},
}  # fmt: skip
CONVNEXT = {"do_resize": True, "size": {"shortest_edge": 224}, "crop_pct": 0.875, "resample": 3, "do_rescale": True,
            "rescale_factor": 0.00392156862745098, "do_normalize": True, "image_mean": [0.5, 0.5, 0.5],
            "image_std": [0.5, 0.5, 0.5], "image_processor_type": "ConvNextImageProcessor"}  # fmt: skip
VIT = {"do_resize": True, "size": {"height": 224, "width": 224}, "resample": 2, "do_normalize": True,
       "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}  # fmt: skip
CLIP = {"size": 224, "do_center_crop": True, "crop_size": 224, "resample": 3, "image_mean": [0.48, 0.46, 0.41],
        "image_std": [0.27, 0.26, 0.28]}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "stated"),
    [
        (TIMM, {"resize": 288, "crop": 288, "interpolation": "bicubic", "mean": (0.485, 0.456, 0.406)}),
        ({**TIMM["pretrained_cfg"], "test_input_size": [3, 224, 224], "test_crop_pct": 0.9}, {"resize": 248}),
        (CONVNEXT, {"resize": 256, "crop": 224, "interpolation": "bicubic", "value_range": (0.0, 1.0)}),
        (VIT, {"resize": 224, "crop": None, "squash": True, "interpolation": "bilinear"}),
        (CLIP, {"resize": 224, "crop": 224, "interpolation": "bicubic", "std": (0.27, 0.26, 0.28)}),
        ({"do_resize": False, "do_rescale": False, "do_normalize": False, "image_mean": [0.5]},
         {"resize": None, "crop": None, "mean": (0.0,) * 3, "std": (1.0,) * 3, "value_range": (0.0, 255.0)}),
    ],
    ids=["timm", "timm without cfg", "convnext", "vit", "clip", "nothing done"],
)  # fmt: skip
def test_preprocessing_files_say_what_their_programs_do(tmp_path, content, stated):
    (tmp_path / "config.json").write_text(json.dumps(content))
    fields = read_preprocessing(tmp_path / "config.json").fields
    assert {name: fields[name] for name in stated} == stated


def test_flags_come_before_the_file_and_the_file_before_what_is_assumed(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONVNEXT))
    out = tmp_path / "out"
    notes = convert_classifier(
        CASES / "model.safetensors", out, "resnet18", preprocessing=tmp_path / "config.json", std=(0.1, 0.2, 0.3)
    )
    how = linkjax.load(out).spec.preprocessing
    assert (how.resize, how.crop, how.interpolation, how.std, how.mean) == (
        256,
        224,
        "bicubic",
        (0.1, 0.2, 0.3),
        (0.5,) * 3,
    )
    assert any("from the flags: std" in note for note in notes) and any(
        "the preprocessing file" in note for note in notes
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "no JSON"), ("[1]", "table of settings"), ('{"model_type": "resnet"}', "preprocessor_config.json"),
        ('{"image_mean": [1, 2]}', "3 numbers"), ('{"image_mean": ["a", 1, 2]}', "expected a number"),
        ('{"input_size": [3, 224, 320], "mean": [0.5]}', "square"), ('{"input_size": [3, -1, -1]}', "side in pixels"),
        ('{"mean": [0, 0, 0], "interpolation": "spline"}', "expected one of"),
        ('{"image_mean": [0.5], "image_std": [0, 0, 0]}', "positive std"), ('{"image_std": [1e999]}', "number"),
        ('{"crop_pct": 0, "input_size": 224}', "crop_pct"), ("[" * 100_000, "no JSON"),
        ('{"size": {"shortest_edge": 64}, "do_center_crop": true, "crop_size": 224, "image_mean": 0.5}', "crop"),
    ],
)  # fmt: skip
def test_a_preprocessing_file_that_cannot_be_meant_is_one_sentence(tmp_path, content, said):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        read_preprocessing(tmp_path / "x.json")
    assert "\n" not in str(caught.value) and "x.json" in str(caught.value)
