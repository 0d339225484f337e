"""The generator against the original's outputs on small random weights, layer by layer, and against plain PyTorch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.errors import InputError
from linkjax.models import build
from linkjax.models.generator_spec import Progression, conv_flops, imagenet_spec, stem_spec
from linkjax.models.stylegan_xl import Generator, layer_outputs
from linkjax.numerics import to_uint8
from linkjax.ops import full_conv
from linkjax_converters.generator import generator_from_snapshot
from linkjax_converters.reader.snapshot import read_snapshot
from tests import tolerances

NAMES = ("gen_stem16", "gen_superres64", "gen_uncond16")


@functools.cache
def load(folder, name):
    return generator_from_snapshot(read_snapshot(folder / f"{name}.pkl")), np.load(folder / f"{name}.npz")


@pytest.fixture(params=NAMES)
def case(request, parity):
    """(generator, reference arrays)."""
    return load(parity, request.param)


outputs_of = jax.jit(layer_outputs)


def largest(found, expected):
    """Largest difference, relative to the largest value expected."""
    return float(np.abs(np.asarray(found) - expected).max() / np.abs(expected).max())


def draws(reference):
    return [draw for draw in ("b1", "b4", "b4rand") if f"{draw}_z" in reference]


def test_w_is_the_originals_for_every_draw_and_truncation(case):
    generator, reference = case
    for draw in draws(reference):
        label = reference[f"{draw}_class"] if generator.spec.num_classes else None
        for name, truncation in (("psi100", 1.0), ("psi070", 0.7)):
            w = generator.mapping(reference[f"{draw}_z"], label, truncation)
            rows = reference[f"{draw}_{name}_ws"]
            assert rows.shape[1] == generator.spec.num_ws
            assert np.abs(np.asarray(w)[:, None] - rows).max() <= tolerances.GENERATOR_W


def test_every_layer_is_the_originals(case):
    generator, reference = case
    outputs = outputs_of(generator.synthesis, jnp.asarray(reference["b1_psi070_ws"]))
    names = [key.split("/")[1] for key in reference.files if key.startswith("layer_b1_psi070/")]
    assert set(names) == {"input", *generator.spec.layer_names}
    for name in names:
        expected = reference[f"layer_b1_psi070/{name}"].transpose(1, 2, 0)
        assert largest(outputs[name][0], expected) <= tolerances.GENERATOR, name


def test_winograds_method_keeps_every_layer_the_originals(parity, monkeypatch):
    monkeypatch.setattr(full_conv, "WINOGRAD_CHANNELS", 1)  # the layers here are too narrow for it otherwise
    generator, reference = load(parity, "gen_stem16")
    outputs = jax.jit(lambda synthesis, w: layer_outputs(synthesis, w))(
        generator.synthesis, jnp.asarray(reference["b1_psi070_ws"])
    )
    for name in generator.spec.layer_names:
        expected = reference[f"layer_b1_psi070/{name}"].transpose(1, 2, 0)
        assert largest(outputs[name][0], expected) <= tolerances.GENERATOR, name
    gradient = jax.jit(jax.grad(lambda w: jnp.mean(layer_outputs(generator.synthesis, w)["L1_36_26"] ** 2)))(
        jnp.asarray(reference["b1_psi070_ws"])
    )
    assert np.isfinite(gradient).all() and float(np.abs(gradient).max()) > 0


def test_images_are_the_originals_and_their_bytes_nearly_all(case):
    generator, reference = case
    for draw in ("b1", "b4"):
        for name in ("psi100", "psi070"):
            images = generator.synthesis(reference[f"{draw}_{name}_ws"])
            expected = reference[f"{draw}_{name}_image"].transpose(0, 2, 3, 1)
            assert largest(images, expected) <= tolerances.GENERATOR
            difference = np.asarray(to_uint8(images)).astype(int) - reference[f"{draw}_{name}_uint8"]
            assert np.abs(difference).max() <= 1
            assert np.mean(difference != 0) <= tolerances.GENERATOR_BYTES


def test_batch_mates_change_nothing_however_absurd(case):
    generator, reference = case
    w = reference["b4_psi070_ws"]
    together = generator.synthesis(w)
    alone = np.concatenate([generator.synthesis(w[i : i + 1]) for i in range(4)])
    assert largest(together, alone) <= tolerances.GENERATOR_BATCH
    absurd = np.concatenate([w[:1], 1e4 * w[1:]])
    assert largest(generator.synthesis(absurd)[0], alone[0]) <= tolerances.GENERATOR_BATCH


def test_one_w_for_all_layers_is_the_same_row_for_each(case):
    generator, reference = case
    rows = reference["b1_psi070_ws"]
    np.testing.assert_array_equal(generator.synthesis(rows[:, 0]), generator.synthesis(rows))


def test_features_are_the_layers_outputs_without_margins(parity):
    generator, reference = load(parity, "gen_superres64")
    images, maps = generator.synthesis(reference["b1_psi070_ws"], features=True)
    assert list(maps) and set(maps) == set(generator.spec.layer_names)
    for layer in generator.spec.layers:
        full = reference[f"layer_b1_psi070/{layer.name}"].transpose(1, 2, 0)
        side = int(layer.out_sampling_rate)
        assert maps[layer.name].shape == (1, min(side, full.shape[0]), min(side, full.shape[0]), layer.out_channels)
        m = (full.shape[0] - maps[layer.name].shape[1]) // 2
        inner = full[m : full.shape[0] - m, m : full.shape[1] - m]
        assert largest(maps[layer.name][0], inner) <= tolerances.GENERATOR * np.abs(full).max() / np.abs(inner).max()
    np.testing.assert_array_equal(images, generator.synthesis(reference["b1_psi070_ws"]))


@pytest.mark.parametrize("radial", [False, True], ids=["t", "r"])
def test_random_generators_of_both_configurations_agree_with_plain_torch(radial):
    torch = pytest.importorskip("torch")
    from tests.reference import torch_stylegan

    how = Progression(channel_base=512, channel_max=24, radial=radial, conv_kernel=1 if radial else 3)
    spec = stem_spec(32, num_layers=6, progression=how, z_dim=8, w_dim=16)
    generator = build.random(Generator, spec, 3)
    assert any(layer.down_radial for layer in spec.layers) == radial
    w = np.random.default_rng(0).normal(size=(2, 16)).astype(np.float32)
    with torch.no_grad():
        expected = torch_stylegan.layer_outputs(torch_stylegan.torch_weights(generator), spec, torch.from_numpy(w))
    outputs = outputs_of(generator.synthesis, jnp.asarray(w))
    for name, reference in expected.items():
        assert largest(outputs[name], reference.numpy().transpose(0, 2, 3, 1)) <= tolerances.GENERATOR, name
    assert float(np.asarray(generator.synthesis(w)).std()) > 0.02  # something is drawn


def test_the_published_architecture_has_the_published_sizes():
    spec = imagenet_spec(256)
    count = sum(int(np.prod(leaf.shape)) for leaf in build.shapes(Generator, spec).values())
    assert (len(spec.layers), spec.num_ws, spec.resolution) == (31, 32, 256)
    assert count == pytest.approx(233e6, rel=0.01)
    assert conv_flops(spec.layers) == pytest.approx(3.19e12, rel=0.01)


def test_wrong_latents_and_labels_are_named(parity):
    conditional, unconditional = load(parity, "gen_stem16")[0], load(parity, "gen_uncond16")[0]
    z = np.zeros((2, 16), np.float32)
    for call, said in (
        (lambda: conditional.mapping(z), "give a label from 0 to 6"),
        (lambda: conditional.mapping(z, np.array([0, 7])), "found 7"),
        (lambda: conditional.mapping(z, np.array([0])), "one for each z"),
        (lambda: conditional.mapping(z[:, :3], np.array([0, 1])), r"\[batch, 16\]"),
        (lambda: unconditional.mapping(np.zeros((1, 12)), np.array([0])), "leave the label out"),
        (lambda: conditional.synthesis(np.zeros((1, 31))), r"w must be \[batch, 32\]"),
        (lambda: conditional.synthesis(np.zeros((1, 32)), features=("L99",)), "no layer named L99"),
    ):
        with pytest.raises(InputError, match=said):
            call()
