"""Synthesis in TF32, bfloat16 and float16: its error, its range, its derivatives, and that nobody gets it unasked."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import linkjax
from linkjax import numerics
from linkjax.demo.bundle import open_bundle
from linkjax.errors import InputError
from linkjax.models import build
from linkjax.ops import full_conv
from tests import tolerances, worlds

HALF = ("bfloat16", "float16")


@functools.cache
def generator():
    return worlds.generator()


@functools.cache
def latents():
    z = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)
    return generator().mapping(z, np.arange(4))


def largest(found, expected):
    return float(np.abs(np.asarray(found) - np.asarray(expected)).max() / np.abs(np.asarray(expected)).max())


def test_a_generator_of_another_precision_shares_the_weights_and_leaves_the_first_as_it_was():
    half = generator().with_precision("bfloat16")
    assert (half.precision, generator().precision) == ("bfloat16", "float32")
    mine, theirs = build.leaves(generator()), build.leaves(half)
    assert all(theirs[name] is mine[name] for name in mine)
    with pytest.raises(InputError, match="precision: expected float32"):
        generator().with_precision("float64")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("precision", HALF)
def test_images_and_maps_of_half_precision_are_float32_and_within_its_error(precision):
    images, maps = generator().with_precision(precision).synthesis(latents(), features=True)
    expected, expected_maps = generator().synthesis(latents(), features=True)
    assert {images.dtype, *(each.dtype for each in maps.values())} == {jnp.dtype(jnp.float32)}
    assert 0 < largest(images, expected) <= tolerances.HALF_IMAGES[precision]
    for name, found in maps.items():
        assert largest(found, expected_maps[name]) <= tolerances.HALF_IMAGES[precision], name


@pytest.mark.parametrize("precision", HALF)
def test_winograds_method_in_half_precision_is_the_direct_convolution_s(precision, monkeypatch):
    rng = np.random.default_rng(1)
    x, kernel = (
        jnp.asarray(rng.normal(size=shape), numerics.policy(precision).dtype)
        for shape in ((2, 9, 9, 16), (3, 3, 16, 8))
    )
    direct = full_conv.full_conv(x, kernel)
    monkeypatch.setattr(full_conv, "WINOGRAD_CHANNELS", 1)
    found = jax.jit(lambda x, kernel: full_conv.full_conv(x, kernel))(x, kernel)
    assert found.dtype == direct.dtype == x.dtype
    # both round once from float32, so a value between two neighbours may fall to either
    assert largest(found.astype(jnp.float32), direct.astype(jnp.float32)) <= float(jnp.finfo(x.dtype).eps)


@pytest.mark.parametrize("precision", HALF)
@pytest.mark.parametrize("scale", [1e-6, 1e4])
def test_no_w_overflows_half_precision(precision, scale):
    w = latents() * scale
    images = generator().with_precision(precision).synthesis(w)
    assert np.isfinite(images).all()
    assert largest(images, generator().synthesis(w)) <= tolerances.HALF_EXTREME[precision]


@jax.jit
def derivatives(generator, w):
    """Along one direction, and of a scalar: forward and back."""
    along = jax.jvp(generator.synthesis, (w,), (jnp.ones_like(w),))[1]
    return along, jax.grad(lambda w: jnp.mean(generator.synthesis(w) ** 2))(w)


@pytest.mark.parametrize("precision", HALF)
def test_derivatives_forward_and_back_follow_float32_s(precision):
    expected = derivatives(generator(), latents())
    for found, true in zip(derivatives(generator().with_precision(precision), latents()), expected, strict=True):
        assert 0 < largest(found, true) <= tolerances.HALF_DERIVATIVES[precision]


def test_tf32_is_float32_where_there_is_none():
    images = generator().with_precision("tf32").synthesis(latents())
    np.testing.assert_array_equal(images, generator().synthesis(latents()))


def products_on(platform: str, precision: numerics.Precision) -> tuple[list[str], list[str]]:
    """Convolutions, and other products, of synthesis as lowered for a device that need not be here."""
    program = jax.jit(lambda generator, w: generator.synthesis(w))
    lowered = program.trace(generator().with_precision(precision), latents()).lower(lowering_platforms=(platform,))
    lines = lowered.as_text().splitlines()
    return [each for each in lines if "stablehlo.convolution" in each], [
        each for each in lines if "stablehlo.dot_general" in each
    ]


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_accelerators_are_asked_for_the_highest_precision_unless_tf32_is_wanted(platform):
    convolutions, others = products_on(platform, "float32")
    assert len(convolutions) == len(generator().spec.layers)
    assert all(each.count("precision HIGHEST") == 2 for each in convolutions)
    assert others and all("precision = [HIGHEST, HIGHEST]" in each for each in others)
    convolutions, others = products_on(platform, "tf32")
    assert all(each.count("precision HIGH>") == 2 for each in convolutions)
    assert all("precision = [HIGHEST, HIGHEST]" in each for each in others)


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", "bf16"), ("float16", "f16")])
def test_accelerators_read_and_write_half_precision_in_every_convolution_but_torgb_s_sums(precision, dtype):
    convolutions, others = products_on("cuda", precision)
    assert len(convolutions) == len(generator().spec.layers) - 1
    for each in convolutions:
        operands = each.rsplit(" : ", 1)[1]
        assert operands.count(f"x{dtype}>") == 3 and "f32" not in operands.replace("bf16", "")
    (rgb,) = (each for each in others if f"x{dtype}>" in each)
    assert rgb.endswith("x3xf32>")


@pytest.mark.parametrize("precision", HALF)
def test_images_of_the_embedded_world_are_within_the_stated_error(precision):
    bundle = open_bundle()
    drawn, classifier = linkjax.load(bundle.path("generator")), linkjax.load(bundle.path("breeds"))
    label = np.arange(4, dtype=np.int32)
    w = drawn.mapping(np.random.default_rng(0).normal(size=(4, drawn.spec.z_dim)).astype(np.float32), label)
    true, images = (each.synthesis(w) for each in (drawn, drawn.with_precision(precision)))
    assert largest(images, true) <= tolerances.HALF_IMAGES[precision]
    drawn_bytes, true_bytes = (np.asarray(linkjax.to_uint8(each)).astype(int) for each in (images, true))
    assert np.abs(drawn_bytes - true_bytes).max() <= tolerances.HALF_LEVELS[precision]
    r, expected = (np.asarray(classifier(classifier.preprocess(each)).penultimate) for each in (images, true))
    assert largest(r, expected) <= tolerances.HALF_R[precision]
