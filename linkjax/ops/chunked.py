"""A function of one image over a batch, a few images at a time."""

import functools
import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

T = TypeVar("T")

#: Bytes that one pass over images may read and write together so that a CPU's last cache holds them.
CACHE_BYTES = 12 << 20
#: Images that a CPU classifies together, at most: 64 × 64 take 2.3 times as long by 32, whose patches leave the cache.
CLASSIFIED = 16
#: Pixels of the images that a CPU measures together: 16 of 64 × 64, one of 256 × 256.
MEASURED_PIXELS = 16 * 64 * 64
#: Images of one share of a stage's batch on a CPU, and their pixels: 12 of up to 64 × 64. XLA multiplies by oneDNN's
#: kernels, which sum columns in groups, of 8 with AVX-512 and 6 without, and those that are left over in another order:
#: with 2, 6 or 8 images it would depend on an image's place among them how it is summed; not with 12, nor with one.
MOST_SHARED, SHARED_PIXELS = 12, 12 * 64 * 64


def share_of(resolution: int, most: int = MOST_SHARED) -> int:
    """Images that a stage computes together on a CPU, always so many, whatever the batch (see `in_shares`).

    XLA on a CPU orders sums by how many images there are, and a byte that flips moves an activation by 1e-4. Of images
    larger than 64 × 64 each is computed alone. Elsewhere than on a CPU nothing is promised, and the answer is 0: all at
    once.
    """
    if jax.default_backend() != "cpu":
        return 0
    return most if most * resolution**2 <= SHARED_PIXELS else 1


def in_shares(function: Callable[[Any, Any], Any], shared: Any, items: Any, share: int, count: jax.Array) -> Any:
    """`function(shared, items)` in shares of one constant size, one after another.

    All shares run one loop's body, compiled for that size, so that an item's bits do not depend on the batch, nor on
    the other items of its share where `function` keeps items apart. The last share is filled up with the last item.

    Args:
      function: of (shared, [share, ...]) → pytree of [share, ...].
      shared: pytree of arrays, the weights.
      items: pytree of arrays [N, ...], N > 0.
      share: items of one share; 1 or more.
      count: shares to compute, ⌈N / share⌉ at most. Not known to the compiler, which would make straight code of a loop
        of one share, and order its sums in another way.
    Returns: what `function` gives, [N, ...]; zeros where it was not asked for.
    """
    rows = len(jax.tree.leaves(items)[0])
    shares = max(2, -(-rows // share))  # of a single one, slices would be known to be all there is

    def divided(x: jax.Array) -> jax.Array:
        missing = shares * share - rows
        filled = jnp.concatenate([x, jnp.repeat(x[-1:], missing, axis=0)]) if missing else x
        return filled.reshape(shares, share, *x.shape[1:])

    run, items = jax.jit(function), jax.tree.map(divided, items)  # traced once, of shapes and of values
    shapes = run.eval_shape(shared, jax.tree.map(lambda x: x[0], items))

    def step(i: jax.Array, made: Any) -> Any:
        own = run(shared, jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, i, keepdims=False), items))
        return jax.tree.map(lambda y, new: jax.lax.dynamic_update_index_in_dim(y, new, i, 0), made, own)

    empty = jax.tree.map(lambda y: jnp.zeros((shares, *y.shape), y.dtype), shapes)
    made = jax.lax.fori_loop(0, count, step, empty)
    return jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:])[:rows], made)


def map_images(function: Callable[[Any], T], images: Any, at_once: int | None = None) -> T:
    """`function` of each item of a pytree of arrays with a leading batch axis; results stacked along it.

    Args:
      function: of one item, without the batch axis.
      images: pytree of arrays [B, H, W, ...].
      at_once: items in memory together. None: on a CPU shares of equal size, as large as the cache holds with what is
        computed of them (256 × 256: one image, four times as fast as all together; 64 × 64: 16, a quarter faster than
        one), 32 elsewhere. Numbers do not depend on it beyond the order of sums.
    """
    if at_once is None:
        leaves = jax.tree.leaves(images)
        pixels = max(1, math.prod(leaves[0].shape[1:3]))
        on_cpu = jax.default_backend() == "cpu"
        at_once = _divisor(len(leaves[0]), MEASURED_PIXELS // pixels) if on_cpu else 32
    # batch_size=1 would put a batch axis of one around every operation
    return jax.lax.map(function, images, batch_size=None if at_once == 1 else at_once)


def map_in_cache(function: Callable[[Any, Any], T], shared: Any, batch: Any, bytes_each: int) -> T:
    """`function(shared, batch)`; on a CPU of equal shares of the batch, one after another, that stay in the cache.

    A share is the largest that divides the batch, so that one program does them all; of a prime number one image.
    Batches whose single image does not fit, one image, and other backends are not divided: there the shared part's own
    work would only be repeated. Derivatives are those of the whole batch: passes back through shares would keep, and
    stack, what each has computed.

    Args:
      function: pure, of whatever it depends on: (shared, [b, ...]) → pytree of [b, ...], each item for itself.
      shared: pytree of arrays, the weights.
      batch: pytree of arrays [B, ...].
      bytes_each: of the largest pass over one image, read and written.
    """
    count = len(jax.tree.leaves(batch)[0])
    fit = CACHE_BYTES // bytes_each if jax.default_backend() == "cpu" else 0
    share = _divisor(count, fit) if fit > 1 else count
    return function(shared, batch) if share == count else _divided(function, share, shared, batch)


def map_shares(function: Callable[[Any, Any], T], shared: Any, batch: Any, most: int) -> T:
    """`function(shared, batch)`; on a CPU of equal shares of the batch of at most `most` items, one after another.

    A batch that only shares of less than half of `most` divide is not divided. Otherwise as `map_in_cache`.
    """
    count = len(jax.tree.leaves(batch)[0])
    share = _divisor(count, most) if jax.default_backend() == "cpu" else count
    whole = share == count or 2 * share < most
    return function(shared, batch) if whole else _divided(function, share, shared, batch)


def _divisor(count: int, most: int) -> int:
    """The largest number up to `most`, and at least 1, that divides `count`."""
    return max(n for n in range(1, max(1, min(most, count)) + 1) if count % n == 0)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _divided(function: Callable[[Any, Any], Any], share: int, shared: Any, batch: Any) -> Any:
    shares = jax.tree.map(lambda x: x.reshape(-1, share, *x.shape[1:]), batch)
    made = jax.lax.map(functools.partial(function, shared), shares)
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), made)


def _whole_tangent(function: Callable[[Any, Any], Any], share: int, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """Along what moves alone: tangents of the rest are symbolic zeros."""
    del share
    leaves, tree = jax.tree.flatten(primals)
    along = jax.tree.leaves(tangents, is_leaf=lambda x: isinstance(x, SymbolicZero))
    moving = [i for i, tangent in enumerate(along) if not isinstance(tangent, SymbolicZero)]

    def of(*moved: jax.Array) -> Any:
        values = dict(zip(moving, moved, strict=True))
        return function(*jax.tree.unflatten(tree, [values.get(i, leaf) for i, leaf in enumerate(leaves)]))

    return jax.jvp(of, tuple(leaves[i] for i in moving), tuple(along[i] for i in moving))


_divided.defjvp(_whole_tangent, symbolic_zeros=True)
