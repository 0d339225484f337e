"""Functions that are linear in each of two arrays, with transposes written out rather than derived.

XLA's CPU backend makes of a convolution's or a filter's derived transpose a convolution or a scatter that is ten to a
hundred times slower than the function itself. A primitive of its own carries a better one through `jax.grad`, and
leaves `jax.jvp`, `jax.vmap` and everything else as they are, which `jax.custom_vjp` would not: that has no forward
mode.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir
from jaxtyping import Array


def with_transposes(
    name: str,
    apply: Callable[..., Array],
    transpose_x: Callable[..., Array],
    transpose_y: Callable[..., Array] | None = None,
) -> Callable[..., Array]:
    """`apply` as a JAX primitive that is transposed by the given functions.

    Args:
      name: of the primitive, seen in jaxprs.
      apply: apply(x, y, **settings), linear in x and in y; its settings must be hashable. Along the first axis of x it
        must treat every row alike and apart, unless settings["axis"] == 0.
      transpose_x: transpose_x(g, y, like, **settings), the x̄ with ⟨x̄, x⟩ = ⟨g, apply(x, y)⟩ for every x; `like` has x's
        shape and dtype.
      transpose_y: the same for y, transpose_y(g, x, like, **settings); None leaves it to JAX.
    Returns: function(x, y, **settings).
    """
    primitive = Primitive(name)

    def plain(x: Array, y: Array, **settings: Any) -> Array:
        return apply(x, y, **settings)

    @functools.cache
    def compiled(**settings: Any) -> Callable[..., Array]:
        return jax.jit(functools.partial(plain, **settings))

    @primitive.def_impl
    def _run(x: Array, y: Array, **settings: Any) -> Array:
        return compiled(**settings)(x, y)  # outside any compiled function

    @primitive.def_abstract_eval
    def _shape(x: Any, y: Any, **settings: Any) -> Any:
        return jax.make_jaxpr(functools.partial(plain, **settings))(x, y).out_avals[0]

    def _transpose_x(g: Array, x: Any, y: Array, **settings: Any) -> Array:
        return transpose_x(g, y, _like(x, g), **settings)

    def _transpose_y(g: Array, x: Array, y: Any, **settings: Any) -> Array:
        like = _like(y, g)
        if transpose_y is not None:
            return transpose_y(g, x, like, **settings)
        return jax.linear_transpose(lambda y: apply(x, y, **settings), like)(g)[0]

    def _batch(arrays: tuple[Array, Array], axes: tuple[Any, Any], **settings: Any) -> tuple[Array, int]:
        x, y = arrays
        if axes[1] is not None or settings.get("axis") == 0:
            return jax.vmap(functools.partial(plain, **settings), axes)(x, y), 0
        x = jnp.moveaxis(x, axes[0], 0)
        out = primitive.bind(x.reshape(-1, *x.shape[2:]), y, **settings)
        return out.reshape(*x.shape[:2], *out.shape[1:]), 0

    mlir.register_lowering(primitive, mlir.lower_fun(plain, multiple_results=False))
    ad.defbilinear(primitive, _transpose_x, _transpose_y)
    batching.primitive_batchers[primitive] = _batch

    def call(x: Array, y: Array, **settings: Any) -> Array:
        return primitive.bind(*_as_varying(x, y), **settings)

    return call


def _like(unknown: Any, g: Array) -> Array:
    """Zeros of an argument that is to be found from g, varying as g does inside `jax.shard_map`."""
    return jnp.zeros_like(g, shape=unknown.aval.shape, dtype=unknown.aval.dtype)


def _as_varying(*arrays: Array) -> list[Array]:
    """Inside `jax.shard_map`, arrays that vary over the same axes of the mesh, as JAX's own operations make them."""
    axes = [_varying(array) for array in arrays]
    together = frozenset().union(*axes)
    return [
        jax.lax.pcast(array, tuple(together - own), to="varying") if together - own else array
        for array, own in zip(arrays, axes, strict=True)
    ]


def _varying(array: Array) -> frozenset[str]:
    """Axes of the mesh over which an array varies; JAX releases differ in where its type says so."""
    kind: Any = jax.typeof(array)
    return kind.mat.varying if hasattr(kind, "mat") else getattr(kind, "vma", frozenset())
