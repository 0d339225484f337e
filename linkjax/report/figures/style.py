"""The style of all figures: size, colours, fonts, and how one becomes a PNG."""

import io
import warnings
from typing import Any

import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

DPI = 144  # 1.5 device pixels for each of the page's, so that text stays sharp
WIDTH = 8.6  # inches: the page's text width
HALF = WIDTH / 2 - 0.1  # two side by side

# Okabe & Ito's palette: told apart with every common form of colour blindness.
BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, YELLOW = (
    "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#F0E442",
)  # fmt: skip
CATEGORIES = (BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE, YELLOW)
SEQUENTIAL = "cividis"
DIVERGING = "RdBu_r"
INK, SOFT, FAINT = "#222222", "#5c5c5c", "#dddddd"
TEXT, SMALL = 9.0, 8.0  # points


class Figure(matplotlib.figure.Figure):
    """A Matplotlib figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        return png(self)


def new(width: float, height: float, layout: Any = "constrained") -> Figure:
    """An empty figure of a size in inches."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def dress(axes: Axes, xlabel: str, ylabel: str, grid: str = "y") -> None:
    """Label the axes and take away what says nothing."""
    axes.set_xlabel(xlabel, fontsize=TEXT, color=INK)
    axes.set_ylabel(ylabel, fontsize=TEXT, color=INK)
    axes.tick_params(labelsize=SMALL, colors=SOFT, length=3)
    axes.set_facecolor("white")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#999999")
    if grid:
        axes.grid(axis=grid, color="#e6e6e6", linewidth=0.8)  # pyright: ignore[reportArgumentType]
        axes.set_axisbelow(True)


def short(text: str, limit: int) -> str:
    """Text on one line of at most `limit` characters, cut with an ellipsis."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: max(1, limit - 1)].rstrip() + "…"


def png(figure: matplotlib.figure.Figure) -> bytes:
    """The figure as PNG; the same figure gives the same bytes, with no time and no version in them."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # a class name in a script without a font
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def size_in_page(figure: matplotlib.figure.Figure) -> tuple[int, int]:
    """Width and height in CSS pixels at which the figure's text has the size of a caption."""
    width, height = figure.get_size_inches()
    return round(width * 96), round(height * 96)
