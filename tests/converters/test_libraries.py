"""Networks of timm, torchvision and Hugging Face by the names that users give, where these packages are installed."""

import numpy as np
import pytest

import linkjax
from linkjax import cli
from tests.tolerances import GRAPH

torch = pytest.importorskip("torch", reason="networks of PyTorch are converted with it")
CLASSES = 7


def randomised(network):
    """Weights and statistics that all matter."""
    torch.manual_seed(0)
    for value in network.parameters():
        torch.nn.init.normal_(value, 0, 0.1)
    for name, value in network.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            torch.nn.init.uniform_(value, 0.5, 1.5)
    return network.eval()


def converted(source, out, *flags):
    assert cli.main(["convert", "module", source, str(out), *map(str, flags)]) == 0
    return linkjax.load(out, check=True)


def assert_the_same(model, scores, side):
    """Class scores of two images, through linkjax and through PyTorch."""
    x = np.random.default_rng(1).standard_normal((2, side, side, 3)).astype(np.float32)
    with torch.no_grad():
        expected = scores(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))).numpy()
    assert expected.shape == (2, CLASSES) == (2, model.spec.num_classes)
    assert np.abs(np.asarray(model(x).logits) - expected).max() < GRAPH * np.abs(expected).max()


@pytest.mark.parametrize("name", ["test_vit", "test_convnext"])
def test_timm(name, tmp_path, capsys):
    timm = pytest.importorskip("timm", reason="timm is not installed: pip install timm")
    network = randomised(timm.create_model(name, num_classes=CLASSES))
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    model = converted(f"timm:{name}", tmp_path / "out", "--weights", tmp_path / "weights.pth")
    said, record = capsys.readouterr().out, network.pretrained_cfg
    how = model.spec.preprocessing
    assert how.crop == record["input_size"][1] and np.allclose(how.mean, record["mean"])
    assert "of PyTorch's largest value" in said
    assert model.spec.num_units == network.num_features
    assert_the_same(model, network, how.crop)


def test_torchvision(tmp_path):
    torchvision = pytest.importorskip("torchvision", reason="torchvision is not installed: pip install torchvision")
    network = randomised(torchvision.models.mobilenet_v3_small(num_classes=CLASSES))
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    flags = ["--weights", tmp_path / "weights.pth", "--resize", 72, "--crop", 64]
    model = converted("torchvision:mobilenet_v3_small", tmp_path / "out", *flags)
    assert model.spec.num_units == 1024 and model.head_kernel is not None
    assert_the_same(model, network, 64)


def test_hugging_face(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install transformers")
    names = {place: f"kind {place}" for place in range(CLASSES)}
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    config = transformers.ViTConfig(image_size=32, patch_size=8, id2label=names, **small)
    network = randomised(transformers.ViTForImageClassification(config))
    network.save_pretrained(tmp_path / "folder")
    (tmp_path / "folder" / "preprocessor_config.json").write_text(
        '{"do_resize": true, "size": {"height": 32, "width": 32}, "resample": 2, "do_rescale": true, '
        '"rescale_factor": 0.00392156862745098, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5], '
        '"image_std": [0.5, 0.5, 0.5], "image_processor_type": "ViTImageProcessor"}'
    )
    model = converted(f"hf:{tmp_path / 'folder'}", tmp_path / "out")
    assert model.spec.class_names == tuple(names.values()) and model.spec.num_units == 32
    assert np.allclose(model.spec.preprocessing.mean, 0.5)
    assert_the_same(model, lambda x: network(pixel_values=x).logits, 32)
