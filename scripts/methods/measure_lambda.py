"""How surely λ of the steering directions is chosen: over random splits of the same pairs, as it is and as it was.

    python scripts/methods/measure_lambda.py --pairs linkjax-demo/planted-pairs [--splits 200] [--json FILE]

Training and validation pairs are drawn anew from both, in the same numbers. "Before": own changes are held against the
best of all λ, long steps included; where no short step then is good enough, the largest λ was taken. A minute.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np

from linkjax.analysis.links import class_sums, steering
from linkjax.storage import artifacts


def before(curve: list[dict[str, float]]) -> float | None:
    """The λ that was chosen; None where none was good enough."""
    far, best = 1.05 * curve[-1]["length"], 0.95 * max(row["own"] for row in curve)
    return min((row["lambda"] for row in curve if row["length"] <= far and row["own"] >= best), default=None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, required=True, help="folder of linkjax pairs")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()
    pairs = artifacts.Artifact(arguments.pairs, "pairs")
    train, last = pairs.summary["splits"]["train"][1], pairs.summary["splits"]["val"][1]
    random = np.random.default_rng(0)
    arrays = [pairs.read(name, slice(0, last)) for name in ("r", "w", "label")]
    now, then = Counter(), Counter()
    for _ in range(arguments.splits):
        order = random.permutation(last)
        fitted, held_out = (
            class_sums.within_of(*(each[rows] for each in arrays), None) for rows in (order[:train], order[train:])
        )
        choice = steering.choose(steering.spectrum(fitted), held_out)
        now[f"{choice.lam:.3g}"] += 1
        lam = before(choice.curve)
        then["none: the largest" if lam is None else f"{lam:.3g}"] += 1
    found = {"splits": arguments.splits, "train": train, "validation": last - train, "chosen": now, "before": then}
    print(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
