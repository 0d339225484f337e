"""A sweep and a screening in plain PyTorch: a second opinion for the tests and the opponent of the benchmark.

What one writes with tensors alone: whole batches, one-hot parts, one backward pass for each sum that is derived.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from tests.reference import torch_classifiers, torch_stylegan
from tests.reference.region_loops import XYZ_FROM_RGB

REC709 = (0.2126, 0.7152, 0.0722)


class Models(NamedTuple):
    """The tensors of linkjax's models."""

    weights: dict[str, torch.Tensor]
    spec: object  # the generator's
    classifier: torch.nn.Module
    preprocessing: object
    kernel: torch.Tensor  # the link's [units, w_dim]
    heads: dict[str, torch.Tensor]  # layer → [parts, channels, 1, 1]
    bias: torch.Tensor


def models_of(generator, classifier, link, segmenter) -> Models:
    """Copies of linkjax's models: a ResNet, a linear link, a linear head."""
    heads = {name: torch.from_numpy(np.array(kernel[...])) for name, kernel in segmenter.kernels.items()}
    return Models(
        torch_stylegan.torch_weights(generator),
        generator.spec,
        torch_classifiers.copy_of(classifier),
        classifier.spec.preprocessing,
        torch.from_numpy(np.array(link.kernel[...])),
        {name: kernel.T[:, :, None, None] for name, kernel in heads.items()},
        torch.from_numpy(np.array(segmenter.bias[...])),
    )


def to_device(models: Models, device: str) -> Models:
    def moved(tensors):
        return {name: tensor.to(device) for name, tensor in tensors.items()}

    return models._replace(
        weights=moved(models.weights),
        classifier=models.classifier.to(device),
        kernel=models.kernel.to(device),
        heads=moved(models.heads),
        bias=models.bias.to(device),
    )


def draw_with_parts(models: Models, w, dtype=torch.float32):
    """Images [B, 3, H, W] and scores [B, P, H, W]; each layer's maps are projected, then resized."""
    spec = models.spec
    x = torch_stylegan.synthesis_input(models.weights, spec, w).to(dtype)
    scores = models.bias[None, :, None, None]
    for layer in spec.layers:
        x = torch_stylegan.layer(models.weights, layer, spec.w_dim, x, w)
        if layer.name in models.heads:
            inside = slice(layer.margin, x.shape[2] - layer.margin)
            projected = F.conv2d(x[:, :, inside, inside].float(), models.heads[layer.name])
            scores = scores + F.interpolate(projected, (spec.resolution,) * 2, mode="bilinear", align_corners=False)
    return x.float() * spec.output_scale, scores


def step(models: Models, w, r, references, unit, value, dtype=torch.float32):
    """w + (value − r[unit]) · kernel[unit], drawn, classified and measured: r, logits and metrics of each item."""
    own = r.gather(1, unit[:, None])
    images, scores = draw_with_parts(models, w + (value[:, None] - own) * models.kernel[unit], dtype)
    pixels = ((images + 1) * 127.5).clamp(0, 255).to(torch.uint8)
    found, logits = classify(models, pixels)
    return found, logits, measure(pixels, references, scores.argmax(1), scores.shape[1])


def classify(models: Models, pixels):
    """Activations and scores of bytes [B, 3, H, W] that are as large as the classifier resizes them."""
    how = models.preprocessing
    if how.resize is not None:
        assert how.resize == min(pixels.shape[2:]), "resize them first"
        start = [round((side - how.crop) / 2) for side in pixels.shape[2:]]
        pixels = pixels[:, :, start[0] : start[0] + how.crop, start[1] : start[1] + how.crop]
    mean, std = (torch.tensor(each, device=pixels.device)[:, None, None] for each in (how.mean, how.std))
    r = models.classifier.penultimate((pixels.float() / 255 - mean) / std)
    return r, models.classifier.fc(r)


def measure(pixels, references, labels, parts: int):
    """[B, 1 + parts, metrics] as `linkjax.analysis.metrics.measurements.measure`, of bytes [B, 3, H, W]."""
    batch, _, height, width = pixels.shape
    encoded, linear, response = colours(pixels.float() / 255)
    luma, light, lab = weighted(encoded), weighted(linear), lab_of(response)
    weights = torch.tensor((2126, 7152, 722), device=pixels.device)[:, None, None]
    bins = ((pixels.long() * weights).sum(1) + 5000) // 10000
    y, x = places(height, width, luma)
    member = torch.stack([labels == part for part in range(parts)], 1).float()  # [B, P, H, W]
    tones = torch.stack([luma * 255, light, *lab.unbind(1)], 1)
    area = member.sum((2, 3))

    def mean(values):  # [B, C, H, W] → [B, P, C]
        return torch.einsum("bphw,bchw->bpc", member, values) / area[..., None]

    flat = torch.stack([y, x])[None].expand(batch, -1, -1, -1)
    centre = mean(flat)
    off = flat[:, None] - centre[..., None, None]  # [B, P, 2, H, W]: squares about the part's own middle
    moments = torch.stack([off[:, :, 0] ** 2, off[:, :, 1] ** 2, off[:, :, 0] * off[:, :, 1]], 2)
    yy, xx, xy = (torch.einsum("bphw,bpchw->bpc", member, moments) / area[..., None]).unbind(-1)
    spread = ((yy - xx) ** 2 + 4 * xy**2).sqrt()
    large, small = (yy + xx + spread) / 2, ((yy + xx - spread) / 2).clamp(min=0)
    eccentricity = torch.where(large > 0, (spread / large).clamp(max=1).sqrt(), spread)
    orientation = torch.atan2(2 * xy, yy - xx) / 2
    rows = (torch.arange(batch, device=labels.device)[:, None, None] * parts + labels) * 256 + bins
    counts = rows.flatten().bincount(minlength=batch * parts * 256).reshape(batch, parts, 256).float()
    means = mean(tones)
    whole = image_metrics(encoded, luma * 255, lab, counts.sum(1), references.float() / 255)
    nan = torch.full_like(area, math.nan)
    slant = torch.where(yy + xx > 0, 2 * xy / (yy + xx), spread)
    axes = (4 * each.sqrt() for each in (large, small, yy, xx))
    shape = (centre[..., 0], centre[..., 1], eccentricity, orientation, *axes, slant)
    columns = [means[..., 0], *means[..., 2:].unbind(-1), nan, nan, nan, nan, entropy(counts), nan, nan]
    columns += [area, area / (height * width), means[..., 1], *(torch.where(area > 0, each, nan) for each in shape)]
    rest = whole.new_full((batch, len(columns) - whole.shape[1]), math.nan)
    return torch.cat([torch.cat([whole, rest], 1)[:, None], torch.stack(columns, -1)], 1)


def image_metrics(encoded, luma, lab, counts, references):
    """Of whole images: the columns of `linkjax.analysis.metrics.image_metrics`."""
    top, bottom = encoded.amax(1), encoded.amin(1)
    down, right = luma.diff(dim=1).abs(), luma.diff(dim=2).abs()
    reference_lab = lab_of(colours(references)[2])
    columns = [luma.mean((1, 2)), *lab.mean((2, 3)).unbind(1), lab[:, 1:].norm(dim=1).mean((1, 2))]
    columns.append(torch.where(top > 0, (top - bottom) / top.clamp(min=1e-6), top).mean((1, 2)))
    columns.append(luma.std((1, 2), correction=0))
    columns.append((down.sum((1, 2)) + right.sum((1, 2))) / (down[0].numel() + right[0].numel()))
    columns += [entropy(counts), 255 * (encoded - references).abs().mean((1, 2, 3))]
    columns.append((lab - reference_lab).norm(dim=1).mean((1, 2)))
    return torch.stack(columns, 1)


def colours(encoded):
    """Encoded values [B, 3, H, W], linear ones, and CIE's response to X, Y, Z."""
    linear = torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    matrix = encoded.new_tensor(XYZ_FROM_RGB / XYZ_FROM_RGB.sum(axis=1, keepdims=True))
    xyz = torch.einsum("bchw,kc->bkhw", linear, matrix)
    low = xyz <= (6 / 29) ** 3
    response = torch.where(low, xyz / (3 * (6 / 29) ** 2) + 4 / 29, torch.where(low, 1.0, xyz) ** (1 / 3))
    return encoded, linear, response


def weighted(rgb):
    return (rgb * rgb.new_tensor(REC709)[:, None, None]).sum(1)


def lab_of(response):
    x, y, z = response.unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], 1)


def entropy(counts):
    share = counts / counts.sum(-1, keepdim=True)
    return -torch.xlogy(share, share).sum(-1) / math.log(2)


def places(height: int, width: int, like):
    y, x = (torch.arange(side, device=like.device, dtype=like.dtype) for side in (height, width))
    return torch.meshgrid(y, x, indexing="ij")


def soft_sums(images, scores, temperature: float, trim: float):
    """[P, 11] of one image, as `linkjax.analysis.units.screening.soft_sums`."""
    share = (((scores / temperature).softmax(1) - trim) / (1 - 2 * trim)).clamp(0, 1)
    member = share**2 * (3 - 2 * share)
    encoded, linear, response = colours(((images + 1) / 2).clamp(0, 1))
    height, width = images.shape[2:]
    y, x = places(height, width, images)
    y, x = y - (height - 1) / 2, x - (width - 1) / 2
    place = torch.stack([torch.ones_like(y), y, x, y * y, x * x, y * x])[None]
    features = torch.cat([place, weighted(encoded)[:, None], weighted(linear)[:, None], response], 1)
    return torch.einsum("bphw,bshw->ps", member, features)


def sums_and_slopes(models: Models, w, temperature: float, trim: float):
    """The soft sums [P, 11] of one w [1, w_dim], and their derivatives [P, 11, w_dim]: a backward pass each."""
    w = w.clone().requires_grad_()
    sums = soft_sums(*draw_with_parts(models, w), temperature, trim)
    rows = [torch.autograd.grad(each, w, retain_graph=True)[0][0] for each in sums.flatten()]
    return sums.detach(), torch.stack(rows).reshape(*sums.shape, -1)
