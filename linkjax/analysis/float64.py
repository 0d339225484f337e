"""Compile functions in float64 within a float32 library."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import jax

P = ParamSpec("P")
R = TypeVar("R")


def jit(*, static: tuple[str, ...] = (), to_host: bool = False) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator: compile a function with 64-bit types enabled while it is traced, lowered and run.

    Second moments square the condition number and subtract large sums, which float32 cannot carry. JAX would
    silently turn every float64 into float32 outside this scope; the rest of linkjax stays in float32.

    Args:
      static: names of the arguments that are compile-time constants.
      to_host: return NumPy arrays. JAX arrays of float64 are for handing on to other compiled functions; plain
        arithmetic on them outside the scope asks for float64 that is switched off there.
    Numerics: call the function from ordinary Python, not from inside another `jax.jit`, whose own 64-bit setting is
    fixed when it is lowered.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        program = jax.jit(function, static_argnames=static)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with jax.enable_x64(True):
                result = program(*args, **kwargs)
                return jax.device_get(result) if to_host else result

        return call

    return decorate
