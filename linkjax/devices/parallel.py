"""Devices: the mesh, and the one way linkjax runs a function over many items. The only file that names a device axis.

Weights are replicated; items are sharded along the one axis `item`. Every device runs the same program on its own
items with `jax.shard_map`, so no result depends on how many devices there are. (`jax.pmap` is the old way to the same.)
"""

import collections
import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from linkjax import numerics
from linkjax.devices import cluster
from linkjax.errors import InputError
from linkjax.ops.chunked import in_shares

ITEM = "item"

if jax.__version_info__ == (0, 11, 2):  # its Shardy crashes on a sweep for several devices; 0.11.1 and 0.12 do not
    jax.config.update("jax_use_shardy_partitioner", False)


_CHOSEN: contextvars.ContextVar[Mesh | None] = contextvars.ContextVar("chosen mesh", default=None)


def mesh() -> Mesh:
    """All devices of the job along the one axis `item`, or those that `using` chose."""
    return _CHOSEN.get() or _along(jax.devices())


@contextlib.contextmanager
def using(devices: Mesh | Sequence[Any] | None) -> Iterator[None]:
    """Choose the devices that everything within works on; results are the same bits but for what docs/scale.md names.

    Args:
      devices: a mesh, of whatever axes, or a list of devices of this process's job; None: all of the job.
    Raises: InputError for no device at all.
    """
    listed = list(devices.devices.flat) if isinstance(devices, Mesh) else devices
    if listed is not None and not len(listed):
        raise InputError("using: expected one device or more, found none")
    before = _CHOSEN.set(None if listed is None else _along(listed))
    try:
        yield
    finally:
        _CHOSEN.reset(before)


def _along(devices: Sequence[Any]) -> Mesh:
    return jax.make_mesh((len(devices),), (ITEM,), axis_types=(jax.sharding.AxisType.Auto,), devices=devices)


def local_mesh() -> Mesh:
    """The devices of this process alone, for work that needs no other: all of `mesh()` where there is one process."""
    if cluster.count() == 1:
        return mesh()
    return _along(jax.local_devices())


def gathered(tree: Any) -> list[Any]:
    """Every process's own copy of a tree of arrays, on the host, in the order of the processes; all get all."""
    tree = jax.tree.map(np.asarray, tree)
    if cluster.count() == 1:
        return [tree]
    from jax.experimental import multihost_utils

    with jax.enable_x64(True):
        together = multihost_utils.process_allgather(tree)
    return [jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), together) for i in range(cluster.count())]


def replicate(tree: Any, mesh: Mesh) -> Any:
    """A copy of every array of `tree` on every device; of several processes each places its own copy on its own."""
    if cluster.count() == 1:
        return jax.device_put(tree, NamedSharding(mesh, P()))
    return jax.tree.map(lambda leaf: _from_host(leaf, NamedSharding(mesh, P())), tree)


def place(items: Mapping[str, np.ndarray], mesh: Mesh) -> Any:
    """Items on the devices, split along their leading axis, which the device count must divide.

    Of several processes, which all hold all items, each places those of its own devices.
    """
    if cluster.count() == 1:
        return jax.device_put(dict(items), NamedSharding(mesh, P(ITEM)))
    return {name: _from_host(array, NamedSharding(mesh, P(ITEM))) for name, array in items.items()}


def own_items(size: int, mesh: Mesh) -> np.ndarray:
    """Mask of those of `size` items that `place` puts on this process's devices: all, where it is the only one.

    `size` is that of a filled batch (see `filled`). What is costly to prepare need not be made by processes that would
    not place it.
    """
    own = np.zeros(size, bool)
    for index in NamedSharding(mesh, P(ITEM)).addressable_devices_indices_map((size,)).values():
        own[index] = True
    return own


def _from_host(array: Any, sharding: NamedSharding) -> jax.Array:
    """What `jax.device_put` makes, without asking the other processes whether theirs is the same."""
    on_host = np.asarray(array)
    on_host = on_host.astype(jax.dtypes.canonicalize_dtype(on_host.dtype), copy=False)
    return jax.make_array_from_callback(on_host.shape, sharding, lambda index: on_host[index])


def round_up(batch_size: int, mesh: Mesh) -> int:
    """The smallest multiple of the device count that holds `batch_size` items."""
    return -(-batch_size // mesh.size) * mesh.size


def filled(batch_size: int, mesh: Mesh, share: int) -> int:
    """Items of the compiled call that `map_batches` makes of a batch: whole shares on every device."""
    each = max(share, 1) * mesh.size
    return -(-batch_size // each) * each


def batches(items: Mapping[str, np.ndarray], size: int) -> Iterator[dict[str, np.ndarray]]:
    """Items `size` at a time, the last of them fewer; name → array [n, ...] as `map_batches` takes them."""
    for start in range(0, _rows(items), size):
        yield {name: array[start : start + size] for name, array in items.items()}


def pad(items: Mapping[str, np.ndarray], size: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Items filled up to `size` by repeating the last one, and the mask of the true ones.

    Repeating a true item, rather than zeros, keeps padding free of NaN and of odd branches.
    """
    count = _rows(items)
    padded = {
        name: np.concatenate([array, np.repeat(array[-1:], size - count, axis=0)]) if count < size else array
        for name, array in items.items()
    }
    return padded, np.arange(size) < count


class Sharded(NamedTuple):
    """A program with its models' arrays listed once: listing them takes longer than starting the program."""

    program: Any  # jitted, of (arrays, items, shares to compute)
    arrays: list[Any]
    share: int
    mesh: Mesh

    def __call__(self, items: Any, count: int | None = None) -> Any:
        """Outputs by item; of the first `count`, where it is given, and of others anything."""
        made = self.program(*self.arguments(items, count))
        return made if cluster.count() == 1 else _to_all(self.mesh)(made)

    def arguments(self, items: Any, count: int | None = None) -> tuple[Any, ...]:
        """What the program is called with."""
        each = len(jax.tree.leaves(items)[0]) // self.mesh.size
        most = each if count is None else min(each, count)  # the first devices are the fullest
        return self.arrays, items, np.int32(-(-most // self.share) if self.share else 1)

    def compiled(self, items: Any) -> Any:
        """The program for items of these shapes, which tells what memory it needs."""
        return self.program.lower(*self.arguments(items)).compile()


def sharded(function: Callable[..., Any], models: Any, mesh: Mesh, share: int = 0) -> Sharded:
    """`function(models, items) → outputs by item`, compiled once per shape, items split over the mesh.

    Args:
      function: must treat items independently: each device sees only its own. Two `functools.partial` of one function
        with equal keywords are one program.
      models: pytree, replicated on the mesh (see `replicate`).
      share: every device computes so many items at a time, one share after another, the last item again where a share
        has fewer; 0: all it has at once. XLA orders sums by how many items there are. Of shares of one size an item's
        bits depend neither on the batch nor on the devices (see `ops.chunked.share_of`).
    """
    settings: tuple[tuple[str, Any], ...] = ()
    if isinstance(function, functools.partial) and not function.args:
        function, settings = function.func, tuple(sorted(function.keywords.items()))
    arrays, structure = jax.tree.flatten(models)
    return Sharded(_sharded(function, settings, structure, mesh, share), arrays, share, mesh)


@functools.cache
def summing(add: Callable[..., Any], mesh: Mesh) -> Callable[[Any, Any], Any]:
    """`states = run(states, items)`: every device adds its own items to its own state, and none waits for another.

    Args:
      add: (state, items) → state, pure.
      mesh: the mesh; the states it holds carry a leading axis of one state a device, items are split as by `place`.
    Returns: the compiled function, which gives the old states' memory to the new ones.
    """

    def own(states: Any, items: Any) -> Any:
        state = add(jax.tree.map(lambda leaf: leaf[0], states), items)
        return jax.tree.map(lambda leaf: leaf[None], state)

    mapped = jax.shard_map(own, mesh=mesh, in_specs=(P(ITEM), P(ITEM)), out_specs=P(ITEM), check_vma=False)
    return jax.jit(mapped, donate_argnums=0, compiler_options=_compiler_options(mesh))


@functools.cache
def _sharded(
    function: Callable[..., Any], settings: tuple[tuple[str, Any], ...], structure: Any, mesh: Mesh, share: int
) -> Any:
    def run(arrays: list[Any], items: Any, count: jax.Array) -> Any:
        models, own = jax.tree.unflatten(structure, arrays), functools.partial(function, **dict(settings))
        return in_shares(own, models, items, share, count) if share else own(models, items)

    run.__name__ = getattr(function, "__name__", "run")  # what the compiler's log calls the program
    mapped = jax.shard_map(run, mesh=mesh, in_specs=(P(), P(ITEM), P()), out_specs=P(ITEM), check_vma=False)
    return jax.jit(mapped, compiler_options=_compiler_options(mesh))


def _compiler_options(mesh: Mesh) -> dict[str, bool] | None:
    return numerics.compiler_options(mesh.devices.flat[0].platform)


@functools.cache
def _to_all(mesh: Mesh) -> Callable[[Any], Any]:
    """Outputs by item → all rows in every process: outputs are small, and a stage's host part is the same everywhere.

    A program of its own: the one that computes is then the same in one process and in several, and so is its rounding.
    """
    return jax.jit(lambda outputs: outputs, out_shardings=NamedSharding(mesh, P()))


def map_batches(
    function: Callable[..., Any],
    models: Any,
    batches: Iterator[Mapping[str, np.ndarray]],
    batch_size: int,
    mesh: Mesh,
    share: int = 0,
) -> Iterator[tuple[Mapping[str, np.ndarray], Any]]:
    """Run `function(models, items)` over batches of at most `batch_size` items; yield (items, outputs) as NumPy.

    The next batch is dispatched before the last one's outputs are fetched, so that host and device work side by side.

    Args:
      function: pure; pytrees of arrays with a leading item axis in and out.
      models: pytree, replicated on the mesh (see `replicate`).
      batches: mappings name → array [n, ...] with n ≤ batch_size, n > 0.
      batch_size: items of one compiled call; a multiple of the device count (see `round_up`).
      share: see `sharded`. Batches are filled up to whole shares, which are computed anyway: so batches of all sizes up
        to one share a device are one compiled program.
    """
    run = sharded(function, models, mesh, share)
    whole = filled(batch_size, mesh, share)
    waiting: tuple[Mapping[str, np.ndarray], Any] | None = None
    for items in batches:
        padded, _ = pad(items, whole)
        outputs = run(place(padded, mesh), _rows(items))
        if waiting is not None:
            yield _fetch(*waiting)
        waiting = (items, outputs)
    if waiting is not None:
        yield _fetch(*waiting)


def map_items(
    function: Callable[..., Any],
    models: Any,
    items: Mapping[str, np.ndarray],
    batch_size: int,
    mesh: Mesh,
    advance: Callable[[int], None] | None = None,
    share: int = 0,
) -> Any:
    """`map_batches` over items in memory: their outputs joined, [items, ...] each.

    Args:
      items: name → array, one item or more.
      advance: told after each batch how many items it held.
      share: see `sharded`.
    """
    ((_, outputs),) = map_chunks(function, models, [items], batch_size, mesh, advance, share)
    return outputs


def map_chunks(
    function: Callable[..., Any],
    models: Any,
    chunks: Iterable[Mapping[str, np.ndarray]],
    batch_size: int,
    mesh: Mesh,
    advance: Callable[[int], None] | None = None,
    share: int = 0,
) -> Iterator[tuple[Mapping[str, np.ndarray], Any]]:
    """`map_items` of one chunk of items after the other; yields (items, outputs).

    A batch may end one chunk and begin the next, and the next batch is under way before a chunk is yielded: the devices
    work while it is stored, and padding is drawn at the very end alone.
    """
    begun: collections.deque[Mapping[str, np.ndarray]] = collections.deque()
    batch_size = filled(batch_size, mesh, share)  # so many are computed anyway

    def all_batches() -> Iterator[Mapping[str, np.ndarray]]:
        rest: Mapping[str, np.ndarray] | None = None
        for items in chunks:
            begun.append(items)
            rest = items if rest is None else {name: np.concatenate([rest[name], items[name]]) for name in items}
            whole = _rows(rest) // batch_size * batch_size
            yield from batches({name: array[:whole] for name, array in rest.items()}, batch_size)
            rest = {name: array[whole:] for name, array in rest.items()}
        if rest is not None:
            yield from batches(rest, batch_size)

    made: list[Any] = []
    held = 0
    for batch, out in map_batches(function, models, all_batches(), batch_size, mesh, share):
        made.append(out)
        held += _rows(batch)
        if advance is not None:
            advance(_rows(batch))
        while begun and held >= _rows(begun[0]):
            items = begun.popleft()
            joined, count = jax.tree.map(lambda *each: np.concatenate(each), *made), _rows(items)
            yield items, jax.tree.map(lambda array, count=count: array[:count], joined)
            made, held = [jax.tree.map(lambda array, count=count: array[count:], joined)], held - count


def _rows(items: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(items.values())))


def _fetch(items: Mapping[str, np.ndarray], outputs: Any) -> tuple[Mapping[str, np.ndarray], Any]:
    count = _rows(items)
    return items, jax.tree.map(lambda array: np.asarray(array)[:count], outputs)
