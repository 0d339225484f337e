"""Charts: histogram, heat map, bars with intervals, validation curve, asked against obtained."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator

from linkjax.analysis.finite import finite_mean
from linkjax.report.figures import style
from linkjax.report.figures.style import Figure
from linkjax.report.numbers import number


def histogram(
    values: Float[np.ndarray, " n"],
    *,
    xlabel: str,
    ylabel: str = "units",
    bins: int = 30,
    reference: float | None = None,
    reference_name: str = "",
    beside: Float[np.ndarray, " m"] | None = None,
    beside_name: str = "",
    width: float = style.HALF,
) -> Figure:
    """How many fall where, with a line at the median.

    Args:
      values: NaN and infinite ones are left out, and counted on the figure.
      xlabel, ylabel: what is measured, and what is counted.
      bins: at most this many; fewer for few values.
      reference, reference_name: a value to compare with, drawn as a dotted line.
      beside, beside_name: other values to compare with, drawn as an outline that encloses as much area.
      width: inches.
    Returns: a figure.
    """
    values = np.asarray(values, np.float64).ravel()
    finite = values[np.isfinite(values)]
    figure = style.new(width, 2.7)
    axes = figure.add_subplot()
    style.dress(axes, xlabel, ylabel)
    others = np.asarray([] if beside is None else beside, np.float64)
    others = others[np.isfinite(others)]
    if finite.size:
        count = int(np.clip(np.sqrt(max(finite.size, others.size)) * 2, 5, bins))
        edges = _edges(np.concatenate([finite, others]), count).tolist()
        if others.size:
            share = np.full(others.size, finite.size / others.size)
            axes.hist(others, edges, weights=share, histtype="step", color=style.INK, label=beside_name or None)
        axes.hist(finite, bins=edges, color=style.SKY, edgecolor="white", linewidth=0.6)
        middle = float(np.median(finite))
        axes.axvline(middle, color=style.BLUE, linewidth=1.8, label=f"median {number(middle)}")
    if reference is not None:
        axes.axvline(reference, color=style.INK, linewidth=1.2, linestyle=":", label=reference_name or None)
    if len(finite) < len(values):
        axes.plot([], [], " ", label=f"{len(values) - len(finite)} without a value")
    axes.ticklabel_format(axis="x", useOffset=False)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    _legend(axes)
    return figure


def heat_map(
    values: Float[np.ndarray, "row column"],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    xlabel: str,
    ylabel: str,
    colour_label: str,
    limits: tuple[float, float] | None = None,
    width: float = style.WIDTH,
) -> Figure:
    """Values as colours: signed ones red and blue, white at 0, with the same scale on both sides.

    Args:
      values: cells that are not finite are drawn grey. Colours end at the 97th percentile of |values|, so that a few
        outliers do not pale the rest; the colour bar is pointed where values go on.
      rows, columns: their names.
      xlabel, ylabel, colour_label: what columns, rows and values are.
      limits: ends of the scale of values that have no sign (shares), which are drawn from dark to light.
      width: inches.
    Returns: a figure; cells carry their number where there is room.
    """
    values = np.asarray(values, np.float64)
    shown = np.ma.masked_invalid(values)
    sizes = np.abs(shown.compressed())
    reach = float(np.percentile(sizes, 97)) if sizes.size else 1.0
    reach = reach or float(sizes.max()) or 1.0
    names = [style.short(name, 28) for name in columns]
    level = max(map(len, names), default=0) * len(names) < 100  # room for names side by side
    below = 0.6 if level else 0.5 + 0.062 * max(map(len, names), default=0)
    label = 0.065 * len(colour_label) - 0.35  # inches: what the bar's label needs beside the map
    figure = style.new(width, 0.45 + below + max(0.27 * max(2, len(rows)), label))
    axes = figure.add_subplot()
    low, high = limits or (-reach, reach)
    colours = matplotlib.colormaps[style.SEQUENTIAL if limits else style.DIVERGING].with_extremes(bad=style.FAINT)
    drawn = axes.imshow(shown, cmap=colours, norm=Normalize(low, high), aspect="auto")
    style.dress(axes, xlabel, ylabel, grid="")
    turned = {} if level else {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(len(columns)), names, parse_math=False, **turned)
    axes.set_yticks(range(len(rows)), [style.short(name, 24) for name in rows], parse_math=False)
    axes.set_xticks(np.arange(len(columns) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=1.0)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    beyond = "both" if not limits and sizes.size and sizes.max() > reach * 1.001 else "neither"
    bar = figure.colorbar(drawn, ax=axes, pad=0.015, fraction=0.04, aspect=22, extend=beyond)
    bar.set_label(colour_label, fontsize=style.SMALL, color=style.INK)
    bar.ax.tick_params(labelsize=style.SMALL, colors=style.SOFT, length=2)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    if len(columns) <= 14:
        decimals = int(np.clip(1 - np.floor(np.log10(max(abs(low), abs(high)))), 0, 4))
        for (row, column), value in np.ndenumerate(values):
            if np.isfinite(value):
                dark = value < (low + high) / 2 if limits else abs(value) > 0.6 * reach
                colour = "white" if dark else style.INK
                text = f"{value + 0.0:.{decimals}f}".replace("-", "−")
                axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    return figure


def bars(
    values: Float[np.ndarray, " n"],
    names: Sequence[str],
    *,
    xlabel: str,
    ylabel: str = "",
    low: Float[np.ndarray, " n"] | None = None,
    high: Float[np.ndarray, " n"] | None = None,
    reference: float | None = None,
    reference_name: str = "",
    limits: tuple[float, float] | None = None,
    width: float = style.WIDTH,
) -> Figure:
    """Horizontal bars, the first on top, with intervals.

    Args:
      values: bar lengths; one that is not finite leaves its row empty.
      names: what each bar is.
      xlabel, ylabel: what is measured, and what the bars are.
      low, high: ends of each bar's interval.
      reference, reference_name: a value to compare with, drawn as a dotted line.
      limits: range of the axis; fitted to the values if not given.
      width: inches.
    Returns: a figure.
    """
    values = np.asarray(values, np.float64)
    place = np.arange(len(values))
    figure = style.new(width, 0.85 + 0.24 * max(2, len(values)))
    axes = figure.add_subplot()
    style.dress(axes, xlabel, ylabel, grid="x")
    axes.barh(place, np.nan_to_num(values), height=0.66, color=style.SKY)
    if low is not None and high is not None:
        known = np.isfinite(values) & np.isfinite(low) & np.isfinite(high)
        spread = np.stack([values - low, high - values])[:, known]
        axes.errorbar(
            values[known], place[known], xerr=np.maximum(spread, 0.0), fmt="none", ecolor=style.INK, elinewidth=1.1,
            capsize=2.5,
        )  # fmt: skip
    if reference is not None:
        axes.axvline(reference, color=style.INK, linewidth=1.2, linestyle=":", label=reference_name or None)
    axes.set_yticks(place, [style.short(name, 34) for name in names], parse_math=False)
    axes.tick_params(axis="y", length=0, labelcolor=style.INK)
    axes.set_ylim(len(values) - 0.4, -0.6)
    if limits is not None:
        axes.set_xlim(*limits)
    _legend(axes)
    return figure


def validation_curve(
    alpha: Float[np.ndarray, " n"],
    validation: Float[np.ndarray, " n"],
    *,
    train: Float[np.ndarray, " n"] | None = None,
    chosen: float | None = None,
    ylabel: str = "R² in W",
    width: float = style.HALF,
) -> Figure:
    """The link's fit on validation (and training) pairs against the penalty alpha.

    Args:
      alpha: penalties tried, in scikit-learn's convention; on a logarithmic axis, where 0 becomes a horizontal line.
      validation: R² (or what `ylabel` says) on the validation split.
      train: the same on the training split, if known.
      chosen: the penalty that was taken.
      ylabel: what is measured.
      width: inches.
    Returns: a figure.
    """
    alpha = np.asarray(alpha, np.float64)
    figure = style.new(width, 2.7)
    axes = figure.add_subplot()
    style.dress(axes, "penalty alpha", ylabel)
    curves = [("validation", validation, style.BLUE, "o-")]
    if train is not None:
        curves.append(("training", train, style.ORANGE, "s--"))
    positive = alpha > 0
    order = np.argsort(alpha[positive])
    for name, values, colour, mark in curves:
        values = np.asarray(values, np.float64)
        axes.plot(alpha[positive][order], values[positive][order], mark, color=colour, markersize=4, label=name)
        for value in values[alpha == 0]:
            axes.axhline(value, color=colour, linewidth=1.0, linestyle="-.", label=f"{name}, alpha = 0")
    if positive.any():
        axes.set_xscale("log")
    if chosen is not None and np.isfinite(chosen) and chosen > 0:
        axes.axvline(chosen, color=style.INK, linewidth=1.2, linestyle=":", label=f"chosen: {chosen:.3g}")
    _legend(axes)
    return figure


def steering_curve(
    lam: Float[np.ndarray, " n"],
    measured: Mapping[str, Float[np.ndarray, " n"]],
    *,
    chosen: float | None = None,
    width: float = style.HALF,
) -> Figure:
    """What steps that raise units are predicted to do, against λ on a logarithmic axis.

    Args:
      lam: every λ tried, above 0.
      measured: name of a curve → its values.
      chosen: the λ that was taken.
      width: inches.
    Returns: a figure.
    """
    order = np.argsort(lam)
    figure = style.new(width, 2.7)
    axes = figure.add_subplot()
    style.dress(axes, "λ: from the unit's own to all that goes with it", "per σ asked, median over units")
    marks = ("o-", "s--", "^-.")
    for (name, values), mark, colour in zip(measured.items(), marks, style.CATEGORIES, strict=False):
        axes.plot(np.asarray(lam)[order], np.asarray(values)[order], mark, color=colour, markersize=4, label=name)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0.0)
    if chosen is not None and np.isfinite(chosen) and chosen > 0:
        axes.axvline(chosen, color=style.INK, linewidth=1.2, linestyle=":", label=f"chosen: {chosen:.3g}")
    _legend(axes)
    return figure


def scatter(
    x: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    *,
    xlabel: str,
    ylabel: str,
    groups: Sequence[str] | None = None,
    equal: bool = False,
    width: float = style.HALF,
) -> Figure:
    """Points, by group in colours and shapes that everybody can tell apart.

    Args:
      x, y: positions; pairs that are not finite are left out.
      groups: name of each point's group, for the legend; at most seven.
      equal: draw the line y = x.
      width: inches.
    """
    figure = style.new(width, 0.85 * width)
    axes = figure.subplots()
    style.dress(axes, xlabel, ylabel, grid="both")
    known = np.isfinite(x) & np.isfinite(y)
    names = np.asarray(["" for _ in x] if groups is None else groups)
    for place, name in enumerate(dict.fromkeys(names.tolist())):
        mine = known & (names == name)
        axes.plot(
            x[mine], y[mine], "osD^vPX"[place % 7], color=style.CATEGORIES[place % 7], markersize=3.5, alpha=0.65,
            markeredgewidth=0, label=name or None,
        )  # fmt: skip
    if equal and known.any():
        ends = [min(x[known].min(), y[known].min()), max(x[known].max(), y[known].max())]
        axes.plot(ends, ends, ":", color=style.INK, linewidth=1.2, label="equal")
    _legend(axes)
    return figure


def asked_obtained(
    asked: Float[np.ndarray, "sample unit step"],
    obtained: Float[np.ndarray, "sample unit step"],
    titles: Sequence[str],
    *,
    columns: int = 4,
    width: float = style.WIDTH,
) -> Figure:
    """The value of a unit after re-encoding against the value asked of it, a panel a unit.

    Args:
      asked: values asked.
      obtained: values found in the re-encoded image; a thin line a sample, a thick one for their mean.
      titles: a title for each panel.
      columns: panels in a row.
      width: inches.
    Returns: a figure; on the dotted diagonal a unit obeys exactly.
    """
    count = asked.shape[1]
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    figure = style.new(width * min(1.0, columns / 4 + 0.02), 0.35 + 2.0 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for index, axes in enumerate(panels.ravel()):
        if index >= count:
            axes.set_axis_off()
            continue
        last_row, first_column = index + columns >= count, index % columns == 0
        style.dress(axes, "asked" if last_row else "", "obtained" if first_column else "", grid="both")
        axes.set_title(style.short(titles[index], 30), fontsize=style.SMALL, color=style.INK, parse_math=False)
        axes.plot(asked[:, index].T, obtained[:, index].T, color=style.SKY, linewidth=0.7, alpha=0.6)
        mean = asked[:, index].mean(axis=0)
        axes.plot(mean, finite_mean(obtained[:, index]), "o-", color=style.BLUE, markersize=3, linewidth=1.8)
        axes.plot(mean, mean, ":", color=style.INK, linewidth=1.2)
        axes.locator_params(nbins=4)
    return figure


def _edges(values: np.ndarray, count: int) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    if high - low <= 1e-4 * max(abs(low), abs(high)):  # one bar, not an axis of no width
        pad = abs(low) * 0.05 or 0.5
        return np.array([low - pad, high + pad])
    return np.linspace(low, high, count + 1)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[1]:
        axes.legend(
            fontsize=style.SMALL, frameon=False, labelcolor=style.INK, handlelength=1.6, ncols=3, columnspacing=1.4,
            loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.2,
        )  # fmt: skip
