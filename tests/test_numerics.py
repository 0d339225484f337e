"""The precision policy: names, roundings that stay, and products that are never rounded unless asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax import numerics
from linkjax.errors import InputError


def test_an_unknown_precision_is_one_sentence_with_the_known_ones():
    with pytest.raises(InputError, match="expected float32, tf32, bfloat16, float16, found 'half'"):
        numerics.policy("half")


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_what_is_stored_is_rounded_even_where_the_compiler_may_keep_more(dtype):
    x = jnp.asarray(np.random.default_rng(0).normal(size=1000), jnp.float32)
    found = jax.jit(lambda x: numerics.stored(x * 3.0, dtype).astype(jnp.float32))(x)
    np.testing.assert_array_equal(found, np.asarray((x * 3.0).astype(dtype).astype(jnp.float32)))
    assert np.any(np.asarray(found) != np.asarray(x * 3.0))


def test_values_beyond_the_range_become_the_largest_and_not_infinite():
    found = numerics.stored(jnp.asarray([1e6, -1e6, 1.0], jnp.float32), jnp.float16)
    np.testing.assert_array_equal(found, np.asarray([65504, -65504, 1], np.float16))
