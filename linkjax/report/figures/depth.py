"""Measurements of each layer, from the first to the classifier's own r."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from linkjax.report.figures import style
from linkjax.report.figures.style import Figure


def by_layer(
    layers: Sequence[str],
    panels: Mapping[str, Mapping[str, Float[np.ndarray, "layer 4"]]],
    rank: Float[np.ndarray, "layer"],
    units: Float[np.ndarray, "layer"],
    *,
    width: float = style.WIDTH,
) -> Figure:
    """A panel for each measurement over the layers, and one of their effective ranks beside their units.

    Args:
      layers: names, in the order of the network.
      panels: what a panel shows → name of a line → value, ends of its interval, and what shuffles stay below; NaN for
        what is not known.
      rank, units: of each layer.
      width: inches.
    """
    figure = style.new(width, 2.7 + 0.06 * max(map(len, layers)))
    axes = figure.subplots(1, len(panels) + 1)
    place = np.arange(len(layers), dtype=float)
    for panel, (title, lines) in zip(axes, panels.items(), strict=False):
        _ready(panel, title, layers)
        for (name, values), colour, mark in zip(
            lines.items(), (style.BLUE, style.GREEN, style.ORANGE), ("o-", "s--", "^-."), strict=False
        ):
            spread = np.nan_to_num(np.maximum(np.abs(values[:, 1:3] - values[:, :1]).T, 0.0))
            panel.errorbar(
                place, values[:, 0], yerr=spread, fmt=mark, color=colour, markersize=4, linewidth=1.4, elinewidth=1.2,
                capsize=2, label=name,
            )  # fmt: skip
            if np.isfinite(values[:, 3]).any():
                panel.plot(place, values[:, 3], ":", color=colour, linewidth=1.1)
        if len(lines) > 1:
            panel.legend(fontsize=style.SMALL, frameon=False, labelcolor=style.INK, handlelength=1.6)
        panel.axhline(0, color="#999999", linewidth=0.8)
    _ready(axes[-1], "effective rank", layers)
    axes[-1].plot(place, units, ":", color=style.INK, linewidth=1.2, label="units")
    axes[-1].plot(place, rank, "o-", color=style.VERMILION, markersize=4, linewidth=1.4, label="effective rank")
    axes[-1].set_yscale("log")
    axes[-1].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes[-1].yaxis.set_major_formatter("{x:g}")
    axes[-1].yaxis.set_minor_locator(NullLocator())
    axes[-1].legend(fontsize=style.SMALL, frameon=False, labelcolor=style.INK, handlelength=1.6)
    return figure


def _ready(axes: Axes, title: str, layers: Sequence[str]) -> None:
    style.dress(axes, "", title)
    names = [style.short(name, 22) for name in layers]
    axes.set_xticks(np.arange(len(layers)), names, rotation=60, ha="right", parse_math=False)
    axes.set_xlim(-0.4, len(layers) - 0.6)
