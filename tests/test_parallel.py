import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from linkjax import parallel


def square(scale, items):
    return {"y": items["x"] * items["x"] * scale, "sum": items["x"].sum(axis=1)}


def mesh_of(count):
    return jax.make_mesh((count,), (parallel.ITEM,), devices=jax.devices()[:count])


def run(count, x, batch):
    on = mesh_of(count)
    scale = parallel.replicate(jnp.float32(3.0), on)
    batches = ({"x": x[start : start + batch]} for start in range(0, len(x), batch))
    outputs = [out for _, out in parallel.map_batches(square, scale, batches, parallel.round_up(batch, on), on)]
    return {name: np.concatenate([out[name] for out in outputs]) for name in ("y", "sum")}


def test_two_and_eight_devices_give_the_numbers_of_one():
    x = np.random.default_rng(0).normal(size=(37, 5)).astype(np.float32)
    one = run(1, x, 7)
    for more in (run(2, x, 7), run(8, x, 7)):
        for name in one:
            np.testing.assert_array_equal(one[name], more[name])
    np.testing.assert_array_equal(one["y"], run(8, x, 16)["y"])


def test_items_in_memory_come_back_joined_and_each_batch_is_told():
    x = np.random.default_rng(1).normal(size=(11, 5)).astype(np.float32)
    on, told = mesh_of(2), []
    got = parallel.map_items(square, parallel.replicate(jnp.float32(3.0), on), {"x": x}, 4, on, told.append)
    np.testing.assert_array_equal(got["y"], run(1, x, 11)["y"])
    assert got["sum"].shape == (11,) and told == [4, 4, 3]


@given(count=st.integers(1, 9), extra=st.integers(0, 9))
def test_padding_repeats_the_last_item_and_masks_it(count, extra):
    x = np.arange(count, dtype=np.float32)
    padded, mask = parallel.pad({"x": x}, count + extra)
    assert len(padded["x"]) == count + extra
    np.testing.assert_array_equal(padded["x"][mask], x)
    assert (padded["x"][~mask] == x[-1]).all()


def test_the_mesh_takes_every_device():
    assert parallel.mesh().size == jax.device_count() == 8
