"""How many items fit, from what the compiler says and what is free."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.devices import memory, parallel

SIZE = 256


def outer(_, items):
    """Needs [SIZE, SIZE] floats an item at least: a product that must exist before it is sorted."""
    x = items["x"]
    return jnp.sort((x[:, :, None] * x[:, None, :]).reshape(x.shape[0], -1), axis=1)


@pytest.fixture
def one():
    return jax.make_mesh((1,), (parallel.ITEM,), devices=jax.devices()[:1])


@pytest.fixture
def free(monkeypatch):
    """`free(bytes)`: what every device is said to have free."""
    return lambda count: monkeypatch.setattr(memory, "free_bytes", lambda on: count)


@pytest.mark.parametrize("devices", [1, 4])
def test_a_batch_takes_half_of_what_is_free_and_no_more(free, devices):
    on = jax.make_mesh((devices,), (parallel.ITEM,), devices=jax.devices()[:devices])
    items = {"x": np.zeros((64, SIZE), np.float32)}
    each = 4 * SIZE * SIZE
    free(20 * each)
    size = memory.batch_size(outer, None, items, on)
    assert size % devices == 0 and 1 <= size // devices <= 10  # the output alone is `each` bytes an item
    free(40 * each)
    assert size <= memory.batch_size(outer, None, items, on) <= 2 * size + devices


def test_one_item_a_device_is_drawn_however_little_is_free(free, one):
    free(1)
    assert memory.batch_size(outer, None, {"x": np.zeros((3, SIZE), np.float32)}, one) == 1


def test_more_than_was_tried_is_not_asked_of_a_processor(free, one):
    free(10**15)
    assert memory.batch_size(outer, None, {"x": np.zeros((100, SIZE), np.float32)}, one) == 16


def test_in_shares_nothing_is_compiled_to_be_measured_and_no_share_is_left_half_empty(free, one):
    free(1)
    items = {"x": np.zeros((6, SIZE), np.float32)}
    assert memory.batch_size(lambda *_: pytest.fail("was traced"), None, items, one, on_cpu=64, share=4) == 8
    assert memory.batch_size(outer, None, items, one, on_cpu=3, share=4) == 3


def test_simulated_devices_share_what_the_host_has(monkeypatch, one):
    monkeypatch.setattr(memory, "_free_on_host", lambda: 8 * 10**9)
    assert memory.free_bytes(one) == 8 * 10**9
    assert memory.free_bytes(parallel.mesh()) == 10**9


def test_the_host_says_how_much_it_has():
    assert 2**20 < memory._free_on_host() < 2**50
