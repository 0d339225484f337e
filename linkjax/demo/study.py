"""The embedded world as a study in memory, and what its planted units are in truth."""

from pathlib import Path
from typing import Literal

import xarray as xr

from linkjax.demo.bundle import EMBEDDED, open_bundle
from linkjax.demo.factors import FACTORS
from linkjax.demo.truth import unit_weights
from linkjax.errors import InputError
from linkjax.storage.loading import load
from linkjax.study.models import Study

#: Links of the embedded bundle, by classifier, made by scripts/demo/make_links.py.
LINKS = "{classifier}_link"


def demo_study(classifier: Literal["breeds", "planted"] = "breeds", bundle: Path = EMBEDDED) -> Study:
    """The models of the embedded world: ten breeds drawn in 64 × 64 pixels, their parts, and a classifier to look into.

    Args:
      classifier: "breeds": 128 units that learned to tell ten breeds apart; "planted": 36 units with known factors, see
        `demo_truth`.
      bundle: folder of another world, of scripts/train_demo.py.
    Raises: InputError for another name, or a world without links.
    """
    world = open_bundle(Path(bundle))
    if classifier not in ("breeds", "planted"):
        raise InputError(f"classifier: expected breeds or planted, found {classifier!r}")
    link = LINKS.format(classifier=classifier)
    if not (world.folder / link).is_dir():
        raise InputError(f"{world.folder}: expected the link {link}, found none; scripts/demo/make_links.py makes it")
    return Study(*(load(world.path(name)) for name in ("generator", classifier, link, "segmenter")))


def demo_truth(bundle: Path = EMBEDDED) -> xr.Dataset:
    """What the planted units were made to follow.

    Returns: `weight` [unit, factor]: change of a unit's activation per change of a factor of the renderer, 0 for noise;
      `kind` [unit]: single, mixed, double or noise.
    """
    rows = open_bundle(Path(bundle)).units
    kinds = {row["unit"]: row["kind"] for row in rows}
    units = sorted(kinds)
    return xr.Dataset(
        {"weight": (("unit", "factor"), unit_weights(rows)), "kind": (("unit",), [kinds[unit] for unit in units])},
        coords={"unit": units, "factor": list(FACTORS)},
    )
