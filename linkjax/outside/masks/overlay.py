"""Label maps to look at: colours over a picture, outlines, and a legend with the parts' names."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Integer, UInt8
from PIL import Image, ImageDraw, ImageFont

# Paul Tol's "muted" scheme: nine colours told apart with every common form of colour blindness; the background has
# none. With more parts they repeat, and outlines and the legend's order tell neighbours apart.
PALETTE = (
    (204, 102, 119), (51, 34, 136), (221, 204, 119), (17, 119, 51), (136, 204, 238), (136, 34, 85), (68, 170, 153),
    (153, 153, 51), (170, 68, 153),
)  # fmt: skip
_COVER = 0.7  # share of a part's colour over the picture
_SIDE = 256  # pixels a picture is enlarged to, by a whole factor
_GAP, _LINE = 8, 23


class Panel(NamedTuple):
    """One picture of a sheet."""

    title: str
    image: np.ndarray  # [H, W, 3] uint8
    labels: np.ndarray | None = None  # [H, W] int; None: the picture alone


def colour_of(label: int) -> tuple[int, int, int]:
    """The colour of a part, label 1 and up."""
    return PALETTE[(label - 1) % len(PALETTE)]


def palette() -> list[int]:
    """256 colours for an indexed PNG: black for the background, white for what nobody labelled, parts as here."""
    colours = [(0, 0, 0), *(colour_of(label) for label in range(1, 255)), (255, 255, 255)]
    return [value for colour in colours for value in colour]


def tint(
    image: UInt8[np.ndarray, "H W 3"], labels: Integer[np.ndarray, "H W"], factor: int = 1
) -> UInt8[np.ndarray, "h w 3"]:
    """A picture, enlarged by a whole factor, with its parts coloured and outlined; the background stays as it is."""
    large = image.repeat(factor, 0).repeat(factor, 1).astype(np.float32)
    parts = labels.repeat(factor, 0).repeat(factor, 1)
    colours = np.array(
        [(0, 0, 0), *(colour_of(label) for label in range(1, max(int(labels.max()), 1) + 1))], np.float32
    )
    inside = parts > 0
    large[inside] = (1 - _COVER) * large[inside] + _COVER * colours[parts[inside]]
    edge = np.zeros(parts.shape, bool)
    edge[1:] |= parts[1:] != parts[:-1]
    edge[:, 1:] |= parts[:, 1:] != parts[:, :-1]
    if factor > 1:
        large[edge] = 255
    return large.astype(np.uint8)


def sheet(panels: Sequence[Panel], part_names: Sequence[str]) -> Image.Image:
    """Pictures side by side with titles above and the legend below."""
    side = panels[0].image.shape[0]
    factor = max(1, _SIDE // side)
    font = ImageFont.load_default(15)
    width = len(panels) * (side * factor + _GAP) + _GAP
    entries = _placed([name for name in part_names[1:]], width, font)
    legend = (max(y for _, y, _, _ in entries) + 1) * _LINE if entries else 0
    canvas = Image.new("RGB", (width, _LINE + side * factor + _GAP + legend + _GAP), "white")
    pen = ImageDraw.Draw(canvas)
    for index, panel in enumerate(panels):
        x = _GAP + index * (side * factor + _GAP)
        pen.text((x, 3), panel.title, fill="black", font=font)
        labels = np.zeros(panel.image.shape[:2], np.int64) if panel.labels is None else np.maximum(panel.labels, 0)
        canvas.paste(Image.fromarray(tint(panel.image, labels, factor)), (x, _LINE))
    top = _LINE + side * factor + _GAP
    for x, line, label, name in entries:
        y = top + line * _LINE
        pen.rectangle((x, y + 3, x + 12, y + 15), fill=colour_of(label), outline="black")
        pen.text((x + 18, y), name, fill="black", font=font)
    return canvas


def _placed(names: Sequence[str], width: int, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> list:
    """(x, line, label, name) of every legend entry, broken into lines of the sheet's width."""
    entries, x, line = [], _GAP, 0
    for label, name in enumerate(names, start=1):
        room = 18 + int(font.getlength(name)) + 14
        if x + room > width and x > _GAP:
            x, line = _GAP, line + 1
        entries.append((x, line, label, name))
        x += room
    return entries
