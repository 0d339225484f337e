"""The values that a stored sweep asked of its units, of whatever version of linkjax."""

from typing import Any

import numpy as np

from linkjax.analysis.units import asked
from linkjax.errors import InputError
from linkjax.storage.artifacts import Artifact

_DIMS = ("sample", "unit", "step")


def read_asked(made: Artifact, data: Any, rows: Any = slice(None)) -> np.ndarray:
    """Values asked, [sample, unit, step]; a sweep of an older linkjax asked the same of all samples.

    Args:
      made, data: the sweep, and its arrays as `made.open()` gives them.
      rows: which of the units swept.
    Raises: InputError if there are none, or by other dimensions.
    """
    if "value" not in data:
        raise InputError(f"{made.path}: expected an array 'value' in this sweep, found none; make it again")
    dims = tuple(data["value"].dims)
    if dims not in (_DIMS, _DIMS[1:]):
        raise InputError(
            f"{made.path}: expected 'value' by {', '.join(_DIMS)}, found it by {', '.join(map(str, dims))}; make this "
            "sweep again with this linkjax"
        )
    stored = made.read("value", (slice(None), rows) if len(dims) == 3 else rows)
    return asked.by_sample(stored, data.sizes["sample"])
