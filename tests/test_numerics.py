"""The precision policy: names, roundings that stay, and products that are never rounded unless asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax import numerics
from linkjax.errors import InputError
from tests import products


def test_an_unknown_precision_is_one_sentence_with_the_known_ones():
    with pytest.raises(InputError, match="expected float32, tf32, bfloat16, float16, found 'half'"):
        numerics.policy("half")


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_what_is_stored_is_rounded_even_where_the_compiler_may_keep_more(dtype):
    x = jnp.asarray(np.random.default_rng(0).normal(size=1000), jnp.float32)
    found = jax.jit(lambda x: numerics.stored(x * 3.0, dtype).astype(jnp.float32))(x)
    np.testing.assert_array_equal(found, np.asarray((x * 3.0).astype(dtype).astype(jnp.float32)))
    assert np.any(np.asarray(found) != np.asarray(x * 3.0))


def test_a_product_below_the_highest_precision_is_noticed(monkeypatch):
    found = []
    watched = products._watched(jax.lax.dot_general_p, lambda *a, **k: None, found)
    monkeypatch.setattr(products, "_in_linkjax", lambda: "here")
    x, whole = jnp.ones((2, 2), jnp.float32), jnp.ones((2, 2), jnp.int32)
    for operands, precision in (
        ((x, x), jax.lax.Precision.HIGHEST), ((x, x), None), ((x, x), jax.lax.Precision.HIGH), ((whole, whole), None),
        ((x, x), (jax.lax.Precision.HIGHEST, jax.lax.Precision.DEFAULT)),
    ):  # fmt: skip
        watched(*operands, precision=precision)
    assert len(found) == 3 and all(line.endswith("at here") for line in found)


def test_what_linkjax_multiplies_is_watched():
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products, "_in_linkjax", lambda: calls.append(1))  # this file's own would not count
        jnp.matmul(jnp.ones((3, 5), jnp.float32), jnp.ones((5, 2), jnp.float32))
    assert calls


def test_values_beyond_the_range_become_the_largest_and_not_infinite():
    found = numerics.stored(jnp.asarray([1e6, -1e6, 1.0], jnp.float32), jnp.float16)
    np.testing.assert_array_equal(found, np.asarray([65504, -65504, 1], np.float16))


def test_a_program_of_the_host_may_be_part_of_another():
    scaled = numerics.jit(lambda x, times: x * times, static=("times",))
    assert float(scaled(jnp.float32(2.0), times=3)) == 6.0
    assert float(jax.jit(lambda x: scaled(x, 3))(2.0)) == 6.0
    assert numerics.compiler_options("gpu") is None
