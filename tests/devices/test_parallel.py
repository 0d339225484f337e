import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkjax.devices import parallel
from linkjax.errors import InputError
from tests import meshes


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


def layers(kernel, items):
    """Products and sums that XLA orders by the size of the batch."""
    hidden = jnp.tanh(jnp.matmul(items["x"], kernel))
    return {"softmax": jax.nn.softmax(jnp.matmul(hidden, kernel.T), axis=1), "spread": jnp.std(hidden, axis=1)}


def test_in_shares_neither_batches_nor_devices_nor_tails_change_a_bit():
    rng = np.random.default_rng(3)
    kernel, x = (rng.normal(size=shape).astype(np.float32) for shape in ((37, 64), (53, 37)))
    found = []
    for count, batch in ((1, 4), (1, 5), (1, 64), (2, 8), (8, 8), (8, 56)):
        on = mesh_of(count)
        models = parallel.replicate(jnp.asarray(kernel), on)
        found.append(parallel.map_items(layers, models, {"x": x}, batch, on, share=4))
    for other in found[1:]:
        jax.tree.map(np.testing.assert_array_equal, found[0], other)
    expected = layers(jnp.asarray(kernel), {"x": jnp.asarray(x)})
    for name, array in found[0].items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-5, atol=1e-6)


def test_shares_beyond_the_true_items_are_not_computed():
    on, computed = mesh_of(1), []

    def noted(model, items):
        jax.debug.callback(lambda x: computed.append(len(x)), items["x"])
        return items["x"] * model

    batches = iter([{"x": np.ones((16, 2), np.float32)}, {"x": np.ones((5, 2), np.float32)}])
    found = [out for _, out in parallel.map_batches(noted, jnp.float32(2), batches, 16, on, share=4)]
    jax.effects_barrier()
    assert computed == [4] * 6 and [len(each) for each in found] == [16, 5]
    np.testing.assert_array_equal(np.concatenate(found), 2)


def test_items_in_memory_come_back_joined_and_each_batch_is_told():
    x = np.random.default_rng(1).normal(size=(11, 5)).astype(np.float32)
    on, told = mesh_of(2), []
    got = parallel.map_items(square, parallel.replicate(jnp.float32(3.0), on), {"x": x}, 4, on, told.append)
    np.testing.assert_array_equal(got["y"], run(1, x, 11)["y"])
    assert got["sum"].shape == (11,) and told == [4, 4, 3]


def test_chunks_share_batches_and_come_back_whole_and_in_order():
    x = np.random.default_rng(2).normal(size=(47, 5)).astype(np.float32)
    on, told = mesh_of(2), []
    chunks = [{"x": x[start:stop]} for start, stop in ((0, 13), (13, 14), (14, 40), (40, 47))]

    scale = parallel.replicate(jnp.float32(3.0), on)
    found = list(parallel.map_chunks(square, scale, chunks, 8, on, told.append))
    assert told == [8, 8, 8, 8, 8, 7]  # no padding but at the end
    for (items, outputs), chunk in zip(found, chunks, strict=True):
        np.testing.assert_array_equal(items["x"], chunk["x"])
        expected = parallel.map_items(square, scale, chunk, 8, on)
        jax.tree.map(np.testing.assert_array_equal, outputs, expected)
    assert list(parallel.map_chunks(square, scale, [], 8, on)) == []


def test_the_next_chunk_is_under_way_when_one_is_yielded():
    on, asked = mesh_of(2), []

    def chunks():
        for start in (0, 16, 32):
            asked.append(start)
            yield {"x": np.full((16, 5), start, np.float32)}

    drawn = parallel.map_chunks(square, parallel.replicate(jnp.float32(3.0), on), chunks(), 8, on)
    next(drawn)
    assert asked == [0, 16]


@given(count=st.integers(1, 9), extra=st.integers(0, 9))
def test_padding_repeats_the_last_item_and_masks_it(count, extra):
    x = np.arange(count, dtype=np.float32)
    padded, mask = parallel.pad({"x": x}, count + extra)
    assert len(padded["x"]) == count + extra
    np.testing.assert_array_equal(padded["x"][mask], x)
    assert (padded["x"][~mask] == x[-1]).all()


def test_the_mesh_takes_every_device():
    assert parallel.mesh().size == jax.device_count() == 8


def test_using_chooses_devices_of_whatever_mesh_and_gives_the_others_back(monkeypatch):
    monkeypatch.setattr(parallel, "mesh", meshes.every)  # not those that the tests' stages run on
    whole = parallel.mesh().size
    assert whole > 1
    square = jax.make_mesh((whole // 2, 2), ("a", "b"))
    with parallel.using(square):
        assert parallel.mesh().axis_names == (parallel.ITEM,) and parallel.mesh().size == whole
        with parallel.using(jax.devices()[1:2]):
            assert parallel.mesh().devices.tolist() == jax.devices()[1:2]
        assert parallel.mesh().size == whole
    with pytest.raises(InputError, match="using: expected one device or more, found none"), parallel.using([]):
        pass
    with pytest.raises(KeyboardInterrupt), parallel.using(jax.devices()[:1]):
        raise KeyboardInterrupt
    assert parallel.mesh().size == whole


def test_items_on_one_chosen_device_are_those_of_all(monkeypatch):
    monkeypatch.setattr(parallel, "mesh", meshes.every)
    items, scale = {"x": np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)}, jnp.float32(3.0)

    def mapped():
        on = parallel.mesh()
        return parallel.map_items(square, parallel.replicate(scale, on), items, 8, on, share=1)

    every = mapped()
    with parallel.using(jax.devices()[:1]):
        one = mapped()
    for name, values in every.items():
        np.testing.assert_array_equal(one[name], values)


def test_a_batch_holds_as_many_items_as_are_computed_of_it():
    on, told = mesh_of(2), []
    x = np.arange(30, dtype=np.float32).reshape(15, 2)
    found = parallel.map_items(square, parallel.replicate(jnp.float32(1.0), on), {"x": x}, 4, on, told.append, 3)
    assert told == [6, 6, 3], "shares of 3 on 2 devices"
    np.testing.assert_array_equal(found["y"], x * x)
