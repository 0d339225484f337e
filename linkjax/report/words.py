"""What a unit does, in words: a few effects and its fidelity as one sentence."""

from collections.abc import Sequence

import numpy as np

from linkjax.report.numbers import number

#: Metric → (what a part is made when it grows, when it falls).
WORDS = {
    "area": ("larger", "smaller"),
    "area_share": ("larger", "smaller"),
    "lightness": ("lighter", "darker"),
    "luminance": ("brighter", "darker"),
    "luminance_linear": ("brighter", "darker"),
    "red_green": ("redder", "greener"),
    "yellow_blue": ("yellower", "bluer"),
    "chroma": ("more colourful", "greyer"),
    "saturation": ("more saturated", "greyer"),
    "contrast": ("of more contrast", "of less contrast"),
    "sharpness": ("sharper", "blurrier"),
    "entropy": ("more varied", "plainer"),
    "centroid_y": ("lower", "higher"),
    "centroid_x": ("further right", "further left"),
    "eccentricity": ("more elongated", "rounder"),
    "orientation": ("turned", "turned back"),
    "height": ("taller", "shorter"),
    "width": ("wider", "narrower"),
    "axis_major": ("longer", "shorter"),
    "axis_minor": ("thicker", "thinner"),
    "slant": ("falling to the right", "rising to the right"),
}
#: Metrics that say nearly the same of a part: the first that is significant speaks for all.
ALIKE = (
    ("area", "area_share"),
    ("lightness", "luminance", "luminance_linear"),
    ("height", "width", "axis_major", "axis_minor", "slant", "eccentricity", "orientation"),
    ("contrast", "entropy"),
)


def effects_in_words(
    effect_sd: np.ndarray, significant: np.ndarray, parts: Sequence[str], metrics: Sequence[str], most: int = 3
) -> str:
    """The strongest significant effects of one unit, as "ear larger and lower, leg darker"; empty if it has none.

    Args:
      effect_sd, significant: [parts, metrics].
      most: how many at most; of metrics that say nearly the same of a part one is told.
    """
    size = np.where(significant & np.isfinite(effect_sd), np.abs(effect_sd), -1.0)
    told: dict[str, list[str]] = {}
    said: set[tuple[int, int]] = set()
    groups = alike(metrics)
    for place in np.argsort(-size, axis=None, kind="stable"):
        part, metric = divmod(int(place), size.shape[1])
        if size[part, metric] < 0 or len(said) == most:
            break
        group = groups[metric]
        if (part, group) in said:
            continue
        said.add((part, group))
        told.setdefault(parts[part], []).append(_word(metrics[metric], bool(effect_sd[part, metric] > 0)))
    return ", ".join(f"{part} {' and '.join(words)}" for part, words in told.items())


def alike(metrics: Sequence[str]) -> list[int]:
    """A number of each metric that those have in common which say nearly the same of a part."""
    first = {name: place for place, names in enumerate(ALIKE) for name in names}
    return [first.get(name, len(ALIKE) + place) for place, name in enumerate(metrics)]


def sentence(unit: int | str, words: str, fidelity: float) -> str:
    """A unit in one line: "unit 12: legs longer, body higher; fidelity 0.97"; a readout by its name."""
    which = unit if isinstance(unit, str) else f"unit {unit}"
    return f"{which}: {words or 'nothing significant'}; fidelity {number(float(fidelity))}"


def _word(metric: str, rises: bool) -> str:
    if metric in WORDS:
        return WORDS[metric][0 if rises else 1]
    return f"{'more' if rises else 'less'} {metric.replace('_', ' ')}"
