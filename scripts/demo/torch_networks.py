"""A vision transformer and a ConvNeXt for the demo world's pictures, in PyTorch: classifiers with planted units.

r is what `units` gives; the head reads it and is trained apart, as the embedded planted classifier's is.
"""

import torch
from torch import nn

UNITS, BREEDS = 36, 10  # of the planted table, and classes


class Attention(nn.Module):
    """Self-attention of a few heads."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads, self.qkv, self.proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(b, n, c))


class TransformerBlock(nn.Module):
    """Attention and a small network on each token, normalised before."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """ViT of 64 tokens behind two convolutions (Xiao et al., Early convolutions help transformers see better)."""

    def __init__(self, width: int = 64, depth: int = 3, heads: int = 4):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 7, 4, 3), nn.GELU(), nn.Conv2d(32, width, 3, 2, 1))
        self.place = nn.Parameter(0.02 * torch.randn(1, 64, width))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.units = nn.Linear(width, UNITS)
        self.head = nn.Linear(UNITS, BREEDS)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Activations of the units."""
        tokens = self.stem(x).flatten(2).transpose(1, 2) + self.place
        return self.units(self.norm(self.blocks(tokens)).mean(dim=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of a map."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise convolution, then a small network on each position (Liu et al., A ConvNet for the 2020s, 2022)."""

    def __init__(self, width: int):
        super().__init__()
        self.dwconv, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.gamma = nn.Parameter(0.1 * torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.mlp(self.norm(self.dwconv(x).permute(0, 2, 3, 1)))
        return x + (self.gamma * y).permute(0, 3, 1, 2)


class ConvNeXt(nn.Module):
    """Three stages, of which each halves the sides; the mean over positions, normalised, becomes the units."""

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96), depths: tuple[int, ...] = (1, 2, 1)):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), ChannelNorm(widths[0]))
        stages = [nn.Sequential(*(ConvNeXtBlock(widths[0]) for _ in range(depths[0])))]
        for before, width, depth in zip(widths, widths[1:], depths[1:], strict=False):
            down = [ChannelNorm(before), nn.Conv2d(before, width, 2, 2)]
            stages.append(nn.Sequential(*down, *(ConvNeXtBlock(width) for _ in range(depth))))
        self.stages = nn.Sequential(*stages)
        self.norm = nn.LayerNorm(widths[-1])
        self.units = nn.Linear(widths[-1], UNITS)
        self.head = nn.Linear(UNITS, BREEDS)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Activations of the units."""
        return self.units(self.norm(self.stages(self.stem(x)).mean(dim=(2, 3))))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(x))
