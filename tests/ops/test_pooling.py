import jax.numpy as jnp
import numpy as np
import pytest

from linkjax.ops import pooling

MAPS = np.random.default_rng(0).normal(size=(2, 13, 10, 3)).astype(np.float32)


def torch_maps():
    torch = pytest.importorskip("torch")
    return torch.from_numpy(MAPS.transpose(0, 3, 1, 2).copy())


def nhwc(tensor):
    return tensor.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(("window", "stride", "padding"), [(3, 2, 1), (3, 2, 0), (2, 2, 0)])
def test_max_pool_is_that_of_torch(window, stride, padding):
    maps = torch_maps()
    from torch.nn import functional

    np.testing.assert_array_equal(
        pooling.max_pool(jnp.asarray(MAPS), window, stride, padding),
        nhwc(functional.max_pool2d(maps, window, stride, padding)),
    )


@pytest.mark.parametrize("size", [1, 6, 7, 16])
def test_adaptive_mean_is_that_of_torch_enlarging_too(size):
    maps = torch_maps()
    from torch.nn import functional

    found = pooling.adaptive_avg_pool(jnp.asarray(MAPS), size)
    np.testing.assert_allclose(found, nhwc(functional.adaptive_avg_pool2d(maps, size)), atol=5e-7)


def test_mean_pool_drops_what_does_not_fit():
    maps = torch_maps()
    from torch.nn import functional

    np.testing.assert_allclose(
        pooling.avg_pool(jnp.asarray(MAPS), 2, 2), nhwc(functional.avg_pool2d(maps, 2)), atol=5e-7
    )


def test_flatten_is_channels_first():
    np.testing.assert_array_equal(pooling.flatten(jnp.asarray(MAPS)), MAPS.transpose(0, 3, 1, 2).reshape(2, -1))
