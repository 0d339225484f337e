"""Two spaces side by side: distances, agreement against chance, and progress along straight lines."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.axes import Axes

from linkjax.report.figures import style
from linkjax.report.figures.style import Figure


def same_order(
    distance_r: Float[np.ndarray, " pair"],
    distance_w: Float[np.ndarray, " pair"],
    same_class: Bool[np.ndarray, " pair"],
    names: Sequence[str],
    agreement: Float[np.ndarray, "row 3"],
    chance: Float[np.ndarray, "row 2"],
    progress: Mapping[str, Float[np.ndarray, "path step"]],
    *,
    width: float = style.WIDTH,
) -> Figure:
    """Left: distances in both spaces. Middle: how far they agree, against shuffled pairs. Right: progress on paths.

    Args:
      distance_r, distance_w: of pairs of samples.
      same_class: whether both are of one class.
      names: of the rows in the middle.
      agreement: value, low and high end of each row.
      chance: range of shuffled pairs.
      progress: route → how far along its chord each path is at each step; none leaves the right panel away.
      width: inches.
    """
    figure = style.new(width, 3.3)
    panels = figure.subplots(1, 3 if progress else 2, width_ratios=[1.0, 1.15, 1.0][: 3 if progress else 2])
    _distances(panels[0], distance_r, distance_w, same_class)
    _agreement(panels[1], names, agreement, chance)
    if progress:
        _progress(panels[2], progress)
    return figure


def _distances(axes: Axes, x: np.ndarray, y: np.ndarray, same: np.ndarray) -> None:
    style.dress(axes, "distance of a pair in r", "distance in W", grid="both")
    for name, mine, colour, mark in (
        ("across classes", ~same, style.ORANGE, "o"),
        ("within a class", same, style.BLUE, "s"),
    ):
        if mine.any():
            size = float(np.clip(60 / np.sqrt(mine.sum()), 1.0, 4.0))
            axes.plot(
                x[mine], y[mine], mark, color=colour, markersize=size, alpha=0.5, markeredgewidth=0, rasterized=True
            )
            axes.plot([], [], mark, color=colour, markersize=5, label=name)
    axes.locator_params(nbins=5)
    _legend(axes)


def _agreement(axes: Axes, names: Sequence[str], agreement: np.ndarray, chance: np.ndarray) -> None:
    style.dress(axes, "agreement of r and W", "", grid="x")
    place = np.arange(len(names), dtype=float)
    for row, (low, high) in zip(place, chance, strict=True):
        if np.isfinite([low, high]).all():
            axes.plot([low, high], [row, row], color="#b0b0b0", linewidth=7, solid_capstyle="butt")
    axes.plot([], [], color="#b0b0b0", linewidth=7, label="shuffled pairs")
    spread = np.maximum(np.abs(agreement[:, 1:] - agreement[:, :1]).T, 0.0)
    axes.errorbar(
        agreement[:, 0], place, xerr=spread, fmt="o", color=style.BLUE, ecolor=style.BLUE, markersize=5, elinewidth=1.4,
        capsize=2.5, label="found",
    )  # fmt: skip
    axes.set_yticks(place, [style.short(name, 30) for name in names], parse_math=False)
    axes.tick_params(axis="y", length=0, labelcolor=style.INK)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(min(-0.1, float(np.nanmin(chance, initial=0.0)) - 0.05), 1.05)
    _legend(axes)


def _progress(axes: Axes, progress: Mapping[str, np.ndarray]) -> None:
    style.dress(axes, "place on the straight line", "progress of what is seen", grid="both")
    for (name, moved), colour, line in zip(
        progress.items(), (style.BLUE, style.GREEN, style.VERMILION), ("o-", "s--", "^-."), strict=False
    ):
        moved = moved[np.isfinite(moved).all(axis=1)]
        if not len(moved):
            continue
        t = np.linspace(0, 1, moved.shape[1])
        low, middle, high = np.quantile(moved, [0.1, 0.5, 0.9], axis=0)
        axes.fill_between(t, low, high, color=colour, alpha=0.13, linewidth=0)
        axes.plot(t, middle, line, color=colour, markersize=3.5, linewidth=1.6, label=name)
    axes.plot([0, 1], [0, 1], ":", color=style.INK, linewidth=1.2)
    axes.locator_params(nbins=5)
    _legend(axes)


def _legend(axes: Axes) -> None:
    axes.legend(
        fontsize=style.SMALL, frameon=False, labelcolor=style.INK, handlelength=1.4, ncols=3, columnspacing=0.9,
        handletextpad=0.5, loc="lower left", bbox_to_anchor=(-0.02, 1.0), borderaxespad=0.2,
    )  # fmt: skip
