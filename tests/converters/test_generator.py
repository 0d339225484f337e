"""From snapshots to generators: what is read where, and what is said when it does not fit."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest

import linkjax
from linkjax.errors import ConversionError
from linkjax.models import build
from linkjax_converters.generator import convert_generator, generator_from_snapshot, spec_from_snapshot
from linkjax_converters.reader.snapshot import ModuleRecord, read_snapshot
from tests import tolerances

COMPILED = "as shipped"


@pytest.fixture
def snapshot(parity):
    return read_snapshot(parity / "gen_stem16.pkl")


def refused(snapshot):
    with pytest.raises(ConversionError) as error:
        generator_from_snapshot(snapshot)
    return str(error.value)


def test_a_converted_file_loads_as_the_generator_in_it(parity, tmp_path):
    convert_generator(parity / "gen_uncond16.pkl", tmp_path / "out")
    loaded, direct = linkjax.load(tmp_path / "out"), generator_from_snapshot(read_snapshot(parity / "gen_uncond16.pkl"))
    assert loaded.spec == direct.spec and loaded.spec.num_classes == 0
    ours, expected = build.leaves(loaded), build.leaves(direct)
    assert ours.keys() == expected.keys()
    for name in expected:
        np.testing.assert_array_equal(ours[name], expected[name])
    manifest = (tmp_path / "out" / "manifest.json").read_text()
    assert "gen_uncond16.pkl" in manifest and "never use" in manifest and "licence" in manifest


def test_layers_say_what_they_are_not_the_arguments_of_the_stem(parity):
    snapshot = read_snapshot(parity / "gen_superres64.pkl")
    synthesis = snapshot.modules["synthesis"].attributes
    assert (synthesis["_init_kwargs"]["num_layers"], synthesis["_init_kwargs"]["img_resolution"]) == (6, 16)
    synthesis["num_layers"] = 99
    spec = spec_from_snapshot(snapshot)
    assert (len(spec.layers), spec.num_ws, spec.resolution) == (10, 11, 64)
    assert "L4_36_26" not in spec.layer_names and "L5_36_26" in spec.layer_names


def test_everything_that_does_not_fit_comes_in_one_message(snapshot):
    del snapshot.arrays["synthesis.L0_36_26.bias"]
    snapshot.arrays["synthesis.L1_36_26.noise"] = np.zeros(3, np.float32)
    snapshot.arrays["mapping.w_avg"] = np.zeros((7, 31), np.float32)
    said = refused(snapshot)
    for part in ("synthesis.layers.L0_36_26.bias", "synthesis.L1_36_26.noise", "mapping.w_avg"):
        assert part in said


def test_attributes_that_do_not_add_up_come_in_one_message(snapshot):
    snapshot.modules["synthesis.L0_36_26"].attributes["padding"] = [9, 8, 9]
    snapshot.modules["synthesis.L1_36_26"].attributes["in_size"] = np.array([36, 38])
    snapshot.modules["synthesis.L2_36_26"].attributes["padding"] = [9, 6, 9, 6]
    del snapshot.modules["synthesis.L3_36_26"].attributes["up_factor"]
    snapshot.modules["synthesis.L3_36_26.affine"].attributes["weight_gain"] = 0.5
    snapshot.modules["synthesis"].attributes["num_ws"] = 5
    said = refused(snapshot)
    for part in ("L0_36_26.padding", "L1_36_26.in_size", "L2_36_26", "L3_36_26.up_factor", "weight_gain", "num_ws"):
        assert part in said


def test_another_kind_of_network_is_named_as_such(snapshot):
    del snapshot.modules["synthesis.input"]
    assert "no StyleGAN3 or StyleGAN-XL generator" in refused(snapshot)


def test_weights_that_are_not_finite_are_refused_by_name(snapshot):
    weight = snapshot.arrays["synthesis.L2_36_26.weight"].copy()
    weight[0, 0, 0, 0] = np.nan
    snapshot.arrays["synthesis.L2_36_26.weight"] = weight
    assert "synthesis.L2_36_26.weight holds NaN" in refused(snapshot)


def test_stylegan3_embeds_a_class_by_a_dense_layer_and_has_one_mean(snapshot):
    """The plain StyleGAN3 mapping in NumPy: normalise z and the embedded class, two layers, one w_avg."""
    random = np.random.default_rng(0)
    classes, z_dim, w_dim = 7, 16, 32
    embed, bias = random.normal(size=(w_dim, classes)), random.normal(size=w_dim)
    fc0, w_avg = random.normal(size=(w_dim, z_dim + w_dim)) * 100, random.normal(size=w_dim)
    for path in ("mapping.embed_proj.weight", "mapping.embed_proj.bias"):
        del snapshot.arrays[path]
    del snapshot.modules["mapping.embed_proj"]
    snapshot.arrays |= {
        name: array.astype(np.float32)
        for name, array in {
            "mapping.embed.weight": embed,
            "mapping.embed.bias": bias,
            "mapping.fc0.weight": fc0,
            "mapping.w_avg": w_avg,
        }.items()
    }
    dense = copy.deepcopy(snapshot.modules["mapping.fc0"].attributes)
    snapshot.modules["mapping.fc0"].attributes |= {
        "in_features": z_dim + w_dim,
        "weight_gain": 0.01 / math.sqrt(z_dim + w_dim),
    }
    dense |= {"in_features": classes, "weight_gain": 1 / math.sqrt(classes), "bias_gain": 1, "activation": "linear"}
    snapshot.modules["mapping.embed"] = ModuleRecord("FullyConnectedLayer", dense)
    fc1, b0, b1 = (snapshot.arrays[f"mapping.{name}"].astype(float) for name in ("fc1.weight", "fc0.bias", "fc1.bias"))

    def unit(x):
        return x / np.sqrt(np.mean(x**2, axis=1, keepdims=True) + 1e-8)

    def layer(x, weight, bias):
        y = x @ weight.T * (0.01 / math.sqrt(weight.shape[1])) + bias * 0.01
        return np.maximum(y, 0.2 * y) * math.sqrt(2)

    z, label = random.normal(size=(4, z_dim)), np.array([0, 6, 3, 3])
    y = np.eye(classes)[label] @ embed.T / math.sqrt(classes) + bias
    w = layer(layer(np.concatenate([unit(z), unit(y)], axis=1), fc0, b0), fc1, b1)
    expected = w_avg + 0.7 * (w - w_avg)

    generator = generator_from_snapshot(snapshot)
    assert not generator.spec.embed_projected and not generator.spec.class_truncation
    assert np.abs(np.asarray(generator.mapping(z, label, 0.7)) - expected).max() <= tolerances.GENERATOR_W
    assert generator.synthesis(generator.mapping(z, label)).shape == (4, 16, 16, 3)


CASES = Path(__file__).parents[1] / "cases"


def test_fewer_classes_than_embedding_rows_use_the_first_rows(tmp_path):
    """The table of a StyleGAN-XL has the rows of the classifier it was taken from; w and images are the original's."""
    expected = np.load(CASES / "ten_classes_fifty_embeddings.npz")
    notes = convert_generator(CASES / "ten_classes_fifty_embeddings.pkl", tmp_path / "out")
    generator = linkjax.load(tmp_path / "out")
    assert generator.spec.num_classes == 10
    w = generator.mapping(expected["z"], label=expected["label"], truncation=0.7)
    assert np.abs(w - expected["w_psi070"]).max() <= 2e-6
    images = expected["images_psi070"]
    assert np.abs(generator.synthesis(expected["w_psi070"]) - images).max() <= 2e-6
    assert np.abs(generator.synthesis(w) - images).max() <= 2e-6 * np.abs(images).max()
    source = json.loads((tmp_path / "out" / "manifest.json").read_text())["source"]
    why = source["ignored"]["mapping.embed.weight[10:50]"]
    assert "50 rows" in why and "row i" in why and why in notes
    table = read_snapshot(CASES / "ten_classes_fifty_embeddings.pkl").arrays["mapping.embed.weight"]
    np.testing.assert_array_equal(build.leaves(generator)["mapping.embed"], table[:10])


def test_fewer_embedding_rows_than_classes_are_refused(snapshot):
    snapshot.arrays["mapping.embed.weight"] = snapshot.arrays["mapping.embed.weight"][:-1]
    assert "mapping.embed.weight" in refused(snapshot)


def test_a_grey_generator_draws_its_grey_as_three_equal_channels(tmp_path):
    notes = convert_generator(CASES / "grey_images.pkl", tmp_path / "out")
    assert any("grey" in note for note in notes)
    assert any(
        "grey" in note for note in json.loads((tmp_path / "out" / "manifest.json").read_text())["source"]["notes"]
    )
    generator = linkjax.load(tmp_path / "out")
    w = generator.mapping(np.random.default_rng(0).normal(size=(3, generator.spec.z_dim)), label=None)
    images = np.asarray(generator.synthesis(w))
    assert images.shape[-1] == 3 and images.std() > 1e-3
    np.testing.assert_array_equal(images[..., 0], images[..., 1])
    np.testing.assert_array_equal(images[..., 0], images[..., 2])
    snapshot = read_snapshot(CASES / "grey_images.pkl")
    assert spec_from_snapshot(snapshot).img_channels == 1


def test_images_with_transparency_are_refused_in_one_sentence(snapshot):
    names = snapshot.modules["synthesis"].attributes["layer_names"]
    snapshot.modules["synthesis"].attributes["img_channels"] = 4
    snapshot.modules[f"synthesis.{names[-1]}"].attributes["out_channels"] = 4
    said = refused(snapshot)
    assert "4 channels" in said and "\n" not in said
