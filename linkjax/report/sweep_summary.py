"""The main numbers of a sweep, for its manifest and for people."""

from collections.abc import Mapping
from typing import Any

import numpy as np

#: What to beware of, by its name in the summary: bit 1 and bit 2 of a unit's `caution`.
CAUTIONS = {
    "off_range_units": "are mostly asked for values that their class never shows",
    "disobedient_units": "surely move by less than half or more than one and a half of what was asked",
}


def of_units(fidelity: np.ndarray, side: np.ndarray) -> dict[str, float | None]:
    """Medians over units of fidelity and of the largest side effect.

    Args:
      fidelity: of the live units [n].
      side: their largest side effects [n, 1].
    """
    return {
        "median_fidelity": _median(fidelity),
        "fidelity_within_20_percent": float(np.mean(np.abs(fidelity - 1) <= 0.2)) if len(fidelity) else None,
        "median_largest_side_effect": _median(np.abs(side)),
    }


def print_summary(summary: Mapping[str, Any]) -> None:
    """Print the main numbers."""
    live = summary["units"] - summary["dead_units"]
    for name, what in CAUTIONS.items():
        if summary[name]:
            print(f"{summary[name]} of {live} live units {what}; see caution in the result")
    print(
        f"{summary['images']} images; median fidelity slope {summary['median_fidelity']}, "
        f"median largest side effect {summary['median_largest_side_effect']}, dead units {summary['dead_units']}"
    )


def _median(values: np.ndarray) -> float | None:
    values = values[np.isfinite(values)]
    return round(float(np.median(values)), 4) if values.size else None
