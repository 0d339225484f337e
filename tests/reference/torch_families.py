"""Small PyTorch networks of many families, with the operations of theirs: 16 × 16 images, a head of 5 classes."""

import torch
from torch import nn
from torch.nn import functional as F

SIDE, CLASSES = 16, 5


class Headed(nn.Module):
    """Pooled maps, and a last layer."""

    def __init__(self, width: int):
        super().__init__()
        self.head = nn.Linear(width, CLASSES)

    def features(self, x):
        raise NotImplementedError

    def forward(self, x):
        return self.head(self.features(x))


class Residual(Headed):
    """ResNet: strided convolutions, batch norm, max pooling, a shortcut; grouped ones as in ResNeXt."""

    def __init__(self):
        super().__init__(16)
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.block = nn.Sequential(
            nn.Conv2d(8, 16, 3, 2, 1, groups=4, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
            nn.Conv2d(16, 16, 3, padding="same"), nn.BatchNorm2d(16),
        )  # fmt: skip
        self.short = nn.Sequential(nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False), nn.Conv2d(8, 16, 1))
        self.last = nn.AdaptiveAvgPool2d(1)

    def features(self, x):
        x = self.pool(self.stem(x))
        return self.last(F.relu(self.block(x) + self.short(x))).flatten(1)


class ConvNeXt(Headed):
    """ConvNeXt: patches, depthwise 7 × 7, layer norm of channels last and first, GELU, global response, layer scale."""

    def __init__(self):
        super().__init__(12)
        self.stem = nn.Conv2d(3, 12, 4, 4)
        self.mix, self.norm = nn.Conv2d(12, 12, 7, padding=3, groups=12), nn.LayerNorm(12, eps=1e-6)
        self.up, self.down = nn.Linear(12, 48), nn.Linear(48, 12)
        self.scale = nn.Parameter(torch.full((12,), 0.5))
        self.after = nn.LayerNorm(12)

    def features(self, x):
        x = self.stem(x)
        y = self.up(self.norm(self.mix(x).permute(0, 2, 3, 1)))
        y = F.gelu(y)
        spread = torch.linalg.vector_norm(y, dim=(1, 2), keepdim=True)
        y = y + y * (spread / (spread.mean(-1, keepdim=True) + 1e-6))
        x = x + (self.down(y) * self.scale).permute(0, 3, 1, 2)
        return self.after(x.mean((-2, -1)))


class ViT(Headed):
    """Vision transformer: tokens, class token, positions, fused attention, an MLP by tanh-GELU, layer norm."""

    def __init__(self):
        super().__init__(16)
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.cls = nn.Parameter(torch.randn(1, 1, 16))
        self.pos = nn.Parameter(torch.randn(1, 17, 16))
        self.qkv, self.proj = nn.Linear(16, 48), nn.Linear(16, 16)
        self.before, self.between, self.norm = nn.LayerNorm(16), nn.LayerNorm(16), nn.LayerNorm(16)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(approximate="tanh"), nn.Dropout(0.5), nn.Linear(32, 16))

    def attend(self, x):
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, 4, c // 4).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c))

    def features(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1) + self.pos
        x = x + self.attend(self.before(x))
        x = x + self.mlp(self.between(x))
        return self.norm(x)[:, 0]


class Rotary(Headed):
    """DINOv3, EVA: rotated queries and keys, RMS norm, SwiGLU, a register token, attention written out."""

    def __init__(self):
        super().__init__(16)
        self.patch = nn.Conv2d(3, 16, 4, 4)
        self.registers = nn.Parameter(torch.randn(1, 1, 16))
        self.norm, self.last = nn.RMSNorm(16, eps=1e-5), nn.LayerNorm(16)
        self.qkv, self.gate, self.down = nn.Linear(16, 48, bias=False), nn.Linear(16, 48), nn.Linear(24, 16)
        self.register_buffer("periods", torch.tensor([1.0, 4.0]))

    def rotate(self, x):
        angle = (torch.arange(x.shape[-2], dtype=x.dtype)[:, None] / self.periods).tile(2)
        one, other = x.chunk(2, -1)
        return x * angle.cos() + torch.cat([-other, one], -1) * angle.sin()

    def features(self, x):
        x = self.patch(x).flatten(2).mT
        x = torch.cat([self.registers.repeat(x.shape[0], 1, 1), x], 1)
        q, k, v = (each.unflatten(2, (4, 4)).transpose(1, 2) for each in self.qkv(self.norm(x)).split(16, -1))
        q, k = self.rotate(q), self.rotate(k)
        weights = ((q * 0.5) @ k.transpose(-2, -1)).softmax(-1)
        x = x + (weights @ v).transpose(1, 2).flatten(2)
        one, other = self.gate(x).chunk(2, dim=-1)
        return self.last(x + self.down(F.silu(one) * other))[:, 1:].mean(1)


class Windows(Headed):
    """Swin: shifted windows, a mask, a table of relative positions, merged patches."""

    def __init__(self):
        super().__init__(16)
        self.patch, self.norm, self.reduction = nn.Conv2d(3, 8, 2, 2), nn.LayerNorm(8), nn.Linear(32, 16, bias=False)
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)
        self.table = nn.Parameter(torch.randn(49, 2))
        at = torch.stack(torch.meshgrid(torch.arange(4), torch.arange(4), indexing="ij")).flatten(1)
        apart = (at[:, :, None] - at[:, None, :] + 3).permute(1, 2, 0)
        self.register_buffer("index", apart[..., 0] * 7 + apart[..., 1])
        part = torch.tensor([0] * 4 + [1] * 2 + [2] * 2)
        regions = self.windows((part[:, None] * 3 + part)[None, :, :, None]).squeeze(-1)
        self.register_buffer("mask", (regions[:, None] != regions[:, :, None]).float() * -100)

    @staticmethod
    def windows(x):
        b, h, w, c = x.shape
        return x.view(b, h // 4, 4, w // 4, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)

    def features(self, x):
        x = self.patch(x).permute(0, 2, 3, 1)
        y = torch.roll(self.norm(x), (-2, -2), (1, 2))
        y = self.windows(y)
        b, n, c = y.shape
        q, k, v = self.qkv(y).reshape(b, n, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.table[self.index.view(-1)].view(16, 16, 2).permute(2, 0, 1)
        scores = q * 0.5 @ k.transpose(-2, -1) + bias.unsqueeze(0)
        scores = scores.view(-1, 4, 2, 16, 16) + self.mask[None, :, None]
        y = (scores.view(-1, 2, 16, 16).softmax(-1) @ v).transpose(1, 2).reshape(b, n, c)
        y = self.proj(y).view(-1, 2, 2, 4, 4, 8).permute(0, 1, 3, 2, 4, 5).reshape(-1, 8, 8, 8)
        x = x + torch.roll(y, (2, 2), (1, 2))
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
        return self.reduction(x).mean((1, 2))


class Mixer(Headed):
    """MLP-Mixer: layers over tokens, and over channels."""

    def __init__(self):
        super().__init__(12)
        self.patch = nn.Conv2d(3, 12, 4, 4)
        self.norm, self.tokens, self.channels = nn.LayerNorm(12), nn.Linear(16, 16), nn.Linear(12, 12)

    def features(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = x + F.gelu(self.tokens(self.norm(x).transpose(1, 2))).transpose(1, 2)
        return (x + F.mish(self.channels(x))).mean(1)


class Squeezing(Headed):
    """EfficientNet, MobileNet, RegNet: depthwise with stride, squeeze and excite, SiLU, hard-swish, group norm, ECA."""

    def __init__(self):
        super().__init__(16)
        self.stem, self.norm = nn.Conv2d(3, 8, 3, 2, 1), nn.GroupNorm(4, 8)
        self.deep = nn.Conv2d(8, 8, 5, (2, 1), (2, 2), groups=8, bias=False)
        self.squeeze, self.excite = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.near = nn.Conv1d(1, 1, 3, padding=1)
        self.out = nn.Conv2d(8, 16, 1)

    def features(self, x):
        x = F.hardswish(self.norm(self.stem(F.pad(x, (0, 1, 0, 1)))))
        x = F.silu(self.deep(x))
        x = x * F.hardsigmoid(self.excite(F.relu6(self.squeeze(x.mean((2, 3), keepdim=True)))))
        near = self.near(F.adaptive_avg_pool2d(x, 1).flatten(2).transpose(1, 2)).transpose(1, 2)
        x = F.leaky_relu(self.out(x * near.sigmoid().unsqueeze(-1)), 0.1)
        return F.max_pool2d(F.interpolate(x, scale_factor=2.0, mode="bilinear"), 2, ceil_mode=True).amax((2, 3))


class Odds(Headed):
    """What the others leave over."""

    def __init__(self):
        super().__init__(12)
        self.stem, self.slope = nn.Conv2d(3, 12, (3, 1), (1, 2), (0, 1)), nn.Parameter(torch.rand(12))
        self.mix = nn.Conv2d(12, 12, 3, padding=2, dilation=2)
        self.register_buffer("order", torch.tensor([3, 1, 0, 2, *range(4, 12)]))
        self.register_buffer("hidden", torch.arange(12) % 5 == 0)

    def features(self, x):
        x = F.prelu(self.mix(self.stem(F.pad(x, (1, 1, 2, 2), mode="reflect"))), self.slope)
        x = F.pixel_unshuffle(F.pixel_shuffle(x[:, :, 1:-1, :8], 2), 2).index_select(1, self.order)
        x = torch.stack([x.flip(2), F.elu(x), F.selu(x), F.softplus(x)], -1).amin(-1)
        x = F.interpolate(F.adaptive_avg_pool2d(x, (3, 5)), size=(7, 6), mode="nearest")
        x = F.interpolate(x, size=(5, 9), mode="bilinear", align_corners=True)
        x = torch.where(x > 0.2, x.clamp(max=2).exp(), x.abs().add(1).log()).movedim(1, -1)
        var, mean = torch.var_mean(x, (1, 2))
        x = torch.addcmul(mean, var.sqrt(), var.reciprocal(), value=0.1).masked_fill(self.hidden, 0.5)
        return torch.maximum(x, 1 - x / x.sum(1, keepdim=True)) ** 3 - F.log_softmax(x, -1).erf()


FAMILIES = {each.__name__: each for each in (Residual, ConvNeXt, ViT, Rotary, Windows, Mixer, Squeezing, Odds)}


def make(name: str, seed: int = 0) -> nn.Module:
    """A network of random weights and statistics, in evaluation mode."""
    torch.manual_seed(seed)
    network = FAMILIES[name]().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return network


def factory() -> nn.Module:
    """What `linkjax convert module` calls."""
    return make("ViT")
