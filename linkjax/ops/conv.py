"""Convolution and dense layers on NHWC arrays, float32 products at the reference precision."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from linkjax import numerics
from linkjax.ops.depthwise import depthwise_conv

#: A CPU convolution to at most so many pixels is one product with all patches: XLA's own is slower there, ten times for
#: 2 × 2, a fifth for 7 × 7; from 14 × 14 on it is faster. With few channels it costs next to nothing either way, and
#: compiles faster as it is.
SMALL_MAP, MANY = 49, 32
#: On a CPU convolutions of pictures (fewer than 8 inputs) to 17 … 39 outputs are products with all patches too: more
#: than ten times as fast as XLA's (7 × 7 to 24 outputs, 64 × 64).
PICTURE, FEW = 8, range(17, 40)
#: Those with fewer outputs get as many: XLA on a CPU otherwise sums them in an order that depends on the number of
#: threads, and so on cores and simulated devices. Seen with 3, 5 and 6 outputs, not with 8 and more.
NARROW = 8
#: Outputs of `project` are filled up to a multiple of this, a CPU's widest vector: less time for 10 as well.
VECTOR = 16
#: Rows times channels of maps up to which `project` takes them row by row: the kernel repeated for every row, to 16
#: outputs, is then half a MiB an image at most.
ROWS = 1 << 13


def conv(
    x: Float[Array, "B H W I"],
    kernel: Float[Array, "kh kw J O"],
    bias: Float[Array, "O"] | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
    precision: jax.lax.Precision = numerics.PRECISION,
) -> Float[Array, "B h w O"]:
    """Cross-correlation as in every deep-learning library: y[p] = Σ_q x[p·stride + q·dilation − padding] · kernel[q].

    Args:
      x: images or feature maps, NHWC.
      kernel: HWIO; J is I / groups.
      bias: added per output channel.
      padding: zeros on each of the four sides.
      groups: equal parts of the channels, each convolved apart.
      precision: of the products, where the operands are float32.
    Numerics: on a CPU a 1 × 1 convolution, half to a third of XLA's time for it, and one to a small map are matrix
      products. In full float32 whatever the precision, which only accelerators know.
    """
    given: Any = {"stride": stride, "padding": padding, "dilation": dilation}
    direct = functools.partial(_direct, **given, groups=groups, precision=precision)
    written = None if groups > 1 else _written(kernel, math.prod(jax.eval_shape(direct, x, kernel).shape[1:3]), padding)
    if written is None:
        y = direct(x, kernel)
    else:
        y = jax.lax.platform_dependent(x, kernel, cpu=functools.partial(written, **given), default=direct)
    return y if bias is None else y + bias[None, None, None, :]


def conv_by_side(
    x: Float[Array, "B H W I"],
    kernel: Float[Array, "kh kw J O"],
    *,
    stride: tuple[int, int] = (1, 1),
    padding: tuple[int, int] = (0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> Float[Array, "B h w O"]:
    """`conv` with settings for height and width apart, and depthwise convolutions by `ops.depthwise`."""
    if groups > 1 and groups == x.shape[-1] == kernel.shape[3] and dilation == (1, 1):
        return depthwise_conv(x, kernel, stride=stride, padding=padding)
    if all(rows == columns for rows, columns in (stride, padding, dilation)):
        return conv(x, kernel, stride=stride[0], padding=padding[0], dilation=dilation[0], groups=groups)
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=stride,
        padding=[(side, side) for side in padding],
        rhs_dilation=dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        precision=numerics.PRECISION,
    )


def _written(kernel: Array, pixels: int, padding: int) -> Callable[..., Array] | None:
    """What is faster on a CPU than XLA's convolution to so many pixels, or surer."""
    inputs, outputs = kernel.shape[2:]
    if pixels == 0:
        return None
    small, few = pixels <= SMALL_MAP and min(inputs, outputs) >= MANY, inputs < PICTURE and outputs in FEW
    if small or few or (kernel.shape[:2] == (1, 1) and padding == 0):
        return _of_patches
    return _widened if outputs < NARROW else None


def _direct(
    x: Array, kernel: Array, *, stride: int, padding: int, dilation: int, precision: jax.lax.Precision, groups: int = 1
) -> Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        precision=precision,
    )


def _widened(x: Array, kernel: Array, **given: Any) -> Array:
    """With outputs of zeros after its own."""
    own = kernel.shape[3]
    wide = jnp.pad(kernel, ((0, 0), (0, 0), (0, 0), (0, NARROW - own)))
    return _direct(x, wide, **given, precision=numerics.PRECISION)[..., :own]


def _of_patches(x: Array, kernel: Array, *, stride: int, padding: int, dilation: int) -> Array:
    """All patches side by side, [B, h, w, kh · kw · I], times the kernel as a matrix.

    Put together first along x, then along y: kh + kw pieces, not kh · kw.
    """
    rows, columns, _, outputs = kernel.shape
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    last_y, last_x = x.shape[1] - dilation * (rows - 1), x.shape[2] - dilation * (columns - 1)
    across = [x[:, :, j * dilation : j * dilation + last_x : stride] for j in range(columns)]
    x = jnp.concatenate(across, axis=-1)
    patches = [x[:, i * dilation : i * dilation + last_y : stride] for i in range(rows)]
    matrix = kernel.reshape(-1, outputs)
    return jnp.matmul(jnp.concatenate(patches, axis=-1), matrix, precision=numerics.PRECISION)


def dense(
    x: Float[Array, "*batch I"], kernel: Float[Array, "I O"], bias: Float[Array, "O"] | None = None
) -> Float[Array, "*batch O"]:
    """y = x · kernel + bias, the product at the reference precision."""
    y = jnp.matmul(x, kernel, precision=numerics.PRECISION)
    return y if bias is None else y + jnp.broadcast_to(bias, y.shape)


def cropped_dense(x: Float[Array, "B H W I"], kernel: Float[Array, "I O"], margin: int = 0) -> Float[Array, "B h w O"]:
    """`dense` of maps without the `margin` pixels on each side."""
    height, width = x.shape[1:3]
    return dense(x[:, margin : height - margin, margin : width - margin], kernel)


def project(x: Float[Array, "B H W I"], kernel: Float[Array, "I O"], margin: int = 0) -> Float[Array, "B h w O"]:
    """`cropped_dense` of feature maps that something else reads too, to a few outputs.

    Numerics: small maps (`ROWS`) on a CPU by one product for each row, cropped afterwards. It takes the maps as they
      lie; of maps that are cropped or reshaped to a matrix XLA computes a layer's last filter a second time rather than
      store it for all its readers. The kernel is repeated for every row, which of large maps would take more memory
      than it is worth.
    """

    def by_rows(x: Array, kernel: Array) -> Array:
        outputs = kernel.shape[1]
        # filled up after it is repeated: that is taken out of a loop over images, a mere repetition is not
        of_rows = jnp.broadcast_to(kernel, (*x.shape[:2], *kernel.shape))
        of_rows = jnp.pad(of_rows, ((0, 0), (0, 0), (0, 0), (0, -outputs % VECTOR)))
        product = jnp.einsum("bhwi,bhio->bhwo", x, of_rows, precision=numerics.PRECISION)
        height, width = x.shape[1:3]
        return product[:, margin : height - margin, margin : width - margin, :outputs]

    cropped = functools.partial(cropped_dense, margin=margin)
    if x.shape[1] * x.shape[3] > ROWS:
        return cropped(x, kernel)
    return jax.lax.platform_dependent(x, kernel, cpu=by_rows, default=cropped)
