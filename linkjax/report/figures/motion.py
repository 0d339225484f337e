"""Arrows over pictures: where the pixels of a picture go."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from linkjax.report.figures import style
from linkjax.report.figures.style import Figure

_LEAST = 0.15  # pixels: shorter arrows are noise, and are not drawn
_COLOURS = matplotlib.colormaps["plasma"].resampled(256)
_FADED = 0.55  # of the picture's contrast that is taken away, so that arrows stand out


def motion_arrows(
    pictures: UInt8[np.ndarray, "unit sample y x 3"],
    fields: Float[np.ndarray, "unit sample 2 h w"],
    *,
    titles: Sequence[str],
    rows: Sequence[str] = (),
    columns: int = 4,
) -> Figure:
    """First pictures, faded, with arrows along which their pixels move; all of one scale, coloured by length.

    Args:
      pictures: uint8 RGB.
      fields: displacement (y, x) in pixels of the picture, of the cells of a coarse grid; NaN draws none.
      titles: of each unit.
      rows: a name for each sample.
      columns: units side by side; others follow below.
    Returns: a figure of the page's width at most, with a key to the arrows' length and colour.
    """
    units, samples, height, width = pictures.shape[:4]
    columns = max(1, min(columns, units))
    bands = -(-units // columns)
    lengths = np.hypot(fields[:, :, 0], fields[:, :, 1])
    longest = float(np.nanpercentile(lengths, 99.5)) if np.isfinite(lengths).any() else 0.0
    longest = max(longest, 2 * _LEAST)
    cell = height / fields.shape[3]
    stretch = max(1.0, 1.6 * cell / longest)  # arrows short in pixels are drawn longer, by one factor for all
    wide = min(style.WIDTH, 2.1 * columns + 0.3)
    tall = bands * samples * (wide / columns) * height / width + 0.22 * bands + 0.5
    figure = style.new(wide, tall)
    grid = figure.subplots(bands * samples, columns, squeeze=False)
    scale = Normalize(0.0, longest)
    for axes in grid.ravel():
        axes.set_axis_off()
    y, x = ((np.arange(n) + 0.5) * size / n - 0.5 for n, size in zip(fields.shape[3:], (height, width), strict=True))
    x, y = np.meshgrid(x, y)
    for unit in range(units):
        for sample in range(samples):
            axes = grid[(unit // columns) * samples + sample, unit % columns]
            faded = pictures[unit, sample].astype(np.float32) * (1 - _FADED) + 255 * _FADED
            axes.imshow(faded.astype(np.uint8), interpolation="nearest")
            length = lengths[unit, sample]
            drawn = length >= _LEAST  # false where NaN
            down, right = (fields[unit, sample, axis][drawn] * stretch for axis in (0, 1))
            axes.quiver(
                x[drawn], y[drawn], right, down, length[drawn], angles="xy", scale_units="xy", scale=1.0, norm=scale,
                cmap=_COLOURS, width=0.012, headwidth=3.5, headlength=3.5, headaxislength=3.2, minlength=0.0,
            )  # fmt: skip
            axes.set_xlim(-0.5, width - 0.5)
            axes.set_ylim(height - 0.5, -0.5)
            if sample == 0:
                axes.set_title(style.short(titles[unit], 24), fontsize=style.SMALL, color=style.INK, parse_math=False)
            if len(rows) and unit % columns == 0:
                axes.text(
                    -0.03, 0.5, style.short(rows[sample], 16), rotation=90, ha="right", va="center",
                    transform=axes.transAxes, fontsize=style.SMALL, color=style.SOFT, parse_math=False,
                )  # fmt: skip
    times = f"arrows drawn {stretch:.2g} times as long" if stretch > 1.05 else "arrows drawn to scale"
    bar = figure.colorbar(
        ScalarMappable(scale, _COLOURS), ax=grid, orientation="horizontal", shrink=0.6, aspect=50,
        pad=0.02, extend="max",
    )  # fmt: skip
    bar.set_label(f"displacement, pixels of the picture ({times})", fontsize=style.SMALL, color=style.INK)
    bar.ax.tick_params(labelsize=style.SMALL, colors=style.SOFT)
    return figure
