"""Converted classifiers against the originals' outputs, layer by layer, and against plain PyTorch at every depth."""

import functools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from linkjax.errors import ConversionError, InputError
from linkjax.models.build import Buffer
from linkjax.models.classifier import ARCHITECTURES
from linkjax.storage import checkpoint
from linkjax_converters import classifier_rules
from linkjax_converters.bijection import convert
from linkjax_converters.classifier import classifier_from_state_dict, classifier_shapes, convert_classifier
from linkjax_converters.state_dict import read_state_dict
from tests import compiling
from tests.tolerances import BATCHING, CLASSIFIER

pytest.importorskip("torch")

FIXTURES = Path(__file__).parents[1] / "parity"
ARCHS = ("resnet18", "resnet50", "vgg16", "alexnet", "densenet201")


def error(found, expected):
    """Largest difference, relative to the largest value of the reference."""
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


@functools.cache
def reference(arch):
    return dict(np.load(FIXTURES / f"cls_{arch}.npz"))


@functools.cache
def classifier(file, arch, features="penultimate"):
    return classifier_from_state_dict(read_state_dict(FIXTURES / f"cls_{file}.pth"), arch, features)


def inputs(side):
    return np.load(FIXTURES / "cls_inputs.npz")[f"x_{side}"].transpose(0, 2, 3, 1)


@pytest.mark.parametrize("arch", ARCHS)
def test_every_stage_is_that_of_the_original(arch):
    expected = reference(arch)
    found = classifier(arch, arch, "original")(inputs(64), stages=True)
    names = {name.removeprefix("stage64/") for name in expected if name.startswith("stage64/")}
    assert set(found.stages) == names
    for name in names:
        stage = np.asarray(found.stages[name][0]).transpose(2, 0, 1)
        assert error(stage, expected[f"stage64/{name}"]) < CLASSIFIER, name
    assert error(found.penultimate, expected["r_64"]) < CLASSIFIER
    assert error(found.logits, expected["logits_64"]) < CLASSIFIER


ALONE = """
import sys
import numpy as np
from tests.converters.test_classifier import classifier, inputs
found = classifier("resnet50", "resnet50", "original")(inputs(64), stages=True)
np.savez(sys.argv[1], r=found.penultimate, logits=found.logits, **found.stages)
"""


def test_one_device_and_two_threads_give_the_stages_of_eight(tmp_path):
    """A stem summed in an order that depends on the number of threads was another 1.15e-5 off."""
    environment = os.environ | {"XLA_FLAGS": compiling.xla_flags(), "NPROC": "2"}
    subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path / "alone.npz")],
        env=environment, cwd=FIXTURES.parents[1], check=True,
    )  # fmt: skip
    alone, expected = np.load(tmp_path / "alone.npz"), reference("resnet50")
    together = classifier("resnet50", "resnet50", "original")(inputs(64), stages=True)
    for name, maps in together.stages.items():
        assert error(alone[name][0].transpose(2, 0, 1), expected[f"stage64/{name}"]) < CLASSIFIER, name
        assert error(alone[name], np.asarray(maps)) < BATCHING, name
    assert error(alone["r"], expected["r_64"]) < CLASSIFIER
    assert error(alone["logits"], expected["logits_64"]) < CLASSIFIER


@pytest.mark.parametrize("arch", ARCHS)
def test_activations_and_scores_at_224_are_those_of_the_original(arch):
    expected, model = reference(arch), classifier(arch, arch)
    found = model(inputs(224))
    assert error(found.penultimate, expected["penultimate_224"]) < CLASSIFIER
    assert error(found.logits, expected["logits_224"]) < CLASSIFIER
    assert found.penultimate.shape[1] == model.spec.num_units
    assert found.stages == {}


@pytest.mark.parametrize("arch", ARCHS)
def test_the_head_gives_the_scores_from_either_kind_of_activation(arch):
    expected = reference(arch)
    assert error(classifier(arch, arch).head(expected["penultimate_224"]), expected["logits_224"]) < CLASSIFIER
    original = classifier(arch, arch, "original")
    assert error(original.head(expected["r_224"]), expected["logits_224"]) < CLASSIFIER
    assert expected["r_224"].shape[1] == original.spec.num_units


def test_ip_irm_names_give_the_trunk_without_a_head():
    model = classifier("resnet50_ipirm_names", "ipirm_resnet50")
    found = model(inputs(64))
    assert error(found.penultimate, reference("resnet50")["r_64"]) < CLASSIFIER
    assert found.logits is None
    with pytest.raises(InputError, match="no class scores"):
        model.head(found.penultimate)


def test_old_densenet_names_give_the_same_weights():
    found = []
    for file in ("densenet201", "densenet201_dotted_names"):
        arrays = read_state_dict(FIXTURES / f"cls_{file}.pth")
        spec, targets = classifier_shapes({key: array.shape for key, array in arrays.items()}, "densenet201")
        found.append(convert(arrays, targets, classifier_rules.rules(spec), what="densenet201").arrays)
    new, old = found
    assert new.keys() == old.keys()
    assert all(np.array_equal(new[name], old[name]) for name in new)


@pytest.mark.parametrize("arch", ("vgg11_bn", "resnet34", "wide_resnet50_2", "resnext50_32x4d"))
def test_other_depths_agree_with_plain_torch(arch):
    import torch

    from tests.reference import torch_classifiers

    plain = torch_classifiers.randomise(
        torch_classifiers.build(arch, divisor=4 if "next" in arch else 16, classes=7), seed=0
    )
    model = classifier_from_state_dict({key: value.numpy() for key, value in plain.state_dict().items()}, arch)
    images = inputs(64)
    with torch.no_grad():
        expected = plain(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    assert error(model(images).logits, expected) < CLASSIFIER


def full_size(arch):
    """Names and shapes of the full-size state dict, nothing allocated."""
    import torch

    from tests.reference import torch_classifiers

    with torch.device("meta"):
        tensors = torch_classifiers.build(arch).state_dict()
    return {key: tuple(tensor.shape) for key, tensor in tensors.items()}


def unallocated(shapes):
    return {key: np.broadcast_to(np.float32(0), shape) for key, shape in shapes.items()}


@pytest.mark.parametrize("arch", [arch for arch in ARCHITECTURES if not arch.startswith("ipirm")])
def test_full_size_state_dicts_map_one_to_one(arch, parity):
    shapes = full_size(arch)
    stored = json.loads((parity / "cls_fullsize_state_dicts.json").read_text()).get(arch)
    if stored is not None:
        assert shapes == {key: tuple(shape) for key, shape in stored["state_dict"].items()}
    spec, targets = classifier_shapes(shapes, arch)
    assert spec == ARCHITECTURES[arch]
    found = convert(unallocated(shapes), targets, classifier_rules.rules(spec), what=arch)
    assert set(found.arrays) == set(targets)
    assert all(key.endswith("num_batches_tracked") for key in found.ignored)
    if stored is not None:
        statistics = sum(np.prod(shape) for key, shape in shapes.items() if "running" in key)
        assert sum(np.prod(target.shape) for target in targets.values()) == stored["n_params"] + statistics


def test_another_architecture_is_a_summary_ten_names_and_the_cause(parity):
    arrays = read_state_dict(parity / "cls_resnet18.pth")
    for arch, said in (
        ("resnet50", ("missing: network.stages.0.0.bn3", "mis-shaped: ")),
        ("vgg16", ("unexpected: ",)),
    ):
        with pytest.raises(ConversionError) as caught:
            classifier_from_state_dict(arrays, arch)
        message = str(caught.value)
        assert "those of resnet18: try --arch resnet18" in message
        assert all(each in message for each in said)
        lines = message.splitlines()
        assert len(lines) == 12 and lines[-1].strip().startswith("… and ")
        counts = [int(number) for number in re.findall(r"\d+(?= (?:missing|unexpected|mis-shaped))", lines[0])]
        assert sum(counts) == 10 + int(lines[-1].split()[2])


def test_an_unknown_architecture_names_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"did you mean resnet50\?.*known are resnet18, "):
        convert_classifier(FIXTURES / "cls_resnet50.pth", tmp_path / "out", "resnet-50")


def test_a_converted_classifier_loads_again(tmp_path):
    convert_classifier(FIXTURES / "cls_alexnet.pth", tmp_path / "out", "alexnet", "original")
    model, manifest = checkpoint.load_model(tmp_path / "out", ("classifier",))
    assert model.spec.features == "original"
    assert manifest["source"]["file"] == "cls_alexnet.pth"
    assert error(model(inputs(224)).penultimate, reference("alexnet")["r_224"]) < CLASSIFIER
    with pytest.raises(InputError, match="exists already"):
        convert_classifier(FIXTURES / "cls_alexnet.pth", tmp_path / "out", "alexnet")


def test_refused_files_leave_nothing_behind(tmp_path):
    with pytest.raises(ConversionError):
        convert_classifier(FIXTURES / "cls_alexnet.pth", tmp_path / "out", "resnet18")
    assert list(tmp_path.iterdir()) == []


def test_statistics_are_constants_and_weights_are_parameters():
    _, params, constants = nnx.split(classifier("resnet18", "resnet18"), nnx.Param, Buffer)
    assert {path[-1] for path, _ in nnx.to_flat_state(params)} == {"kernel", "scale", "bias"}
    assert {path[-1] for path, _ in nnx.to_flat_state(constants)} == {"mean", "var"}
