"""A ResNet's forward pass in training: batch statistics, and convolutions whose derivatives are cheap on a CPU."""

import jax
import jax.numpy as jnp

from linkjax.devices import parallel
from linkjax.models.layers import BatchNorm, Conv
from linkjax.models.resnet import ResNet
from linkjax.ops.full_conv import full_conv

Array = jax.Array
#: Path of a batch norm → the (mean, variance) it saw.
Statistics = list[tuple[Array, Array]]


def conv(module: Conv, x: Array) -> Array:
    """What `Conv.__call__` computes: the full convolution, cropped, every stride-th sample."""
    kernel = module.kernel[...]
    crop = kernel.shape[0] - 1 - module.padding
    y = full_conv(x, kernel) if kernel.shape[0] > 1 else jnp.matmul(x, kernel[0, 0])
    if crop:
        y = y[:, crop:-crop, crop:-crop]
    return y[:, :: module.stride, :: module.stride]


def norm(module: BatchNorm, x: Array, seen: Statistics) -> Array:
    """Batch normalisation with the statistics of all devices' items, which are noted in `seen`."""
    mean = jax.lax.pmean(jnp.mean(x, axis=(0, 1, 2)), parallel.ITEM)
    var = jax.lax.pmean(jnp.mean(jnp.square(x - mean), axis=(0, 1, 2)), parallel.ITEM)
    seen.append((mean, var))
    return (x - mean) * (jax.lax.rsqrt(var + 1e-5) * module.scale[...]) + module.bias[...]


def norms(network: ResNet) -> list[BatchNorm]:
    """The batch norms in the order in which `features` meets them."""
    found = [network.bn1]
    for stage in network.stages:
        for block in stage:
            found += [block.bn1, block.bn2] + ([block.downsample.bn] if block.downsample is not None else [])
    return found


def features(network: ResNet, x: Array) -> tuple[Array, Statistics]:
    """Pooled features [B, units] of a device's own preprocessed images, and every batch norm's statistics."""
    seen: Statistics = []
    x = jax.nn.relu(norm(network.bn1, conv(network.conv1, x), seen))
    x = _max_pool(x)
    for stage in network.stages:
        for block in stage:
            y = jax.nn.relu(norm(block.bn1, conv(block.conv1, x), seen))
            y = norm(block.bn2, conv(block.conv2, y), seen)
            if block.downsample is not None:
                shortcut = x[:, :: block.downsample.conv.stride, :: block.downsample.conv.stride]
                x = norm(block.downsample.bn, jnp.matmul(shortcut, block.downsample.conv.kernel[...][0, 0]), seen)
            x = jax.nn.relu(y + x)
    return jnp.mean(x, axis=(1, 2)), seen


def _max_pool(x: Array) -> Array:
    """3×3 with stride 2 and padding 1, of values that are not negative."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    height, width = x.shape[1], x.shape[2]
    rows = [padded[:, i : i + height : 2] for i in range(3)]
    x = jnp.maximum(jnp.maximum(rows[0], rows[1]), rows[2])
    columns = [x[:, :, j : j + width : 2] for j in range(3)]
    return jnp.maximum(jnp.maximum(columns[0], columns[1]), columns[2])
