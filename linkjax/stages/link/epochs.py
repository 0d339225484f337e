"""Checkpoints of a link's training, one after every epoch."""

from pathlib import Path
from typing import Any

from linkjax.analysis.links.training_state import TrainingState
from linkjax.devices import cluster
from linkjax.storage import checkpoint


def kept(folder: Path) -> dict[str, Any]:
    """Arguments `saved` and `save` of a training whose state lies in a folder, as Orbax writes it.

    Raises: what is returned, InputError for a damaged checkpoint.
    """

    def saved(like: dict[str, Any]) -> TrainingState | None:
        found = checkpoint.latest_state(folder, like)
        cluster.barrier()  # before the first process writes the next one
        return None if found is None else TrainingState(*found)

    def save(epoch: int, state: TrainingState) -> None:
        checkpoint.save_state(folder, epoch, state.arrays, state.note)

    return {"saved": saved, "save": save}
