import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from linkjax.ops.histogram import histogram


@given(st.integers(0, 2**31 - 1), st.integers(1, 40), st.integers(1, 9))
def test_histogram_is_numpys_and_leaves_out_what_has_no_bin(seed, size, bins):
    values = np.random.default_rng(seed).integers(-3, bins + 3, size)
    inside = values[(values >= 0) & (values < bins)]
    np.testing.assert_array_equal(histogram(jnp.asarray(values, jnp.int32), bins), np.bincount(inside, minlength=bins))


def test_mapped_histograms_are_those_of_each():
    values = jnp.asarray(np.random.default_rng(0).integers(-1, 6, (3, 4, 5, 2)), jnp.int32)
    count = lambda each: histogram(each, 5)  # noqa: E731
    found = jax.jit(jax.vmap(jax.vmap(count)))(values)
    assert found.shape == (3, 4, 5)
    for i in range(3):
        for j in range(4):
            np.testing.assert_array_equal(found[i, j], count(values[i, j]))


def test_what_is_derived_passes_by_a_histogram():
    def mean_of(x):
        return jnp.sum(x) * histogram((x > 0).astype(jnp.int32), 2)[1].astype(x.dtype)

    x = jnp.asarray([1.0, -2.0, 3.0])
    np.testing.assert_array_equal(jax.grad(mean_of)(x), [2.0, 2.0, 2.0])
    np.testing.assert_array_equal(jax.jvp(mean_of, (x,), (jnp.ones(3),))[1], 6.0)
