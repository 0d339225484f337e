"""Paths to counterfactuals: probabilities along them, the boundary they cross, and where they lie in a plane."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes

from linkjax.report.figures import style
from linkjax.report.figures.style import Figure

_LINES = ("-", "--", "-.", ":")


def along_and_across(
    t: Float[np.ndarray, " T"],
    curves: Mapping[str, Float[np.ndarray, "n T"]],
    flip: float | None,
    distance: Float[np.ndarray, " places"],
    profiles: Mapping[str, tuple[Float[np.ndarray, " places"], ...]],
    *,
    width: float = style.WIDTH,
) -> Figure:
    """Left: probabilities along paths. Right: the target's across the boundary, paths aligned where they flip.

    Args:
      t: places of the points, 1 at the counterfactual.
      curves: class → its probability along each path: the median, and the middle 80 %.
      flip: the median flip point, drawn as a dotted line.
      distance: from the flip, in r.
      profiles: name → (low, median, high) at these distances; the first with its band.
      width: inches.
    """
    figure = style.new(width, 3.2)
    left, right = figure.subplots(1, 2)
    style.dress(left, "place on the path, t", "probability in the image", grid="both")
    for (name, values), colour, mark in zip(curves.items(), (style.VERMILION, style.BLUE), "so", strict=False):
        values = values[np.isfinite(values).all(axis=1)]
        if not len(values):
            continue
        low, middle, high = np.quantile(values, (0.1, 0.5, 0.9), axis=0)
        left.fill_between(t, low, high, color=colour, alpha=0.15, linewidth=0)
        left.plot(t, middle, "-", marker=mark, color=colour, markersize=3.5, linewidth=1.6, label=name)
    if flip is not None and np.isfinite(flip):
        left.axvline(flip, color=style.INK, linewidth=1.2, linestyle=":", label="median flip")
    style.dress(right, "distance from the flip, in r", "probability of the target", grid="both")
    for place, (name, (low, middle, high)) in enumerate(profiles.items()):
        colour = style.INK if place == 0 else style.CATEGORIES[(place - 1) % len(style.CATEGORIES)]
        line = "-" if place == 0 else _LINES[place % 4]
        if place == 0:
            right.fill_between(distance, low, high, color="#b0b0b0", alpha=0.4, linewidth=0)
        right.plot(
            distance, middle, line, color=colour, linewidth=2.2 if place == 0 else 1.3, label=style.short(name, 30)
        )
    right.axvline(0.0, color=style.INK, linewidth=1.2, linestyle=":")
    for axes in (left, right):
        axes.set_ylim(-0.03, 1.03)
    _legend(left, 3)
    _legend(right, 2)
    return figure


class PlanePaths(NamedTuple):
    """What one panel of `plane_paths` shows; places are [n, 2], paths [n, T, 2]."""

    title: str
    cloud: np.ndarray
    label: np.ndarray  # [n] class of each place of the cloud
    moved: np.ndarray  # what was asked for
    seen: np.ndarray  # what the classifier sees in the images
    own: np.ndarray | None  # where the samples themselves lie, if not at t = 0
    line: tuple[float, np.ndarray] | None  # (c, n) of the decision line c + n · x = 0


def plane_paths(
    panels: Sequence[PlanePaths],
    classes: tuple[int, int],
    names: tuple[str, str],
    end: int,
    *,
    xlabel: str = "first principal component",
    ylabel: str = "second",
    width: float = style.WIDTH,
) -> Figure:
    """Paths from one class to another in the plane of two principal components, with the classes' clouds.

    Args:
      panels: one or more, side by side.
      classes, names: origin and target.
      end: the path's point that is the counterfactual.
    """
    figure = style.new(width, 0.55 + 0.86 * width / max(2, len(panels)))
    for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        style.dress(axes, xlabel, ylabel, grid="")
        axes.set_title(
            style.short(panel.title, 40), fontsize=style.SMALL, color=style.INK, loc="right", parse_math=False
        )
        _clouds(axes, panel.cloud, panel.label, classes, names)
        limits = (axes.get_xlim(), axes.get_ylim())
        for number, (moved, seen) in enumerate(zip(panel.moved, panel.seen, strict=True)):
            first = number == 0
            asked = dict(color=style.INK, linewidth=1.0)
            axes.plot(*moved[: end + 1].T, "-", **asked, label="asked" if first else None)
            axes.plot(*seen[: end + 1].T, "--", color=style.GREEN, linewidth=1.0, label="seen" if first else None)
            if panel.own is not None:
                axes.plot(*panel.own[number], "x", color=style.INK, markersize=5, label="own w" if first else None)
            axes.plot(*moved[0], "o", color=style.INK, markersize=4.5, label="start" if first else None)
            axes.plot(*moved[end], "^", color=style.INK, markersize=5.5, label="shifted" if first else None)
            axes.plot(*seen[end], "D", color=style.GREEN, markersize=4.5, label="re-encoded" if first else None)
        _line(axes, panel.line, limits)
        _legend(axes, 4)
    return figure


def _clouds(
    axes: Axes, cloud: np.ndarray, label: Int[np.ndarray, " n"], classes: tuple[int, int], names: tuple[str, str]
) -> None:
    size = float(np.clip(90 / np.sqrt(len(cloud)), 1.5, 4.0))
    rest = ~np.isin(label, classes)
    axes.plot(*cloud[rest].T, ".", color="#c4c4c4", markersize=size, markeredgewidth=0, zorder=0)
    for one, name, colour, mark in zip(classes, names, (style.ORANGE, style.SKY), "os", strict=True):
        mine = cloud[label == one]
        axes.plot(*mine.T, mark, color=colour, markersize=size, markeredgewidth=0, alpha=0.8, zorder=1)
        axes.plot([], [], mark, color=colour, markersize=5, label=style.short(name, 18))


def _line(
    axes: Axes, line: tuple[float, np.ndarray] | None, limits: tuple[tuple[float, float], tuple[float, float]]
) -> None:
    """The decision line, cut to what else is shown."""
    (left, right), (bottom, top) = limits
    bounds = [axes.get_xlim(), axes.get_ylim()]
    left, right = min(left, bounds[0][0]), max(right, bounds[0][1])
    bottom, top = min(bottom, bounds[1][0]), max(top, bounds[1][1])
    if line is not None and np.isfinite(line[0]) and np.linalg.norm(line[1]) > 0:
        offset, normal = line
        length = float(np.linalg.norm(normal))
        foot, along = -offset * normal / length**2, np.array([-normal[1], normal[0]]) / length
        middle = np.array([(left + right) / 2, (bottom + top) / 2])
        middle = foot + along * (along @ (middle - foot))
        reach = (right - left) + (top - bottom)
        ends = np.stack([middle - reach * along, middle + reach * along])
        axes.plot(*ends.T, "-.", color=style.PURPLE, linewidth=1.8, label="head undecided")
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)


def _legend(axes: Axes, columns: int) -> None:
    if axes.get_legend_handles_labels()[1]:
        legend = axes.legend(
            fontsize=style.SMALL - 0.5, frameon=False, labelcolor=style.INK, handlelength=1.6, ncols=columns,
            columnspacing=0.9, handletextpad=0.5, loc="upper left", bbox_to_anchor=(0.0, -0.17), borderaxespad=0.2,
        )  # fmt: skip
        for text in legend.get_texts():  # a class may be called anything
            text.set_parse_math(False)
