"""`linkjax compare` held against the truth: networks of the embedded world whose units are planted.

    python scripts/methods/compare_planted.py WORK [--each 120] [--out docs/figures/compare.json]

The first network is the embedded world's planted classifier, which sees drawn images. The second is it with another
head: from the first one's units that carry factors follow estimates of the factors, and from these the units of another
table (world b of scripts/demo/planted.py), other mixtures, signs and doubles, with waves of its own. So both see the
same images, some units of both carry the same, and others not. What is true follows from the renderer's factors of the
same samples: the correlation within breeds of what each unit was planted to be. A unit is truly shared where the
largest is 0.6 or more, truly private where it is 0.4 or less; in between neither answer counts. The third network is
`breeds`, which learned on its own.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(Path(__file__).parents[2]))

import jax.numpy as jnp
import numpy as np

import linkjax
from linkjax.analysis.comparisons import matching
from linkjax.analysis.pairs import named_latents
from linkjax.cli import main as command
from linkjax.demo.bundle import EMBEDDED
from linkjax.demo.factors import BREEDS, Z_DIM, factors_of
from linkjax.demo.study import demo_truth
from scripts.demo import planted
from tests.stages.side_by_side import planted as second_pairs
from tests.stages.side_by_side import told

OTHER = "b"
SURELY, SURELY_NOT = 0.6, 0.4


def do(*words: Any) -> None:
    assert command([str(word) for word in words]) == 0


def drawn(work: Path, each: int) -> dict[str, Path]:
    """Pairs of the three networks, made where they are not there yet."""
    made = {name: work / name for name in ("planted", "second", "breeds")}
    flags = ["--generator", EMBEDDED / "generator", "--batch-size", 64]
    if not made["planted"].exists():
        sizes = ["--n-train", each, "--n-val", 0, "--n-test", 0, "--truncation", 1, "--class-names", *BREEDS]
        do("pairs", *flags, "--classifier", EMBEDDED / "planted", "--keep", "all", *sizes, "--out", made["planted"])
    if not made["breeds"].exists():
        do("pairs", *flags, "--classifier", EMBEDDED / "breeds", "--latents", made["planted"], "--out", made["breeds"])
    if not made["second"].exists():
        second_pairs(made["second"], str(made["planted"]), other_head(linkjax.open(made["planted"])["r"].values))
    return made


def other_head(r: np.ndarray) -> np.ndarray:
    """Activations of the second network, from the first one's: [samples, units]."""
    weight = demo_truth()["weight"].values
    carrying = np.abs(weight).sum(axis=1) > 0
    factors = (r[:, carrying] - 1) @ np.linalg.pinv(weight[carrying]).T
    return np.asarray(planted.targets(jnp.asarray(factors, jnp.float32), OTHER))


def true_correlations(path: Path) -> np.ndarray:
    """Within breeds, of what the units of the first two networks were planted to be."""
    pairs = linkjax.open(path)
    label, number = pairs["label"].values, pairs["sample_id"].values
    factors = factors_of(jnp.asarray(named_latents(0, label, number, Z_DIM)), jnp.asarray(label))
    both = np.concatenate([np.asarray(planted.targets(factors, name)) for name in (planted.EMBEDDED, OTHER)], axis=1)
    sums = matching.WithinClasses(both.shape[1])
    for each in np.unique(label):
        sums.add(both[label == each], int(each))
    return sums.correlations()


def score(found: Any, names: tuple[str, str], truth: np.ndarray) -> dict[str, Any]:
    """How the matches of one network with another, or itself, fare against the truth [units, units of the other]."""
    mine = found.isel(match=(found["network"].values == names[0]) & (found["other"].values == names[1]))
    size = np.abs(truth) - (2 * np.eye(len(truth)) if names[0] == names[1] else 0)
    best, kind = size.max(axis=1), mine["kind"].values
    shared, private = best >= SURELY, best <= SURELY_NOT
    partner = size[np.arange(len(size)), mine["partner"].values]
    said = {code: kind == code for code in (matching.SHARED, matching.PRIVATE)}
    return {
        "truly_shared": int(shared.sum()),
        "of_them_said_to_be_shared": int((shared & said[matching.SHARED]).sum()),
        "of_them_with_a_true_partner": int((shared & (partner >= best - 0.05)).sum()),
        "truly_private": int(private.sum()),
        "of_them_said_to_be_private": int((private & said[matching.PRIVATE]).sum()),
        "said_to_be_shared_wrongly": int((private & said[matching.SHARED]).sum()),
        "said_to_be_private_wrongly": int((shared & said[matching.PRIVATE]).sum()),
        "median_error_of_correlation": float(np.median(np.abs(mine["agreement"].values - partner)[shared])),
    }


def processor() -> str:
    lines = subprocess.run(["lscpu"], capture_output=True, text=True).stdout.splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("Model name")), "unknown processor")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--each", type=int, default=120)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    given.work.mkdir(exist_ok=True)
    made, out = drawn(given.work, given.each), given.work / "side_by_side"
    if not out.exists():
        others = [made["second"], made["breeds"]]
        flags = ["--names", "planted", "second", "breeds", "--split", "train", "--out", out]
        do("compare", "--pairs", made["planted"], "--other-pairs", *others, *flags)
    found, truth, units = linkjax.open(out), true_correlations(made["planted"]), planted.UNITS
    parts = {"planted": slice(0, units), "second": slice(units, 2 * units)}
    figures = {
        "device": processor(),
        "samples": told(out)["samples"],
        "score": {
            f"{a} beside {b}": score(found, (a, b), truth[parts[a], parts[b]])
            for a in parts for b in parts
        },
        "rows": told(out)["rows"],
        "similarity": told(out)["similarity"],
    }  # fmt: skip
    text = json.dumps(figures, indent=1)
    print(text)
    if given.out:
        given.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
