"""Grids of pictures, drawn pixel by pixel on one canvas: exact, and fast for hundreds of them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes
from PIL import Image

from linkjax.report.figures import style
from linkjax.report.figures.style import Figure

_GAP = 8  # pixels between cells
_LINE = 26  # pixels of a line of text
_CHARACTER = 8.6  # average width in pixels of a character of the small font
_PAGE = round(style.WIDTH * style.DPI)


def image_pairs(
    first: UInt8[np.ndarray, "n y x 3"],
    second: UInt8[np.ndarray, "n y x 3"],
    *,
    labels: Sequence[str] = (),
    notes: Sequence[str] = (),
    agree: Sequence[bool | None] = (),
    names: tuple[str, str] = ("original", "linked"),
    columns: int = 6,
) -> Figure:
    """Pictures above their counterparts.

    Args:
      first, second: pictures, uint8 RGB; second[i] is drawn below first[i].
      labels: a text above each pair (its class).
      notes: a text below each pair (what the classifier sees).
      agree: per pair, whether the note says what was hoped for: marked ✓ or ✗, and coloured; None leaves it plain.
      names: what the two rows are.
      columns: pairs in a row; fewer are drawn if there are fewer.
    Returns: a figure of the page's width at most.
    """
    count = len(first)
    columns = max(1, min(columns, count))
    left = _LINE + 4
    first, second = (_fit(images, (_PAGE - left) // columns - _GAP) for images in (first, second))
    height, width = first.shape[1:3]
    band = (_LINE if labels else 0) + 2 * height + 4 + (_LINE if notes else 0) + _GAP
    rows = -(-count // columns)
    canvas = np.full((rows * band, left + columns * (width + _GAP), 3), 255, np.uint8)
    places = []
    for index in range(count):
        y, x = (index // columns) * band + (_LINE if labels else 0), left + (index % columns) * (width + _GAP)
        canvas[y : y + height, x : x + width] = first[index]
        canvas[y + height + 4 : y + 2 * height + 4, x : x + width] = second[index]
        places.append((x, y))
    figure, axes = _canvas(canvas)
    for index, (x, y) in enumerate(places):
        if labels:
            _write(axes, x + width / 2, y - _LINE / 2, labels[index], width)
        if notes:
            mark = agree[index] if len(agree) else None
            sign, colour = {True: ("✓ ", style.BLUE), False: ("✗ ", style.VERMILION)}.get(mark, ("", style.SOFT))  # pyright: ignore[reportArgumentType,reportCallIssue]
            _write(axes, x + width / 2, y + 2 * height + 4 + _LINE / 2, sign + notes[index], width, colour=colour)
    for row in range(rows):
        y = row * band + (_LINE if labels else 0)
        for offset, name in ((height / 2, names[0]), (1.5 * height + 4, names[1])):
            _write(axes, _LINE / 2, y + offset, name, height, rotation=90.0, colour=style.SOFT)
    return figure


def sweep_strip(
    pictures: UInt8[np.ndarray, "sample step y x 3"],
    values: Sequence[float] | np.ndarray,
    *,
    title: str,
    rows: Sequence[str] = (),
    xlabel: str = "value asked of the unit",
    width: float = style.HALF,
) -> Figure:
    """What changes as a unit's value changes: one row a sample, one column a step.

    Args:
      pictures: uint8 RGB.
      values: the value asked at each step, in the unit's own scale; written below its column.
      title: what is swept, such as "unit 420".
      rows: a name for each sample.
      xlabel: what the values are.
      width: inches.
    Returns: a figure.
    """
    samples, steps = pictures.shape[:2]
    left = _LINE + 2 if len(rows) else 0
    cells = _fit(pictures.reshape(-1, *pictures.shape[2:]), (round(width * style.DPI) - left) // steps - 4)
    height, cell = cells.shape[1:3]
    head = _LINE + 4
    canvas = np.full((head + samples * (height + 4) + 2 * _LINE, left + steps * (cell + 4), 3), 255, np.uint8)
    for index, image in enumerate(cells):
        y, x = head + (index // steps) * (height + 4), left + (index % steps) * (cell + 4)
        canvas[y : y + height, x : x + cell] = image
    figure, axes = _canvas(canvas)
    middle = left + steps * (cell + 4) / 2
    _write(axes, middle, head / 2 - 2, title, steps * cell, size=style.TEXT, weight="bold")
    bottom = head + samples * (height + 4)
    for step, value in enumerate(values):
        text = f"{float(value):.2g}".replace("-", "−") if np.isfinite(value) else "–"
        _write(axes, left + step * (cell + 4) + cell / 2, bottom + _LINE / 2 - 4, text, cell)
    _write(axes, middle, bottom + 1.5 * _LINE - 6, xlabel, steps * cell, colour=style.SOFT)
    for index, name in enumerate(rows):
        y = head + index * (height + 4) + height / 2
        _write(axes, left / 2, y, name, height, rotation=90.0, colour=style.SOFT)
    return figure


def stack(pictures: Sequence[UInt8[np.ndarray, "y x 3"]]) -> Figure:
    """Pictures of any sizes, one below the other, as they are; wider ones than the page are reduced.

    Args:
      pictures: uint8 RGB, one or more.
    Returns: a figure.
    """
    fitted = [_fit(each[None], _PAGE)[0] if each.shape[1] > _PAGE else each for each in pictures]
    width = max(each.shape[1] for each in fitted)
    canvas = np.full((sum(each.shape[0] + _GAP for each in fitted), width, 3), 255, np.uint8)
    top = 0
    for each in fitted:
        canvas[top : top + each.shape[0], : each.shape[1]] = each
        top += each.shape[0] + _GAP
    return _canvas(canvas)[0]


def _fit(images: np.ndarray, target: int) -> np.ndarray:
    """Images about `target` pixels wide: small ones repeated by a whole factor, others resampled."""
    width = images.shape[2]
    target = max(1, min(target, max(width, 256)))
    if target >= 4 * width:
        factor = target // width
        return images.repeat(factor, axis=1).repeat(factor, axis=2)
    size = (target, max(1, round(images.shape[1] * target / width)))
    how = Image.Resampling.BOX if target < width else Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(image).resize(size, how)) for image in images])


def _canvas(pixels: np.ndarray) -> tuple[Figure, Axes]:
    """A figure whose pixels are these, and axes in pixels to write on it."""
    height, width = pixels.shape[:2]
    figure = style.new(width / style.DPI, height / style.DPI, layout=None)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.imshow(pixels, extent=(0, width, height, 0), interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    return figure, axes


def _write(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    room: float,
    *,
    colour: str = style.INK,
    rotation: float = 0.0,
    size: float = style.SMALL,
    weight: str = "normal",
) -> None:
    axes.text(
        x, y, style.short(text, int(room / _CHARACTER)), ha="center", va="center", fontsize=size, color=colour,
        rotation=rotation, fontweight=weight, parse_math=False,
    )  # fmt: skip
