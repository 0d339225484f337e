"""On how many of the simulated devices the stages run."""

import jax

from linkjax.devices import parallel

every = parallel.mesh


def mesh_of(count: int) -> jax.sharding.Mesh:
    """The first `count` devices, as `parallel.mesh` arranges them all."""
    auto = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((count,), (parallel.ITEM,), axis_types=auto, devices=jax.devices()[:count])


def use(count: int | None) -> None:
    """From now on stages run on `count` devices; None: on all."""
    parallel.mesh = every if count is None else lambda: mesh_of(count)
