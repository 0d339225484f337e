"""Convolution and dense layers on NHWC arrays, float32 products at the reference precision."""

import jax
from jaxtyping import Array, Float

from linkjax import numerics


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
      kernel: HWIO, with J = I / groups.
      bias: added per output channel.
      padding: zeros on each of the four sides.
      precision: of the products, where the operands are float32.
    """
    y = jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
        precision=precision,
    )
    return y if bias is None else y + bias[None, None, None, :]


def dense(
    x: Float[Array, "*batch I"], kernel: Float[Array, "I O"], bias: Float[Array, "O"] | None = None
) -> Float[Array, "*batch O"]:
    """y = x · kernel + bias, the product at the reference precision."""
    y = jax.numpy.matmul(x, kernel, precision=numerics.PRECISION)
    return y if bias is None else y + jax.numpy.broadcast_to(bias, y.shape)
