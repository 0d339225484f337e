"""A small image-text model in PyTorch, with a tokenizer of its own: what a user's function gives `convert embedder`."""

import torch

SIDE, WIDTH = 24, 12


class Image(torch.nn.Module):
    """Images [B, 3, 24, 24] → [B, 12]: patches, a layer of attention, a projection."""

    def __init__(self):
        super().__init__()
        self.patch = torch.nn.Conv2d(3, 16, 8, 8)
        self.norm = torch.nn.LayerNorm(16)
        self.mix = torch.nn.MultiheadAttention(16, 2, batch_first=True)
        self.last = torch.nn.Linear(16, WIDTH, bias=False)

    def forward(self, x):
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = self.norm(tokens)
        tokens = tokens + self.mix(tokens, tokens, tokens, need_weights=False)[0]
        return self.last(tokens.mean(dim=1))


class Text(torch.nn.Module):
    """Texts → [n, 12]: the mean of letters' vectors, each times its place."""

    def __init__(self, width=WIDTH):
        super().__init__()
        self.letters = torch.nn.Embedding(256, width)

    def forward(self, texts):
        rows = [list(text.encode())[:40] or [0] for text in texts]
        place = [torch.linspace(0.5, 1.5, len(row))[:, None] for row in rows]
        return torch.stack(
            [(self.letters(torch.tensor(row)) * at).mean(dim=0) for row, at in zip(rows, place, strict=True)]
        )


def factory():
    """(image tower, function of texts)."""
    torch.manual_seed(0)
    return Image().eval(), Text().eval()


def uneven():
    """Towers that end in different spaces."""
    torch.manual_seed(0)
    return Image().eval(), Text(7).eval()


def image_alone():
    """What is no pair."""
    return Image()
