"""The state of an unfinished training."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np


class TrainingState(NamedTuple):
    """State of a training after an epoch: all that its next epochs depend on, beside the data."""

    arrays: Mapping[str, jax.Array | np.ndarray]  # weights, the optimiser's state, the best weights so far; by name
    note: dict[str, Any]  # the history so far, as JSON holds it
