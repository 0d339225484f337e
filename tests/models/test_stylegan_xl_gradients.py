"""Gradients of images in w: right, and cheap in memory where maps are large."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import print_saved_residuals

from linkjax.models import build, stylegan_xl
from linkjax.models.generator_spec import Progression, stem_spec
from linkjax.models.stylegan_xl import Generator


@pytest.fixture(scope="module")
def generator():
    return build.random(Generator, stem_spec(16, 6, Progression(channel_base=512, channel_max=32), w_dim=16), 3)


@pytest.fixture
def w():
    return jax.random.normal(jax.random.key(0), (1, 16))


def test_inside_a_compiled_function_the_model_is_an_argument_and_gradients_are_finite(generator, w):
    @jax.jit
    def brightness(model, w):
        return jnp.mean(model.synthesis(w))

    value, gradient = jax.value_and_grad(brightness, argnums=1)(generator, w)
    assert abs(float(value) - float(jnp.mean(generator.synthesis(w)))) < 1e-6
    assert np.isfinite(gradient).all() and float(np.abs(gradient).max()) > 0
    step = 1e-2 * gradient / jnp.linalg.norm(gradient)
    slope = (brightness(generator, w + step) - brightness(generator, w - step)) / 2e-2
    assert float(slope) == pytest.approx(float(jnp.linalg.norm(gradient)), rel=0.02)


def kept_bytes(function, argument, capsys):
    """Of what a gradient keeps of the forward pass: "float32[4,36,36,32] output of …", a line an array."""
    print_saved_residuals(function, argument)
    sizes = re.findall(r"^f32\[([\d,]+)\](?! from (?:the argument|a))", capsys.readouterr().out, re.MULTILINE)
    return 4 * sum(np.prod([int(size) for size in each.split(",")]) for each in sizes)


def test_where_maps_are_large_a_gradient_keeps_the_layers_inputs_alone_and_is_the_same(
    generator, w, monkeypatch, capsys
):
    def brightness(w):
        return jnp.mean(stylegan_xl._images(generator.synthesis, w) ** 2)

    expected, all_kept = np.asarray(jax.jit(jax.grad(brightness))(w)), kept_bytes(brightness, w, capsys)
    monkeypatch.setattr(stylegan_xl, "KEPT_BYTES", 0)
    found = np.asarray(jax.jit(jax.grad(lambda w: brightness(w)))(w))
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    inputs = 4 * len(w) * sum(layer.in_size**2 * layer.in_channels for layer in generator.spec.layers)
    assert 0.5 * inputs < kept_bytes(brightness, w, capsys) < 1.5 * inputs < 0.1 * all_kept
