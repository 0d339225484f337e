"""A few images at a time: the same values, and the derivatives of the whole batch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.ops import chunked
from linkjax.ops.conv import conv


def work(weights, x):
    y = jnp.tanh(jnp.matmul(x, weights["k"], precision="highest")) * weights["n"].astype(jnp.float32)
    return {"y": y, "x": x, "sign": jnp.sign(x).astype(jnp.int32)}


WEIGHTS = {"k": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), "n": np.int32(2)}


def batch(count):
    return np.sin(np.arange(3 * count, dtype=np.float32)).reshape(count, 3)


def lowered(count, bytes_each):
    run = jax.jit(functools.partial(chunked.map_in_cache, work, bytes_each=bytes_each))
    return run.lower(WEIGHTS, batch(count)).as_text()


@pytest.mark.parametrize("count", [1, 2, 6, 7, 12])
@pytest.mark.parametrize("fit", [0, 1, 3, 4, 100])
def test_a_batch_in_shares_has_the_values_of_the_whole(count, fit):
    bytes_each = chunked.CACHE_BYTES // max(fit, 1) + (fit == 0)
    found = chunked.map_in_cache(work, WEIGHTS, batch(count), bytes_each)
    for name, expected in work(WEIGHTS, batch(count)).items():
        np.testing.assert_allclose(found[name], expected, atol=1e-6)


def test_only_what_is_gained_is_divided():
    fits_4 = chunked.CACHE_BYTES // 4
    assert "while" in lowered(6, fits_4)  # two shares of three
    assert "while" not in lowered(4, fits_4) and "while" not in lowered(1, fits_4)
    assert "while" not in lowered(6, chunked.CACHE_BYTES)  # one image fills the cache
    assert "while" not in lowered(6, 2 * chunked.CACHE_BYTES)


def test_derivatives_are_those_of_the_whole_batch():
    fits_4 = chunked.CACHE_BYTES // 4
    x = batch(6)

    def loss(function, k, x):
        return jnp.sum(function(WEIGHTS | {"k": k}, x)["y"] ** 2)

    def shared(weights, x):
        return chunked.map_in_cache(work, weights, x, fits_4)

    for argument in (1, 2):
        found, expected = (
            jax.jit(jax.grad(functools.partial(loss, each), argument - 1))(WEIGHTS["k"], x) for each in (shared, work)
        )
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    found, expected = (
        jax.jit(lambda x, each=each: jax.jvp(functools.partial(each, WEIGHTS), (x,), (jnp.cos(x),))[1])(x)
        for each in (shared, work)
    )
    np.testing.assert_allclose(found["y"], expected["y"], rtol=1e-5, atol=1e-6)
    passes = str(jax.make_jaxpr(jax.grad(functools.partial(loss, shared), 1))(WEIGHTS["k"], x))
    assert "scan" not in passes and "while" not in passes

    def second(each):
        return jax.grad(lambda x: jnp.sum(jnp.sin(jax.grad(lambda x: loss(each, WEIGHTS["k"], x))(x))))(x)

    np.testing.assert_allclose(second(shared), second(work), rtol=1e-4, atol=1e-5)
    many = jax.vmap(jax.grad(lambda x: loss(shared, WEIGHTS["k"], x)))(np.stack([x, x + 1]))
    one = jax.grad(lambda x: loss(work, WEIGHTS["k"], x))(x + 1)
    np.testing.assert_allclose(many[1], one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("count", "divided"), [(16, False), (17, False), (20, True), (32, True), (50, True)])
def test_shares_of_a_number_of_items_have_the_values_of_the_whole_and_are_not_small(count, divided):
    def some(weights, x):
        return chunked.map_shares(work, weights, x, 16)

    for name, expected in work(WEIGHTS, batch(count)).items():
        np.testing.assert_allclose(some(WEIGHTS, batch(count))[name], expected, atol=1e-6)
    assert ("while" in jax.jit(some).lower(WEIGHTS, batch(count)).as_text()) == divided


@pytest.mark.parametrize("shape", [(4, 3, 4), (7, 8, 16), (9, 16, 8)])
def test_an_image_is_convolved_to_the_same_bits_in_every_place_of_a_share(shape):
    """Without AVX-512 not so with 2, 4, 6, 8 or 16 images (scripts/numerics/measure_places.py)."""
    side, inputs, outputs = shape
    share = chunked.share_of(64)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(1, side, side, inputs)).astype(np.float32)
    kernel = rng.normal(size=(3, 3, inputs, outputs)).astype(np.float32)
    found = np.asarray(conv(np.repeat(image, share, axis=0), kernel, padding=1))
    assert share > 1 and (found == found[:1]).all()
