"""Fewer of the simulated devices than there are."""

import contextlib

import jax
import pytest

from linkjax import parallel


def mesh_of(count: int) -> jax.sharding.Mesh:
    """The first `count` devices, as `parallel.mesh` arranges them all."""
    auto = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((count,), (parallel.ITEM,), axis_types=auto, devices=jax.devices()[:count])


@contextlib.contextmanager
def two_devices():
    """Stages run on two devices instead of eight, each of which would fill a share of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "mesh", lambda: mesh_of(2))
        yield
