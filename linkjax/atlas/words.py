"""What a change of a metric is called in words: `ear.axis_major` up is "longer"."""

from collections.abc import Sequence

from linkjax.report.words import WORDS as REPORTED

#: Those of the report, longer where a metric stands without its neighbours.
WORDS = REPORTED | {
    "saturation": ("more saturated", "paler"),
    "contrast": ("higher in contrast", "lower in contrast"),
    "entropy": ("richer in tones", "poorer in tones"),
    "change": ("more changed", "less changed"),  # it compares, so that its sign says little
    "change_lab": ("more changed in colour", "less changed in colour"),
    "area_share": ("larger in share", "smaller in share"),
    "centroid_y": ("lower in the image", "higher in the image"),
    "height": ("taller", "less tall"),
}


def of_metrics(metrics: Sequence[str]) -> list[tuple[str, str]]:
    """The two words of every metric; "more NAME", "less NAME" for one that has none here."""
    return [WORDS.get(name, (f"more {name}", f"less {name}")) for name in metrics]
