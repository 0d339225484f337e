"""The operations that multiply: convolutions, matrix products and attention."""

import jax
import jax.numpy as jnp
from jaxtyping import Array

from linkjax import numerics
from linkjax.models.graph.operations.pooling import MAP
from linkjax.models.graph.operations.table import operation
from linkjax.models.graph.view import View
from linkjax.ops import conv

#: How weights lie: a kernel [out, in, height, width] as [height, width, in, out], a matrix [out, in] as [in, out].
KERNEL, MATRIX = (3, 2, 0, 1), (1, 0)
#: How a value [batch, heads, tokens, width] lies in attention.
_HEADS = (0, 2, 1, 3)


@operation
def conv2d(
    input: View,
    weight: View,
    bias: View | None = None,
    stride: tuple[int, ...] = (1, 1),
    padding: tuple[int, ...] = (0, 0),
    dilation: tuple[int, ...] = (1, 1),
    groups: int = 1,
) -> View:
    """Cross-correlation of [B, I, H, W] with [O, I / groups, h, w]; padding before and after each side alike."""
    if input.rank != 4 or weight.rank != 4 or {len(stride), len(padding), len(dilation)} != {2}:
        raise ValueError(f"expected maps and a kernel of four axes, found {input.shape} and {weight.shape}")
    given = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    x = conv.conv_by_side(input.laid(MAP), weight.laid(KERNEL), **given)
    return View(x if bias is None else x + bias.plain()[None, None, None, :], MAP)


@operation
def conv1d(
    input: View,
    weight: View,
    bias: View | None = None,
    stride: tuple[int, ...] = (1,),
    padding: tuple[int, ...] = (0,),
    dilation: tuple[int, ...] = (1,),
    groups: int = 1,
) -> View:
    """Cross-correlation of [B, I, N] with [O, I / groups, n]."""
    wide = conv2d(
        input.reshaped((*input.shape[:2], 1, input.shape[2])),
        weight.reshaped((*weight.shape[:2], 1, weight.shape[2])),
        bias, (1, *stride), (0, *padding), (1, *dilation), groups,
    )  # fmt: skip
    return wide.without((2,))


@operation
def linear(input: View, weight: View, bias: View | None = None) -> View:
    """The last axis times a matrix [out, in], plus the bias."""
    if weight.rank != 2 or input.rank < 1:
        raise ValueError(f"expected a matrix of two axes, found {weight.shape}")
    last = input.rank - 1
    if input.axis(last) != last:  # what lies last is multiplied
        others = [axis for axis in input.order if axis != input.axis(last)]
        order = (*(sorted(others).index(axis) for axis in others), last)
    else:
        order = input.order
    product = conv.dense(input.laid(order), weight.laid(MATRIX), None if bias is None else bias.plain())
    return View(product, order)


@operation
def matmul(input: View, other: View) -> View:
    """Matrix products of the last two axes; those before them are broadcast."""
    if min(input.rank, other.rank) < 2:
        raise ValueError(f"expected matrices, found {input.shape} and {other.shape}")
    if input.rank != other.rank or input.shape[:-2] != other.shape[:-2]:
        return _broadcast_product(input, other)
    batch = "abcdefgh"[: input.rank - 2]
    first, second = _lies(batch + "mk", input), _lies(batch + "kn", other)
    product = jnp.einsum(f"{first},{second}->{batch}mn", input.array, other.array, precision=numerics.PRECISION)
    return View(product, tuple(range(input.rank)))


def _lies(letters: str, of: View) -> str:
    """Letters of a value's axes, in the order in which they lie."""
    return "".join(letter for _, letter in sorted(zip(of.order, letters, strict=True)))


def _broadcast_product(input: View, other: View) -> View:
    product = jnp.matmul(input.plain(), other.plain(), precision=numerics.PRECISION)
    return View(product, tuple(range(product.ndim)))


@operation
def attention(
    query: View,
    key: View,
    value: View,
    attn_mask: View | None = None,
    is_causal: bool = False,
    scale: float | None = None,
) -> View:
    """softmax(query · keyᵀ · scale + mask) · value, each [batch, heads, tokens, width]; a bool mask says what is seen.

    Reference: torch.nn.functional.scaled_dot_product_attention.
    """
    if query.rank != 4 or key.shape != value.shape:
        raise ValueError(f"expected [batch, heads, tokens, width], found {query.shape}, {key.shape}, {value.shape}")
    bias, mask = None, None
    if attn_mask is not None:
        given = attn_mask.widened(4).plain()
        bias, mask = (None, given) if given.dtype == jnp.bool_ else (given, None)
    q, k, v = (each.laid(_HEADS) for each in (query, key, value))
    return View(_attention(q, k, v, bias, mask, is_causal, scale), _HEADS)


def _attention(
    q: Array, k: Array, v: Array, bias: Array | None, mask: Array | None, causal: bool, scale: float | None
) -> Array:
    with jax.default_matmul_precision("highest"):  # it takes no precision of its own
        return jax.nn.dot_product_attention(q, k, v, bias, mask, is_causal=causal, scale=scale)
