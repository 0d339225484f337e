"""Attach steering directions to a fitted link of any method: choose their λ and report diagnostics."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from linkjax.analysis.links import steering
from linkjax.analysis.links.class_sums import Within
from linkjax.errors import InputError
from linkjax.models.link import with_steering
from linkjax.storage import artifacts

#: A unit of which w determines a smaller share than this is named.
_DETERMINED = 0.05
_NAMED = 50  # units named in a manifest, at most


class Obtained(NamedTuple):
    """What an earlier sweep says of units' steps, [units]; NaN for those it did not sweep."""

    path: str
    fidelity: np.ndarray
    length: np.ndarray  # of the step in W, per unit of activation


def obtained_in(path: str, pairs: artifacts.Artifact) -> Obtained:
    """Read a sweep that steps are to be scaled by.

    Raises: InputError if it is not one along steering directions in all layers, from samples of these pairs.
    """
    swept = artifacts.Artifact(Path(path), "sweep")
    settings = swept.manifest["config"]
    if swept.manifest["inputs"].get("pairs") != pairs.id:
        raise InputError(
            f"scaled-by: the sweep in {path} was made with other pairs than {pairs.path}; give one of these"
        )
    usual = settings.get("layers") is None and settings["mode"] == "residual" and settings.get("encoding") is None
    if swept.summary.get("directions") != "steer" or "readouts" in swept.manifest["inputs"] or not usual:
        raise InputError(
            f"scaled-by: expected a sweep of units along steer, of samples, in all layers and mode residual; {path} is "
            "another"
        )
    blank = np.full(pairs.summary["units"], np.nan)
    read = {name: swept.read(name) for name in ("unit", "flag", "fidelity", "step_w", "unit_std")}
    unit = read["unit"][read["flag"] == 0]
    fidelity, length = blank.copy(), blank.copy()
    fidelity[unit] = read["fidelity"][read["flag"] == 0]
    length[unit] = read["step_w"][read["flag"] == 0] / read["unit_std"][unit]
    return Obtained(path, fidelity, length)


def _scaled(steer: np.ndarray, obtained: Obtained) -> np.ndarray:
    """Steps divided by the fidelity that these same steps had.

    Raises: InputError if they had another length: of another λ, or scaled before.
    """
    length = np.linalg.norm(steer, axis=1)
    known = np.isfinite(obtained.length) & np.isfinite(length)
    if not np.allclose(obtained.length[known], length[known], rtol=1e-2):
        raise InputError(
            f"scaled-by: the steps of the sweep in {obtained.path} are not those of this link, which has another "
            "lambda or other classes, or they were scaled before; sweep along a link made as this one, without "
            "--scaled-by"
        )
    return steering.scaled(steer, obtained.fidelity).astype(np.float32)


def attach(
    link: Any, train: Within | None, held_out: Within | None, config: Any, obtained: Obtained | None = None
) -> tuple[Any, dict[str, Any] | None]:
    """The link with directions, and their diagnostics; the link alone, and None, where no class has two samples.

    Args:
      train, held_out: moments within classes.
      config: `steer_lambda` and `exclusive` of the stage.
      obtained: what steps are scaled by; None: they stay.
    """
    if train is None:
        return link, None
    found = steering.spectrum(train)
    choice = steering.choose(found, held_out, config.steer_lambda, config.exclusive)
    r2 = found.r2
    weak = [unit for unit in np.argsort(r2, kind="stable") if r2[unit] < _DETERMINED]
    arrays = steering.arrays(found, train, choice.lam)
    if obtained is not None:
        arrays["steer"] = _scaled(arrays["steer"], obtained)
    return with_steering(link, arrays, choice.lam), {
        "lambda": choice.lam,
        "criterion": choice.criterion,
        **({} if obtained is None else {"scaled_units": int(np.isfinite(obtained.fidelity).sum())}),
        "curve": choice.curve,
        "median_r2": float(np.nanmedian(r2)) if np.isfinite(r2).any() else None,
        "constant_units": int((found.std == 0).sum()),
        "constant": np.flatnonzero(found.std == 0)[:_NAMED].tolist(),
        "undetermined_units": len(weak),
        "undetermined": [[int(unit), round(float(r2[unit]), 4)] for unit in weak[:_NAMED]],
    }


def print_summary(diagnostics: dict[str, Any] | None) -> None:
    """Print the chosen λ, and how many units have no direction, or hardly one."""
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
