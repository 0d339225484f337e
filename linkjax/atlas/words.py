"""What a change of a metric is called in words: `ear.axis_major` up is "longer"."""

from collections.abc import Sequence

#: Metric → (when it grows, when it falls). `change` and `change_lab` have no sign worth a word: they compare.
WORDS = {
    "luminance": ("brighter", "darker"),
    "luminance_linear": ("brighter", "darker"),
    "lightness": ("lighter", "darker"),
    "red_green": ("redder", "greener"),
    "yellow_blue": ("yellower", "bluer"),
    "chroma": ("more colourful", "greyer"),
    "saturation": ("more saturated", "paler"),
    "contrast": ("more contrast", "less contrast"),
    "sharpness": ("sharper", "blurrier"),
    "entropy": ("more tones", "fewer tones"),
    "change": ("changes more", "changes less"),
    "change_lab": ("changes colour more", "changes colour less"),
    "area": ("larger", "smaller"),
    "area_share": ("larger share", "smaller share"),
    "centroid_y": ("lower in the image", "higher in the image"),
    "centroid_x": ("further right", "further left"),
    "eccentricity": ("more elongated", "rounder"),
    "orientation": ("turned", "turned back"),
    "axis_major": ("longer", "shorter"),
    "axis_minor": ("thicker", "thinner"),
    "height": ("taller", "less tall"),
    "width": ("wider", "narrower"),
    "slant": ("falls to the right", "rises to the right"),
}


def of_metrics(metrics: Sequence[str]) -> list[tuple[str, str]]:
    """The two words of every metric; "more NAME", "less NAME" for one that has none here."""
    return [WORDS.get(name, (f"more {name}", f"less {name}")) for name in metrics]
