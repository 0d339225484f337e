"""What a change of a metric is called in words: `ear.axis_major` up is "longer"."""

from collections.abc import Sequence

#: Metric → (what a part is made when it grows, when it falls). `change` compares, so that its sign says little.
WORDS = {
    "luminance": ("brighter", "darker"),
    "luminance_linear": ("brighter", "darker"),
    "lightness": ("lighter", "darker"),
    "red_green": ("redder", "greener"),
    "yellow_blue": ("yellower", "bluer"),
    "chroma": ("more colourful", "greyer"),
    "saturation": ("more saturated", "paler"),
    "contrast": ("higher in contrast", "lower in contrast"),
    "sharpness": ("sharper", "blurrier"),
    "entropy": ("richer in tones", "poorer in tones"),
    "change": ("more changed", "less changed"),
    "change_lab": ("more changed in colour", "less changed in colour"),
    "area": ("larger", "smaller"),
    "area_share": ("larger in share", "smaller in share"),
    "centroid_y": ("lower in the image", "higher in the image"),
    "centroid_x": ("further right", "further left"),
    "eccentricity": ("more elongated", "rounder"),
    "orientation": ("turned", "turned back"),
    "axis_major": ("longer", "shorter"),
    "axis_minor": ("thicker", "thinner"),
    "height": ("taller", "less tall"),
    "width": ("wider", "narrower"),
    "slant": ("falling to the right", "rising to the right"),
}


def of_metrics(metrics: Sequence[str]) -> list[tuple[str, str]]:
    """The two words of every metric; "more NAME", "less NAME" for one that has none here."""
    return [WORDS.get(name, (f"more {name}", f"less {name}")) for name in metrics]
