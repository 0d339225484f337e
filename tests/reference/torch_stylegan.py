"""The generators' synthesis in plain PyTorch: a second opinion for the tests and the opponent of the benchmark.

Modulated convolution as a grouped convolution with weights per sample, FIR filters as depthwise convolutions over
zero-inserted maps: what one writes in PyTorch without compiled extensions.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F


def torch_weights(generator) -> dict[str, torch.Tensor]:
    """A linkjax generator's synthesis leaves as tensors: OIHW kernels, [out, in] matrices, names without prefix."""
    from linkjax.models import build

    weights = {}
    for name, leaf in build.leaves(generator).items():
        if not name.startswith("synthesis."):
            continue
        array = torch.from_numpy(np.array(leaf))
        if name.endswith(".kernel"):
            array = array.permute(3, 2, 0, 1) if array.ndim == 4 else array.T
        weights[name.removeprefix("synthesis.").removeprefix("layers.")] = array.contiguous()
    return weights


def modulated_conv(x, kernel, styles, input_gain, demodulate):
    """In the type of x; weights are normalised and modulated in float32."""
    batch, k = x.shape[0], kernel.shape[-1]
    if demodulate:
        kernel = kernel / kernel.square().mean((1, 2, 3), keepdim=True).sqrt()
        styles = styles / styles.square().mean(1, keepdim=True).sqrt()
    weights = kernel[None] * styles[:, None, :, None, None]
    if demodulate:
        weights = weights / (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).sqrt()
    weights = (weights * input_gain).reshape(-1, *kernel.shape[1:]).to(x.dtype)
    y = F.conv2d(x.reshape(1, -1, *x.shape[2:]), weights, padding=k - 1, groups=batch)
    return y.reshape(batch, -1, *y.shape[2:])


def fir(x, taps, up=1, down=1, padding=(0, 0, 0, 0), gain=1.0):
    batch, channels, height, width = x.shape
    if up > 1:
        zeros = x.new_zeros(batch, channels, height, up, width, up)
        zeros[:, :, :, 0, :, 0] = x
        x = zeros.reshape(batch, channels, height * up, width * up)
    x = F.pad(x, padding)  # negative values crop
    if taps is not None:
        taps = taps.flip(list(range(taps.ndim))).to(x.dtype)
        if taps.ndim == 1:
            taps = taps * math.sqrt(gain)
            x = F.conv2d(x, taps[None, None, None, :].repeat(channels, 1, 1, 1), groups=channels)
            x = F.conv2d(x, taps[None, None, :, None].repeat(channels, 1, 1, 1), groups=channels)
        else:
            x = F.conv2d(x, (taps * gain)[None, None].repeat(channels, 1, 1, 1), groups=channels)
    return x[:, :, ::down, ::down]


def synthesis_input(weights, spec, w):
    t = F.linear(w, weights["input.affine.kernel"] / math.sqrt(spec.w_dim), weights["input.affine.bias"])
    t = t / t[:, :2].norm(dim=1, keepdim=True)
    rotate = torch.eye(3, device=w.device).repeat(len(w), 1, 1)
    rotate[:, 0, 0], rotate[:, 0, 1], rotate[:, 1, 0], rotate[:, 1, 1] = t[:, 0], -t[:, 1], t[:, 1], t[:, 0]
    move = torch.eye(3, device=w.device).repeat(len(w), 1, 1)
    move[:, 0, 2], move[:, 1, 2] = -t[:, 2], -t[:, 3]
    matrix = rotate @ move @ weights["input.transform"][None]
    freqs = weights["input.freqs"] @ matrix[:, :2, :2]
    phases = weights["input.phases"] + (weights["input.freqs"] @ matrix[:, :2, 2:])[..., 0]
    band, rate, size = spec.input_bandwidth, spec.input_sampling_rate, spec.input_size
    amplitudes = (1 - (freqs.norm(dim=2) - band) / (rate / 2 - band)).clamp(0, 1)
    centres = ((torch.arange(size, device=w.device) + 0.5) / size - 0.5) * (size / rate)
    grid = torch.stack(torch.meshgrid(centres, centres, indexing="xy"), -1).reshape(-1, 2)
    x = torch.sin((grid @ freqs.transpose(1, 2) + phases[:, None]) * (2 * math.pi)) * amplitudes[:, None]
    x = x @ (weights["input.kernel"] / math.sqrt(spec.input_channels)).T
    return x.transpose(1, 2).reshape(len(w), -1, size, size)


def layer(weights, spec, w_dim, x, w):
    def leaf(name):
        return weights.get(f"{spec.name}.{name}")

    styles = F.linear(w, leaf("affine.kernel") / math.sqrt(w_dim), leaf("affine.bias"))
    if spec.is_torgb:
        styles = styles / math.sqrt(spec.in_channels * spec.conv_kernel**2)
    x = modulated_conv(x, leaf("kernel"), styles, leaf("magnitude_ema").rsqrt(), not spec.is_torgb)
    x = x + leaf("bias").to(x.dtype)[None, :, None, None]
    x = fir(x, leaf("up_filter"), up=spec.up_factor, padding=spec.padding, gain=spec.up_factor**2)
    if not spec.is_torgb:
        x = F.leaky_relu(x, 0.2) * math.sqrt(2)
    if spec.conv_clamp is not None:
        x = x.clamp(-spec.conv_clamp, spec.conv_clamp)
    return fir(x, leaf("down_filter"), down=spec.down_factor)


def layer_outputs(weights, spec, w):
    """Outputs of the input and every layer, [B, C, H, W], for w [B, w_dim] or [B, num_ws, w_dim]."""
    rows = w if w.ndim == 3 else w[:, None].expand(-1, spec.num_ws, -1)
    x = synthesis_input(weights, spec, rows[:, 0])
    outputs = {"input": x}
    for i, layer_spec in enumerate(spec.layers, start=1):
        outputs[layer_spec.name] = x = layer(weights, layer_spec, spec.w_dim, x, rows[:, i])
    return outputs


def synthesise(weights, spec, w, dtype=torch.float32):
    """Images [B, C, H, W], keeping no layer's output; feature maps and convolutions in `dtype`."""
    rows = w if w.ndim == 3 else w[:, None].expand(-1, spec.num_ws, -1)
    x = synthesis_input(weights, spec, rows[:, 0]).to(dtype)
    for i, layer_spec in enumerate(spec.layers, start=1):
        x = layer(weights, layer_spec, spec.w_dim, x, rows[:, i])
    return x * spec.output_scale
