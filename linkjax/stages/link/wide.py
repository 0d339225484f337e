"""Checks of settings for links of so many units that their moments do not fit in memory."""

from collections.abc import Mapping, Sequence
from typing import Any

from linkjax.analysis.links import dual
from linkjax.errors import InputError
from linkjax.stages import rows
from linkjax.storage import artifacts


def check(config: Any, pairs: artifacts.Artifact, ranges: Mapping[str, Sequence[rows.Range]]) -> None:
    """Check that a link can be fitted without moments.

    Raises: InputError if not, with what to do.
    """
    units, count = pairs.summary["units"], rows.count(ranges["train"])
    advice = f"moments of {units} units need more than --moments-gib {config.moments_gib:g}"
    if config.method in ("ols", "ridge") and count > units:
        raise InputError(
            f"{advice}, and {count} pairs are more than the units, so their own Gram matrix is no smaller; fit on "
            "fewer --classes, raise --moments-gib, or use --method elastic_net (with --l1-ratio 0 it is ridge, of one "
            f"--alpha {count} times smaller)"
        )
    if config.choose == "stable":
        raise InputError(f"{advice}, which --choose stable measures steps on; raise --moments-gib, or use --choose r2")
    needed = dual.nbytes(count) / 2**30
    if config.method in ("ols", "ridge") and needed > config.moments_gib:
        raise InputError(
            f"{advice}, and so does the Gram matrix of {count} pairs with its decomposition ({needed:.3g} GiB); fit on "
            "fewer --classes, raise --moments-gib, or use --method elastic_net"
        )
    for split in ("train", "val"):
        if split in ranges and rows.count(ranges[split]) < 2:
            raise InputError(f"expected 2 or more pairs in the {split} split, found {rows.count(ranges[split])}")
    if config.method == "mlp" or config.rank:
        what = "method mlp" if config.method == "mlp" else "a reduced rank"
        raise InputError(f"{advice}, which {what} starts from; raise --moments-gib, or convert a narrower classifier")
    if config.method == "elastic_net" and (len(config.alphas) or "val" not in ranges):
        raise InputError(f"{advice}; without them an elastic net needs one --alpha and a validation split to stop by")
