import functools

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from linkjax.analysis.links import moments
from linkjax.stages.link import summing
from tests import tolerances


@given(st.lists(st.integers(0, 30), min_size=1, max_size=5), st.integers(1, 9), st.integers(0, 99))
def test_sums_merged_slab_by_slab_are_those_merged_whole_and_in_order(counts, slab, seed):
    random = np.random.default_rng(seed)
    parts, taken = [], []
    for number, count in enumerate(counts):
        r, w = random.standard_normal((count, 7)) * 2 + 9 * number, random.standard_normal((count, 3)) - number
        made = moments.update(moments.empty(7, 3), r, w, products=("float64", "float32")[number % 2])
        parts.append(jax.device_get(made))

    def gathered(take):
        found = [take(part) for part in parts]
        taken.append(found[0])
        return found

    found, expected = summing.by_slabs(gathered, slab), functools.reduce(moments.merge, parts)
    for name, array in vars(expected).items():
        array, got = np.asarray(array), np.asarray(getattr(found, name))
        assert got.dtype == np.float64 and got.shape == array.shape
        assert np.abs(got - array).max() <= tolerances.MOMENTS * np.abs(array).max(), name
    assert max(len(each) for each in taken[1:]) <= slab  # no more rows than that are ever together
