"""Plots and picture grids as Matplotlib figures, for the report and for notebooks.

Each function takes arrays and returns a `Figure`; none of them touches pyplot's global state, so a notebook shows what
a cell returns, and a server can draw many at once:

    from linkjax.report import figures
    figures.histogram(unit_correlation, xlabel="correlation of r and r̂")

Colours are Okabe and Ito's for categories, cividis for sequences, and a red–blue map centred on 0 for signed values.
"""

from linkjax.report.figures.charts import (
    asked_obtained,
    bars,
    heat_map,
    histogram,
    scatter,
    steering_curve,
    validation_curve,
)
from linkjax.report.figures.congruence import same_order
from linkjax.report.figures.counterfactual import PlanePaths, along_and_across, plane_paths
from linkjax.report.figures.depth import by_layer
from linkjax.report.figures.images import image_pairs, stack, sweep_strip
from linkjax.report.figures.motion import motion_arrows
from linkjax.report.figures.style import CATEGORIES, DIVERGING, HALF, SEQUENTIAL, Figure, png, size_in_page

__all__ = [
    "CATEGORIES",
    "DIVERGING",
    "HALF",
    "SEQUENTIAL",
    "Figure",
    "PlanePaths",
    "along_and_across",
    "asked_obtained",
    "bars",
    "by_layer",
    "heat_map",
    "histogram",
    "image_pairs",
    "motion_arrows",
    "plane_paths",
    "png",
    "same_order",
    "scatter",
    "size_in_page",
    "stack",
    "steering_curve",
    "sweep_strip",
    "validation_curve",
]
