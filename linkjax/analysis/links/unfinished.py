"""What is kept of an unfinished training."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np


class Saved(NamedTuple):
    """Where a training is after an epoch: all that the rest of it depends on, beside the data."""

    arrays: Mapping[str, jax.Array | np.ndarray]  # weights, the optimiser's state, the best weights so far; by name
    note: dict[str, Any]  # the history so far, as JSON holds it
