"""The directions that raise units, attached to a fitted link of any method: their λ, what is told of them."""

from typing import Any

import numpy as np

from linkjax.analysis.links import steering
from linkjax.analysis.links.class_sums import Within
from linkjax.models.link import with_steering

#: A unit of which w determines a smaller share than this is named.
_DETERMINED = 0.05
_NAMED = 50  # units named in a manifest, at most


def attach(link: Any, train: Within | None, held_out: Within | None, config: Any) -> tuple[Any, dict[str, Any] | None]:
    """The link with directions, and their diagnostics; the link alone, and None, where no class has two samples.

    Args:
      train, held_out: moments within classes.
      config: `steer_lambda` and `exclusive` of the stage.
    """
    if train is None:
        return link, None
    found = steering.spectrum(train)
    choice = steering.choose(found, held_out, config.steer_lambda, config.exclusive)
    r2 = found.r2
    weak = [unit for unit in np.argsort(r2, kind="stable") if r2[unit] < _DETERMINED]
    return with_steering(link, steering.arrays(found, train, choice.lam), choice.lam), {
        "lambda": choice.lam,
        "criterion": choice.criterion,
        "curve": choice.curve,
        "median_r2": float(np.nanmedian(r2)) if np.isfinite(r2).any() else None,
        "constant_units": int((found.std == 0).sum()),
        "constant": np.flatnonzero(found.std == 0)[:_NAMED].tolist(),
        "undetermined_units": len(weak),
        "undetermined": [[int(unit), round(float(r2[unit]), 4)] for unit in weak[:_NAMED]],
    }


def tell(diagnostics: dict[str, Any] | None) -> None:
    """Say what was chosen, and which units have no direction, or hardly one."""
    if diagnostics is None:
        print(
            "no directions that raise units: no class has two training samples, or the link was fitted without moments"
        )
        return
    print(f"steering lambda: {diagnostics['lambda']:.4g} ({diagnostics['criterion']})")
    if diagnostics["constant_units"]:
        some = ", ".join(map(str, diagnostics["constant"][:10]))
        print(f"{diagnostics['constant_units']} units do not vary within classes and have no direction: {some}")
    if diagnostics["undetermined_units"]:
        some = ", ".join(f"{unit} ({r2:.2g})" for unit, r2 in diagnostics["undetermined"][:10])
        print(f"{diagnostics['undetermined_units']} units of which w determines under {_DETERMINED:.0%} (R²): {some}")
