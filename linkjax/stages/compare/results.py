"""Results of other stages that a comparison takes, one a classifier."""

from collections.abc import Sequence
from pathlib import Path

from linkjax.errors import InputError
from linkjax.storage import artifacts

_SAID = {"sweep": "the sweep in {} was", "counterfactual": "the counterfactuals in {} were"}


def of_pairs(
    kind: str, first: str | None, others: Sequence[str], runs: Sequence[artifacts.Artifact]
) -> list[artifacts.Artifact]:
    """Open one result of a kind for each of the pairs; none where the first is not given.

    Raises: InputError if one was made with other pairs than those in its place.
    """
    if first is None:
        return []
    made = [artifacts.Artifact(Path(path), kind) for path in (first, *others)]
    for each, pairs in zip(made, runs, strict=True):
        if each.manifest["inputs"].get("pairs") != pairs.id:
            said = _SAID[kind].format(each.path)
            raise InputError(f"{said} made with other pairs than {pairs.path}; give that of these")
    return made
