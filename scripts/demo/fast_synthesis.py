"""The generator's synthesis with derivatives that are cheap on a CPU: the same function, other backward passes.

XLA's CPU backend derives a convolution's weight gradient and a filter's transpose as convolutions and scatters that are
ten to a hundred times slower than the forward pass. Here the transposes are written out: a filter's is the other
filter, a convolution's input gradient is a convolution, its weight gradient is one matrix product.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from linkjax import numerics
from linkjax.models.stylegan_xl import Layer, Synthesis
from linkjax.ops import resampling
from linkjax.ops.modulated_conv import style_scales

Array = jax.Array


def full_conv(x: Array, kernel: Array) -> Array:
    """Convolution of [B, H, W, I] with [k, k, I, O], padded by k − 1."""
    if jax.default_backend() == "cpu":
        return _cpu_conv(x, kernel)
    return _conv(x, kernel, kernel.shape[0] - 1)


@jax.custom_vjp
def _cpu_conv(x: Array, kernel: Array) -> Array:
    return _conv(x, kernel, kernel.shape[0] - 1)


def _conv(x: Array, kernel: Array, padding: int) -> Array:
    pads = ((padding, padding), (padding, padding))
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=numerics.PRECISION
    )


def _cpu_conv_forward(x: Array, kernel: Array) -> tuple[Array, tuple[Array, Array]]:
    return _cpu_conv(x, kernel), (x, kernel)


def _cpu_conv_backward(saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, kernel = saved
    k = kernel.shape[0]
    turned = jnp.transpose(kernel[::-1, ::-1], (0, 1, 3, 2))
    # Padded and cropped: XLA's CPU convolution is several times slower without padding.
    crop = k // 2
    x_gradient = _conv(g, turned, crop)
    if crop:
        x_gradient = x_gradient[:, crop:-crop, crop:-crop]
    return x_gradient, _kernel_gradient(x, g, k)


def _kernel_gradient(x: Array, g: Array, k: int) -> Array:
    """dW[i, j] = Σ x[r] g[r + k − 1 − (i, j)]: x shifted by rows against g shifted by columns, in one product."""
    _, height, width, inputs = x.shape
    outputs = g.shape[-1]

    def one(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        x, g = pair
        rows = jnp.concatenate([jnp.pad(x, ((k - 1 - i, i), (0, 0), (0, 0))) for i in range(k)], -1)
        columns = jnp.concatenate([g[:, k - 1 - j : k - 1 - j + width] for j in range(k)], -1)
        flat = (height + k - 1) * width
        product = jnp.matmul(
            rows.reshape(flat, k * inputs).T, columns.reshape(flat, k * outputs), precision=numerics.PRECISION
        )
        return total + product, None

    total, _ = jax.lax.scan(one, jnp.zeros((k * inputs, k * outputs), x.dtype), (x, g))
    return total.reshape(k, inputs, k, outputs).transpose(0, 2, 1, 3)


_cpu_conv.defvjp(_cpu_conv_forward, _cpu_conv_backward)


def _alone(x: Array) -> Array:
    # Fused with its neighbours, a filter's every tap would compute the value it reads again.
    return jax.lax.optimization_barrier(x)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def up(x: Array, taps: Array, factor: int, padding: tuple[int, int], axis: int) -> Array:
    """`resampling.upsample` with gain `factor`; the filter itself has no gradient."""
    return _alone(resampling.upsample(x, taps, factor, padding, axis, gain=factor))


def _up_backward(factor: int, padding: tuple[int, int], axis: int, saved: tuple[Array, tuple], g: Array) -> tuple:
    taps, shape = saved[0], saved[1].shape
    length = taps.shape[0]
    start = padding[0] - length + 1
    window = resampling._window(g, axis, start, start + factor * (shape[axis] - 1) + length)
    return _alone(resampling.downsample(window, taps[::-1] * factor, factor, axis)), jnp.zeros_like(taps)


def _up_forward(x: Array, taps: Array, factor: int, padding: tuple[int, int], axis: int) -> tuple:
    return up(x, taps, factor, padding, axis), (taps, jnp.zeros((*x.shape[: axis + 1], 0)))


up.defvjp(_up_forward, _up_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def down(x: Array, taps: Array, factor: int, axis: int) -> Array:
    """`resampling.downsample`; the filter itself has no gradient."""
    return _alone(resampling.downsample(x, taps, factor, axis))


def _down_forward(x: Array, taps: Array, factor: int, axis: int) -> tuple:
    return down(x, taps, factor, axis), (taps, jnp.zeros((*x.shape[: axis + 1], 0)))


def _down_backward(factor: int, axis: int, saved: tuple, g: Array) -> tuple:
    taps, size = saved[0], saved[1].shape[axis]
    padding = (taps.shape[0] - 1, size - g.shape[axis] * factor)
    return _alone(resampling.upsample(g, taps[::-1], factor, padding, axis)), jnp.zeros_like(taps)


down.defvjp(_down_forward, _down_backward)


def layer(module: Layer, x: Array, w: Array) -> Array:
    """What `Layer.__call__` computes."""
    spec = module.spec
    styles = module.affine(w)
    if spec.is_torgb:
        styles = styles * (1 / math.sqrt(spec.in_channels * spec.conv_kernel**2))
    before, after = style_scales(
        module.kernel[...], styles, jax.lax.rsqrt(module.magnitude_ema[...]), demodulate=not spec.is_torgb
    )
    x = full_conv(x * before[:, None, None, :], module.kernel[...])
    if after is not None:
        x = x * after[:, None, None, :]
    x = x + module.bias[...][None, None, None, :]
    one = jnp.ones((1,), x.dtype)
    up_taps = jax.lax.stop_gradient(module.up_filter[...]) if spec.up_taps > 1 else one
    down_taps = jax.lax.stop_gradient(module.down_filter[...]) if spec.down_taps > 1 else one
    if spec.up_taps > 1 or any(spec.padding):
        x = up(x, up_taps, spec.up_factor, spec.padding[2:], 1)
        x = up(x, up_taps, spec.up_factor, spec.padding[:2], 2)
    if not spec.is_torgb:
        x = jnp.maximum(x, 0.2 * x) * math.sqrt(2.0)
    if spec.conv_clamp is not None:
        x = jnp.clip(x, -spec.conv_clamp, spec.conv_clamp)
    if spec.down_taps > 1:
        x = down(down(x, down_taps, spec.down_factor, 2), down_taps, spec.down_factor, 1)
    return x


def synthesise(synthesis: Synthesis, w: Array) -> Array:
    """What `synthesis(w)` computes for w [B, w_dim]."""
    return first_layers(synthesis, w, len(synthesis.spec.layers)) * np.float32(synthesis.spec.output_scale)


def first_layers(synthesis: Synthesis, w: Array, count: int) -> Array:
    """Output of the layer number `count`, margins included."""
    x = synthesis.input(w)
    for name in synthesis.spec.layer_names[:count]:
        x = layer(synthesis.layers[name], x, w)
    return x
