"""Watches every product and convolution that linkjax traces, so that none is silently below the reference precision."""

import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

_TESTS = str(Path(__file__).parent) + "/"
_PACKAGE = str(Path(__file__).parents[1] / "linkjax") + "/"
_ASKED = jax.lax.Precision.HIGH  # what `--precision tf32` asks for


def watch() -> list[str]:
    """From now on, notes in the list returned every float32 product that linkjax traced below the highest precision."""
    found: list[str] = []
    for primitive in (jax.lax.dot_general_p, jax.lax.conv_general_dilated_p):
        primitive.bind = _watched(primitive, primitive.bind, found)  # pyright: ignore[reportAttributeAccessIssue]
    return found


def _watched(primitive: Any, bind: Any, found: list[str]) -> Any:
    def watched(*operands: Any, **settings: Any) -> Any:
        if all(getattr(each, "dtype", None) == jnp.float32 for each in operands):
            # None is the least there is on an accelerator; one for both operands, or one for each.
            given = settings["precision"]
            each = given if isinstance(given, tuple) else (given, given)
            asked = primitive is jax.lax.conv_general_dilated_p and set(each) == {_ASKED}
            if set(each) != {jax.lax.Precision.HIGHEST} and not asked and (where := _in_linkjax()):
                found.append(f"{primitive.name} with precision {given} at {where}")
        return bind(*operands, **settings)

    return watched


def _in_linkjax() -> str | None:
    """The line of linkjax that is being run; None in a test's own code, called by linkjax or not."""
    frame = sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith(_TESTS) and frame.f_code.co_filename != __file__:
            return None
        if frame.f_code.co_filename.startswith(_PACKAGE):
            return f"{frame.f_code.co_filename.removeprefix(_PACKAGE)}:{frame.f_lineno}"
        frame = frame.f_back
    return None
