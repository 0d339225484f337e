"""Every numerical choice of linkjax has its home, its name and its test here.

The reference is float32 with products at the highest precision: accelerators otherwise multiply float32 matrices in
bfloat16 (TPU) or TF32 (recent GPUs) without saying so, which makes a right port look wrong. Less is had by asking for
it: `Precision` names what the synthesis network can be run in; mapping, classifiers, links, segmenters and all analysis
stay with the reference.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Literal, ParamSpec, TypeVar

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, UInt8

from linkjax.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")

#: Precision of every float32 product (convolutions, matrix products) in linkjax.
PRECISION = jax.lax.Precision.HIGHEST

#: What synthesis runs in, by name: an option of every stage that draws, and in the manifest of all it made.
Precision = Literal["float32", "tf32", "bfloat16", "float16"]


@contextlib.contextmanager
def float32_default() -> Iterator[None]:
    """JAX's 64-bit mode off while this lasts, in all threads; also a decorator (`@float32_default()`).

    With JAX_ENABLE_X64 values that state no type would be float64: other random numbers, other weights. What linkjax
    computes in float64 says so itself. Costs nothing where the mode is off already.
    """
    if not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        yield
        return
    everywhere = jax.config.values["jax_enable_x64"]
    jax.config.update("jax_enable_x64", False)
    try:
        with jax.enable_x64(False):
            yield
    finally:
        jax.config.update("jax_enable_x64", everywhere)


@dataclasses.dataclass(frozen=True)
class Policy:
    """How a synthesis network computes.

    In half precision feature maps and the operands of convolutions are rounded to `dtype`; products are summed in
    float32. Styles, the scales of weights and of modulation, filters (their sums, not what they read and write), the
    Fourier features, ToRGB's output and the sum behind it stay float32: together they are under 2 % of the
    multiplications. On NVIDIA GPUs a filter's products have operands of 11 bits, of TF32 too (`ops.filter_kernel`).
    Weights stay float32 in memory and are rounded inside the program: of 233 million weights that is
    1.9 GB moved a batch (0.93 read, 0.47 written and read) instead of 0.47, 0.3 ms more where memory gives 4.3 TB/s,
    and in exchange one set of weights, with one SHA-256 and one gradient, serves every precision.
    """

    name: Precision
    dtype: jax.typing.DTypeLike  # of feature maps between layers, and of what a convolution multiplies
    products: jax.lax.Precision  # of float32 convolutions in synthesis
    description: str  # for the manifest


POLICIES: dict[Precision, Policy] = {
    policy.name: policy
    for policy in (
        Policy("float32", jnp.float32, PRECISION, "float32, products at highest precision"),
        # HIGH is TF32 where a GPU has it, three bfloat16 passes on a TPU, and plain float32 on a CPU.
        Policy("tf32", jnp.float32, jax.lax.Precision.HIGH, "tf32 synthesis, all else float32"),
        Policy("bfloat16", jnp.bfloat16, PRECISION, "bfloat16 synthesis, all else float32"),
        Policy("float16", jnp.float16, PRECISION, "float16 synthesis, all else float32"),
    )
}


def policy(precision: str) -> Policy:
    """The policy of a name.

    Raises: InputError for another name than those of `Precision`.
    """
    if precision not in POLICIES:
        raise InputError(f"precision: expected {', '.join(POLICIES)}, found {precision!r}")
    return POLICIES[precision]


def compiler_options(platform: str) -> dict[str, bool] | None:
    """What programs are compiled with that ordinary Python calls: on CPUs without fusion emitters of XLA.

    A quarter less to compile, and no more to run (docs/benchmarks.md). JAX 0.11 and later cannot leave them out.
    """
    return {"xla_cpu_use_fusion_emitters": False} if platform == "cpu" and jax.__version_info__ < (0, 11) else None


def jit(function: Callable[P, R], static: tuple[str, ...] = ()) -> Callable[P, R]:
    """`jax.jit` with `compiler_options`; within another program, which has its own, as `jax.jit`.

    Args:
      static: names of the arguments that are compile-time constants.
    """
    within = jax.jit(function, static_argnames=static)

    @functools.cache
    def alone() -> Callable[P, R]:  # not at import, which starts no device
        options = compiler_options(jax.default_backend())
        return jax.jit(function, static_argnames=static, compiler_options=options)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return (within if traced(args, kwargs) else alone())(*args, **kwargs)

    return call


def traced(*values: object) -> bool:
    """Whether any array among the values stands for one inside a program or a transformation (jit, vmap, grad)."""
    return any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(values))


def stored(x: Float[Array, "*shape"], dtype: jax.typing.DTypeLike) -> Float[Array, "*shape"]:
    """x as `dtype`, truly rounded; x itself if it has that type.

    The barrier keeps XLA from doing without: by its default `xla_allow_excess_precision` it drops a rounding that is
    followed by a widening, and a map would be stored wide, at twice the memory traffic and with other numbers.
    Values beyond a type's range become its largest, not infinite.
    """
    if x.dtype == dtype:
        return x
    largest = float(jnp.finfo(dtype).max)
    return jax.lax.optimization_barrier(jnp.clip(x, -largest, largest).astype(dtype))


def to_uint8(images: Float[Array, "*batch"]) -> UInt8[Array, "*batch"]:
    """Image values in [-1, 1] as bytes: clip((x + 1) · 127.5, 0, 255), **truncated**.

    Truncation, not rounding, is what the original program feeds its classifier; rounding shifts every activation.

    Args:
      images: values about [-1, 1], any shape; NaN becomes 0.
    Returns: uint8 of the same shape.
    """
    scaled = (images.astype(jnp.float32) + 1.0) * 127.5
    return jnp.clip(jnp.nan_to_num(scaled), 0.0, 255.0).astype(jnp.uint8)


def from_uint8(images: UInt8[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Bytes as image values in [-1, 1]: (x + 0.5) / 127.5 − 1.

    The half keeps `to_uint8(from_uint8(b)) == b` for every byte in float32, which x / 127.5 − 1 does not.
    """
    return jnp.minimum((images.astype(jnp.float32) + 0.5) / 127.5 - 1.0, 1.0)


def unit_interval(pixels: UInt8[Array, "*batch"]) -> Float[Array, "*batch"]:
    """Bytes as encoded values in [0, 1]: what image and part metrics are computed from."""
    return pixels.astype(jnp.float32) / 255.0


def safe_ratio(numerator: Float[Array, "*shape"], denominator: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """numerator / denominator, NaN where the denominator is 0, with finite gradients everywhere."""
    empty = denominator == 0
    return jnp.where(empty, jnp.nan, numerator / jnp.where(empty, 1.0, denominator))
