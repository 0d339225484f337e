"""Test samples of pairs in memory, in equal numbers of each class."""

from typing import Any, NamedTuple

import numpy as np

from linkjax.analysis import finite
from linkjax.errors import InputError
from linkjax.storage import artifacts


class Samples(NamedTuple):
    """Test samples in equal numbers of each class, class by class."""

    r: np.ndarray  # [classes, m, units]
    w: np.ndarray  # [classes, m, w_dim]
    label: np.ndarray  # [classes]
    sample_id: np.ndarray  # [classes, m]
    left_out: dict[str, Any]  # samples that are not finite, as `finite.note` names them
    with_them: int = 0  # finite ones at the same places of other classes, left out so that all keep equal numbers


def read_samples(pairs: artifacts.Artifact, most: int, classes: tuple[int, ...] | None = None) -> Samples:
    """The first test samples of each class, as many of each; of many classes an even choice, with 4 samples each.

    Args:
      classes: none: all that the pairs hold.

    Raises: InputError if there are fewer than 4 samples in all.
    """
    groups = [group for group in pairs.summary["groups"] if group["split"] == "test"]
    if not groups:
        raise InputError(f"{pairs.path} has no test split; make pairs with --n-test above 0")
    groups = [group for group in groups if classes is None or group["label"] in classes]
    each = min(min(group["accepted"] for group in groups), max(4, most // len(groups)))
    groups = [
        groups[i]
        for i in np.unique(np.linspace(0, len(groups) - 1, min(len(groups), max(1, most // each))).astype(int))
    ]
    if each * len(groups) < 4:
        raise InputError(
            f"{pairs.path}: expected 4 or more test samples, found {each * len(groups)}; "
            "make pairs with a larger --n-test"
        )
    rows = np.concatenate([np.arange(group["first_row"], group["first_row"] + each) for group in groups])
    r, w, ids = (pairs.read(name, rows).reshape(len(groups), each, -1) for name in ("r", "w", "sample_id"))
    label = np.array([group["label"] for group in groups], np.int32)
    ids, names = ids[..., 0], np.repeat(label, each)
    left_out = finite.note(finite.rows(*(x.reshape(len(names), -1) for x in (r, w))), names, ids.ravel())
    bad = ~(np.isfinite(r).all(axis=2) & np.isfinite(w).all(axis=2))
    kept = ~bad.any(axis=0)  # the same place of every class, so that classes keep their equal numbers
    if bad.any():
        if kept.sum() * len(groups) < 4:
            raise InputError(
                f"{pairs.path}: {int(bad.sum())} of {bad.size} test samples are not finite; make pairs again"
            )
        r, w, ids = r[:, kept], w[:, kept], ids[:, kept]
    return Samples(r, w, label, ids, left_out, int((~kept).sum()) * len(groups) - int(bad.sum()))
